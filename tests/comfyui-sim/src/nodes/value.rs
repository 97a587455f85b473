//! Values on the links of a graph.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::render::Batch;

/// One output of a node.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    /// A batch of pictures; video is one too.
    Images(Batch),
    /// Noise or a sampled picture, in pixels.
    Latent(Latent),
    /// Weights, by file name.
    Model(Arc<str>),
    /// The words of a prompt.
    Words(Arc<str>),
    /// A number, text or flag.
    Literal(Value),
    /// A branch switched off, with a message for the user perhaps.
    Blocked(Option<String>),
    /// Something nobody looks into.
    Opaque,
}

/// A latent picture; sides in pixels.
#[derive(Clone, Debug)]
pub(crate) struct Latent {
    pub width: u32,
    pub height: u32,
    pub batch: u32,
    pub seed: u64,
    pub words: Arc<str>,
}

impl Data {
    /// As the text nodes print it.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Data::Literal(Value::String(text)) => text.clone(),
            Data::Literal(value) => value.to_string(),
            Data::Words(words) => words.to_string(),
            Data::Images(batch) => {
                let picture = &batch.picture;
                format!("tensor({}, {}, {}, 3)", batch.count, picture.height, picture.width)
            }
            _ => "<object>".to_owned(),
        }
    }
}

/// The result of a node, shared by every later job it is cached for.
#[derive(Debug, Default)]
pub(crate) struct Computed {
    pub outputs: Vec<Data>,
    pub ui: Option<Map<String, Value>>,
}

/// The inputs of a node with links followed.
#[derive(Debug, Default)]
pub(crate) struct Inputs(pub HashMap<String, Data>);

static NULL: Value = Value::Null;

impl Inputs {
    /// An input, opaque when absent.
    pub(crate) fn data(&self, name: &str) -> Data {
        self.0.get(name).cloned().unwrap_or(Data::Opaque)
    }

    /// A literal, null when absent or of another kind.
    pub(crate) fn literal(&self, name: &str) -> &Value {
        match self.0.get(name) {
            Some(Data::Literal(value)) => value,
            _ => &NULL,
        }
    }

    /// A whole number, or this when absent.
    pub(crate) fn integer(&self, name: &str, default: u64) -> u64 {
        self.literal(name).as_u64().unwrap_or(default)
    }

    /// A picture side or a count: a whole number that fits the pixel world.
    pub(crate) fn size(&self, name: &str, default: u32) -> u32 {
        u32::try_from(self.integer(name, u64::from(default))).unwrap_or(default)
    }

    /// A number, or this when absent.
    pub(crate) fn number(&self, name: &str, default: f64) -> f64 {
        self.literal(name).as_f64().unwrap_or(default)
    }

    /// A text, "" when absent.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.literal(name).as_str().unwrap_or("")
    }

    /// The first batch of pictures among the inputs.
    pub(crate) fn images(&self) -> Option<&Batch> {
        ["images", "image", "video", "value", "input"].iter().filter_map(|name| self.0.get(*name)).find_map(
            |data| match data {
                Data::Images(batch) => Some(batch),
                _ => None,
            },
        )
    }

    /// The first latent among the inputs.
    pub(crate) fn latent(&self) -> Option<&Latent> {
        self.0.values().find_map(|data| match data {
            Data::Latent(latent) => Some(latent),
            _ => None,
        })
    }

    /// Every text that reaches this node as a prompt, positive first.
    pub(crate) fn words(&self) -> Arc<str> {
        let mut names: Vec<&String> = self.0.keys().collect();
        names.sort_by_key(|name| (name.as_str() != "positive", name.as_str()));
        let mut words = String::new();
        for name in names {
            if let Some(Data::Words(more)) = self.0.get(name) {
                words.push_str(more);
                words.push('\n');
            }
        }
        words.into()
    }
}
