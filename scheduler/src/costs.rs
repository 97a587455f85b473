//! What work costs where: learned from what ran, from priors until then (DESIGN §4.10).

use std::collections::BTreeMap;

use crate::ids::{DeviceClassId, ModelId, ShapeId};
use crate::kinds::Kind;
use crate::learned::Learned;
use crate::spec::{ModelKind, ModelUse, Shape};

/// A decayed mean forgets by one part in this many: ten runs follow a change, one outlier does not make one.
const MEMORY: u32 = 8;
/// The first figures are always worth keeping; later ones when the mean has moved.
const ALWAYS_TOLD: u32 = 3;
/// Most figures of one sort; a deployment has hundreds.
const MOST_FIGURES: usize = 65_536;

/// What an attempt is believed to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Prediction {
    pub(crate) load_ms: u32,
    pub(crate) run_ms: u32,
    /// The one checkpoint that is not in VRAM: its load time can be learned.
    pub(crate) only_cold: Option<ModelId>,
}

impl Prediction {
    pub(crate) fn total_ms(self) -> i64 {
        i64::from(self.load_ms) + i64::from(self.run_ms)
    }
}

/// A class of devices as the costs see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Speed {
    pub(crate) class: DeviceClassId,
    pub(crate) milli: u32,
}

#[derive(Debug, Clone, Copy)]
struct Mean {
    ms: u32,
    count: u32,
    told_ms: u32,
}

impl Mean {
    /// Takes one sample in; true when the figure is worth keeping again.
    fn learn(&mut self, sample: u32) -> bool {
        self.count = self.count.saturating_add(1);
        let step = (i64::from(sample) - i64::from(self.ms)) / i64::from(self.count.min(MEMORY));
        self.ms = u32::try_from(i64::from(self.ms) + step).unwrap_or(u32::MAX);
        let moved = self.ms.abs_diff(self.told_ms);
        let tell = self.count <= ALWAYS_TOLD || u64::from(moved) * 10 > u64::from(self.told_ms);
        if tell {
            self.told_ms = self.ms;
        }
        tell
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    above_mib: u32,
    at_most_mib: u32,
}

const UNBOUNDED: Bounds = Bounds { above_mib: 0, at_most_mib: u32::MAX };

/// All learned figures.
#[derive(Debug, Clone, Default)]
pub(crate) struct Costs {
    runs: BTreeMap<(ShapeId, DeviceClassId), Mean>,
    loads: BTreeMap<(ModelId, DeviceClassId), Mean>,
    rooms: BTreeMap<ShapeId, Bounds>,
    speeds: BTreeMap<DeviceClassId, u32>,
}

impl Costs {
    /// The speed of a class, for figures learned on another one.
    pub(crate) fn know_speed(&mut self, speed: Speed) {
        self.speeds.insert(speed.class, speed.milli.max(1));
    }

    /// Run time without loading: learned here, else learned elsewhere and scaled, else the prior.
    pub(crate) fn run_ms(&self, shape: Shape, on: Speed) -> u32 {
        if let Some(mean) = self.runs.get(&(shape.id, on.class)) {
            return mean.ms;
        }
        let elsewhere = (shape.id, DeviceClassId(0))..=(shape.id, DeviceClassId(u64::MAX));
        let best = self.runs.range(elsewhere).max_by_key(|(_, mean)| mean.count);
        match best {
            Some(((_, class), mean)) => {
                let there = self.speeds.get(class).copied().unwrap_or(1000);
                scale(mean.ms, there, on.milli)
            }
            None => scale(shape.prior_run_ms, 1000, on.milli),
        }
    }

    /// Run time on the reference class.
    pub(crate) fn reference_ms(&self, shape: Shape) -> u32 {
        self.run_ms(shape, Speed { class: DeviceClassId(0), milli: 1000 })
    }

    pub(crate) fn load_ms(&self, model: ModelUse, class: DeviceClassId) -> u32 {
        self.loads.get(&(model.id, class)).map_or_else(|| prior_load_ms(model.kind), |mean| mean.ms)
    }

