//! What a replay is about: the fleet, the catalogue and the jobs; what a policy may know apart from what it may not.

/// Milliseconds, of the trace's own clock or of a duration.
pub(super) type Ms = i64;

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(in crate::simulate) u32);

        impl $name {
            /// The position, for tables beside the scenario's own.
            #[must_use]
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

index! {
    /// A job by its position in the trace. Policies learn of a job by its arrival and cannot make one up.
    JobIx
}
index! {
    /// A node by its position in the fleet; "first" always means lowest.
    NodeIx
}
index! {
    /// A device class, in the order of their names.
    ClassIx
}
index! {
    /// A model of the catalogue, in the order of their ids.
    ModelIx
}
index! {
    /// A model family, in the order of their names.
    FamilyIx
}
index! {
    /// A tenant, in the order of their names.
    TenantIx
}

/// `ceil(a / b)` for `a >= 0`, `b > 0`: every division of the model rounds up.
pub(super) fn cdiv(a: i64, b: i64) -> i64 {
    a.saturating_add(b - 1) / b
}

/// How fast a class runs a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speed {
    /// Not at all.
    CannotRun,
    /// It can, but how fast is to be learned (`--learn-speeds`).
    Unknown,
    /// In thousandths of the reference class; at least 1.
    Milli(i64),
}

impl Speed {
    /// Whether the class can run the family.
    #[must_use]
    pub fn runs(self) -> bool {
        self != Self::CannotRun
    }
}

/// One kind of device.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceClass {
    /// Name, such as `L4-24`.
    pub name: String,
    /// Memory of the device, MiB.
    pub vram_mib: i64,
    /// Price in millionths of a dollar per hour.
    pub usd_micro_per_hour: i64,
    /// Speed by family.
    pub speeds: Vec<Speed>,
    /// Reading a model from disk, MiB/s.
    pub disk_mib_s: i64,
    /// Moving a model from host RAM to the device, MiB/s.
    pub pcie_mib_s: i64,
    /// Host RAM that keeps models, MiB.
    pub host_cache_mib: i64,
}

impl DeviceClass {
    /// How fast this class runs `family`.
    #[must_use]
    pub fn speed(&self, family: FamilyIx) -> Speed {
        self.speeds.get(family.index()).copied().unwrap_or(Speed::CannotRun)
    }
}

/// One device with its instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Id, such as `n003`.
    pub id: String,
    /// Its class.
    pub class: ClassIx,
    /// Whether it may be taken away after a notice.
    pub spot: bool,
}

/// Who sends jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Name.
    pub name: String,
    /// Share against the others.
    pub weight: i64,
}

/// What a model file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModelRole {
    /// The base model; lives in VRAM while used.
    Checkpoint,
    /// Lives in VRAM beside the checkpoint.
    ControlNet,
    /// Lives in host RAM and is patched into the checkpoint's weights.
    Lora,
}

/// One file of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Id, such as `c-sdxl-000`.
    pub id: String,
    /// What it is.
    pub role: ModelRole,
    /// Its family.
    pub family: FamilyIx,
    /// Size, MiB.
    pub mib: i64,
}

/// Constants of the model (`sim` in nodes.json), all in milliseconds but the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constants {
    /// Paid by every attempt.
    pub overhead_ms: i64,
    /// Paid for loading a checkpoint, beside the transfer.
    pub fixed_checkpoint_ms: i64,
    /// Paid for loading a ControlNet, beside the transfer.
    pub fixed_controlnet_ms: i64,
    /// Paid for reading a LoRA, beside the transfer.
    pub fixed_lora_ms: i64,
    /// Patching LoRAs into a checkpoint, per LoRA, by family.
    pub patch_ms: Vec<i64>,
    /// From an interrupt until the node is free.
    pub interrupt_ms: i64,
    /// From the end of loading until an out-of-memory shows.
    pub oom_ms: i64,
    /// Counted attempts after which a job is lost.
    pub max_attempts: u32,
}

/// All that is known before the first job arrives, to a policy as well.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Device classes by name.
    pub classes: Vec<DeviceClass>,
    /// The fleet.
    pub nodes: Vec<Node>,
    /// Tenants by name.
    pub tenants: Vec<Tenant>,
    /// Families by name.
    pub families: Vec<String>,
    /// The catalogue by id.
    pub models: Vec<Model>,
    /// Constants.
    pub constants: Constants,
}

