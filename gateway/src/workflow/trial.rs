//! One graph against one catalogue.

use std::collections::HashSet;
use std::sync::Arc;

use scheduler::{Part, Requirement};

use super::catalogue::{Catalogue, Class, Kind};
use super::check::{Source, Subject};
use super::graph::{Graph, NodeInput};
use super::models::{self, Model};
use super::outputs::{Left, executed};
use super::problems::{MISSING_CLASS, NO_OUTPUTS, NodeProblem, OUTPUTS_FAILED, Refused};
use super::references::{self, Found};
use super::{Judged, exact, parts, python, shape};

/// Most problems that a refusal lists.
const MAX_PROBLEMS: usize = 100;

/// A graph whose classes a catalogue all knows, some of them outputs.
pub(super) struct Trial<'a> {
    graph: &'a Graph,
    /// The class of each node.
    classes: Vec<&'a Class>,
    /// The nodes that the prompt ends in.
    outputs: Vec<usize>,
}

/// A refusal, its message made from its problems.
pub(super) fn refuse(kind: &'static str, mut problems: Vec<NodeProblem>) -> Refused {
    let first = problems.first().map(NodeProblem::in_words);
    let message = match (first, problems.len()) {
        (None, _) => "the workflow has no output node".to_owned(),
        (Some(first), 1) => first,
        (Some(first), count) => format!("{first} (and {} more)", count - 1),
    };
    problems.truncate(MAX_PROBLEMS);
    Refused { kind, message, missing: Vec::new(), problems, in_part: None }
}

/// What a graph needs while no catalogue is known: its classes, and whatever its literals tell.
pub(super) fn judged_blindly(graph: &Graph, found: Found) -> Judged {
    let everything = vec![true; graph.nodes.len()];
    let parts = graph.nodes.iter().map(|node| parts::class(&node.class_type)).collect();
    let models = models_of(graph, &everything, |_, _| true);
    assemble(graph, &everything, parts, &models, found, true)
}

impl<'a> Trial<'a> {
    /// Looks up the classes.
    ///
    /// # Errors
    /// A class is unknown, or none is an output.
    pub(super) fn open(graph: &'a Graph, catalogue: &'a Catalogue) -> Result<Self, Refused> {
        let mut classes = Vec::with_capacity(graph.nodes.len());
        let mut missing = Vec::new();
        for node in &graph.nodes {
            match catalogue.class(&node.class_type) {
                Some(class) => classes.push(class),
                None => {
                    let name = node.title.as_deref().unwrap_or(&node.class_type);
                    missing.push(NodeProblem::new(node, None, MISSING_CLASS, format!("'{name}'")));
                }
            }
        }
        if !missing.is_empty() {
            return Err(refuse(MISSING_CLASS, missing));
        }
        let outputs: Vec<usize> = (0..classes.len()).filter(|&at| classes[at].output_node).collect();
        if outputs.is_empty() {
            return Err(refuse(NO_OUTPUTS, Vec::new()));
        }
        Ok(Self { graph, classes, outputs })
    }

    /// Checks what the outputs depend on.
    ///
    /// # Errors
    /// Some output does not validate.
    pub(super) fn conclude(&self, shared: &[String]) -> Result<Judged, Refused> {
        let executed = executed(self.graph, &self.outputs);
        let found = self.references(&executed, shared);
        let mut problems = found.problems.clone();
        let validated = self.validated(&self.outputs);
        for at in (0..self.classes.len()).filter(|&at| validated[at]) {
            let mut of_node = Vec::new();
            self.check(at, &mut of_node);
            problems.extend(of_node.into_iter().map(|problem| (at, problem)));
        }
        if problems.is_empty() {
            return Ok(self.judged(&executed, found));
        }
        Err(self.refused(problems, shared))
    }

    fn check(&self, at: usize, found: &mut Vec<NodeProblem>) {
        let subject = Subject {
            node: &self.graph.nodes[at],
            class: self.classes[at],
            is_output: self.classes[at].output_node,
        };
        let sources = &self.graph.plan.sources[at];
        let source = |input: usize| match sources.get(input).copied().flatten() {
            Some(source) => Source::Class(self.classes[source]),
            None => Source::Missing,
        };
        subject.check(source, found);
    }

    /// Which nodes ComfyUI validates: it follows the links of inputs that the class knows.
    fn validated(&self, outputs: &[usize]) -> Vec<bool> {
        reach(self.classes.len(), outputs, |at| self.fed_through_known_inputs(at))
    }