    /// Believed need of VRAM. `largest_mib` is the largest device that is known: a prior alone sends nothing away for
    /// ever, only an out-of-memory proves that a job does not fit.
    pub(crate) fn need_mib(&self, shape: Shape, largest_mib: u32) -> u32 {
        let bounds = self.rooms.get(&shape.id).copied().unwrap_or(UNBOUNDED);
        let least = bounds.above_mib.saturating_add(u32::from(bounds.above_mib > 0));
        shape.prior_vram_mib.min(bounds.at_most_mib).min(largest_mib).max(least)
    }

    /// Takes in what an attempt took, loading included.
    pub(crate) fn learn_time(
        &mut self,
        shape: Shape,
        class: DeviceClassId,
        took_ms: u32,
        predicted: Prediction,
    ) -> Option<Learned> {
        let key = (shape.id, class);
        match (predicted.load_ms, predicted.only_cold, self.runs.get(&key)) {
            (0, _, _) => self.learn_run(key, took_ms),
            (_, Some(model), Some(run)) => {
                let load = took_ms.saturating_sub(run.ms);
                self.learn_load((model, class), load)
            }
            // Nothing was known: what is left after the believed load, but never less than half of it all.
            (load, _, None) => self.learn_run(key, took_ms.saturating_sub(load).max(took_ms / 2)),
            (_, None, Some(_)) => None,
        }
    }

    fn learn_run(&mut self, key: (ShapeId, DeviceClassId), took_ms: u32) -> Option<Learned> {
        let (mean, tell) = learn(&mut self.runs, key, took_ms);
        let (shape, class) = key;
        tell.then_some(Learned::Run { shape, class, mean_ms: mean.ms, runs: mean.count })
    }

    fn learn_load(&mut self, key: (ModelId, DeviceClassId), took_ms: u32) -> Option<Learned> {
        let (mean, tell) = learn(&mut self.loads, key, took_ms);
        let (model, class) = key;
        tell.then_some(Learned::Load { model, class, mean_ms: mean.ms, loads: mean.count })
    }

    /// It ran through on a card of this size: it needs no more.
    pub(crate) fn learn_fits(&mut self, shape: ShapeId, size_mib: u32) -> Option<Learned> {
        let old = self.rooms.get(&shape).copied().unwrap_or(UNBOUNDED);
        let at_most_mib = old.at_most_mib.min(size_mib);
        let above_mib = old.above_mib.min(at_most_mib.saturating_sub(1));
        self.set_room(shape, old, Bounds { above_mib, at_most_mib })
    }

    /// It ran out of memory with this much room: it needs more. A success on a card as small was luck then.
    pub(crate) fn learn_overflows(&mut self, shape: ShapeId, room_mib: u32) -> Option<Learned> {
        let old = self.rooms.get(&shape).copied().unwrap_or(UNBOUNDED);
        let above_mib = old.above_mib.max(room_mib);
        let at_most_mib = if above_mib >= old.at_most_mib { u32::MAX } else { old.at_most_mib };
        self.set_room(shape, old, Bounds { above_mib, at_most_mib })
    }

    fn set_room(&mut self, shape: ShapeId, old: Bounds, new: Bounds) -> Option<Learned> {
        if old == new {
            return None;
        }
        make_room(&mut self.rooms, &shape);
        self.rooms.insert(shape, new);
        Some(Learned::Room { shape, above_mib: new.above_mib, at_most_mib: new.at_most_mib })
    }

    /// Takes back what an earlier life had learned.
    pub(crate) fn remember(&mut self, learned: Learned) {
        match learned {
            Learned::Run { shape, class, mean_ms, runs } => {
                make_room(&mut self.runs, &(shape, class));
                self.runs.insert((shape, class), Mean { ms: mean_ms, count: runs, told_ms: mean_ms });
            }
            Learned::Load { model, class, mean_ms, loads } => {
                make_room(&mut self.loads, &(model, class));
                self.loads.insert((model, class), Mean { ms: mean_ms, count: loads, told_ms: mean_ms });
            }
            Learned::Room { shape, above_mib, at_most_mib } => {
                make_room(&mut self.rooms, &shape);
                self.rooms.insert(shape, Bounds { above_mib, at_most_mib });
            }
        }
    }

