//! How long models take to come in: from disk, from host RAM, and patches on weights.

use std::collections::BTreeMap;

use crate::figures::{Mean, make_room};
use crate::ids::{DeviceClassId, ModelId};
use crate::learned::Learned;
use crate::spec::{Loading, ModelKind, ModelUse};

/// A load time computed from size and rates counts as this many loads.
const COMPUTED_LOADS: u32 = 8;
/// Opening a file and building the model, beside the transfer, milliseconds.
const FIXED_CHECKPOINT_MS: u32 = 400;
const FIXED_AUXILIARY_MS: u32 = 200;
const FIXED_LORA_MS: u32 = 60;
/// Patching one LoRA touches all weights of its checkpoint: microseconds per MiB of it.
const PATCH_US_PER_MIB: u32 = 150;
/// Sizes where nobody told them, MiB: SDXL, a ControlNet of it, a usual LoRA.
const CHECKPOINT_MIB: u32 = 6_600;
const AUXILIARY_MIB: u32 = 1_500;
const LORA_MIB: u32 = 200;

/// Where a model is before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lies {
    /// On disk only.
    OnDisk,
    /// In host RAM.
    InHost,
}

/// A model that work uses, with its size as believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sized {
    pub(crate) id: ModelId,
    pub(crate) kind: ModelKind,
    pub(crate) mib: u32,
}

/// Sizes of models and learned times of their loads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loads {
    sizes: BTreeMap<ModelId, u32>,
    cold: BTreeMap<(ModelId, DeviceClassId), Mean>,
}

impl Loads {
    /// True when one of them is news.
    pub(crate) fn tell_sizes(&mut self, sizes: &[(ModelId, u32)]) -> bool {
        let news = sizes.iter().any(|(model, mib)| self.sizes.get(model) != Some(mib));
        if news {
            self.sizes.extend(sizes.iter().copied());
        }
        news
    }

    /// Size of a model, believed where nobody told it, MiB.
    fn mib(&self, model: ModelUse) -> u32 {
        self.sizes.get(&model.id).copied().unwrap_or(match model.kind {
            ModelKind::Checkpoint => CHECKPOINT_MIB,
            ModelKind::Auxiliary => AUXILIARY_MIB,
            ModelKind::Lora => LORA_MIB,
        })
    }

    /// A model with its size.
    pub(crate) fn sized(&self, model: ModelUse) -> Sized {
        Sized { id: model.id, kind: model.kind, mib: self.mib(model) }
    }

    /// Time to bring a model in that is not where it is needed.
    pub(crate) fn load_ms(
        &self,
        model: Sized,
        class: DeviceClassId,
        rates: Option<Loading>,
        from: Lies,
    ) -> u32 {
        let computed = rates.map(|rates| computed_ms(model, rates, from));
        if from == Lies::InHost {
            return computed.unwrap_or_else(|| prior_load_ms(model.kind) / 4);
        }
        let learned = self.cold.get(&(model.id, class)).copied().unwrap_or_default();
        match computed {
            Some(computed) => learned.with_prior(computed, COMPUTED_LOADS),
            None if learned.count > 0 => learned.value,
            None => prior_load_ms(model.kind),
        }
    }

    /// Least time to bring a checkpoint in where it is not: it lies in host RAM, and comes over at `pcie_mib_s`, MiB/s.
    pub(crate) fn least_ms(model: Sized, pcie_mib_s: u32) -> u32 {
        computed_ms(model, Loading { disk_mib_s: u32::MAX, pcie_mib_s, host_cache_mib: 0 }, Lies::InHost)
    }

    /// Time to bring a model in from disk at these rates.
    pub(crate) fn setup_ms(&self, model: ModelUse, rates: Loading) -> u32 {
        computed_ms(self.sized(model), rates, Lies::OnDisk)
    }

    /// Time to patch `loras` LoRAs into a checkpoint, or the last ones out of it.
    pub(crate) fn patch_ms(checkpoint: Sized, loras: usize) -> u32 {
        let each = checkpoint.mib.saturating_mul(PATCH_US_PER_MIB) / 1000;
        each.saturating_mul(u32::try_from(loras.max(1)).unwrap_or(u32::MAX))
    }

    /// Takes in the load of one checkpoint from disk.
    pub(crate) fn learn(&mut self, model: ModelId, class: DeviceClassId, took_ms: u32) -> Option<Learned> {
        let key = (model, class);
        make_room(&mut self.cold, &key);
        let mean = self.cold.entry(key).or_default();
        let tell = mean.learn(took_ms);
        tell.then_some(Learned::Load { model, class, mean_ms: mean.value, loads: mean.count })
    }

    pub(crate) fn remember(&mut self, model: ModelId, class: DeviceClassId, mean: Mean) {
        make_room(&mut self.cold, &(model, class));
        self.cold.insert((model, class), mean);
    }
}

fn computed_ms(model: Sized, rates: Loading, from: Lies) -> u32 {
    let transfer = |rate: u32| (u64::from(model.mib) * 1000).div_ceil(u64::from(rate.max(1)));
    let disk = if from == Lies::OnDisk { transfer(rates.disk_mib_s) } else { 0 };
    let (fixed, pcie) = match model.kind {
        ModelKind::Checkpoint => (FIXED_CHECKPOINT_MS, transfer(rates.pcie_mib_s)),
        ModelKind::Auxiliary => (FIXED_AUXILIARY_MS, transfer(rates.pcie_mib_s)),
        ModelKind::Lora => (FIXED_LORA_MS, 0),
    };
    u32::try_from(u64::from(fixed) + disk + pcie).unwrap_or(u32::MAX)
}

/// Load times before anything is known: weights of a few GiB from a local disk, milliseconds.
fn prior_load_ms(kind: ModelKind) -> u32 {
    match kind {
        ModelKind::Checkpoint => 8_000,
        ModelKind::Auxiliary => 2_000,
        ModelKind::Lora => 1_000,
    }
}
