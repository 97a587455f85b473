//! What was learned of costs, in the form that is kept across restarts (DESIGN §4.10).

use serde::{Deserialize, Serialize};

use crate::ids::{DeviceClassId, FamilyId, ModelId, ShapeId};

/// One learned figure; the newest under the same key replaces the older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Learned {
    /// Run time of a workflow shape on a device class, without loading.
    Run {
        /// Which workflow shape.
        shape: ShapeId,
        /// Where.
        class: DeviceClassId,
        /// Decayed mean, milliseconds.
        mean_ms: u32,
        /// How many runs it rests on (saturating).
        runs: u32,
    },
    /// Speed of a device class for a family, against the predictions that jobs came with.
    Speed {
        /// Where.
        class: DeviceClassId,
        /// Of what.
        family: FamilyId,
        /// Decayed mean, thousandths of the reference class.
        milli: u32,
        /// How many runs it rests on (saturating).
        runs: u32,
    },
    /// Time to bring a model from disk into VRAM on a device class.
    Load {
        /// Which model.
        model: ModelId,
        /// Where.
        class: DeviceClassId,
        /// Decayed mean, milliseconds.
        mean_ms: u32,
        /// How many loads it rests on (saturating).
        loads: u32,
    },
    /// Bounds of the VRAM a workflow shape needs with certain models. Only a success proves an upper bound (the size of the card it
    /// ran on), only an out-of-memory proves a lower one.
    Room {
        /// Which workflow shape, mixed with the ids of its models.
        shape: ShapeId,
        /// It needs more than this, MiB.
        above_mib: u32,
        /// It needs no more than this, MiB; `u32::MAX` while nothing is proved.
        at_most_mib: u32,
    },
}
