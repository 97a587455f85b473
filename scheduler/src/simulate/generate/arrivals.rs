//! When jobs arrive: a Poisson process whose rate may have a wave, bursts and a flood.

use super::draw::between;
use super::recipe::{Recipe, Wave};
use crate::rng::Rng;
use crate::simulate::fixed;

/// One arrival.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) t: i64,
    /// Whether it belongs to the first tenant's flood.
    pub(super) flood: bool,
}

/// The flood: from, until; thousandths of the duration.
const FLOOD: (i64, i64) = (250, 650);
/// Bursts of a day: how many, how long (ms) and how much more (thousandths).
const BURSTS: (u64, (i64, i64), (i64, i64)) = (3, (60_000, 200_000), (1800, 3000));
/// Spread of the rate from minute to minute, σ of its logarithm in thousandths: arrivals are over-dispersed.
const MINUTE_SIGMA_MILLI: i64 = 80;
const MINUTE_MS: i64 = 60_000;

/// Arrivals in order, for a fleet with this ideal capacity in jobs per thousand seconds.
pub(super) fn draw(recipe: &Recipe, capacity_per_ks: u64, rng: &mut Rng) -> Vec<Arrival> {
    let base = capacity_per_ks * recipe.load_milli;
    let times = match recipe.wave {
        Wave::Even | Wave::Flood => poisson(base, 0, recipe.duration_ms, rng),
        Wave::Daily => daily(base, recipe.duration_ms, rng),
    };
    let mut arrivals: Vec<Arrival> = times.into_iter().map(|t| Arrival { t, flood: false }).collect();
    if recipe.wave == Wave::Flood {
        let (from, until) = FLOOD;
        let part = |milli: i64| recipe.duration_ms / 1000 * milli;
        let flood = poisson(capacity_per_ks * recipe.flood_milli, part(from), part(until), rng);
        arrivals.extend(flood.into_iter().map(|t| Arrival { t, flood: true }));
        arrivals.sort_by_key(|arrival| arrival.t);
    }
    arrivals
}

/// A Poisson process with `rate` jobs per million seconds.
fn poisson(rate: u64, from: i64, until: i64, rng: &mut Rng) -> Vec<i64> {
    // Gaps in thousandths of a millisecond, so that rounding does not change the rate.
    let mean_us = 1_000_000_000_000 / i64::try_from(rate.max(1)).unwrap_or(i64::MAX);
    let mut times = Vec::new();
    let mut at_us = from * 1000;
    loop {
        at_us += fixed::scale(mean_us, fixed::exponential(rng).unsigned_abs()).max(1);
        if at_us >= until * 1000 {
            return times;
        }
        times.push(at_us / 1000);
    }
}

/// Thins a process of the highest rate down to the rate of each moment.
fn daily(rate: u64, duration_ms: i64, rng: &mut Rng) -> Vec<i64> {
    let bursts: Vec<(i64, i64, i64)> = (0..BURSTS.0)
        .map(|_| {
            let from = between(rng, duration_ms / 10, duration_ms * 9 / 10);
            (from, from + between(rng, BURSTS.1.0, BURSTS.1.1), between(rng, BURSTS.2.0, BURSTS.2.1))
        })
        .collect();
    let minutes: Vec<u64> = (0..=duration_ms / MINUTE_MS)
        .map(|_| fixed::exp(MINUTE_SIGMA_MILLI * fixed::normal(rng) / 1000))
        .collect();
    let level = |t: i64| {
        let burst = bursts.iter().filter(|(from, until, _)| (*from..*until).contains(&t));
        let more = burst.map(|(.., more)| *more).max().unwrap_or(1000);
        let minute = usize::try_from(t / MINUTE_MS).ok().and_then(|at| minutes.get(at)).copied();
        fixed::scale(wave_milli(t, duration_ms) * more / 1000, minute.unwrap_or(1 << 32))
    };
    // Nothing is as high as the wave's top in the strongest burst of the busiest minute.
    const TOP: i64 = 8;
    let most = poisson(rate.saturating_mul(TOP.unsigned_abs()), 0, duration_ms, rng);
    most.into_iter().filter(|t| between(rng, 0, TOP * 1000 - 1) < level(*t)).collect()
}

/// The wave at `t` in thousandths of its mean: 0.42 at both ends, 1.51 in the middle, like the public one. A polynomial
/// stands for the cosine, which no two platforms agree on.
fn wave_milli(t: i64, duration_ms: i64) -> i64 {
    let u = t * 1000 / duration_ms;
    let hump = u * (1000 - u) / 1000;
    420 + 1088 * 16 * hump * hump / 1_000_000
}
