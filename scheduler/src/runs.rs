//! How long work runs where: by workflow shape and device class, learned, with the speeds of families as the prior.

use crate::figures::{MOST_FIGURES, Mean, Names};
use crate::ids::{DeviceClassId, FamilyId, ShapeId};
use crate::learned::Learned;
use crate::spec::Shape;

/// The prior counts as this many runs of a shape on a class: it is right on average, single runs differ by a tenth.
const PRIOR_RUNS: u32 = 3;
/// A speed told for the family counts as this many runs: measured elsewhere, so it yields within a few dozen.
const TOLD_SPEED_RUNS: u32 = 8;
/// A speed of one family says this much about another one on the same class, in runs.
const SIBLING_RUNS: u32 = 1;
/// A run shorter than this part of what was believed says nothing of the device: ComfyUI had the outputs of its nodes.
const CACHED_PART: u32 = 8;
/// A speed outside of this is a reading that went wrong, thousandths.
const SPEED_RANGE: (u32, u32) = (10, 100_000);

/// A shape of the table; [`ShapeIx::UNKNOWN`] when the table is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShapeIx(u32);

impl ShapeIx {
    const UNKNOWN: Self = Self(u32::MAX);
}

/// A class of devices as the costs see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClassIx(pub(crate) u16);

/// A family as the costs see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FamilyIx(pub(crate) u16);

#[derive(Debug, Clone, Default)]
struct ShapeRuns {
    family: usize,
    /// Mean of the predictions its jobs came with, ms on the reference class.
    prior: Mean,
    by_class: Vec<Mean>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Speed {
    told: Option<u32>,
    learned: Mean,
}

/// All that is known of run times.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runs {
    classes: Names<DeviceClassId>,
    families: Names<FamilyId>,
    shapes: Names<ShapeId>,
    table: Vec<ShapeRuns>,
    /// By class, then family.
    speeds: Vec<Vec<Speed>>,
    /// Speed of a class for families nobody spoke of.
    general: Vec<u32>,
}

impl Runs {
    pub(crate) fn class(&mut self, id: DeviceClassId) -> ClassIx {
        let index = self.classes.index(id);
        if index == self.speeds.len() {
            self.speeds.push(Vec::new());
            self.general.push(1000);
        }
        ClassIx(u16::try_from(index).unwrap_or(u16::MAX))
    }

    /// The class, which has joined before.
    pub(crate) fn known_class(&self, id: DeviceClassId) -> ClassIx {
        ClassIx(self.classes.get(id).and_then(|index| u16::try_from(index).ok()).unwrap_or(u16::MAX))
    }

    pub(crate) fn class_id(&self, class: ClassIx) -> Option<DeviceClassId> {
        self.classes.name_of(usize::from(class.0))
    }

    pub(crate) fn family(&mut self, id: FamilyId) -> FamilyIx {
        FamilyIx(u16::try_from(self.families.index(id)).unwrap_or(u16::MAX))
    }

    /// What was told of a class.
    pub(crate) fn tell_speeds(&mut self, id: DeviceClassId, general: u32, families: &[(FamilyId, u32)]) {
        let class = self.class(id);
        self.general[usize::from(class.0)] = general.max(1);
        for (family, milli) in families {
            let family = self.family(*family);
            if let Some(speed) = self.speed_mut(class, family) {
                speed.told = Some((*milli).max(1));
            }
        }
    }

    fn speed_mut(&mut self, class: ClassIx, family: FamilyIx) -> Option<&mut Speed> {
        let row = self.speeds.get_mut(usize::from(class.0))?;
        let index = usize::from(family.0);
        if row.len() <= index {
            row.resize(index + 1, Speed::default());
        }
        row.get_mut(index)
    }

    /// Speed of a class for a family, thousandths of the reference class.
    pub(crate) fn speed_milli(&self, class: ClassIx, family: FamilyIx) -> u32 {
        let class = usize::from(class.0);
        let general = self.general.get(class).copied().unwrap_or(1000);
        let Some(row) = self.speeds.get(class) else { return general };
        let own = row.get(usize::from(family.0)).copied().unwrap_or_default();
        match own.told {
            Some(told) => own.learned.with_prior(told, TOLD_SPEED_RUNS),
            None if own.learned.count > 0 => own.learned.value,
            None => siblings(row, general),
        }
    }

    /// A job of this shape appeared with its prediction.
    pub(crate) fn join(&mut self, shape: Shape) -> ShapeIx {
        let family = usize::from(self.family(shape.family).0);
        let index = self.entry(shape.id);
        let Some(runs) = self.table.get_mut(index.0 as usize) else { return ShapeIx::UNKNOWN };
        runs.family = family;
        runs.prior.learn(shape.prior_run_ms);
        index
    }

