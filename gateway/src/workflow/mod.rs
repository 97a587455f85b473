//! Workflows: checked, judged against the fleet's catalogues, analysed for the scheduler, rewritten for an instance.
//! Pure: text and values in, values out; no I/O.

mod catalogue;
mod graph;
mod judge;
mod rewrite;

pub use catalogue::{Catalogue, CatalogueError};
pub use graph::{Graph, Limits, Malformed, Node, NodeInput};
pub use judge::{Judged, NodeProblem, Refused, judge};
pub use rewrite::{Original, PrepareError, Prepared, prepare};
