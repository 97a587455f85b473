//! One instance and the device under it: seats, residency, health, room.

use std::sync::Arc;

use crate::cache::Cache;
use crate::ids::{DeviceClassId, GraphId, InstanceId, ModelId};
use crate::jobs::Slot;
use crate::kinds::Needs;
use crate::loads::{Lies, Loads};
use crate::repeats::NO_GRAPH;
use crate::spec::{Catalogue, DeviceSample, InstanceProfile, Loading, ModelKind};
use crate::time::{Millis, Timestamp};

/// An instance that hung takes nothing until it was down and up again, or for this long.
pub(crate) const RESTART_WITHIN: Millis = Millis::from_secs(300);
/// A foreign load above this is counted as this: the prediction stays finite.
const MOST_FOREIGN_MILLI: u32 = 900;
/// Models believed to stay where the size of the card is unknown.
const KEPT_WITHOUT_SIZE: usize = 4;
/// Files believed to stay in host RAM where nobody told its size, MiB.
const HOST_CACHE_MIB: u32 = 32_768;

/// What is missing on an instance for some work.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Missing {
    pub(crate) load_ms: u32,
    /// The one checkpoint that must come from disk, when nothing else is missing: its load time can be learned.
    pub(crate) only_cold: Option<ModelId>,
}

/// One instance, joined or only known from an attempt of an earlier life.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) id: InstanceId,
    /// `None`: not configured (any more, or not yet).
    pub(crate) profile: Option<InstanceProfile>,
    pub(crate) up: bool,
    pub(crate) spool_full: bool,
    pub(crate) cordoned: bool,
    /// An attempt on it met a fault of the device.
    pub(crate) faulty: bool,
    /// It hung and was asked to restart: nothing is placed until then.
    pub(crate) restart_by: Option<Timestamp>,
    /// It will be taken away then.
    pub(crate) leaves_at: Timestamp,
    pub(crate) sample: DeviceSample,
    /// Attempts that hold a seat, in the order of placement.
    pub(crate) held: Vec<Slot>,
    /// Attempts whose outputs are on their way.
    pub(crate) collecting: Vec<Slot>,
    /// Weights believed to be in VRAM.
    pub(crate) resident: Cache,
    /// Files believed to be in host RAM.
    host: Cache,
    /// The LoRAs last patched into a resident checkpoint, as a hash of their list.
    patched: Vec<(ModelId, u64)>,
    /// The graph that it was last given …
    pub(crate) last_graph: GraphId,
    /// … and whether its node cache is believed to hold the outputs once all that it holds has run.
    pub(crate) keeps_graph: bool,
    /// When a seat last became free.
    pub(crate) freed_at: Timestamp,
}

impl Instance {
    pub(crate) fn new(id: InstanceId, now: Timestamp) -> Self {
        Self {
            id,
            profile: None,
            up: false,
            spool_full: false,
            cordoned: false,
            faulty: false,
            restart_by: None,
            leaves_at: Timestamp::NEVER,
            sample: DeviceSample::default(),
            held: Vec::new(),
            collecting: Vec::new(),
            resident: Cache::default(),
            host: Cache::default(),
            patched: Vec::new(),
            last_graph: NO_GRAPH,
            keeps_graph: false,
            freed_at: now,
        }
    }

    pub(crate) fn is_faulty(&self) -> bool {
        self.faulty || self.sample.faulty
    }

    /// Whether work may be placed on it at all.
    pub(crate) fn is_usable(&self) -> bool {
        self.profile.is_some()
            && self.up
            && !self.cordoned
            && !self.spool_full
            && !self.is_faulty()
            && self.restart_by.is_none()
    }

    pub(crate) fn catalogue(&self) -> Option<&Arc<Catalogue>> {
        self.profile.as_ref()?.catalogue.as_ref()
    }

    pub(crate) fn device_class(&self) -> DeviceClassId {
        self.profile.as_ref().map_or(DeviceClassId(0), |profile| profile.device_class)
    }

    pub(crate) fn loading(&self) -> Option<Loading> {
        self.profile.as_ref()?.loading
    }

    /// What the device can ever give, MiB; `u32::MAX` when nobody could tell.
    pub(crate) fn capacity_mib(&self) -> u32 {
        let Some(profile) = &self.profile else { return 0 };
        let sampled = (self.sample.total_mib > 0).then_some(self.sample.total_mib);
        match profile.vram_mib.or(sampled) {
            Some(total) => total.saturating_sub(profile.reserve_mib),
            None => u32::MAX,
        }
    }

