//! What is kept for ComfyUI's own API beside what every face keeps.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{JobRow, OutputRow};

/// What a submission by ComfyUI's own API said beside its graph.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NativeFacts {
    /// The caller's own id of the job.
    pub prompt_id: String,
    /// Who is told of it by socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Its place among the caller's jobs, lower first (`number`).
    pub number: f64,
    /// `extra_data` without `extra_pnginfo` and without secrets.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
    /// Output nodes that are to run; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<Vec<String>>,
    /// Output nodes of the graph.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// It asked for previews (`preview_method`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview_method: Option<String>,
}

/// A job of that face that has not ended, as it is taken up after a restart.
#[derive(Debug, Clone)]
pub struct OpenNative {
    /// Internal id.
    pub job: Uuid,
    /// Whose.
    pub tenant: u32,
    /// What was said of it.
    pub facts: NativeFacts,
}

/// A job of that face with all that is shown of it.
#[derive(Debug, Clone)]
pub struct NativeJob {
    /// Its row.
    pub row: JobRow,
    /// Its outputs, none before its end.
    pub outputs: Vec<OutputRow>,
    /// The graph, verbatim.
    pub workflow: Arc<str>,
    /// `extra_pnginfo`, JSON object text.
    pub extra_pnginfo: Option<Arc<str>>,
    /// What was said of it.
    pub facts: NativeFacts,
    /// What ComfyUI's history said, JSON.
    pub record: Option<String>,
}

/// Which part of a tenant's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryPage {
    /// From the oldest on, skipping so many; `None`: the newest ones.
    pub offset: Option<u32>,
    /// At most so many.
    pub limit: u32,
}

/// A file that the web editor keeps, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserFile {
    /// Its path, without a slash at either end.
    pub path: String,
    /// Bytes.
    pub size_bytes: u64,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// Milliseconds since the epoch.
    pub modified_at: i64,
}

/// A file with its bytes.
pub type UserFileBytes = (UserFile, Vec<u8>);

/// A file to be kept, with the bounds of its tenant.
#[derive(Debug, Clone)]
pub struct NewUserFile {
    /// Whose.
    pub tenant: u32,
    /// Its path.
    pub path: String,
    /// Its bytes.
    pub body: Vec<u8>,
    /// Whether it may replace one that is there.
    pub overwrite: bool,
    /// Most files of the tenant.
    pub max_files: u32,
    /// Most bytes of all its files.
    pub max_bytes: u64,
    /// Milliseconds since the epoch.
    pub now: i64,
}

/// What became of a change to such files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserFileChange {
    /// Done; the file as it is now.
    Done(UserFile),
    /// There is none of that path.
    NotFound,
    /// There is one already.
    Exists,
    /// Over a bound of the tenant.
    Full,
}