    fn fed_through_known_inputs(&self, at: usize) -> Vec<usize> {
        let inputs = &self.graph.nodes[at].inputs;
        let sources = inputs.iter().zip(&self.graph.plan.sources[at]);
        sources.filter_map(|((name, _), source)| source.filter(|_| self.classes[at].looks_at(name))).collect()
    }

    fn references(&self, executed: &[bool], shared: &[String]) -> Found {
        let mut found = Found::default();
        references::assets(self.graph, &mut found);
        for (at, node) in self.graph.nodes.iter().enumerate().filter(|(at, _)| executed[*at]) {
            references::files(at, node, Some(self.classes[at]), shared, &mut found);
        }
        found
    }

    fn judged(&self, executed: &[bool], found: Found) -> Judged {
        let mut parts: Vec<Part> = self.classes.iter().map(|class| class.part).collect();
        for (at, node) in self.graph.nodes.iter().enumerate().filter(|(at, _)| executed[*at]) {
            for (name, given) in &node.inputs {
                let NodeInput::Literal(literal) = given else { continue };
                if let Some(input) = self.classes[at].input(name)
                    && let Kind::Combo(choices) = &input.kind
                    && !input.upload
                {
                    parts.extend(choices.find(&node.class_type, name, python::unwrapped(literal)));
                }
            }
        }
        let takes_models = |at: usize, name: &str| match self.classes[at].input(name) {
            Some(input) => !input.upload && matches!(input.kind, Kind::Combo(_) | Kind::Dynamic),
            None => self.classes[at].looks_at(name),
        };
        let models = models_of(self.graph, executed, takes_models);
        assemble(self.graph, executed, parts, &models, found, false)
    }

    /// The refusal; where some output is sound, with what that one needs.
    fn refused(&self, problems: Vec<(usize, NodeProblem)>, shared: &[String]) -> Refused {
        let mut faulty = vec![false; self.classes.len()];
        for (at, _) in &problems {
            faulty[*at] = true;
        }
        let left = Left::without(self.graph, &self.outputs, &faulty);
        let (nodes, problems): (Vec<usize>, Vec<NodeProblem>) = problems.into_iter().unzip();
        let mut refused = refuse(OUTPUTS_FAILED, problems);
        for (problem, at) in refused.problems.iter_mut().zip(nodes) {
            problem.dependent_outputs =
                left.broken_by[at].iter().map(|&output| self.graph.nodes[output].id.clone()).collect();
        }
        if !left.outputs.is_empty() {
            let executed = executed(self.graph, &left.outputs);
            let found = self.references(&executed, shared);
            refused.in_part = Some(Box::new(self.judged(&executed, found)));
        }
        refused
    }
}

/// The nodes from which `starts` can be reached, themselves included.
pub(super) fn reach(nodes: usize, starts: &[usize], feeding: impl Fn(usize) -> Vec<usize>) -> Vec<bool> {
    let mut reached = vec![false; nodes];
    let mut next = starts.to_vec();
    while let Some(at) = next.pop() {
        if !std::mem::replace(&mut reached[at], true) {
            next.extend(feeding(at));
        }
    }
    reached
}

fn models_of<'g>(
    graph: &'g Graph,
    executed: &[bool],
    takes_models: impl Fn(usize, &str) -> bool,
) -> Vec<Model<'g>> {
    let mut models: Vec<Model<'g>> = Vec::new();
    let mut known = HashSet::new();
    for (at, node) in graph.nodes.iter().enumerate().filter(|(at, _)| executed[*at]) {
        for (name, input) in &node.inputs {
            if let NodeInput::Literal(literal) = input
                && let Some(model) = models::find(&node.class_type, name, python::unwrapped(literal))
                && takes_models(at, name)
                && known.insert(model.model.id)
            {
                models.push(model);
            }
        }
    }
    models
}

fn assemble(
    graph: &Graph,
    executed: &[bool],
    mut parts: Vec<Part>,
    models: &[Model<'_>],
    found: Found,
    provisional: bool,
) -> Judged {
    parts.sort_unstable();
    parts.dedup();
    let requirement =
        Requirement { parts: parts.into(), models: models.iter().map(|model| model.model).collect() };
    Judged {
        requirement: Arc::new(requirement),
        shape: shape::of(graph, executed, models),
        graph: found.references.is_empty().then(|| exact::id(graph)),
        provisional,
        references: found.references,
        malformed_references: found.malformed,
    }
}
