//! What a memory is believed to keep: least recently used goes first, as ComfyUI and the page cache do.

use crate::ids::ModelId;

/// A model believed to be in a memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) model: ModelId,
    pub(crate) mib: u32,
    used: u64,
}

/// Models by id, each with the moment of its last use.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cache {
    kept: Vec<Kept>,
    sum_mib: u64,
    uses: u64,
}

impl Cache {
    fn find(&self, model: ModelId) -> Result<usize, usize> {
        self.kept.binary_search_by_key(&model, |kept| kept.model)
    }

    pub(crate) fn has(&self, model: ModelId) -> bool {
        self.find(model).is_ok()
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(crate) fn sum_mib(&self) -> u64 {
        self.sum_mib
    }

    pub(crate) fn clear(&mut self) {
        self.kept.clear();
        self.sum_mib = 0;
    }

    /// A model is used: it is there, and the most recent.
    pub(crate) fn touch(&mut self, model: ModelId, mib: u32) {
        self.uses += 1;
        match self.find(model) {
            Ok(index) => self.kept[index].used = self.uses,
            Err(index) => {
                self.kept.insert(index, Kept { model, mib, used: self.uses });
                self.sum_mib += u64::from(mib);
            }
        }
    }

    /// Lets the least recently used go that is not among `in_use`; `None` when nothing else is there.
    pub(crate) fn evict(&mut self, in_use: impl Fn(ModelId) -> bool) -> Option<ModelId> {
        let idle = self.kept.iter().enumerate().filter(|(_, kept)| !in_use(kept.model));
        let (index, _) = idle.min_by_key(|(_, kept)| kept.used)?;
        let gone = self.kept.remove(index);
        self.sum_mib -= u64::from(gone.mib);
        Some(gone.model)
    }

    pub(crate) fn models(&self) -> impl Iterator<Item = ModelId> {
        self.kept.iter().map(|kept| kept.model)
    }

    /// The models, the most recently used last.
    pub(crate) fn by_use(&self) -> Vec<ModelId> {
        let mut kept = self.kept.clone();
        kept.sort_by_key(|kept| kept.used);
        kept.into_iter().map(|kept| kept.model).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first_and_what_is_in_use_stays() {
        let mut cache = Cache::default();
        for model in [3, 1, 2] {
            cache.touch(ModelId(model), 10);
        }
        cache.touch(ModelId(3), 10);
        assert_eq!(cache.evict(|model| model == ModelId(1)), Some(ModelId(2)));
        assert_eq!(cache.by_use(), [ModelId(1), ModelId(3)]);
        assert_eq!(cache.sum_mib(), 20);
        assert_eq!(cache.evict(|_| true), None);
    }
}