    /// What the missing models and the run itself take.
    pub(crate) fn predict(
        &self,
        kind: &Kind,
        on: Speed,
        run_ms: u32,
        is_warm: impl Fn(ModelId) -> bool,
    ) -> Prediction {
        let mut found = Prediction { load_ms: 0, run_ms, only_cold: None };
        let mut cold = kind.requirement.models.iter().filter(|used| !is_warm(used.id));
        if let Some(first) = cold.next() {
            found.load_ms = self.load_ms(*first, on.class);
            found.only_cold = (first.kind == ModelKind::Checkpoint).then_some(first.id);
        }
        for further in cold {
            found.load_ms = found.load_ms.saturating_add(self.load_ms(*further, on.class));
            found.only_cold = None;
        }
        found
    }
}

/// Load times before anything is learned: weights of a few GiB from a local disk, milliseconds.
fn prior_load_ms(kind: ModelKind) -> u32 {
    match kind {
        ModelKind::Checkpoint => 8_000,
        ModelKind::Auxiliary => 2_000,
        ModelKind::Lora => 1_000,
    }
}

fn scale(ms: u32, from_milli: u32, to_milli: u32) -> u32 {
    let scaled = (u64::from(ms) * u64::from(from_milli)).div_ceil(u64::from(to_milli.max(1)));
    u32::try_from(scaled).unwrap_or(u32::MAX)
}

fn learn<K: Ord + Copy>(means: &mut BTreeMap<K, Mean>, key: K, sample: u32) -> (Mean, bool) {
    make_room(means, &key);
    let mean = means.entry(key).or_insert(Mean { ms: sample, count: 0, told_ms: 0 });
    let tell = mean.learn(sample);
    (*mean, tell)
}

fn make_room<K: Ord + Copy, V>(figures: &mut BTreeMap<K, V>, key: &K) {
    if figures.len() >= MOST_FIGURES && !figures.contains_key(key) {
        figures.pop_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T4: DeviceClassId = DeviceClassId(4);
    const A100: DeviceClassId = DeviceClassId(100);
    const SHAPE: Shape = Shape { id: ShapeId(7), prior_run_ms: 10_000, prior_vram_mib: 8_000 };
    const WARM: Prediction = Prediction { load_ms: 0, run_ms: 0, only_cold: None };

    #[test]
    fn a_time_learned_on_one_class_is_scaled_to_another() {
        let mut costs = Costs::default();
        costs.know_speed(Speed { class: T4, milli: 500 });
        assert_eq!(costs.run_ms(SHAPE, Speed { class: T4, milli: 500 }), 20_000);
        costs.learn_time(SHAPE, T4, 8_000, WARM);
        assert_eq!(costs.run_ms(SHAPE, Speed { class: A100, milli: 2_000 }), 2_000);
    }

    #[test]
    fn a_steady_time_is_told_only_at_first() {
        let mut costs = Costs::default();
        let told = (0..100).filter(|_| costs.learn_time(SHAPE, T4, 8_000, WARM).is_some()).count();
        assert_eq!(told, 3);
        assert!((0..20).any(|_| costs.learn_time(SHAPE, T4, 16_000, WARM).is_some()));
    }

    #[test]
    fn a_cold_run_teaches_the_load_once_the_run_is_known() {
        let mut costs = Costs::default();
        let model = ModelUse { id: ModelId(1), kind: ModelKind::Checkpoint };
        costs.learn_time(SHAPE, T4, 8_000, WARM);
        let cold = Prediction { load_ms: 8_000, run_ms: 8_000, only_cold: Some(model.id) };
        costs.learn_time(SHAPE, T4, 11_000, cold);
        assert_eq!(costs.load_ms(model, T4), 3_000);
        assert_eq!(costs.run_ms(SHAPE, Speed { class: T4, milli: 1_000 }), 8_000);
    }

    #[test]
    fn only_an_out_of_memory_proves_a_need_above_a_card() {
        let mut costs = Costs::default();
        assert_eq!(costs.need_mib(SHAPE, 6_000), 6_000, "a prior alone does not forbid the largest card");
        costs.learn_overflows(SHAPE.id, 6_000);
        assert_eq!(costs.need_mib(SHAPE, 6_000), 6_001);
        costs.learn_fits(SHAPE.id, 7_000);
        assert_eq!(costs.need_mib(SHAPE, 24_000), 7_000);
        costs.learn_overflows(SHAPE.id, 7_000);
        assert!(costs.need_mib(SHAPE, 24_000) > 7_000);
    }
}
