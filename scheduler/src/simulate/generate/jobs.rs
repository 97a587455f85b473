//! The jobs themselves: who sends them, with which models, in which shape.

use std::fmt::Write as _;

use super::arrivals::Arrival;
use super::draw::{Weights, between, happens};
use super::families::{CONTROLNETS, FAMILIES, Family};
use super::recipe::{Deadlines, Recipe, Wave};
use crate::rng::Rng;
use crate::simulate::fixed;

/// A model of the drawn catalogue.
pub(super) struct Model {
    pub(super) id: String,
    pub(super) family: &'static str,
    pub(super) kind: &'static str,
    pub(super) mib: i64,
}

/// The models of one family, most popular first.
struct Shelf {
    checkpoints: Vec<Model>,
    loras: Vec<Model>,
    controlnets: Vec<Model>,
}

/// Everything that a job may name.
pub(super) struct Catalogue {
    shelves: Vec<Shelf>,
}

impl Catalogue {
    pub(super) fn draw(recipe: &Recipe, rng: &mut Rng) -> Self {
        let shelves = FAMILIES.iter().enumerate().map(|(at, family)| {
            let model = |id, kind, mib| Model { id, family: family.name, kind, mib };
            let checkpoints = (0..recipe.checkpoints[at]).map(|number| {
                // Most are exactly of the base model's size, some carry a little more.
                let more =
                    if happens(rng, 220) { between(rng, 0, family.checkpoint_mib * 8 / 100) } else { 0 };
                model(format!("c-{}-{number:03}", family.name), "checkpoint", family.checkpoint_mib + more)
            });
            let checkpoints = checkpoints.collect();
            let (small, large) = family.lora_mib;
            let loras = (0..recipe.loras[at])
                .map(|number| {
                    model(format!("l-{}-{number:04}", family.name), "lora", between(rng, small, large))
                })
                .collect();
            let controlnets = family.controlnet_mib.into_iter().flat_map(|mib| {
                (0..CONTROLNETS).map(move |number| (format!("n-{}-{number}", family.name), mib))
            });
            let controlnets = controlnets.map(|(id, mib)| model(id, "controlnet", mib)).collect();
            Shelf { checkpoints, loras, controlnets }
        });
        Self { shelves: shelves.collect() }
    }

    pub(super) fn models(&self) -> impl Iterator<Item = &Model> {
        self.shelves
            .iter()
            .flat_map(|shelf| shelf.checkpoints.iter().chain(&shelf.loras).chain(&shelf.controlnets))
    }
}

/// The models of one job, as positions on its family's shelf.
#[derive(Debug, Clone)]
struct ModelSet {
    family: usize,
    checkpoint: usize,
    loras: Vec<usize>,
    controlnets: Vec<usize>,
}

/// One job.
pub(super) struct Order<'a> {
    catalogue: &'a Catalogue,
    t: i64,
    tenant: usize,
    prio: usize,
    models: ModelSet,
    shape: Shape,
    est_ms: i64,
    pub(super) work_ms: i64,
    pub(super) est_vram_mib: i64,
    peak_vram_mib: i64,
    deadline: Option<i64>,
}

struct Shape {
    steps: i64,
    w: i64,
    h: i64,
    batch: i64,
}

/// Weights of one family.
struct FamilyWeights {
    checkpoints: Weights,
    loras: Weights,
    sizes: Weights,
    steps: Weights,
    batches: Weights,
}

/// Makes one job after another.
pub(super) struct Maker<'a> {
    recipe: &'a Recipe,
    catalogue: &'a Catalogue,
    rng: Rng,
    tenants: Weights,
    families: Weights,
    prios: Weights,
    lora_counts: Weights,
    by_family: Vec<FamilyWeights>,
    /// What each tenant sent last.
    last: Vec<Option<ModelSet>>,
}

/// LoRA popularity.
const LORA_ZIPF_MILLI: i64 = 900;
/// Jobs in a thousand with a ControlNet, where the family has any.
const CONTROLNET_MILLI: u64 = 165;
/// Error of predicted run times: σ of its logarithm, and jobs in a thousand that take much longer, by how much.
const NOISE_SIGMA_MILLI: i64 = 100;
const SLOW_MILLI: u64 = 30;
const SLOW_FACTOR_MILLI: (i64, i64) = (1400, 2400);
/// How much larger than predicted an under-estimated peak is.
const UNDER_FACTOR_MILLI: (i64, i64) = (1090, 1300);
/// Time grows with pixels to the power of 1.1 and with pictures at once to that of 0.97.
const PIXEL_POWER_MILLI: i64 = 1100;
const BATCH_POWER_MILLI: i64 = 970;
/// A ControlNet adds so much to the time.
const CONTROLNET_TIME_MILLI: i64 = 350;
/// Each picture at once beyond the first adds so much to the peak, up to so many.
const BATCH_PEAK_MILLI: i64 = 450;
const BATCH_PEAK_MOST: i64 = 4;

