//! What an attempt made: listed, fetched, restored, hashed, and moved to where its tickets say.
//! Each step may be repeated; files are told apart by (attempt, index).

pub(super) mod deliver;
pub(super) mod ledger;
pub(super) mod list;
pub(super) mod make;
pub(super) mod media;
pub(super) mod pass_by;
pub(super) mod png;
pub(super) mod process;
pub(super) mod sink;
pub(super) mod spool;
pub(super) mod upload;
