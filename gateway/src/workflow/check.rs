//! One node's inputs against its class, as ComfyUI validates them (PROTOCOL §2), but never stricter: what the
//! catalogue does not settle is left to the instance.

use std::cmp::Ordering;

use serde_json::Value;

use super::catalogue::{Bounds, Choices, Class, Input, Kind};
use super::graph::{Node, NodeInput};
use super::problems::{NOT_IN_LIST, NodeProblem};
use super::python::{self, Unsure};
use super::references;

/// Most choices that a refusal lists.
const MAX_LISTED: usize = 20;

/// Types of ComfyUI's own that mean the same everywhere. Custom nodes bend others (wildcards under any name), so
/// only two different types of this list are certain not to fit.
const PLAIN_TYPES: [&str; 21] = [
    "AUDIO",
    "BOOLEAN",
    "CLIP",
    "CLIP_VISION",
    "CLIP_VISION_OUTPUT",
    "CONDITIONING",
    "CONTROL_NET",
    "FLOAT",
    "GUIDER",
    "IMAGE",
    "INT",
    "LATENT",
    "MASK",
    "MODEL",
    "NOISE",
    "SAMPLER",
    "SIGMAS",
    "STRING",
    "UPSCALE_MODEL",
    "VAE",
    "VIDEO",
];

/// A node about to be checked.
pub(super) struct Subject<'a> {
    /// The node.
    pub(super) node: &'a Node,
    /// Its class.
    pub(super) class: &'a Class,
    /// Whether the prompt ends in it; ComfyUI names an exception differently then.
    pub(super) is_output: bool,
}

/// Who feeds an input.
pub(super) enum Source<'a> {
    /// No such node.
    Missing,
    /// A node of this class.
    Class(&'a Class),
}

