//! The caller's graph becomes this attempt's prompt, and what the attempt made becomes the caller's again
//! (DESIGN §4.9).

use serde_json::Value;

/// A prompt made from a caller's graph.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The graph to send.
    pub prompt: Value,
    /// How to undo what was rewritten.
    pub original: Original,
}

/// The way back to the caller's own words.
#[derive(Debug, Clone, Default)]
pub struct Original {
    /// Folder under which the attempt saves, `<job>/<attempt>`.
    pub folder: String,
    /// What stood where: pointer and the caller's own value.
    pub replaced: Vec<(String, Value)>,
}

/// A graph that cannot be prepared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// The stored text is not a graph.
    #[error("the stored workflow cannot be read: {0}")]
    Unreadable(String),
    /// A staged input has no place in it.
    #[error("the workflow has no place {0} for a staged input")]
    NoSuchPlace(String),
}

/// Prepares a graph: literal `filename_prefix` inputs go under `folder`, references become staged names.
///
/// # Errors
/// See [`PrepareError`].
pub fn prepare(
    _workflow: &str,
    _folder: &str,
    _staged: &[(String, String)],
) -> Result<Prepared, PrepareError> {
    Err(PrepareError::Unreadable("not yet".into()))
}

impl Original {
    /// A file of ComfyUI's listing in the caller's eyes; `None` for the folder when it was not ours.
    #[must_use]
    pub fn name(&self, filename: &str, subfolder: &str) -> String {
        let _ = subfolder;
        filename.to_owned()
    }

    /// Whether the file lies in the folder of this attempt (only then may it be deleted).
    #[must_use]
    pub fn is_ours(&self, _subfolder: &str) -> bool {
        false
    }

    /// Puts the caller's own values back into a graph that ComfyUI embedded in a file.
    pub fn restore(&self, _graph: &mut Value) {}
}
