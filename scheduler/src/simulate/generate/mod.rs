//! Fresh scenarios of the nine public kinds: the same stress, another seed.
//!
//! What a recipe says was read off the public files and their sources (arrivals, popularity, shapes, errors, deadlines,
//! node events); the load is set against the fluid optimum of [`capacity`]. Everything is drawn in whole numbers from
//! the seed, so that a name and a seed mean the same files everywhere.

mod arrivals;
mod capacity;
mod draw;
mod families;
mod fleet;
mod jobs;
mod recipe;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::files::File;
use super::scenario::Scenario;
use crate::rng::Rng;
use jobs::{Maker, Order};
use recipe::Recipe;

pub use recipe::UnknownRecipe;

/// Orders that are drawn to find how many jobs a second the fleet could do.
const SAMPLE: usize = 8_000;

/// The three files of a fresh scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// nodes.json.
    pub fleet: String,
    /// models.json.
    pub models: String,
    /// trace.jsonl, not packed.
    pub trace: String,
}

impl Generated {
    /// Draws the scenario of a public name from a seed.
    ///
    /// # Errors
    /// There is no such scenario.
    pub fn draw(name: &str, seed: u64) -> Result<Self, UnknownRecipe> {
        let recipe = Recipe::named(name)?;
        let root = Rng::new(seed);
        let fleet = fleet::draw(&recipe, &mut root.clone().fork(0));
        let catalogue = jobs::Catalogue::draw(&recipe, &mut root.clone().fork(1));
        let capacity = sampled_capacity(&recipe, &fleet, &catalogue, root.clone().fork(2));
        let arrivals = arrivals::draw(&recipe, capacity, &mut root.clone().fork(3));
        let mut maker = Maker::new(&recipe, &catalogue, root.fork(4));
        let orders: Vec<Order> = arrivals.into_iter().map(|arrival| maker.order(arrival)).collect();
        let meta = json!({
            "scenario": recipe.name, "seed": seed, "jobs": orders.len(),
            "ideal_capacity_jobs_per_ks": capacity, "rho_ideal_milli": recipe.load_milli,
        });
        Ok(Self {
            fleet: fleet::to_json(&recipe, &fleet, meta),
            models: models_json(&catalogue, &orders),
            trace: orders.iter().enumerate().map(|(number, order)| order.line(number) + "\n").collect(),
        })
    }

    /// The same, read as any scenario is.
    ///
    /// # Errors
    /// Never for what [`Generated::draw`] gave; the message would name the place.
    pub fn scenario(&self) -> Result<Scenario, super::BadFile> {
        let file = |name, text| File { name, text };
        Scenario::parse(
            file("nodes.json", &self.fleet),
            file("models.json", &self.models),
            file("trace.jsonl", &self.trace),
        )
    }

    /// The names that can be drawn.
    pub fn names() -> impl Iterator<Item = &'static str> {
        recipe::NAMES.into_iter()
    }
}

/// What the fleet could do of this recipe's jobs, in jobs per thousand seconds.
fn sampled_capacity(recipe: &Recipe, fleet: &fleet::Fleet, catalogue: &jobs::Catalogue, rng: Rng) -> u64 {
    let mut maker = Maker::new(recipe, catalogue, rng);
    let orders = (0..SAMPLE).map(|_| maker.order(arrivals::Arrival { t: 0, flood: false }));
    capacity::jobs_per_ks(fleet, orders)
}

/// The catalogue, as far as the trace uses it.
fn models_json(catalogue: &jobs::Catalogue, orders: &[Order]) -> String {
    let used: BTreeSet<&str> = orders.iter().flat_map(Order::models).collect();
    let models: Map<String, Value> = catalogue
        .models()
        .filter(|model| used.contains(model.id.as_str()))
        .map(|model| {
            let entry = json!({ "family": model.family, "kind": model.kind, "mib": model.mib });
            (model.id.clone(), entry)
        })
        .collect();
    format!("{:#}\n", Value::Object(models))
}