impl<'a> Maker<'a> {
    pub(super) fn new(recipe: &'a Recipe, catalogue: &'a Catalogue, rng: Rng) -> Self {
        let by_family = FAMILIES.iter().enumerate().map(|(at, family)| FamilyWeights {
            checkpoints: Weights::zipf(recipe.checkpoints[at], recipe.checkpoint_zipf_milli),
            loras: Weights::zipf(recipe.loras[at], LORA_ZIPF_MILLI),
            sizes: Weights::of(family.sizes.iter().map(|size| size.weight)),
            steps: Weights::of(family.steps.iter().map(|(_, weight)| *weight)),
            batches: Weights::of(family.batches.iter().map(|(_, weight)| *weight)),
        });
        Self {
            recipe,
            catalogue,
            rng,
            tenants: tenant_weights(recipe),
            families: Weights::of(recipe.families),
            prios: Weights::of(recipe.prios),
            lora_counts: Weights::of(recipe.lora_counts),
            by_family: by_family.collect(),
            last: vec![None; recipe.tenants.len()],
        }
    }

    pub(super) fn order(&mut self, arrival: Arrival) -> Order<'a> {
        let tenant = if arrival.flood { 0 } else { self.tenants.pick(&mut self.rng) };
        // The tenant that floods sends nothing but normal jobs.
        let prio =
            if self.recipe.wave == Wave::Flood && tenant == 0 { 1 } else { self.prios.pick(&mut self.rng) };
        let models = self.models(tenant);
        let family = &FAMILIES[models.family];
        let shape = self.shape(models.family);
        let est_ms = predicted_ms(family, &shape, models.controlnets.len());
        let est_vram_mib = self.weights_mib(&models) + peak_mib(family, &shape);
        let (work_ms, peak_vram_mib) = (self.true_ms(est_ms), self.true_peak(est_vram_mib));
        let deadline = self.deadline(prio, arrival.t, est_ms);
        Order {
            catalogue: self.catalogue,
            t: arrival.t,
            tenant,
            prio,
            models,
            shape,
            est_ms,
            work_ms,
            est_vram_mib,
            peak_vram_mib,
            deadline,
        }
    }

    /// Often the tenant's last ones again.
    fn models(&mut self, tenant: usize) -> ModelSet {
        if let Some(last) = &self.last[tenant]
            && happens(&mut self.rng, self.recipe.repeat_milli)
        {
            return last.clone();
        }
        let rng = &mut self.rng;
        let family = self.families.pick(rng);
        let weights = &self.by_family[family];
        let count = self.lora_counts.pick(rng).min(self.catalogue.shelves[family].loras.len());
        let mut loras = Vec::with_capacity(count);
        while loras.len() < count {
            let lora = weights.loras.pick(rng);
            if !loras.contains(&lora) {
                loras.push(lora);
            }
        }
        loras.sort_unstable();
        let shelf = &self.catalogue.shelves[family].controlnets;
        let with_controlnet = !shelf.is_empty() && happens(rng, CONTROLNET_MILLI);
        let controlnets = if with_controlnet { vec![Weights::zipf(6, 0).pick(rng)] } else { Vec::new() };
        let set = ModelSet { family, checkpoint: weights.checkpoints.pick(rng), loras, controlnets };
        self.last[tenant] = Some(set.clone());
        set
    }

    fn shape(&mut self, family: usize) -> Shape {
        let (weights, family) = (&self.by_family[family], &FAMILIES[family]);
        let size = &family.sizes[weights.sizes.pick(&mut self.rng)];
        Shape {
            steps: family.steps[weights.steps.pick(&mut self.rng)].0,
            w: size.w,
            h: size.h,
            batch: family.batches[weights.batches.pick(&mut self.rng)].0,
        }
    }

    fn weights_mib(&self, models: &ModelSet) -> i64 {
        let shelf = &self.catalogue.shelves[models.family];
        let controlnets = models.controlnets.iter().map(|at| shelf.controlnets[*at].mib);
        shelf.checkpoints[models.checkpoint].mib + controlnets.sum::<i64>()
    }

    fn true_ms(&mut self, est_ms: i64) -> i64 {
        let rng = &mut self.rng;
        let noise = fixed::exp(NOISE_SIGMA_MILLI * fixed::normal(rng) / 1000);
        let slow = if happens(rng, SLOW_MILLI) {
            between(rng, SLOW_FACTOR_MILLI.0, SLOW_FACTOR_MILLI.1)
        } else {
            1000
        };
        (fixed::scale(est_ms, noise) * slow / 1000).max(1)
    }

    fn true_peak(&mut self, est_mib: i64) -> i64 {
        if !happens(&mut self.rng, self.recipe.under_milli) {
            return est_mib;
        }
        est_mib * between(&mut self.rng, UNDER_FACTOR_MILLI.0, UNDER_FACTOR_MILLI.1) / 1000
    }

    fn deadline(&mut self, prio: usize, t: i64, est_ms: i64) -> Option<i64> {
        let Deadlines { share_milli, factor_milli, least_ms } = self.recipe.deadlines[prio];
        let factor = between(&mut self.rng, factor_milli.0, factor_milli.1);
        happens(&mut self.rng, share_milli).then(|| t + (est_ms * factor / 1000).max(least_ms))
    }
}

