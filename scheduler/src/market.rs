//! What a second of a device is worth. Work that only few devices can run, or that they run much better than others,
//! makes them dear; the others become cheap. The prices are the dual of spreading the demand over the fleet so that all
//! devices are equally loaded; they follow the demand by small steps and need no clock of their own.

use std::collections::BTreeMap;

use crate::fleet::{Fleet, GradeSet};
use crate::runs::{FamilyIx, Runs};
use crate::time::{Millis, Timestamp};

/// The mean price over the fleet, fixed point.
pub(crate) const ONE: u64 = 1 << 20;
/// Prices move this often: much faster than the demand does, much slower than decisions come.
const PRICED_EVERY: Millis = Millis::from_secs(5);
/// Steps each time; ten of them take a price by a factor of two at most.
const STEPS: usize = 10;
/// The first time there is nothing to start from.
const FIRST_STEPS: usize = 100;
/// How far one step goes towards equal load, thousandths of the logarithm of its inequality.
const STRIDE_MILLI: i64 = 100;
/// Arrived work counts half after this long.
const HALF_LIFE: Millis = Millis::from_secs(600);
/// Prices stay within this factor of the mean, both ways: a grade nobody wants still costs something.
const WIDEST: u64 = 50;
/// A grade this much above the cheapest (thousandths, inverse) gets no share of a demand.
const SHARE_SLOPE: u64 = 3;

/// Time of a device at its price: milliseconds of a device of the mean price.
pub(crate) fn at_price(ms: u64, price: u64) -> u64 {
    u64::try_from(u128::from(ms) * u128::from(price) / u128::from(ONE)).unwrap_or(u64::MAX)
}

/// Demand that the same grades can serve equally.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct DemandIx(pub(crate) u32);

#[derive(Debug, Clone)]
struct Demand {
    family: FamilyIx,
    grades: GradeSet,
    /// Arrived work, decayed, ms on the reference class.
    recent_ms: u64,
    /// Waiting work, ms on the reference class.
    queued_ms: u64,
    /// What a millisecond of the reference class costs where it is cheapest, fixed point.
    rate: u64,
}

/// All demand, and when the prices were last brought in line with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Market {
    demands: Vec<Demand>,
    index: BTreeMap<(FamilyIx, GradeSet), DemandIx>,
    priced_at: Option<Timestamp>,
}

impl Market {
    pub(crate) fn demand(&mut self, family: FamilyIx, grades: GradeSet) -> DemandIx {
        let next = DemandIx(u32::try_from(self.demands.len()).unwrap_or(u32::MAX));
        let ix = *self.index.entry((family, grades)).or_insert(next);
        if ix == next {
            self.demands.push(Demand { family, grades, recent_ms: 0, queued_ms: 0, rate: ONE });
            self.priced_at = None;
        }
        ix
    }

    pub(crate) fn grades(&self, ix: DemandIx) -> GradeSet {
        self.demands.get(ix.0 as usize).map_or_else(GradeSet::default, |demand| demand.grades)
    }

    /// New work arrived.
    pub(crate) fn note_arrival(&mut self, ix: DemandIx, ms: u32) {
        if let Some(demand) = self.demands.get_mut(ix.0 as usize) {
            demand.recent_ms = demand.recent_ms.saturating_add(u64::from(ms));
        }
    }

    /// Work begins to wait.
    pub(crate) fn enqueue(&mut self, ix: DemandIx, ms: u32) {
        if let Some(demand) = self.demands.get_mut(ix.0 as usize) {
            demand.queued_ms = demand.queued_ms.saturating_add(u64::from(ms));
        }
    }

    /// Work waits no longer.
    pub(crate) fn dequeue(&mut self, ix: DemandIx, ms: u32) {
        if let Some(demand) = self.demands.get_mut(ix.0 as usize) {
            demand.queued_ms = demand.queued_ms.saturating_sub(u64::from(ms));
        }
    }

    /// What work costs where it is cheapest: milliseconds of a device of the mean price.
    pub(crate) fn worth_ms(&self, ix: DemandIx, reference_ms: u32) -> u64 {
        let rate = self.demands.get(ix.0 as usize).map_or(ONE, |demand| demand.rate);
        u64::from(reference_ms) * rate / ONE
    }

    /// How long the fleet would take for all that waits, were every device busy with what it does best.
    pub(crate) fn drain_time(&self, fleet: &Fleet) -> Millis {
        let worth: u128 =
            self.demands.iter().map(|demand| u128::from(demand.queued_ms) * u128::from(demand.rate)).sum();
        let devices = fleet.usable().max(1) as u128;
        Millis(i64::try_from(worth / u128::from(ONE) / devices).unwrap_or(i64::MAX))
    }

