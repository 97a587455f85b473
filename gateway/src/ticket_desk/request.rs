//! What is asked.

use serde::Serialize;
use uuid::Uuid;

/// The files of one attempt that want to go to a bucket of the caller's.
#[derive(Debug, Serialize)]
pub struct Ask<'a> {
    /// The job.
    pub job_id: Uuid,
    /// The try at it, from 1: the set of another one never counts together with this one.
    pub attempt: u32,
    /// For whom the job is done: the caller's own opaque key.
    pub user: Option<&'a str>,
    /// The files; each one's index is its place here.
    pub files: Vec<AskedFile<'a>>,
}

/// One file.
#[derive(Debug, Serialize)]
pub struct AskedFile<'a> {
    /// Its place in the list.
    pub index: usize,
    /// The output it belongs to, by its id in the job.
    pub output_id: Uuid,
    /// What it is of that output.
    pub role: Role,
    /// Name of the variant.
    pub variant: Option<&'a str>,
    /// Its name in the caller's eyes.
    pub name: &'a str,
    /// Media type.
    pub content_type: &'a str,
    /// Length, bytes.
    pub size_bytes: u64,
    /// `blake3:` and hex.
    pub hash: String,
}

/// What a file is of its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It stands for the output.
    Primary,
    /// A further file.
    Variant,
}
