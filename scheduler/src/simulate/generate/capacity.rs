//! How many jobs a second the fleet could do at best: the fluid optimum of giving the mix to the classes, with no
//! switching at all. A small linear program, solved by the simplex method.
//!
//! The arithmetic is floating but uses only the operations that IEEE 754 defines to the last bit, in a fixed order.

use std::collections::BTreeMap;

use super::fleet::{CLASSES, Fleet, OVERHEAD_MS};
use super::jobs::Order;

/// Jobs per thousand seconds, of the mix of these.
pub(super) fn jobs_per_ks(fleet: &Fleet, orders: &[Order<'_>]) -> u64 {
    // Jobs that can use the same classes are one kind.
    let mut kinds: BTreeMap<(usize, u32), (u32, i64)> = BTreeMap::new();
    let mut jobs = 0;
    for order in orders {
        let fits = CLASSES.iter().enumerate().filter(|(_, class)| order.est_vram_mib <= class.vram_mib);
        let mask = fits.fold(0, |mask, (at, _)| mask | 1 << at);
        let (count, work) = kinds.entry((order.family(), mask)).or_default();
        *count += 1;
        *work += order.work_ms;
        jobs += 1;
    }
    let rates = kinds.iter().map(|((family, mask), (count, work))| {
        let mean_ms = *work as f64 / f64::from(*count);
        let rate = |at: usize| match CLASSES[at].speed_milli[*family] {
            speed if speed > 0 && mask >> at & 1 == 1 => {
                1000.0 / (OVERHEAD_MS as f64 + mean_ms * 1000.0 / speed as f64)
            }
            _ => 0.0,
        };
        let share = f64::from(*count) / f64::from(jobs);
        (share, (0..CLASSES.len()).map(rate).collect())
    });
    let mut nodes = vec![0.0; CLASSES.len()];
    for (class, _) in &fleet.nodes {
        nodes[*class] += 1.0;
    }
    (throughput(&rates.collect::<Vec<_>>(), &nodes) * 1000.0).round() as u64
}

/// Most jobs a second, given each kind's share and its rate on one node of each class, and the nodes of each class.
///
/// Maximizes x subject to: for each kind, share × x ≤ Σ rate × nodes given; for each class, nodes given ≤ nodes there.
fn throughput(kinds: &[(f64, Vec<f64>)], nodes: &[f64]) -> f64 {
    let classes = nodes.len();
    let variables = kinds.len() * classes + 1;
    let mut rows = Vec::new();
    for (at, (share, rates)) in kinds.iter().enumerate() {
        let mut row = vec![0.0; variables];
        row[0] = *share;
        for (class, rate) in rates.iter().enumerate() {
            row[1 + at * classes + class] = -rate;
        }
        rows.push((row, 0.0));
    }
    for (class, count) in nodes.iter().enumerate() {
        let mut row = vec![0.0; variables];
        for kind in 0..kinds.len() {
            row[1 + kind * classes + class] = 1.0;
        }
        rows.push((row, *count));
    }
    Tableau::new(rows, variables).maximize_first()
}

/// Rows `coefficients · x ≤ bound` with slack variables; every bound is at least 0, so that 0 is a corner to start from.
struct Tableau {
    /// Coefficients, then the bound.
    rows: Vec<Vec<f64>>,
    /// What the objective still gains by each variable, and its negated value.
    gains: Vec<f64>,
    basis: Vec<usize>,
}

/// Less than this is rounding.
const TINY: f64 = 1e-9;
/// Bland's rule ends by itself; this is for peace of mind.
const MOST_STEPS: usize = 10_000;

impl Tableau {
    fn new(rows: Vec<(Vec<f64>, f64)>, variables: usize) -> Self {
        let count = rows.len();
        let with_slack = rows.into_iter().enumerate().map(|(at, (mut row, bound))| {
            row.extend((0..count).map(|slack| if slack == at { 1.0 } else { 0.0 }));
            row.push(bound);
            row
        });
        let mut gains = vec![0.0; variables + count + 1];
        gains[0] = 1.0;
        Self { rows: with_slack.collect(), gains, basis: (variables..variables + count).collect() }
    }

    fn maximize_first(mut self) -> f64 {
        for _ in 0..MOST_STEPS {
            // Bland's rule, lowest first on both sides, cannot run in circles.
            let last = self.gains.len() - 1;
            let Some(enters) = (0..last).find(|at| self.gains[*at] > TINY) else { break };
            let Some(leaves) = self.tightest(enters) else { break };
            self.pivot(leaves, enters);
        }
        -self.gains.last().copied().unwrap_or(0.0)
    }

    fn tightest(&self, enters: usize) -> Option<usize> {
        let ratio = |row: &Vec<f64>| row.last().copied().unwrap_or(0.0) / row[enters];
        let candidates = (0..self.rows.len()).filter(|at| self.rows[*at][enters] > TINY);
        candidates.min_by(|a, b| {
            let by_ratio = ratio(&self.rows[*a]).total_cmp(&ratio(&self.rows[*b]));
            by_ratio.then(self.basis[*a].cmp(&self.basis[*b]))
        })
    }

    fn pivot(&mut self, leaves: usize, enters: usize) {
        let by = self.rows[leaves][enters];
        self.rows[leaves].iter_mut().for_each(|value| *value /= by);
        let pivot = self.rows[leaves].clone();
        let others = self.rows.iter_mut().enumerate().filter(|(at, _)| *at != leaves).map(|(_, row)| row);
        for row in others.chain([&mut self.gains]) {
            let times = row[enters];
            if times != 0.0 {
                row.iter_mut().zip(&pivot).for_each(|(value, pivot)| *value -= times * pivot);
            }
        }
        self.basis[leaves] = enters;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fluid_optimum_shares_the_fleet_as_one_would_by_hand() {
        // One kind, two equal nodes of rate 3.
        assert!((throughput(&[(1.0, vec![3.0])], &[2.0]) - 6.0).abs() < 1e-9);
        // Each kind has a class it is better on; nobody should cross over.
        let kinds = [(0.5, vec![2.0, 1.0]), (0.5, vec![1.0, 2.0])];
        assert!((throughput(&kinds, &[1.0, 1.0]) - 4.0).abs() < 1e-9);
        // The second kind runs on the second class only: it gets all of it, and is the bottleneck.
        let kinds = [(0.5, vec![4.0, 4.0]), (0.5, vec![0.0, 1.0])];
        assert!((throughput(&kinds, &[1.0, 1.0]) - 2.0).abs() < 1e-9);
    }
}
