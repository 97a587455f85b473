//! The instances and the devices under them: seats, warm models, health, room.

use std::sync::Arc;

use crate::costs::Speed;
use crate::ids::{DeviceClassId, DeviceId, InstanceId, ModelId};
use crate::jobs::Slot;
use crate::spec::{Catalogue, DeviceSample, InstanceProfile, ModelKind, ModelUse};
use crate::time::{Millis, Timestamp};

/// An instance that hung takes nothing until it was down and up again, or for this long.
pub(crate) const RESTART_WITHIN: Millis = Millis::from_secs(300);
/// A foreign load above this is counted as this: the prediction stays finite.
const MOST_FOREIGN_MILLI: u32 = 900;
/// Models believed to stay where the size of the card is unknown.
const KEPT_WITHOUT_SIZE: usize = 4;
/// Believed size of a LoRA, MiB.
const LORA_MIB: u32 = 200;

/// A model believed to be in VRAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resident {
    pub(crate) model: ModelId,
    mib: u32,
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
    pub(crate) sample: DeviceSample,
    /// Attempts that hold a seat, in the order of placement.
    pub(crate) held: Vec<Slot>,
    /// Attempts whose outputs are on their way.
    pub(crate) collecting: Vec<Slot>,
    /// Least recently used first.
    pub(crate) resident: Vec<Resident>,
    /// When a seat last became free.
    pub(crate) freed_at: Timestamp,
}

impl Instance {
    fn new(id: InstanceId, now: Timestamp) -> Self {
        Self {
            id,
            profile: None,
            up: false,
            spool_full: false,
            cordoned: false,
            faulty: false,
            restart_by: None,
            sample: DeviceSample::default(),
            held: Vec::new(),
            collecting: Vec::new(),
            resident: Vec::new(),
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

    pub(crate) fn speed(&self) -> Speed {
        match &self.profile {
            Some(profile) => Speed { class: profile.device_class, milli: profile.speed_milli.max(1) },
            None => Speed { class: DeviceClassId(0), milli: 1000 },
        }
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
        u32::try_from((u64::from(ms) * 1000).div_ceil(u64::from(ours))).unwrap_or(u32::MAX)
    }

    pub(crate) fn is_warm(&self, model: ModelId) -> bool {
        self.resident.iter().any(|resident| resident.model == model)
    }

    /// The models of a prompt are brought in; what was used least recently makes room.
    pub(crate) fn load(&mut self, models: &[ModelUse], need_mib: u32) {
        let weights = models.iter().filter(|used| used.kind != ModelKind::Lora).count();
        let share = need_mib / 4 * 3 / u32::try_from(weights.max(1)).unwrap_or(1);
        for used in models {
            let mib = if used.kind == ModelKind::Lora { LORA_MIB } else { share };
            self.resident.retain(|resident| resident.model != used.id);
            self.resident.push(Resident { model: used.id, mib });
        }
        let capacity = self.capacity_mib();
        let spare = need_mib / 4;
        while self.resident.len() > models.len() && self.is_overfull(capacity, spare) {
            self.resident.remove(0);
        }
    }

    fn is_overfull(&self, capacity_mib: u32, spare_mib: u32) -> bool {
        if capacity_mib == u32::MAX {
            return self.resident.len() > KEPT_WITHOUT_SIZE;
        }
        let sum: u64 = self.resident.iter().map(|resident| u64::from(resident.mib)).sum();
        sum + u64::from(spare_mib) > u64::from(capacity_mib)
    }

    fn is_empty(&self) -> bool {
        self.profile.is_none() && !self.cordoned && self.held.is_empty() && self.collecting.is_empty()
    }
}

/// All instances, by id.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fleet {
    instances: Vec<Instance>,
}

impl Fleet {
    fn index(&self, id: InstanceId) -> Result<usize, usize> {
        self.instances.binary_search_by_key(&id, |instance| instance.id)
    }

    pub(crate) fn get(&self, id: InstanceId) -> Option<&Instance> {
        self.index(id).ok().map(|index| &self.instances[index])
    }

    pub(crate) fn get_mut(&mut self, id: InstanceId) -> Option<&mut Instance> {
        self.index(id).ok().map(|index| &mut self.instances[index])
    }

    /// The instance, made known if it was not.
    pub(crate) fn entry(&mut self, now: Timestamp, id: InstanceId) -> &mut Instance {
        let index = match self.index(id) {
            Ok(index) => index,
            Err(index) => {
                self.instances.insert(index, Instance::new(id, now));
                index
            }
        };
        &mut self.instances[index]
    }

    /// Forgets an instance of which nothing is left.
    pub(crate) fn forget_if_empty(&mut self, id: InstanceId) {
        if let Ok(index) = self.index(id)
            && self.instances[index].is_empty()
        {
            self.instances.remove(index);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Instance> {
        self.instances.iter()
    }

    /// The `index`-th instance by id.
    pub(crate) fn at(&self, index: usize) -> Option<&Instance> {
        self.instances.get(index)
    }

    pub(crate) fn joined(&self) -> impl Iterator<Item = &Instance> {
        self.instances.iter().filter(|instance| instance.profile.is_some())
    }

    /// Takes in a reading; true when it says something new to a placement.
    pub(crate) fn observe(&mut self, device: DeviceId, sample: DeviceSample) -> bool {
        let mut news = false;
        for instance in &mut self.instances {
            if instance.profile.as_ref().is_some_and(|profile| profile.device == Some(device)) {
                let old = DeviceSample { utilization_milli: sample.utilization_milli, ..instance.sample };
                news |= old != sample || (instance.faulty && !sample.faulty);
                instance.sample = sample;
                instance.faulty &= sample.faulty;
            }
        }
        news
    }

    /// The largest device that is known, in whatever state.
    pub(crate) fn largest_mib(&self) -> u32 {
        self.joined().map(Instance::capacity_mib).max().unwrap_or(u32::MAX)
    }

    /// Whether there are hosts and none of them can take outputs.
    pub(crate) fn is_spool_full(&self) -> bool {
        let mut joined = self.joined().peekable();
        joined.peek().is_some() && joined.all(|instance| instance.spool_full)
    }

    pub(crate) fn next_restart(&self) -> Option<Timestamp> {
        self.instances.iter().filter_map(|instance| instance.restart_by).min()
    }

    /// Restarts that nobody saw are believed to be over; true when there was one.
    pub(crate) fn end_restarts(&mut self, now: Timestamp) -> bool {
        let mut ended = false;
        for instance in &mut self.instances {
            if instance.restart_by.is_some_and(|by| by <= now) {
                instance.restart_by = None;
                ended = true;
            }
        }
        ended
    }
}