impl Setting {
    /// The class of a node.
    #[must_use]
    pub fn class_of(&self, node: NodeIx) -> &DeviceClass {
        &self.classes[self.nodes[node.index()].class.index()]
    }

    /// One model.
    #[must_use]
    pub fn model(&self, model: ModelIx) -> &Model {
        &self.models[model.index()]
    }

    /// Every node, lowest first.
    pub fn node_ixs(&self) -> impl DoubleEndedIterator<Item = NodeIx> + use<> {
        (0..self.nodes.len()).map(|index| NodeIx(u32::try_from(index).unwrap_or(u32::MAX)))
    }

    /// Whether the fleet has a device, up or not, on which the job would fit with this peak.
    #[must_use]
    pub fn fits_somewhere(&self, family: FamilyIx, vram_mib: i64) -> bool {
        self.nodes.iter().any(|node| {
            let class = &self.classes[node.class.index()];
            class.speed(family).runs() && vram_mib <= class.vram_mib
        })
    }
}

/// A job as the gateway sees it when it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Id.
    pub id: String,
    /// Arrival, ms.
    pub t: i64,
    /// Who sent it.
    pub tenant: TenantIx,
    /// Service class: 0 batch, 1 normal, 2 interactive.
    pub prio: u8,
    /// Family of its checkpoint.
    pub family: FamilyIx,
    /// Its checkpoint.
    pub ckpt: ModelIx,
    /// Its LoRAs, in the order of the trace (sorted there).
    pub loras: Vec<ModelIx>,
    /// Its ControlNets.
    pub cns: Vec<ModelIx>,
    /// Sampler steps.
    pub steps: i64,
    /// Width, pixels.
    pub w: i64,
    /// Height, pixels.
    pub h: i64,
    /// Images at once.
    pub batch: i64,
    /// Predicted execution time on the reference class, ms.
    pub est_ms: i64,
    /// Predicted peak of VRAM, MiB. What is known later is [`super::Desk::est_vram_mib`].
    pub est_vram_mib: i64,
    /// When it should be done, ms; soft.
    pub deadline: Option<i64>,
}

/// What only the world knows of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hidden {
    pub(super) work_ms: Ms,
    pub(super) peak_vram_mib: i64,
}

/// What happens to a node by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeEventKind {
    Notice { down_at: Ms },
    Down,
    Up,
}

/// One line of `events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeEvent {
    pub(super) t: Ms,
    pub(super) node: NodeIx,
    pub(super) kind: NodeEventKind,
}

/// What a policy must not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Truth {
    /// By job.
    pub(super) jobs: Vec<Hidden>,
    /// By class, then family; 0 = cannot run.
    pub(super) speed_milli: Vec<Vec<i64>>,
    pub(super) events: Vec<NodeEvent>,
    /// By tenant; counts in metrics only.
    pub(super) compliant: Vec<bool>,
}

/// A fleet, a catalogue and a trace, read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    pub(super) setting: Setting,
    pub(super) jobs: Vec<Job>,
    pub(super) truth: Truth,
}

impl Scenario {
    /// The fleet and the catalogue, with the speeds of the files.
    #[must_use]
    pub fn setting(&self) -> &Setting {
        &self.setting
    }

    /// The trace, as a gateway sees it.
    #[must_use]
    pub fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    /// The same world for a policy that has to learn how fast each class is: it still learns what a class cannot run.
    #[must_use]
    pub fn with_hidden_speeds(mut self) -> Self {
        for speed in self.setting.classes.iter_mut().flat_map(|class| &mut class.speeds) {
            if speed.runs() {
                *speed = Speed::Unknown;
            }
        }
        self
    }

    /// Execution time of a job's true work on a class, ms; `None` where it cannot run.
    pub(super) fn exec_ms(&self, job: JobIx, class: ClassIx) -> Option<Ms> {
        let speed = self.truth.speed_milli[class.index()][self.jobs[job.index()].family.index()];
        let work = self.truth.jobs[job.index()].work_ms;
        (speed > 0).then(|| cdiv(work.saturating_mul(1000), speed))
    }
}