    /// What it can give now: NVML's *free* never counts, only memory that is not ours (DESIGN §6.3).
    pub(crate) fn room_mib(&self) -> u32 {
        match self.capacity_mib() {
            u32::MAX => u32::MAX,
            capacity => capacity.saturating_sub(self.sample.foreign_mib),
        }
    }

    /// A time on the bare device, as long as it takes beside what others do there.
    pub(crate) fn slowed(&self, ms: u32) -> u32 {
        let ours = 1000 - self.sample.foreign_load_milli.min(MOST_FOREIGN_MILLI);
        if ours == 1000 {
            return ms;
        }
        u32::try_from((u64::from(ms) * 1000).div_ceil(u64::from(ours))).unwrap_or(u32::MAX)
    }

    pub(crate) fn is_warm(&self, model: ModelId) -> bool {
        self.resident.has(model)
    }

    /// Whether nothing of these needs would have to be loaded or patched.
    pub(crate) fn is_ready_for(&self, needs: &Needs) -> bool {
        needs.weights.iter().all(|used| self.is_warm(used.id)) && self.is_patched_for(needs)
    }

    fn is_patched_for(&self, needs: &Needs) -> bool {
        let Some(checkpoint) = needs.checkpoint() else { return true };
        let now =
            self.patched.iter().find(|(model, _)| *model == checkpoint.id).map_or(0, |(_, loras)| *loras);
        now == needs.patch
    }

    /// What it takes to have everything that some work needs.
    pub(crate) fn missing(&self, needs: &Needs, loads: &Loads) -> Missing {
        let (class, rates) = (self.device_class(), self.loading());
        let mut found = Missing::default();
        let mut parts = 0;
        for used in needs.weights.iter().filter(|used| !self.resident.has(used.id)) {
            let from = if self.host.has(used.id) { Lies::InHost } else { Lies::OnDisk };
            found.load_ms = found.load_ms.saturating_add(loads.load_ms(*used, class, rates, from));
            parts += 1;
            let is_cold_checkpoint = used.kind == ModelKind::Checkpoint && from == Lies::OnDisk;
            found.only_cold = (is_cold_checkpoint && parts == 1).then_some(used.id);
        }
        for used in needs.loras.iter().filter(|used| !self.host.has(used.id)) {
            found.load_ms = found.load_ms.saturating_add(loads.load_ms(*used, class, rates, Lies::OnDisk));
            found.only_cold = None;
        }
        if let Some(checkpoint) = needs.checkpoint().filter(|_| !self.is_patched_for(needs)) {
            let patch_ms = Loads::patch_ms(checkpoint, needs.loras.len());
            found.load_ms = found.load_ms.saturating_add(patch_ms);
            found.only_cold = None;
        }
        found
    }

    /// The models of a prompt are brought in; what was used least recently makes room.
    pub(crate) fn bring_in(&mut self, needs: &Needs, need_mib: u32) {
        let uses = |model: ModelId| needs.all().any(|used| used.id == model);
        for used in needs.all() {
            self.host.touch(used.id, used.mib);
        }
        let host_mib = self.loading().map_or(HOST_CACHE_MIB, |rates| rates.host_cache_mib);
        while self.host.sum_mib() > u64::from(host_mib) && self.host.evict(uses).is_some() {}
        let mut weights_mib = 0_u32;
        for used in &needs.weights {
            weights_mib = weights_mib.saturating_add(used.mib);
            self.resident.touch(used.id, used.mib);
        }
        let working_mib = need_mib.saturating_sub(weights_mib);
        let most_mib = self.capacity_mib().saturating_sub(working_mib);
        let is_overfull = |resident: &Cache| match most_mib {
            most if most > u32::MAX / 2 => resident.len() > KEPT_WITHOUT_SIZE,
            most => resident.sum_mib() > u64::from(most),
        };
        let in_use = |model: ModelId| needs.weights.iter().any(|used| used.id == model);
        while is_overfull(&self.resident) {
            let Some(gone) = self.resident.evict(in_use) else { break };
            self.patched.retain(|(model, _)| *model != gone);
        }
        if let Some(checkpoint) = needs.checkpoint() {
            self.patched.retain(|(model, _)| *model != checkpoint.id);
            self.patched.push((checkpoint.id, needs.patch));
        }
    }

    /// Its VRAM and its node cache are empty; the files may still lie in host RAM.
    pub(crate) fn empty_vram(&mut self) {
        self.keeps_graph = false;
        self.resident.clear();
        self.patched.clear();
    }

    /// Nothing of what it kept can be counted on.
    pub(crate) fn forget_models(&mut self) {
        self.empty_vram();
        self.host.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.profile.is_none() && !self.cordoned && self.held.is_empty() && self.collecting.is_empty()
    }
}
