//! The names of things. Newtypes, so that a job cannot be passed for an attempt.
//!
//! Ids that stand for strings of the outside world (a model file, a node class, a device class) are
//! 64-bit hashes made by the caller: the same string gives the same id in every process, so learned
//! costs survive a restart without a table of names in here.

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);
    };
}

id!(
    /// What the user asked for. The 128 bits of a UUIDv7: it sorts by the time of acceptance.
    JobId(u128)
);
id!(
    /// One try at a job, counted from 1. It fences late messages: a word from attempt 1 never moves attempt 2.
    AttemptNo(u32)
);
id!(
    /// Who pays.
    TenantId(u32)
);
id!(
    /// One ComfyUI process bound to a device.
    InstanceId(u32)
);
id!(
    /// One GPU (a MIG slice is a device).
    DeviceId(u32)
);
id!(
    /// One machine with a runner.
    HostId(u32)
);
id!(
    /// One thing an instance must offer to run a workflow: a node class, or a value of an input (a model file).
    /// A hash of its name.
    Part(u64)
);
id!(
    /// A model file, hashed from its folder and name.
    ModelId(u64)
);
id!(
    /// A workflow without the values that do not change its cost: the key of learned run times.
    ShapeId(u64)
);
id!(
    /// A whole graph with all its values: equal ids mean an exact repeat, but for one in four billion, which costs a
    /// wrong prediction. Small, because each waiting job has one.
    GraphId(u32)
);
id!(
    /// Workflows that a device class runs at one speed (SD 1.5, SDXL, Flux …), hashed from the name; 0 when unknown.
    FamilyId(u64)
);
id!(
    /// Devices that run alike (T4, V100, A100 …), hashed from the name of the class.
    DeviceClassId(u64)
);

impl AttemptNo {
    /// The number of the first attempt.
    pub const FIRST: Self = Self(1);

    /// The next attempt of the same job.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}
