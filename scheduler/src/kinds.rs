//! Kinds of work: jobs with the same needs and the same cost. What is true of one is true of all, so a decision
//! looks at kinds, not at jobs.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::{ModelId, Part, ShapeId};
use crate::loads::{Loads, Sized};
use crate::market::DemandIx;
use crate::pools::PoolIx;
use crate::runs::{FamilyIx, ShapeIx};
use crate::spec::{Catalogue, ModelKind, Requirement, Shape};

/// A kind of work among those with open jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KindId(pub(crate) u32);

/// The models of a kind, sorted by where they live.
#[derive(Debug, Clone, Default)]
pub(crate) struct Needs {
    /// What fills VRAM: checkpoints and what stands beside them.
    pub(crate) weights: Box<[Sized]>,
    /// What is patched into the first checkpoint.
    pub(crate) loras: Box<[Sized]>,
    /// A hash of the list of LoRAs; 0 without any.
    pub(crate) patch: u64,
    checkpoint: Option<Sized>,
}

impl Needs {
    fn of(requirement: &Requirement, loads: &Loads) -> Self {
        let models = || requirement.models.iter().map(|used| loads.sized(*used));
        let loras: Box<[Sized]> = models().filter(|used| used.kind == ModelKind::Lora).collect();
        Self {
            weights: models().filter(|used| used.kind != ModelKind::Lora).collect(),
            patch: loras.iter().fold(0, |hash, used| mix(hash, used.id.0)),
            loras,
            checkpoint: models().find(|used| used.kind == ModelKind::Checkpoint),
        }
    }

    /// The weights that fill the card; work with the same ones is served together.
    pub(crate) fn checkpoint(&self) -> Option<Sized> {
        self.checkpoint
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Sized> {
        self.weights.iter().chain(&self.loras)
    }
}

/// Folds one more word into a hash (the constant is that of 64-bit FNV-1a).
fn mix(hash: u64, word: u64) -> u64 {
    (hash ^ word).rotate_left(23).wrapping_mul(0x0100_0000_01b3) | 1
}

/// One kind of work.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) shape: Shape,
    pub(crate) shape_ix: ShapeIx,
    pub(crate) family: FamilyIx,
    /// Shape and models: what decides the need of VRAM.
    pub(crate) signature: ShapeId,
    pub(crate) requirement: Arc<Requirement>,
    pub(crate) needs: Needs,
    /// Where its waiting jobs stand.
    pub(crate) pool: PoolIx,
    pub(crate) demand: DemandIx,
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
    fn is(&self, shape: ShapeId, requirement: &Arc<Requirement>) -> bool {
        let is_same = || Arc::ptr_eq(&self.requirement, requirement) || self.requirement == *requirement;
        self.shape.id == shape && is_same()
    }

    /// Whether the catalogue with this id offers all it needs.
    pub(crate) fn is_offered_by(&self, catalogue: u64) -> bool {
        self.offered_by.get(&catalogue).copied().unwrap_or(false)
    }

    /// What `catalogue` lacks.
    pub(crate) fn lacks(&self, catalogue: &Catalogue) -> Vec<Part> {
        self.requirement.parts.iter().copied().filter(|part| !catalogue.offers(*part)).collect()
    }

    pub(crate) fn checkpoint(&self) -> Option<ModelId> {
        self.needs.checkpoint().map(|used| used.id)
    }

    fn judge(&mut self, catalogue: &Catalogue) {
        let offered = self.requirement.parts.iter().all(|part| catalogue.offers(*part));
        self.offered_by.insert(catalogue.id, offered);
    }
}

/// What a kind is found by: few instructions for a submission, whatever its requirement holds. Kinds that agree in it are
/// told apart by looking.
fn fingerprint(shape: ShapeId, requirement: &Requirement) -> u64 {
    let parts = requirement.parts.iter().fold(mix(0, shape.0), |hash, part| mix(hash, part.0));
    requirement.models.iter().fold(parts, |hash, used| mix(hash, used.id.0))
}

