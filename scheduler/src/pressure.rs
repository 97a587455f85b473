//! How much waits against how much can run, and what follows from it for every decision.

use crate::time::Millis;

/// Ageing slows down by this part of the time the backlog takes to drain: in an overload the old must not push out the
/// short, or everyone waits as long as the oldest.
const AGEING_PER_DRAIN: i64 = 2;
/// With nothing waiting, a second of waiting for a busy device counts this much more than a second of work, thousandths:
/// the promise of a device that is not free yet is often broken by who comes next, and an idle device costs nothing.
const WAIT_SURCHARGE_MILLI: i64 = 2_000;
/// The surcharge is half of it when the backlog takes this long.
const WAIT_SURCHARGE_HALVES: Millis = Millis::from_secs(200);
/// What the price of a device's second counts with nothing waiting, thousandths of the job's own second …
const THRIFT_MILLI: i64 = 1_300;
/// … how much more for each minute of backlog …
const THRIFT_PER_MINUTE_MILLI: i64 = 2_600;
/// … and at most: beyond it, jobs would wait for ever for a cheap device.
const MOST_THRIFT_MILLI: i64 = 5_000;

/// The state of the backlog that decisions depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pressure {
    /// Waiting this long doubles what a job counts.
    pub(crate) ageing: Millis,
    /// What a second of waiting costs, thousandths of a second of work.
    pub(crate) wait_milli: i64,
    /// What the price of a device's second counts, thousandths.
    pub(crate) thrift_milli: i64,
}

impl Pressure {
    /// From the time that the backlog takes to drain and the ageing of an empty one.
    pub(crate) fn new(drain: Millis, ageing: Millis) -> Self {
        let drain = drain.0.max(0);
        let halves = WAIT_SURCHARGE_HALVES.0;
        Self {
            ageing: Millis(ageing.0.max(1).saturating_add(drain / AGEING_PER_DRAIN)),
            wait_milli: 1_000 + WAIT_SURCHARGE_MILLI * halves / halves.saturating_add(drain),
            thrift_milli: (THRIFT_MILLI
                .saturating_add(drain.saturating_mul(THRIFT_PER_MINUTE_MILLI) / 60_000))
            .min(MOST_THRIFT_MILLI),
        }
    }
}

/// What all scores of a moment have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Climate {
    pub(crate) pressure: Pressure,
    /// Mean weighted usage of the tenants that want or hold a device.
    pub(crate) mean_usage: u128,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_a_longer_backlog_age_counts_less_waiting_costs_less_and_devices_are_dearer() {
        let of = |drain| Pressure::new(Millis::from_secs(drain), Millis::from_secs(30));
        let (calm, busy, flooded) = (of(0), of(60), of(3_600));
        assert_eq!(
            (calm.ageing, calm.wait_milli, calm.thrift_milli),
            (Millis::from_secs(30), 3_000, THRIFT_MILLI)
        );
        assert!(calm.ageing < busy.ageing && busy.ageing < flooded.ageing);
        assert!(calm.wait_milli > busy.wait_milli && busy.wait_milli > flooded.wait_milli);
        assert_eq!((busy.thrift_milli, flooded.thrift_milli), (3_900, MOST_THRIFT_MILLI));
    }
}
