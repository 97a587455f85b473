//! Workflows: checked, judged against the fleet's catalogues, analysed for the scheduler, rewritten for an instance.
//! Pure: text and values in, values out; no I/O.
//!
//! The road of a graph: [`Graph::parse`] reads it within bounds → [`judge`] checks it against each distinct
//! [`Catalogue`] as ComfyUI would, and says what it needs and costs → [`prepare`] makes an attempt's prompt of it.

mod apart;
mod asks;
mod catalogue;
mod check;
mod exact;
mod graph;
mod hostile;
mod judge;
mod malformed;
mod models;
mod nesting;
mod object_info;
mod outputs;
mod parts;
mod permits;
mod plan;
mod problems;
mod python;
mod references;
mod refusal;
mod rewrite;
mod shape;
mod trial;

pub use apart::{instance_part, offered_by, only_at};
pub use asks::{Asked, Asks, MEGAPIXEL, asks};
pub use catalogue::{Catalogue, CatalogueError};
pub use graph::{Graph, Limits, Node, NodeInput};
pub use judge::{Judged, judge};
pub use malformed::Malformed;
pub use models::{is_model_file, model_file};
pub use nesting::depth;
pub use object_info::strict as strict_json;
pub use outputs::{Sound, is_known, is_output, output_nodes, sound_without};
pub use parts::names;
pub use permits::{Forbidden, check_rules, forbidden, is_allowed};
pub use problems::{MAX_DEPENDENT_OUTPUTS, NodeProblem, Refused};
pub use rewrite::{Original, PrepareError, Prepared, prepare};
pub use shape::{FAMILIES, family};