    /// Brings the prices in line with the demand, when it is time.
    pub(crate) fn reprice(&mut self, now: Timestamp, fleet: &mut Fleet, runs: &Runs) {
        let steps = match self.priced_at {
            None => FIRST_STEPS,
            Some(at) if now.since(at) < PRICED_EVERY => return,
            Some(at) => {
                self.forget(now.since(at));
                STEPS
            }
        };
        self.priced_at = Some(now);
        let mut prices = Prices::of(fleet);
        for _ in 0..steps {
            let loads = self.loads(&prices, fleet, runs);
            prices.step(&loads);
        }
        for (grade, price) in prices.price.iter().enumerate() {
            fleet.set_price(grade, *price);
        }
        for demand in &mut self.demands {
            demand.rate = prices.cheapest(demand, fleet, runs).unwrap_or(ONE);
        }
    }

    fn forget(&mut self, time: Millis) {
        let halves = u32::try_from(time.0 / HALF_LIFE.0).unwrap_or(u32::MAX);
        let rest = u64::try_from(time.0 % HALF_LIFE.0).unwrap_or(0);
        let half_life = HALF_LIFE.0.unsigned_abs();
        for demand in &mut self.demands {
            let whole = demand.recent_ms.checked_shr(halves).unwrap_or(0);
            demand.recent_ms = whole - whole / 2 * rest / half_life;
        }
    }

    /// Milliseconds of each grade that the demand asks for at these prices.
    fn loads(&self, prices: &Prices, fleet: &Fleet, runs: &Runs) -> Vec<u64> {
        let mut loads = vec![0_u64; prices.price.len()];
        for demand in &self.demands {
            let wanted = demand.recent_ms + demand.queued_ms;
            let Some(best) = prices.cheapest(demand, fleet, runs).filter(|_| wanted > 0) else { continue };
            let shares: Vec<(usize, u64, u64)> = prices
                .offers(demand, fleet, runs)
                .map(|(grade, speed, rate)| {
                    let above = (rate - best).saturating_mul(1000) / best;
                    (
                        grade,
                        speed,
                        1000_u64.saturating_sub(above.saturating_mul(SHARE_SLOPE)).pow(4) / 1_000_000,
                    )
                })
                .collect();
            let sum: u64 = shares.iter().map(|(_, _, share)| share).sum();
            for (grade, speed, share) in shares {
                let ms = u128::from(wanted) * u128::from(share) * 1000
                    / u128::from(sum.max(1))
                    / u128::from(speed);
                loads[grade] = loads[grade].saturating_add(u64::try_from(ms).unwrap_or(u64::MAX));
            }
        }
        loads
    }
}

/// Prices on their way to the next ones.
struct Prices {
    price: Vec<u64>,
    devices: Vec<u64>,
}

impl Prices {
    fn of(fleet: &Fleet) -> Self {
        let grades = fleet.grades();
        Self {
            price: grades.iter().map(|grade| grade.price).collect(),
            devices: grades.iter().map(|grade| grade.by_free.len() as u64).collect(),
        }
    }

