//! Kinds of work: jobs with the same needs and the same cost. What is true of one is true of all, so a decision
//! looks at kinds, not at jobs.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::{ModelId, Part};
use crate::spec::{Catalogue, ModelKind, Requirement, Shape};

/// A kind of work among those with open jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KindId(pub(crate) u32);

/// One kind of work.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) shape: Shape,
    pub(crate) requirement: Arc<Requirement>,
    /// The weights that fill the card; work with the same ones is served together.
    pub(crate) checkpoint: Option<ModelId>,
    /// Run time on the reference class as believed when the kind appeared: the unit of backlog sums.
    pub(crate) reference_ms: u32,
    /// Open jobs of it.
    pub(crate) open: u32,
    /// Those that wait.
    pub(crate) queued: u32,
    /// Attempts that hold a device.
    pub(crate) in_flight: u32,
    /// Open jobs that were the running prompt of a death.
    pub(crate) suspects: u32,
    offered_by: BTreeMap<u64, bool>,
}

impl Kind {
    /// Whether the catalogue with this id offers all it needs.
    pub(crate) fn is_offered_by(&self, catalogue: u64) -> bool {
        self.offered_by.get(&catalogue).copied().unwrap_or(false)
    }

    /// What `catalogue` lacks.
    pub(crate) fn lacks(&self, catalogue: &Catalogue) -> Vec<Part> {
        self.requirement.parts.iter().copied().filter(|part| !catalogue.offers(*part)).collect()
    }

    fn judge(&mut self, catalogue: &Catalogue) {
        let offered = self.requirement.parts.iter().all(|part| catalogue.offers(*part));
        self.offered_by.insert(catalogue.id, offered);
    }
}

type Key = (Shape, Arc<Requirement>);

/// All kinds with open jobs, and all catalogues that instances have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kinds {
    table: Vec<Option<Kind>>,
    vacant: Vec<u32>,
    by_key: BTreeMap<Key, KindId>,
    catalogues: BTreeMap<u64, Arc<Catalogue>>,
    queued_by_checkpoint: BTreeMap<ModelId, u64>,
}

impl Kinds {
    pub(crate) fn get(&self, id: KindId) -> Option<&Kind> {
        self.table.get(id.0 as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: KindId) -> Option<&mut Kind> {
        self.table.get_mut(id.0 as usize)?.as_mut()
    }

    /// The kind of a job that opens.
    pub(crate) fn join(&mut self, shape: Shape, requirement: &Arc<Requirement>, reference_ms: u32) -> KindId {
        let key = (shape, Arc::clone(requirement));
        if let Some(id) = self.by_key.get(&key).copied() {
            if let Some(kind) = self.get_mut(id) {
                kind.open += 1;
            }
            return id;
        }
        let checkpoint =
            requirement.models.iter().find(|used| used.kind == ModelKind::Checkpoint).map(|used| used.id);
        let mut kind = Kind {
            shape,
            requirement: Arc::clone(requirement),
            checkpoint,
            reference_ms,
            open: 1,
            queued: 0,
            in_flight: 0,
            suspects: 0,
            offered_by: BTreeMap::new(),
        };
        for catalogue in self.catalogues.values() {
            kind.judge(catalogue);
        }
        let id = self.store(kind);
        self.by_key.insert(key, id);
        id
    }

    fn store(&mut self, kind: Kind) -> KindId {
        if let Some(index) = self.vacant.pop() {
            self.table[index as usize] = Some(kind);
            return KindId(index);
        }
        let index = u32::try_from(self.table.len()).unwrap_or(u32::MAX);
        self.table.push(Some(kind));
        KindId(index)
    }

    /// A job of the kind has ended.
    pub(crate) fn leave(&mut self, id: KindId) {
        let Some(kind) = self.get_mut(id) else { return };
        kind.open = kind.open.saturating_sub(1);
        if kind.open > 0 {
            return;
        }
        if let Some(kind) = self.table.get_mut(id.0 as usize).and_then(Option::take) {
            self.by_key.remove(&(kind.shape, kind.requirement));
            self.vacant.push(id.0);
        }
    }

    /// A job of the kind begins to wait.
    pub(crate) fn enqueue(&mut self, id: KindId) {
        let Some(kind) = self.get_mut(id) else { return };
        kind.queued += 1;
        let (checkpoint, ms) = (kind.checkpoint, u64::from(kind.reference_ms));
        if let Some(model) = checkpoint {
            *self.queued_by_checkpoint.entry(model).or_default() += ms;
        }
    }

    /// A job of the kind waits no longer.
    pub(crate) fn dequeue(&mut self, id: KindId) {
        let Some(kind) = self.get_mut(id) else { return };
        kind.queued = kind.queued.saturating_sub(1);
        let (checkpoint, ms) = (kind.checkpoint, u64::from(kind.reference_ms));
        let Some(model) = checkpoint else { return };
        if let Some(sum) = self.queued_by_checkpoint.get_mut(&model) {
            *sum = sum.saturating_sub(ms);
            if *sum == 0 {
                self.queued_by_checkpoint.remove(&model);
            }
        }
    }

    /// Work that waits for the same weights, milliseconds on the reference class.
    pub(crate) fn queued_beside(&self, kind: &Kind) -> u64 {
        match kind.checkpoint {
            Some(model) => self.queued_by_checkpoint.get(&model).copied().unwrap_or(0),
            None => u64::from(kind.queued) * u64::from(kind.reference_ms),
        }
    }

    /// The catalogues that instances have now; each kind is judged once against each.
    pub(crate) fn set_catalogues<'a>(&mut self, present: impl Iterator<Item = &'a Arc<Catalogue>>) {
        let present: BTreeMap<u64, Arc<Catalogue>> =
            present.map(|catalogue| (catalogue.id, Arc::clone(catalogue))).collect();
        for kind in self.table.iter_mut().flatten() {
            kind.offered_by.retain(|id, _| present.contains_key(id));
            for catalogue in present.values().filter(|new| !self.catalogues.contains_key(&new.id)) {
                kind.judge(catalogue);
            }
        }
        self.catalogues = present;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (KindId, &Kind)> {
        self.by_key.values().filter_map(|id| Some((*id, self.get(*id)?)))
    }
}
