//! Values put into the graph.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Checked, Kind, Template};

/// Seeds are drawn below this: every JSON reader takes them as they are.
const DRAWN_BELOW: u64 = 1 << 53;
/// Characters of a wrong value that are told back.
const SHOWN_CHARS: usize = 200;

/// A graph with its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Filled {
    /// JSON text.
    pub workflow: String,
    /// The seeds it runs with, by parameter.
    pub seeds: BTreeMap<String, u64>,
}

/// A value that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The parameter.
    pub parameter: String,
    /// What is wrong, in a word or two.
    pub reason: &'static str,
    /// What was given, cut short; `None`: nothing was.
    pub given: Option<String>,
    /// What is allowed, in words; for a parameter that there is not, the ones that there are.
    pub allowed: String,
}

impl Template {
    /// Puts values into the graph. `draw` gives random numbers for seeds that nobody gave.
    ///
    /// # Errors
    /// Everything that is wrong with the values.
    pub fn fill(
        &self,
        values: &Map<String, Value>,
        mut draw: impl FnMut() -> u64,
    ) -> Result<Filled, Vec<Wrong>> {
        let mut wrong: Vec<Wrong> = self.unknown(values).collect();
        let mut workflow = self.workflow.clone();
        let mut seeds = BTreeMap::new();
        for parameter in &self.parameters {
            let given = values.get(&parameter.name).filter(|value| !value.is_null());
            match parameter.value(given, &mut draw) {
                Err(reason) => wrong.push(parameter.wrong(given, reason)),
                Ok(None) => {}
                Ok(Some(value)) => {
                    if let (Kind::Seed { .. }, Some(seed)) = (&parameter.kind, value.as_u64()) {
                        seeds.insert(parameter.name.clone(), seed);
                    }
                    parameter.set(&mut workflow, &value);
                }
            }
        }
        if wrong.is_empty() { Ok(Filled { workflow: workflow.to_string(), seeds }) } else { Err(wrong) }
    }

    /// The graph with plausible values throughout, to be judged against the fleet: the defaults, and anything allowed
    /// where there is none.
    #[must_use]
    pub fn sample(&self) -> String {
        self.sampled(None)
    }

    /// The same with each choice of each parameter in turn: the parameter, the choice, the graph.
    pub fn choices(&self) -> impl Iterator<Item = (&str, &Value, String)> {
        self.parameters.iter().flat_map(move |parameter| {
            let choices = match &parameter.kind {
                Kind::Choice(choices) => choices.as_slice(),
                _ => &[],
            };
            choices.iter().map(move |choice| {
                (parameter.name.as_str(), choice, self.sampled(Some((&parameter.name, choice))))
            })
        })
    }

    fn sampled(&self, with: Option<(&str, &Value)>) -> String {
        let mut workflow = self.workflow.clone();
        for parameter in &self.parameters {
            let chosen = with.filter(|(name, _)| *name == parameter.name).map(|(_, value)| value);
            match chosen.or(parameter.default.as_ref()) {
                Some(value) => parameter.set(&mut workflow, value),
                None if parameter.required || matches!(parameter.kind, Kind::Image | Kind::Seed { .. }) => {
                    parameter.set(&mut workflow, &parameter.kind.sample());
                }
                None => {}
            }
        }
        workflow.to_string()
    }

    fn unknown<'a>(&'a self, values: &'a Map<String, Value>) -> impl Iterator<Item = Wrong> + 'a {
        let is_known = |name: &String| self.parameters.iter().any(|parameter| parameter.name == *name);
        values.iter().filter(move |(name, _)| !is_known(name)).map(|(name, value)| {
            let names: Vec<_> = self.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
            Wrong {
                parameter: name.chars().take(SHOWN_CHARS).collect(),
                reason: "there is no such parameter",
                given: Some(shown(value)),
                allowed: names.join(", "),
            }
        })
    }
}

impl Checked {
    /// The value to set; `None`: the graph's own stays.
    fn value(
        &self,
        given: Option<&Value>,
        draw: &mut impl FnMut() -> u64,
    ) -> Result<Option<Value>, &'static str> {
        match (given, &self.kind) {
            (Some(value), kind) => kind.check(value).map(|()| Some(value.clone())),
            (None, _) if self.required => Err("it is required"),
            (None, Kind::Seed { min, max }) if self.default.is_none() => Ok(Some(drawn(*min, *max, draw))),
            (None, _) => Ok(self.default.clone()),
        }
    }

    fn wrong(&self, given: Option<&Value>, reason: &'static str) -> Wrong {
        let parameter = self.name.clone();
        Wrong { parameter, reason, given: given.map(shown), allowed: self.kind.allowed() }
    }

    fn set(&self, workflow: &mut Value, value: &Value) {
        for target in &self.targets {
            match (&self.kind, value) {
                (Kind::Size(_), Value::Array(sides)) => {
                    for (name, side) in ["width", "height"].into_iter().zip(sides) {
                        put(workflow, &format!("{target}/{name}"), side.clone());
                    }
                }
                (Kind::Image, id) => {
                    put(workflow, target, json!({"__type": "core/ASSET", "info": {"id": id}}));
                }
                (_, value) => put(workflow, target, value.clone()),
            }
        }
    }
}

/// The place is there: the definition was checked.
fn put(workflow: &mut Value, pointer: &str, value: Value) {
    if let Some(place) = workflow.pointer_mut(pointer) {
        *place = value;
    }
}

fn drawn(min: u64, max: u64, draw: &mut impl FnMut() -> u64) -> Value {
    let most = max.min(min.saturating_add(DRAWN_BELOW - 1));
    let span = most.abs_diff(min);
    json!(min + if span == u64::MAX { draw() } else { draw() % (span + 1) })
}

fn shown(value: &Value) -> String {
    value.to_string().chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
