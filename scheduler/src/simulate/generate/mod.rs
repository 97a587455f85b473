//! Fresh scenarios of the nine public kinds: the same stress, another seed.
//!
//! What a recipe says was read off the public files and their sources (arrivals, popularity, shapes, errors, deadlines,
//! node events); the load is set against the fluid optimum of [`capacity`], taken over the jobs of the trace itself. Everything is drawn in whole numbers from
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
use arrivals::Arrival;
use jobs::{Maker, Order};
use recipe::Recipe;

pub use recipe::UnknownRecipe;

/// Orders that are drawn for a first idea of how many jobs a second the fleet could do.
const SAMPLE: usize = 4000;
/// Times the load is set again, by the jobs that the load before gave.
const ROUNDS: usize = 3;

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
    /// Draws the scenario of a public name from a seed; `load_milli` is its load in thousandths of the ideal capacity
    /// of its own jobs, if not that of the public file.
    ///
    /// # Errors
    /// There is no such scenario.
    pub fn draw(name: &str, seed: u64, load_milli: Option<u64>) -> Result<Self, UnknownRecipe> {
        let mut recipe = Recipe::named(name)?;
        if let Some(load_milli) = load_milli {
            recipe.set_load(load_milli);
        }
        let root = Rng::new(seed);
        let fleet = fleet::draw(&recipe, &mut root.clone().fork(0));
        let catalogue = jobs::Catalogue::draw(&recipe, &mut root.clone().fork(1));
        let orders_of = |arrivals: Vec<Arrival>| -> Vec<Order> {
            let mut maker = Maker::new(&recipe, &catalogue, root.clone().fork(2));
            arrivals.into_iter().map(|arrival| maker.order(arrival)).collect()
        };
        let mut orders = orders_of(vec![Arrival { t: 0, flood: false }; SAMPLE]);
        for _ in 0..ROUNDS {
            let capacity = capacity::jobs_per_ks(&fleet, &orders);
            orders = orders_of(arrivals::draw(&recipe, capacity, &mut root.clone().fork(3)));
        }
        let meta = json!({
            "scenario": recipe.name, "seed": seed, "jobs": orders.len(),
            "ideal_capacity_jobs_per_ks": capacity::jobs_per_ks(&fleet, &orders), "load_milli": recipe.load_milli,
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
