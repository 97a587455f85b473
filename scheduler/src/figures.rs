//! Learned figures: decayed means that say when they are worth keeping, and names made dense.

use std::collections::BTreeMap;

/// A decayed mean forgets by one part in this many: ten runs follow a change, one outlier does not make one.
const MEMORY: u32 = 8;
/// A prior never counts for less than against so many samples: a mean of the last few is noisy, too.
const YIELDS: u32 = 64;
/// Most figures of one sort; a deployment has hundreds.
pub(crate) const MOST_FIGURES: usize = 65_536;

/// A decayed mean.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mean {
    pub(crate) value: u32,
    pub(crate) count: u32,
    told: u32,
}

impl Mean {
    /// A mean of an earlier life.
    pub(crate) fn known(value: u32, count: u32) -> Self {
        Self { value, count, told: value }
    }

    /// Takes one sample in; true when the figure is worth keeping again: the mean has moved, or it rests on twice as many
    /// samples as before, so that a restart does not make it yield to its prior again.
    pub(crate) fn learn(&mut self, sample: u32) -> bool {
        self.count = self.count.saturating_add(1);
        let step = (i64::from(sample) - i64::from(self.value)) / i64::from(self.count.min(MEMORY));
        self.value = u32::try_from(i64::from(self.value) + step).unwrap_or(u32::MAX);
        let moved = self.value.abs_diff(self.told);
        let is_firmer = self.count <= YIELDS && self.count.is_power_of_two();
        let tell = is_firmer || u64::from(moved) * 10 > u64::from(self.told);
        if tell {
            self.told = self.value;
        }
        tell
    }

    /// The mean, with `prior` counted as `weight` samples.
    pub(crate) fn with_prior(self, prior: u32, weight: u32) -> u32 {
        let count = u64::from(self.count.min(YIELDS));
        let weight = u64::from(weight);
        if count + weight == 0 {
            return prior;
        }
        let sum = u64::from(self.value) * count + u64::from(prior) * weight;
        u32::try_from(sum / (count + weight)).unwrap_or(u32::MAX)
    }
}

/// Ids of the outside world as small indexes, in the order of their appearance.
#[derive(Debug, Clone)]
pub(crate) struct Names<K> {
    known: BTreeMap<K, usize>,
    names: Vec<K>,
}

impl<K> Default for Names<K> {
    fn default() -> Self {
        Self { known: BTreeMap::new(), names: Vec::new() }
    }
}

impl<K: Ord + Copy> Names<K> {
    /// The index of a name, a new one if it was not known.
    pub(crate) fn index(&mut self, name: K) -> usize {
        let next = self.names.len();
        let index = *self.known.entry(name).or_insert(next);
        if index == next {
            self.names.push(name);
        }
        index
    }

    pub(crate) fn name_of(&self, index: usize) -> Option<K> {
        self.names.get(index).copied()
    }

    pub(crate) fn get(&self, name: K) -> Option<usize> {
        self.known.get(&name).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }
}

/// Makes room for one more figure.
pub(crate) fn make_room<K: Ord + Copy, V>(figures: &mut BTreeMap<K, V>, key: &K) {
    if figures.len() >= MOST_FIGURES && !figures.contains_key(key) {
        figures.pop_first();
    }
}