    /// Grades that could serve a demand: speed, and the price of a millisecond of the reference class there.
    fn offers<'a>(
        &'a self,
        demand: &'a Demand,
        fleet: &'a Fleet,
        runs: &'a Runs,
    ) -> impl Iterator<Item = (usize, u64, u64)> + 'a {
        let able = move |grade: &usize| self.devices[*grade] > 0 && demand.grades.has(*grade);
        (0..self.price.len()).filter(able).map(move |grade| {
            let speed = u64::from(runs.speed_milli(fleet.grades()[grade].class, demand.family)).max(1);
            (grade, speed, (self.price[grade].saturating_mul(1000) / speed).max(1))
        })
    }

    fn cheapest(&self, demand: &Demand, fleet: &Fleet, runs: &Runs) -> Option<u64> {
        self.offers(demand, fleet, runs).map(|(_, _, rate)| rate).min()
    }

    /// What is asked for more than the mean becomes dearer, what less cheaper; then the mean is one again.
    fn step(&mut self, loads: &[u64]) {
        let devices: u64 = self.devices.iter().sum();
        let mean = loads.iter().sum::<u64>() / devices.max(1);
        if mean == 0 {
            return;
        }
        for ((price, load), count) in self.price.iter_mut().zip(loads).zip(&self.devices) {
            if *count > 0 {
                let ratio = (load / count).saturating_mul(1000) / mean;
                let ratio = i64::try_from(ratio.clamp(200, 5_000)).unwrap_or(1000);
                let factor = 1_000_000 + STRIDE_MILLI * 2_000 * (ratio - 1000) / (ratio + 1000);
                *price = price.saturating_mul(factor.unsigned_abs()) / 1_000_000;
            }
        }
        let sum: u64 = self.price.iter().zip(&self.devices).map(|(price, count)| price * count).sum();
        for price in &mut self.price {
            let level = u128::from(*price) * u128::from(ONE) * u128::from(devices) / u128::from(sum.max(1));
            *price = u64::try_from(level).unwrap_or(u64::MAX).clamp(ONE / WIDEST, ONE * WIDEST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DeviceClassId, DeviceId, FamilyId, HostId, InstanceId};
    use crate::spec::{Catalogue, InstanceProfile};
    use std::sync::Arc;

    const SMALL: FamilyId = FamilyId(1);
    const LARGE: FamilyId = FamilyId(2);

    /// Two slow cards that run only small work, one fast card that runs everything.
    fn fleet(runs: &mut Runs) -> Fleet {
        let mut fleet = Fleet::default();
        for (id, class, speed) in [(0, 1, 500), (1, 1, 500), (2, 2, 1_000)] {
            runs.tell_speeds(DeviceClassId(class), speed, &[]);
            let profile = InstanceProfile {
                host: HostId(id),
                device: Some(DeviceId(id)),
                device_class: DeviceClassId(class),
                speed_milli: speed,
                family_speeds: Box::default(),
                loading: None,
                vram_mib: Some(16_000),
                reserve_mib: 0,
                catalogue: Some(Arc::new(Catalogue {
                    id: class,
                    parts: Box::default(),
                    sizes: Box::default(),
                })),
            };
            let now = Timestamp(1);
            let instance = fleet.entry(now, InstanceId(id));
            (instance.profile, instance.up) = (Some(profile), true);
            let class = runs.class(DeviceClassId(class));
            if let Some(ix) = fleet.ix(InstanceId(id)) {
                fleet.list(ix, Some((class, now)), true);
            }
        }
        fleet
    }

    fn all(grades: &[usize]) -> GradeSet {
        let mut found = GradeSet::default();
        grades.iter().for_each(|grade| found.insert(*grade));
        found
    }

    #[test]
    fn a_card_that_alone_can_do_much_wanted_work_becomes_dear() {
        let mut runs = Runs::default();
        let mut fleet = fleet(&mut runs);
        let mut market = Market::default();
        let small = market.demand(runs.family(SMALL), all(&[0, 1]));
        let large = market.demand(runs.family(LARGE), all(&[1]));
        market.enqueue(small, 100_000);
        market.enqueue(large, 100_000);
        market.reprice(Timestamp(1), &mut fleet, &runs);
        let [slow, fast] = [0, 1].map(|grade| fleet.grades()[grade].price);
        assert!(fast > 2 * slow, "twice as fast is not the reason: {fast} to {slow}");
        assert!(market.worth_ms(large, 1_000) > market.worth_ms(small, 1_000));
    }

    #[test]
    fn without_work_of_its_own_a_card_is_worth_its_speed() {
        let mut runs = Runs::default();
        let mut fleet = fleet(&mut runs);
        let mut market = Market::default();
        let small = market.demand(runs.family(SMALL), all(&[0, 1]));
        market.enqueue(small, 100_000);
        market.reprice(Timestamp(1), &mut fleet, &runs);
        let [slow, fast] = [0, 1].map(|grade| fleet.grades()[grade].price);
        let ratio = fast * 100 / slow;
        assert!((180..=220).contains(&ratio), "{ratio}");
    }

    #[test]
    fn the_backlog_drains_as_fast_as_all_devices_together_work() {
        let mut runs = Runs::default();
        let mut fleet = fleet(&mut runs);
        let mut market = Market::default();
        let small = market.demand(runs.family(SMALL), all(&[0, 1]));
        market.enqueue(small, 200_000);
        market.reprice(Timestamp(1), &mut fleet, &runs);
        let drain = market.drain_time(&fleet).0;
        assert!((90_000..=110_000).contains(&drain), "{drain}: 200 s of work at speeds 0.5 + 0.5 + 1");
        market.dequeue(small, 200_000);
        assert_eq!(market.drain_time(&fleet), Millis(0));
    }
}
