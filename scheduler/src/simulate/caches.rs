//! Which models a node holds, in VRAM and in host RAM, and what a job would have to load.

use std::collections::BTreeMap;

use super::scenario::{DeviceClass, Job, ModelIx, ModelRole, Ms, Setting, cdiv};

/// Where a job found its checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Vram,
    Host,
    Disk,
}

/// State of one node; both lists least recently used first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Caches {
    vram: Vec<ModelIx>,
    host: Vec<ModelIx>,
    host_mib: i64,
    /// LoRAs last patched into each checkpoint in VRAM.
    patches: BTreeMap<ModelIx, Vec<ModelIx>>,
}

impl Caches {
    pub(super) fn in_vram(&self, model: ModelIx) -> bool {
        self.vram.contains(&model)
    }

    fn in_host(&self, model: ModelIx) -> bool {
        self.host.contains(&model)
    }

    pub(super) fn find(&self, model: ModelIx) -> Found {
        if self.in_vram(model) {
            Found::Vram
        } else if self.in_host(model) {
            Found::Host
        } else {
            Found::Disk
        }
    }

    pub(super) fn cold_loras(&self, job: &Job) -> usize {
        job.loras.iter().filter(|lora| !self.in_host(**lora)).count()
    }

    /// Load cost of a job on a node of `class` in this state, ms.
    pub(super) fn load_ms(&self, setting: &Setting, class: &DeviceClass, job: &Job) -> Ms {
        let fixed = &setting.constants;
        let disk_ms = |model: ModelIx| cdiv(1000 * setting.model(model).mib, class.disk_mib_s);
        let mut load = 0;
        for &model in std::iter::once(&job.ckpt).chain(&job.cns) {
            if self.in_vram(model) {
                continue;
            }
            load += match setting.model(model).role {
                ModelRole::ControlNet => fixed.fixed_controlnet_ms,
                ModelRole::Checkpoint | ModelRole::Lora => fixed.fixed_checkpoint_ms,
            };
            load += cdiv(1000 * setting.model(model).mib, class.pcie_mib_s);
            if !self.in_host(model) {
                load += disk_ms(model);
            }
        }
        for &lora in job.loras.iter().filter(|lora| !self.in_host(**lora)) {
            load += fixed.fixed_lora_ms + disk_ms(lora);
        }
        load + self.patch_ms(setting, job)
    }

    fn patch_ms(&self, setting: &Setting, job: &Job) -> Ms {
        let patched = self.patches.get(&job.ckpt).map_or(&[][..], Vec::as_slice);
        if patched == job.loras { 0 } else { patch_cost(setting, job) }
    }

    /// What starting `job` with this true peak changes.
    pub(super) fn start(&mut self, setting: &Setting, class: &DeviceClass, job: &Job, peak_vram_mib: i64) {
        for &model in std::iter::once(&job.ckpt).chain(&job.cns).chain(&job.loras) {
            self.use_host(setting, class.host_cache_mib, job, model);
        }
        let mut own_mib = 0;
        for &model in std::iter::once(&job.ckpt).chain(&job.cns) {
            own_mib += setting.model(model).mib;
            self.vram.retain(|held| *held != model);
            self.vram.push(model);
        }
        let room = class.vram_mib - (peak_vram_mib - own_mib);
        self.shrink_vram(setting, room, job);
        self.patches.insert(job.ckpt, job.loras.clone());
    }

    fn use_host(&mut self, setting: &Setting, capacity_mib: i64, job: &Job, model: ModelIx) {
        if let Some(at) = self.host.iter().position(|held| *held == model) {
            self.host.remove(at);
        } else {
            self.host_mib += setting.model(model).mib;
        }
        self.host.push(model);
        while self.host_mib > capacity_mib {
            let Some(at) = self.host.iter().position(|held| !uses(job, *held)) else { break };
            self.host_mib -= setting.model(self.host.remove(at)).mib;
        }
    }

    fn shrink_vram(&mut self, setting: &Setting, room_mib: i64, job: &Job) {
        let mut held_mib: i64 = self.vram.iter().map(|model| setting.model(*model).mib).sum();
        while held_mib > room_mib {
            let Some(at) = self.vram.iter().position(|held| *held != job.ckpt && !job.cns.contains(held))
            else {
                break;
            };
            let gone = self.vram.remove(at);
            held_mib -= setting.model(gone).mib;
            self.patches.remove(&gone);
        }
    }

    /// An out-of-memory: the models stay in host RAM only.
    pub(super) fn clear_vram(&mut self) {
        self.vram.clear();
        self.patches.clear();
    }
}

/// Time to patch a job's LoRAs (or the bare weights back) into its checkpoint, ms.
pub(super) fn patch_cost(setting: &Setting, job: &Job) -> Ms {
    let count = i64::try_from(job.loras.len().max(1)).unwrap_or(i64::MAX);
    setting.constants.patch_ms[job.family.index()].saturating_mul(count)
}

fn uses(job: &Job, model: ModelIx) -> bool {
    job.ckpt == model || job.cns.contains(&model) || job.loras.contains(&model)
}