/// The first tenant of a flood sends half as much as the others, who send alike.
fn tenant_weights(recipe: &Recipe) -> Weights {
    let count = u32::try_from(recipe.tenants.len()).unwrap_or(u32::MAX);
    if recipe.wave == Wave::Flood {
        return Weights::of((0..count).map(|tenant| if tenant == 0 { 1 } else { 2 }));
    }
    Weights::zipf(count, recipe.tenant_zipf_milli)
}

fn predicted_ms(family: &Family, shape: &Shape, controlnets: usize) -> i64 {
    let first = &family.sizes[0];
    let pixels = (shape.w * shape.h * fixed::ONE / (first.w * first.h)).unsigned_abs();
    let pixels = fixed::power(pixels, PIXEL_POWER_MILLI * fixed::ONE / 1000);
    let batch = fixed::power(shape.batch.unsigned_abs() << 32, BATCH_POWER_MILLI * fixed::ONE / 1000);
    let steps_us = fixed::scale(family.step_us * shape.steps, fixed::product(pixels, batch));
    let with_controlnets = 1000 + CONTROLNET_TIME_MILLI * i64::try_from(controlnets).unwrap_or(0);
    family.fixed_ms + steps_us * with_controlnets / 1_000_000
}

/// Beside the weights.
fn peak_mib(family: &Family, shape: &Shape) -> i64 {
    let at_once = 1000 + BATCH_PEAK_MILLI * (shape.batch.min(BATCH_PEAK_MOST) - 1);
    family.peak_mib * at_once * shape.w * shape.h / family.peak_pixels / 1000
}

impl Order<'_> {
    pub(super) fn family(&self) -> usize {
        self.models.family
    }

    fn shelf(&self) -> &Shelf {
        &self.catalogue.shelves[self.models.family]
    }

    fn checkpoint(&self) -> &str {
        &self.shelf().checkpoints[self.models.checkpoint].id
    }

    fn loras(&self) -> impl Iterator<Item = &str> {
        self.models.loras.iter().map(|at| self.shelf().loras[*at].id.as_str())
    }

    fn controlnets(&self) -> impl Iterator<Item = &str> {
        self.models.controlnets.iter().map(|at| self.shelf().controlnets[*at].id.as_str())
    }

    pub(super) fn models(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.checkpoint()).chain(self.loras()).chain(self.controlnets())
    }

    /// A line of the trace; no name in it needs escaping.
    pub(super) fn line(&self, number: usize) -> String {
        let list = |ids: &mut dyn Iterator<Item = &str>| {
            ids.map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(",")
        };
        let mut line = format!(
            "{{\"t\":{},\"job\":\"j{number:06}\",\"tenant\":\"t{}\",\"prio\":{},\"family\":\"{}\",\"ckpt\":\"{}\"",
            self.t,
            self.tenant,
            self.prio,
            FAMILIES[self.models.family].name,
            self.checkpoint(),
        );
        let Shape { steps, w, h, batch } = self.shape;
        let deadline = self.deadline.map_or_else(|| "null".to_owned(), |deadline| deadline.to_string());
        let _ = write!(
            line,
            ",\"loras\":[{}],\"cns\":[{}],\"steps\":{steps},\"w\":{w},\"h\":{h},\"batch\":{batch},\"est_ms\":{},\
             \"work_ms\":{},\"est_vram_mib\":{},\"peak_vram_mib\":{},\"deadline\":{deadline}}}",
            list(&mut self.loras()),
            list(&mut self.controlnets()),
            self.est_ms,
            self.work_ms,
            self.est_vram_mib,
            self.peak_vram_mib,
        );
        line
    }
}