impl Subject<'_> {
    /// Checks every input that ComfyUI would look at; unknown ones it ignores. `source` finds who feeds the input at
    /// an index.
    pub(super) fn check<'c>(&self, source: impl Fn(usize) -> Source<'c>, found: &mut Vec<NodeProblem>) {
        for input in &self.class.inputs {
            let given = self.node.inputs.iter().position(|(name, _)| **name == *input.name);
            match given {
                Some(at) => self.check_given(input, at, &source, found),
                None if input.required && !matches!(input.kind, Kind::Dynamic) => {
                    found.push(self.problem(&input.name, "required_input_missing", input.name.to_string()));
                }
                None => {}
            }
        }
        if self.class.inputs.iter().any(|input| matches!(input.kind, Kind::Dynamic)) {
            self.check_links_below_dynamic(&source, found);
        }
    }

    fn check_given<'c>(
        &self,
        input: &Input,
        at: usize,
        source: &impl Fn(usize) -> Source<'c>,
        found: &mut Vec<NodeProblem>,
    ) {
        let problem = match &self.node.inputs[at].1 {
            NodeInput::Link { from, slot } => {
                self.link(input.kind.type_name(), &input.name, from, *slot, source(at))
            }
            NodeInput::Literal(Value::Array(list)) => self.bad_link(&input.name, list, &input.kind),
            NodeInput::Literal(literal) => self.literal(input, python::unwrapped(literal)),
        };
        found.extend(problem);
    }

    fn check_links_below_dynamic<'c>(
        &self,
        source: &impl Fn(usize) -> Source<'c>,
        found: &mut Vec<NodeProblem>,
    ) {
        for (at, (name, given)) in self.node.inputs.iter().enumerate() {
            if let NodeInput::Link { from, slot } = given
                && self.class.input(name).is_none()
                && self.class.looks_at(name)
            {
                found.extend(self.link(None, name, from, *slot, source(at)));
            }
        }
    }

    fn link(
        &self,
        wanted: Option<&str>,
        name: &str,
        from: &str,
        slot: u32,
        source: Source<'_>,
    ) -> Option<NodeProblem> {
        let Source::Class(source) = source else {
            return Some(self.exception(name, format!("'{from}'")));
        };
        let offered = source.outputs.as_ref()?;
        let Some(offered) = usize::try_from(slot).ok().and_then(|slot| offered.get(slot)) else {
            return Some(self.exception(name, format!("node {from} has no output {slot}")));
        };
        let wanted = wanted?;
        let certain = |kind: &str| PLAIN_TYPES.binary_search(&kind).is_ok();
        (certain(offered) && certain(wanted) && **offered != *wanted).then(|| {
            let details = format!("{name}, received_type({offered}) mismatch input_type({wanted})");
            self.problem(name, "return_type_mismatch", details)
        })
    }

    /// A list that is no link: of another length, or its id or slot is of no use as one.
    fn bad_link(&self, name: &str, list: &[Value], kind: &Kind) -> Option<NodeProblem> {
        match (list, kind) {
            (_, Kind::Dynamic) => None,
            ([id, slot], _) => Some(self.exception(name, format!("{id}, {slot}"))),
            _ => Some(self.problem(name, "bad_linked_input", name.to_owned())),
        }
    }

    fn literal(&self, input: &Input, value: &Value) -> Option<NodeProblem> {
        if references::is_asset(value) {
            return None; // becomes the name of a staged file
        }
        match &input.kind {
            Kind::Int(bounds) => self.number(&input.name, value, "INT", python::to_int(value), bounds),
            Kind::Float(bounds) => self.number(&input.name, value, "FLOAT", python::to_float(value), bounds),
            Kind::Combo(choices) if !input.upload => self.choice(&input.name, value, choices),
            Kind::Combo(_) | Kind::Text | Kind::Boolean | Kind::Dynamic | Kind::Other(_) => None,
        }
    }

    fn number(
        &self,
        name: &str,
        value: &Value,
        kind: &str,
        converted: Result<Option<python::Number>, Unsure>,
        bounds: &Bounds,
    ) -> Option<NodeProblem> {
        let Some(number) = converted.ok()? else {
            let details = format!("{name}, {value} is no {kind} value");
            return Some(self.problem(name, "invalid_input_type", details));
        };
        let beyond =
            |bound: Option<python::Number>, side| bound.filter(|&bound| number.compare(bound) == Some(side));
        if let Some(min) = beyond(bounds.min, Ordering::Less) {
            return Some(self.problem(name, "value_smaller_than_min", format!("{name}: {number} < {min}")));
        }
        let max = beyond(bounds.max, Ordering::Greater)?;
        Some(self.problem(name, "value_bigger_than_max", format!("{name}: {number} > {max}")))
    }

    fn choice(&self, name: &str, value: &Value, choices: &Choices) -> Option<NodeProblem> {
        let fine = choices.open
            || references::names_a_file(value)
            || choices.find(&self.node.class_type, name, value).is_some();
        (!fine).then(|| {
            let listed = choices.listed.len();
            let list = if listed > MAX_LISTED {
                format!("(list of length {listed})")
            } else {
                let values: Vec<String> =
                    choices.listed.iter().map(|choice| choice.value.to_string()).collect();
                format!("[{}]", values.join(", "))
            };
            self.problem(name, NOT_IN_LIST, format!("{name}: {value} not in {list}"))
        })
    }

    fn problem(&self, input: &str, kind: &'static str, details: String) -> NodeProblem {
        NodeProblem::new(self.node, Some(input), kind, details)
    }

    /// What makes ComfyUI's own validation raise.
    fn exception(&self, input: &str, details: String) -> NodeProblem {
        let kind =
            if self.is_output { "exception_during_validation" } else { "exception_during_inner_validation" };
        self.problem(input, kind, format!("{input}: {details}"))
    }
}

#[cfg(test)]
mod tests {
    use super::PLAIN_TYPES;

    #[test]
    fn plain_types_are_sorted_for_the_search() {
        assert!(PLAIN_TYPES.is_sorted());
    }
}
