//! What the messages say for ComfyUI's own API: its frames and its history, in the caller's own words.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What a runner has to know of a job that came by ComfyUI's own API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Native {
    /// The caller's id of the job: it stands in frames and history instead of the attempt's.
    pub prompt_id: Arc<str>,
    /// Somebody may be told of each frame.
    pub frames: bool,
    /// The previews it asked for, as ComfyUI calls them; `None`: as the instance is set.
    pub preview_method: Option<String>,
    /// Output nodes that are to run; `None`: all.
    pub targets: Option<Vec<String>>,
}

/// A text frame of ComfyUI's, ready for the job's owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// What it tells.
    pub kind: FrameKind,
    /// `{"type":…,"data":…}`, the type first.
    pub text: String,
}

/// What a frame tells, as far as others have to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrameKind {
    /// The prompt begins to run (`execution_start`).
    Started,
    /// This node begins to run (`executing`).
    Node(String),
    /// How far a node is (`progress`): a picture that came with it may follow.
    Step,
    /// Anything else.
    Other,
}
