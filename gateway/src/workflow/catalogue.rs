//! What one kind of instance offers: its `/object_info`, read once and shared by hash.

use std::collections::HashMap;
use std::sync::Arc;

use scheduler::Part;
use serde_json::Value;

use super::python::Number;
use super::{object_info, parts};

/// An instance's catalogue.
#[derive(Debug, Clone)]
pub struct Catalogue {
    /// BLAKE3 of the body, lower-case hex.
    pub hash: String,
    /// What the scheduler needs of it: a part for each class and for each choice of an input.
    pub parts: Arc<scheduler::Catalogue>,
    /// The classes by name.
    classes: Arc<HashMap<Box<str>, Class>>,
}

/// A body that is not an `/object_info` answer.
#[derive(Debug, thiserror::Error)]
#[error("not an object_info answer: {0}")]
pub struct CatalogueError(pub String);

impl Catalogue {
    /// Reads an `/object_info` body. A class whose entry is not understood is known by its name alone, so one odd
    /// custom node does not cost an instance its work.
    ///
    /// # Errors
    /// The body is not a JSON object of node classes.
    pub fn read(body: &str) -> Result<Self, CatalogueError> {
        let classes = object_info::read(body)?;
        let hash = blake3::hash(body.as_bytes());
        let mut all: Vec<Part> = classes
            .values()
            .flat_map(|class| std::iter::once(class.part).chain(class.inputs.iter().flat_map(Input::parts)))
            .collect();
        all.sort_unstable();
        all.dedup();
        Ok(Self {
            hash: hash.to_hex().to_string(),
            parts: Arc::new(scheduler::Catalogue {
                id: parts::first_eight(&hash),
                parts: all.into(),
                sizes: Box::default(),
            }),
            classes: Arc::new(classes),
        })
    }

    /// How many node classes it knows.
    #[must_use]
    pub fn class_count(&self) -> usize {
        self.classes.len()
    }

    /// A class by its name.
    pub(super) fn class(&self, name: &str) -> Option<&Class> {
        self.classes.get(name)
    }
}

/// A node class as `/object_info` describes it.
#[derive(Debug)]
pub(super) struct Class {
    /// The part for the class itself.
    pub(super) part: Part,
    /// Whether a prompt may end in it.
    pub(super) output_node: bool,
    /// Types of its outputs; `None` where the entry does not tell.
    pub(super) outputs: Option<Box<[Box<str>]>>,
    /// Its required and optional inputs, in order.
    pub(super) inputs: Box<[Input]>,
}

impl Class {
    /// The declared input that a prompt's `name` is checked by.
    pub(super) fn input(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| &*input.name == name)
    }

    /// Whether ComfyUI looks at a prompt's input of this name: it is declared, or lies under a declared input of a
    /// dynamic kind (`images.image0`).
    pub(super) fn looks_at(&self, name: &str) -> bool {
        let under = |input: &Input| {
            matches!(input.kind, Kind::Dynamic)
                && name.strip_prefix(&*input.name).is_some_and(|rest| rest.starts_with('.'))
        };
        self.inputs.iter().any(|input| &*input.name == name || under(input))
    }
}

/// A declared input.
#[derive(Debug)]
pub(super) struct Input {
    /// Its name.
    pub(super) name: Box<str>,
    /// Whether a prompt must give it.
    pub(super) required: bool,
    /// It names a file of the caller's (`image_upload`, `audio_upload`, `video_upload` or `file_upload`).
    pub(super) upload: bool,
    /// What it takes.
    pub(super) kind: Kind,
}

impl Input {
    /// The parts of its choices. Files of callers are no property of an instance, so they are none.
    fn parts(&self) -> impl Iterator<Item = Part> {
        let choices = match &self.kind {
            Kind::Combo(choices) if !self.upload => Some(choices),
            _ => None,
        };
        choices.into_iter().flat_map(|choices| choices.listed.iter().map(|choice| choice.part))
    }
}

/// What an input takes.
#[derive(Debug)]
pub(super) enum Kind {
    /// A whole number within bounds.
    Int(Bounds),
    /// A number within bounds.
    Float(Bounds),
    /// A text; anything converts to one.
    Text,
    /// A truth value; anything converts to one.
    Boolean,
    /// One of a list.
    Combo(Choices),
    /// One of ComfyUI's dynamic kinds (PROTOCOL §6): class and links are checked, ComfyUI decides the rest.
    Dynamic,
    /// A type that only links carry, or one that we do not know.
    Other(Box<str>),
}

impl Kind {
    /// The type's name where it is plain.
    pub(super) fn type_name(&self) -> Option<&str> {
        match self {
            Self::Int(_) => Some("INT"),
            Self::Float(_) => Some("FLOAT"),
            Self::Text => Some("STRING"),
            Self::Boolean => Some("BOOLEAN"),
            Self::Other(name) => Some(name),
            Self::Combo(_) | Self::Dynamic => None,
        }
    }
}

/// Bounds of a number, inclusive.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    /// Smallest.
    pub(super) min: Option<Number>,
    /// Biggest.
    pub(super) max: Option<Number>,
}

/// The values an input accepts.
#[derive(Debug)]
pub(super) struct Choices {
    /// In ComfyUI's order.
    pub(super) listed: Box<[Choice]>,
    /// Indices of `listed`, by part.
    by_part: Box<[usize]>,
    /// More values than listed may be fine (a `remote` list, or none told).
    pub(super) open: bool,
}

/// One accepted value.
#[derive(Debug)]
pub(super) struct Choice {
    /// Its part.
    pub(super) part: Part,
    /// The value: a text or a number.
    pub(super) value: Value,
}

impl Choices {
    /// Indexes a list.
    pub(super) fn new(listed: Vec<Choice>, open: bool) -> Self {
        let mut by_part: Vec<usize> = (0..listed.len()).collect();
        by_part.sort_by_key(|&at| listed[at].part);
        Self { listed: listed.into(), by_part: by_part.into(), open }
    }

    /// The part of `value` if it is listed.
    pub(super) fn find(&self, class: &str, input: &str, value: &Value) -> Option<Part> {
        let part = parts::value(class, input, value)?;
        self.by_part.binary_search_by_key(&part, |&at| self.listed[at].part).ok().map(|_| part)
    }
}
