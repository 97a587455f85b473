//! What the world tells us about jobs and devices before anything happens to them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{DeviceClassId, DeviceId, FamilyId, GraphId, HostId, ModelId, Part, ShapeId, TenantId};
use crate::time::Timestamp;

/// Service level. The order of the variants is the order of importance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Runs when nobody else wants the device.
    Batch,
    /// The default.
    #[default]
    Normal,
    /// Somebody is looking at the screen.
    Interactive,
}

/// A job as the scheduler sees it. Small: a million of them wait in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    /// Who pays.
    pub tenant: TenantId,
    /// The tenant's share against other tenants; at least 1.
    pub weight: u32,
    /// Most attempts of the tenant on devices at once; `u32::MAX` means no bound.
    pub concurrency: u32,
    /// Most jobs of the tenant that wait, this one among them, as far as it is below [`crate::Config::tenant_queue`];
    /// asked at the door only.
    pub queue: u32,
    /// Service level.
    pub class: Class,
    /// The caller's own order, binding within tenant and class; lower runs first, `None` counts as 0.
    pub order: Option<i64>,
    /// When it was accepted; the age that counts.
    pub accepted_at: Timestamp,
    /// It must have started by then, or it expires.
    pub start_deadline: Option<Timestamp>,
    /// It must have been executed by then, or it expires.
    pub deadline: Timestamp,
    /// It is wanted by then; a late job still runs.
    pub due_at: Option<Timestamp>,
    /// What an instance must offer.
    pub requirement: Arc<Requirement>,
    /// What it costs.
    pub shape: Shape,
    /// Its graph, where an exact repeat of it would execute nothing on the instance that ran it last; `None` where that
    /// is not known.
    pub graph: Option<GraphId>,
}

/// What an instance must offer to run a workflow. Shared by all jobs that need the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Requirement {
    /// Node classes and input values, sorted and without repeats.
    pub parts: Box<[Part]>,
    /// The model files among them that occupy VRAM, in the order of the graph.
    pub models: Box<[ModelUse]>,
}

/// A model file that a workflow loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelUse {
    /// Which file.
    pub id: ModelId,
    /// What it is used as.
    pub kind: ModelKind,
}

impl ModelUse {
    pub(crate) fn checkpoint(id: ModelId) -> Self {
        Self { id, kind: ModelKind::Checkpoint }
    }
}

/// What a model file is used as; it decides what a switch costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// A checkpoint or a diffusion model: the weights that fill the card.
    Checkpoint,
    /// A ControlNet or another model beside the checkpoint.
    Auxiliary,
    /// A patch on the checkpoint's weights.
    Lora,
}

/// The cost signature of a workflow, with a prior from the graph alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    /// The key under which real costs are learned.
    pub id: ShapeId,
    /// Which speed of a device class counts for it.
    pub family: FamilyId,
    /// Predicted run time on the reference device class, milliseconds, before anything is learned.
    pub prior_run_ms: u32,
    /// Predicted peak VRAM, MiB, before anything is learned.
    pub prior_vram_mib: u32,
}

/// Everything one kind of instance offers: the node classes and the values its inputs accept.
/// Instances with the same `/object_info` share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    /// Hash of the whole catalogue; equal ids mean equal contents.
    pub id: u64,
    /// Sorted and without repeats.
    pub parts: Box<[Part]>,
    /// Sizes of model files, MiB, as far as they are known.
    pub sizes: Box<[(ModelId, u32)]>,
}

impl Catalogue {
    /// Whether the catalogue offers `part`.
    #[must_use]
    pub fn offers(&self, part: Part) -> bool {
        self.parts.binary_search(&part).is_ok()
    }
}

/// An instance as its runner presents it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceProfile {
    /// The machine it runs on.
    pub host: HostId,
    /// The device it is bound to; `None` where the binding is unknown (DESIGN §3: NVML never places then).
    pub device: Option<DeviceId>,
    /// Devices that run alike.
    pub device_class: DeviceClassId,
    /// Speed in thousandths of the reference device class, before anything is learned.
    pub speed_milli: u32,
    /// The same by family, where it is known to differ.
    pub family_speeds: Box<[(FamilyId, u32)]>,
    /// How fast models come in; `None` until observed loads tell.
    pub loading: Option<Loading>,
    /// Total memory of the device in MiB; `None` when nobody could tell.
    pub vram_mib: Option<u32>,
    /// Memory kept free for others on the device, MiB.
    pub reserve_mib: u32,
    /// What it can run; `None` until its catalogue is known.
    pub catalogue: Option<Arc<Catalogue>>,
}

/// How fast a host brings models to a device: priors that observed loads correct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loading {
    /// From disk to host RAM, MiB/s.
    pub disk_mib_s: u32,
    /// From host RAM to the device, MiB/s.
    pub pcie_mib_s: u32,
    /// Host RAM that keeps files, MiB.
    pub host_cache_mib: u32,
}

/// One reading of a device (NVML, or what the instance reports of itself).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeviceSample {
    /// Total memory, MiB.
    pub total_mib: u32,
    /// Memory of processes that are not our instance, MiB.
    pub foreign_mib: u32,
    /// Share of the device's time that foreign processes take, thousandths.
    pub foreign_load_milli: u32,
    /// Share of the last period with any kernel running, thousandths; `None` where the driver does not say.
    pub utilization_milli: Option<u32>,
    /// The device must not be used (an XID, GPU lost, a reset is required: nvml FACTS §5).
    pub faulty: bool,
}