/// All kinds with open jobs, and all catalogues that instances have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kinds {
    table: Vec<Option<Kind>>,
    vacant: Vec<u32>,
    by_fingerprint: BTreeMap<u64, Vec<KindId>>,
    catalogues: BTreeMap<u64, Arc<Catalogue>>,
}

impl Kinds {
    pub(crate) fn get(&self, id: KindId) -> Option<&Kind> {
        self.table.get(id.0 as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: KindId) -> Option<&mut Kind> {
        self.table.get_mut(id.0 as usize)?.as_mut()
    }

    /// The kind of a job that opens, if others of it are open.
    pub(crate) fn join(&mut self, shape: Shape, requirement: &Arc<Requirement>) -> Option<KindId> {
        let alike = self.by_fingerprint.get(&fingerprint(shape.id, requirement))?;
        let is_it = |id: &&KindId| self.get(**id).is_some_and(|kind| kind.is(shape.id, requirement));
        let id = *alike.iter().find(is_it)?;
        self.get_mut(id)?.open += 1;
        Some(id)
    }

    /// The first open job of a kind. Its pool is decided next.
    pub(crate) fn found(
        &mut self,
        shape: Shape,
        requirement: &Arc<Requirement>,
        (shape_ix, family): (ShapeIx, FamilyIx),
        reference_ms: u32,
        loads: &Loads,
    ) -> KindId {
        let needs = Needs::of(requirement, loads);
        let signature = needs.all().fold(shape.id, |hash, used| ShapeId(mix(hash.0, used.id.0)));
        let mut kind = Kind {
            shape,
            shape_ix,
            family,
            signature,
            requirement: Arc::clone(requirement),
            needs,
            pool: PoolIx::default(),
            demand: DemandIx::default(),
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
        self.by_fingerprint.entry(fingerprint(shape.id, requirement)).or_default().push(id);
        id
    }

    /// Sizes of models became known.
    pub(crate) fn resize(&mut self, loads: &Loads) {
        for kind in self.table.iter_mut().flatten() {
            kind.needs = Needs::of(&kind.requirement, loads);
        }
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

    /// A job of the kind has ended; the pool of a kind that is gone.
    pub(crate) fn leave(&mut self, id: KindId) -> Option<PoolIx> {
        let kind = self.get_mut(id)?;
        kind.open = kind.open.saturating_sub(1);
        if kind.open > 0 {
            return None;
        }
        let kind = self.table.get_mut(id.0 as usize).and_then(Option::take)?;
        let key = fingerprint(kind.shape.id, &kind.requirement);
        if let Some(alike) = self.by_fingerprint.get_mut(&key) {
            alike.retain(|other| *other != id);
            if alike.is_empty() {
                self.by_fingerprint.remove(&key);
            }
        }
        self.vacant.push(id.0);
        Some(kind.pool)
    }

    /// The catalogues that instances have now; each kind is judged once against each. True when they changed.
    pub(crate) fn set_catalogues<'a>(&mut self, present: impl Iterator<Item = &'a Arc<Catalogue>>) -> bool {
        let present: BTreeMap<u64, Arc<Catalogue>> =
            present.map(|catalogue| (catalogue.id, Arc::clone(catalogue))).collect();
        if present.keys().eq(self.catalogues.keys()) {
            return false;
        }
        for kind in self.table.iter_mut().flatten() {
            kind.offered_by.retain(|id, _| present.contains_key(id));
            for catalogue in present.values().filter(|new| !self.catalogues.contains_key(&new.id)) {
                kind.judge(catalogue);
            }
        }
        self.catalogues = present;
        true
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (KindId, &Kind)> {
        (0..).map(KindId).zip(&self.table).filter_map(|(id, kind)| Some((id, kind.as_ref()?)))
    }
}
