//! Templates: stored workflows with typed parameters. Pure: definitions and values in, graphs out; no I/O, no tenant.
//!
//! The road: a [`Definition`] as its author wrote it → [`Template::check`] finds everything that is wrong with it at
//! once → [`Template::fill`] puts values into the graph, or says of each what is wrong and what is allowed.

mod check;
mod fill;
mod kind;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};
use utoipa::ToSchema;

pub use check::Fault;
pub use fill::{Filled, Wrong};
use kind::Kind;

/// Parameters of one template, at most.
const MAX_PARAMETERS: usize = 64;
/// Places that one parameter sets, at most.
const MAX_TARGETS: usize = 16;
/// Longest name of a parameter, bytes.
const MAX_NAME_BYTES: usize = 64;
/// Choices, or sizes, of one parameter, at most.
const MAX_CHOICES: usize = 200;
/// Longest text where the definition does not say, characters.
const MAX_TEXT_CHARS: u32 = 20_000;
/// Longest side of a size, pixels: what ComfyUI's own inputs take.
const MAX_SIDE: u32 = 16_384;

/// A template as its author writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The graph in ComfyUI's API format.
    pub workflow: Map<String, Value>,
    /// What a caller may set, and where it goes.
    pub parameters: Vec<Parameter>,
}

/// What a caller may set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// 1 to 64 letters, digits, `_` or `-`.
    #[schema(example = "prompt")]
    pub name: String,
    /// What its values are.
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// Where they go: JSON pointers (RFC 6901) to inputs of the graph. For a `size`, pointers to the `inputs` that have
    /// `width` and `height`.
    #[schema(example = json!(["/6/inputs/text"]), min_items = 1, max_items = 16)]
    pub targets: Vec<String>,
    /// What it is where the caller says nothing. Without one the graph's own value stays; a `seed` is drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub default: Option<Value>,
    /// Least `int`, `float` or `seed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub min: Option<Number>,
    /// Greatest `int`, `float` or `seed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub max: Option<Number>,
    /// An `int` or a `float` is so many steps above `min` (above 0 without one).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub step: Option<Number>,
    /// Longest `text`, characters; 20,000 where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
    /// What a `choice` may be: texts, numbers or booleans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<serde_json::Value>>, max_items = 200)]
    pub choices: Option<Vec<Value>>,
    /// What a `size` may be: pairs of width and height.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!([[1024, 1024], [832, 1216]]), max_items = 200)]
    pub sizes: Option<Vec<[u32; 2]>>,
    /// The caller must give it.
    #[serde(default)]
    pub required: bool,
}

/// What the values of a parameter are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ValueType {
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// Text.
    Text,
    /// Yes or no.
    Bool,
    /// One of several values.
    Choice,
    /// The id of an asset or an output of the tenant.
    Image,
    /// A whole number that is drawn at random where the caller gives none.
    Seed,
    /// Width and height, one of several pairs.
    Size,
}

/// A template that was checked.
#[derive(Debug, Clone)]
pub struct Template {
    workflow: Value,
    parameters: Vec<Checked>,
}

/// A parameter that was checked.
#[derive(Debug, Clone)]
struct Checked {
    name: String,
    kind: Kind,
    targets: Vec<String>,
    default: Option<Value>,
    required: bool,
}
