//! What work costs where: learned from what ran, from priors until then (DESIGN §4.10).

use crate::device::{Instance, Missing};
use crate::figures::Mean;
use crate::ids::{DeviceClassId, ModelId};
use crate::kinds::Kind;
use crate::learned::Learned;
use crate::loads::Loads;
use crate::rooms::Rooms;
use crate::runs::{ClassIx, Runs};

/// Residency is inferred, so a load that did not happen shows as a run that is too short: at least this part of what an
/// attempt took counts as its run.
const LEAST_RUN_SHARE: u32 = 2;

/// What an attempt is believed to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Prediction {
    pub(crate) load_ms: u32,
    pub(crate) run_ms: u32,
    /// The one checkpoint that comes from disk: its load time can be learned.
    pub(crate) only_cold: Option<ModelId>,
    /// It repeats what the instance ran last, so it executes nearly nothing: its times teach nothing.
    pub(crate) is_repeat: bool,
}

impl Prediction {
    pub(crate) fn total_ms(self) -> i64 {
        i64::from(self.load_ms) + i64::from(self.run_ms)
    }
}

/// All learned figures.
#[derive(Debug, Clone, Default)]
pub(crate) struct Costs {
    pub(crate) runs: Runs,
    pub(crate) loads: Loads,
    pub(crate) rooms: Rooms,
}

impl Costs {
    /// Run time of a kind on a device class, beside nobody.
    pub(crate) fn run_ms(&self, kind: &Kind, class: ClassIx) -> u32 {
        self.runs.run_ms(kind.shape_ix, kind.shape.prior_run_ms, class, kind.family)
    }

    /// What a kind takes on the reference class.
    pub(crate) fn reference_ms(&self, kind: &Kind) -> u32 {
        self.runs.reference_ms(kind.shape_ix, kind.shape.prior_run_ms)
    }

    /// [`Self::run_ms`] where the time on the reference class is known already.
    pub(crate) fn run_ms_of(&self, kind: &Kind, reference_ms: u32, class: ClassIx) -> u32 {
        self.runs.run_ms_of(kind.shape_ix, reference_ms, class, kind.family)
    }

    /// What the missing models and the run itself take on an instance, given the run on its bare class.
    pub(crate) fn predict(&self, kind: &Kind, instance: &Instance, bare_run_ms: u32) -> Prediction {
        let Missing { load_ms, only_cold } = instance.missing(&kind.needs, &self.loads);
        Prediction { load_ms, run_ms: instance.slowed(bare_run_ms), only_cold, is_repeat: false }
    }

    pub(crate) fn need_mib(&self, kind: &Kind, largest_mib: u32) -> u32 {
        self.rooms.need_mib(kind.signature, kind.shape.prior_vram_mib, largest_mib)
    }

    /// Takes in what an attempt took, loading included.
    pub(crate) fn learn_time(
        &mut self,
        kind: &Kind,
        class: (ClassIx, DeviceClassId),
        took_ms: u32,
        predicted: Prediction,
    ) -> Vec<Learned> {
        let run = took_ms.saturating_sub(predicted.load_ms).max(took_ms / LEAST_RUN_SHARE);
        let mut told = self.runs.learn(kind.shape_ix, kind.shape.prior_run_ms, class.0, run);
        if let Some(model) = predicted.only_cold {
            let load = took_ms.saturating_sub(predicted.run_ms);
            told.extend(self.loads.learn(model, class.1, load));
        }
        told
    }

    /// Takes back what an earlier life had learned.
    pub(crate) fn remember(&mut self, learned: Learned) {
        match learned {
            Learned::Run { shape, class, mean_ms, runs } => {
                self.runs.remember_run(shape, class, Mean::known(mean_ms, runs));
            }
            Learned::Speed { class, family, milli, runs } => {
                self.runs.remember_speed(class, family, Mean::known(milli, runs));
            }
            Learned::Load { model, class, mean_ms, loads } => {
                self.loads.remember(model, class, Mean::known(mean_ms, loads));
            }
            Learned::Room { shape, above_mib, at_most_mib } => {
                self.rooms.remember(shape, above_mib, at_most_mib);
            }
        }
    }
}