    /// The places of a shape and its family, as far as they are known.
    pub(crate) fn look_up(&self, shape: Shape) -> (ShapeIx, FamilyIx) {
        let family = self.families.get(shape.family).and_then(|index| u16::try_from(index).ok());
        let index = self.shapes.get(shape.id).and_then(|index| u32::try_from(index).ok());
        (index.map_or(ShapeIx::UNKNOWN, ShapeIx), FamilyIx(family.unwrap_or(u16::MAX)))
    }

    fn entry(&mut self, id: ShapeId) -> ShapeIx {
        if self.shapes.len() >= MOST_FIGURES && self.shapes.get(id).is_none() {
            return ShapeIx::UNKNOWN;
        }
        let index = self.shapes.index(id);
        if index == self.table.len() {
            self.table.push(ShapeRuns::default());
        }
        ShapeIx(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Run time on the reference class.
    pub(crate) fn reference_ms(&self, shape: ShapeIx, prior_ms: u32) -> u32 {
        let Some(runs) = self.table.get(shape.0 as usize) else { return prior_ms };
        let prior = if runs.prior.count > 0 { runs.prior.value } else { prior_ms };
        let best =
            runs.by_class.iter().enumerate().max_by_key(|(class, mean)| (mean.count, usize::MAX - class));
        match best {
            Some((class, mean)) if mean.count > 0 => {
                let class = ClassIx(u16::try_from(class).unwrap_or(u16::MAX));
                let family = FamilyIx(u16::try_from(runs.family).unwrap_or(u16::MAX));
                let there = self.speed_milli(class, family);
                Mean::known(scale(mean.value, there, 1000), mean.count).with_prior(prior, PRIOR_RUNS)
            }
            _ => prior,
        }
    }

    /// Run time without loading, beside nobody: learned here, and until then scaled from elsewhere and the prior.
    pub(crate) fn run_ms(&self, shape: ShapeIx, prior_ms: u32, class: ClassIx, family: FamilyIx) -> u32 {
        self.run_ms_of(shape, self.reference_ms(shape, prior_ms), class, family)
    }

    /// [`Runs::run_ms`] where the time on the reference class is at hand.
    pub(crate) fn run_ms_of(
        &self,
        shape: ShapeIx,
        reference_ms: u32,
        class: ClassIx,
        family: FamilyIx,
    ) -> u32 {
        let scaled = scale(reference_ms, 1000, self.speed_milli(class, family));
        let runs = self.table.get(shape.0 as usize);
        let here = runs.and_then(|runs| runs.by_class.get(usize::from(class.0))).copied();
        here.unwrap_or_default().with_prior(scaled, PRIOR_RUNS)
    }

    /// Takes in a run time without loading.
    pub(crate) fn learn(
        &mut self,
        shape: ShapeIx,
        prior_ms: u32,
        class: ClassIx,
        took_ms: u32,
    ) -> Vec<Learned> {
        let Some(runs) = self.table.get_mut(shape.0 as usize) else { return Vec::new() };
        let family = FamilyIx(u16::try_from(runs.family).unwrap_or(u16::MAX));
        let prior = if runs.prior.count > 0 { runs.prior.value } else { prior_ms };
        let index = usize::from(class.0);
        if runs.by_class.len() <= index {
            runs.by_class.resize(index + 1, Mean::default());
        }
        let mean = &mut runs.by_class[index];
        let mut told = Vec::new();
        if mean.learn(took_ms)
            && let (Some(shape), Some(class)) =
                (self.shapes.name_of(shape.0 as usize), self.classes.name_of(index))
        {
            told.push(Learned::Run { shape, class, mean_ms: mean.value, runs: mean.count });
        }
        told.extend(self.learn_speed(class, family, prior, took_ms));
        told
    }

    fn learn_speed(&mut self, class: ClassIx, family: FamilyIx, prior: u32, took: u32) -> Option<Learned> {
        let believed = scale(prior, 1000, self.speed_milli(class, family));
        if took.saturating_mul(CACHED_PART) < believed {
            return None;
        }
        let (least, most) = SPEED_RANGE;
        let milli = u64::from(prior) * 1000 / u64::from(took.max(1));
        let milli = u32::try_from(milli).unwrap_or(most).clamp(least, most);
        let class_id = self.classes.name_of(usize::from(class.0))?;
        let family_id = self.families.name_of(usize::from(family.0))?;
        let learned = &mut self.speed_mut(class, family)?.learned;
        learned.learn(milli).then_some(Learned::Speed {
            class: class_id,
            family: family_id,
            milli: learned.value,
            runs: learned.count,
        })
    }

    pub(crate) fn remember_run(&mut self, shape: ShapeId, class: DeviceClassId, mean: Mean) {
        let class = usize::from(self.class(class).0);
        let index = self.entry(shape);
        let Some(runs) = self.table.get_mut(index.0 as usize) else { return };
        if runs.by_class.len() <= class {
            runs.by_class.resize(class + 1, Mean::default());
        }
        runs.by_class[class] = mean;
    }

    pub(crate) fn remember_speed(&mut self, class: DeviceClassId, family: FamilyId, mean: Mean) {
        let (class, family) = (self.class(class), self.family(family));
        if let Some(speed) = self.speed_mut(class, family) {
            speed.learned = mean;
        }
    }
}

/// What the other families of a class say of one that never ran there.
fn siblings(row: &[Speed], general: u32) -> u32 {
    let known: Vec<u32> =
        row.iter().filter(|speed| speed.learned.count > 0).map(|speed| speed.learned.value).collect();
    let count = u32::try_from(known.len()).unwrap_or(u32::MAX);
    let sum: u64 = known.iter().map(|milli| u64::from(*milli)).sum();
    let mean = Mean::known(u32::try_from(sum / u64::from(count.max(1))).unwrap_or(u32::MAX), count);
    if count == 0 { general } else { mean.with_prior(general, SIBLING_RUNS) }
}

fn scale(ms: u32, from_milli: u32, to_milli: u32) -> u32 {
    let scaled = (u64::from(ms) * u64::from(from_milli)).div_ceil(u64::from(to_milli.max(1)));
    u32::try_from(scaled).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T4: DeviceClassId = DeviceClassId(4);
    const A100: DeviceClassId = DeviceClassId(100);
    const SDXL: FamilyId = FamilyId(1);
    const FLUX: FamilyId = FamilyId(2);

    fn shape(id: u64, family: FamilyId) -> Shape {
        Shape { id: ShapeId(id), family, prior_run_ms: 10_000, prior_vram_mib: 8_000 }
    }

    #[test]
    fn a_time_learned_on_one_class_is_scaled_to_another() {
        let mut runs = Runs::default();
        runs.tell_speeds(T4, 500, &[(SDXL, 500)]);
        runs.tell_speeds(A100, 2_000, &[]);
        let (t4, a100, sdxl) = (runs.class(T4), runs.class(A100), runs.family(SDXL));
        let ix = runs.join(shape(7, SDXL));
        assert_eq!(runs.run_ms(ix, 10_000, t4, sdxl), 20_000);
        assert_eq!(runs.run_ms(ix, 10_000, a100, sdxl), 5_000);
        for _ in 0..30 {
            runs.learn(ix, 10_000, t4, 10_000);
        }
        assert!(runs.speed_milli(t4, sdxl) > 850, "the class is twice as fast as was told");
        assert!(runs.run_ms(ix, 10_000, t4, sdxl) < 11_000);
    }

    #[test]
    fn a_speed_that_nobody_told_is_learned_and_says_something_of_other_families() {
        let mut runs = Runs::default();
        let (t4, sdxl, flux) = (runs.class(T4), runs.family(SDXL), runs.family(FLUX));
        let ix = runs.join(shape(7, SDXL));
        runs.join(shape(8, FLUX));
        runs.learn(ix, 10_000, t4, 40_000);
        assert_eq!(runs.speed_milli(t4, sdxl), 250);
        assert_eq!(runs.speed_milli(t4, flux), 625, "half way from what was believed of all");
    }

    #[test]
    fn predictions_that_err_are_averaged() {
        let mut runs = Runs::default();
        let ix = runs.join(Shape { prior_run_ms: 5_000, ..shape(7, SDXL) });
        runs.join(Shape { prior_run_ms: 15_000, ..shape(7, SDXL) });
        assert_eq!(runs.reference_ms(ix, 15_000), 10_000);
    }

    #[test]
    fn a_steady_time_is_told_ever_more_rarely() {
        let mut runs = Runs::default();
        runs.tell_speeds(T4, 500, &[]);
        let (t4, ix) = (runs.class(T4), runs.join(shape(7, SDXL)));
        let mut learn = |ms| {
            let told = runs.learn(ix, 10_000, t4, ms);
            told.iter().filter(|learned| matches!(learned, Learned::Run { .. })).count()
        };
        assert_eq!((0..10).map(|_| learn(8_000)).sum::<usize>(), 4);
        assert_eq!((10..1_000).map(|_| learn(8_000)).sum::<usize>(), 3);
        assert!((0..20).map(|_| learn(16_000)).sum::<usize>() > 0);
    }
}
