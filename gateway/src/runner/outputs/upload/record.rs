//! How far an upload in pieces is, beside the spooled file: it outlives the runner. A line more for each part; one that
//! was not written in time is uploaded again.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Fault;
use crate::link::message::Secret;
use crate::link::ticket::Answer;
use crate::runner::outputs::sink::blocking;

/// What the spool does not count.
const SUFFIX: &str = ".upload.json";

/// What was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Nothing was sent yet.
    pub(super) fresh: bool,
    pub(super) place: Place,
    pub(super) parts: BTreeMap<u32, Part>,
}

/// Where the pieces go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    Parts { upload: Secret, part_bytes: u64, size_bytes: u64 },
    Session { url: Secret, chunk_bytes: u64, size_bytes: u64 },
}

/// A part that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) number: u32,
    pub(super) etag: String,
    pub(super) crc64: u64,
}

/// What an earlier call left.
pub(super) async fn load(file: &Path, size_bytes: u64) -> Option<Record> {
    let path = path(file);
    let text = blocking(move || std::fs::read_to_string(path)).await.ok()?;
    let mut lines = text.lines();
    let place: Place = serde_json::from_str(lines.next()?).ok()?;
    let (Place::Parts { size_bytes: begun, .. } | Place::Session { size_bytes: begun, .. }) = &place;
    // a last line may be half a line
    let parts = lines.map_while(|line| serde_json::from_str::<Part>(line).ok());
    let parts = parts.map(|part| (part.number, part)).collect();
    (*begun == size_bytes).then_some(Record { fresh: false, place, parts })
}

/// Notes that an upload was begun.
pub(super) async fn begin(file: &Path, size_bytes: u64, begun: Answer) -> Result<Record, Fault> {
    let place = match begun {
        Answer::Parts { upload, part_bytes } if part_bytes > 0 => {
            Place::Parts { upload, part_bytes, size_bytes }
        }
        Answer::Session { url, chunk_bytes } if chunk_bytes > 0 => {
            Place::Session { url, chunk_bytes, size_bytes }
        }
        _ => return Err(Fault::again("the desk answered something else")),
    };
    let (path, line) = (path(file), line(&place));
    let written = blocking(move || {
        let mut options = std::fs::OpenOptions::new();
        // it holds a right to the bucket
        options.write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(&line)
    });
    written.await.map_err(Fault::Unreadable)?;
    Ok(Record { fresh: true, place, parts: BTreeMap::new() })
}

/// Notes a part that is there.
pub(super) async fn add(file: &Path, part: &Part) {
    let (path, line) = (path(file), line(part));
    let written = blocking(move || std::fs::OpenOptions::new().append(true).open(path)?.write_all(&line));
    if let Err(error) = written.await {
        tracing::warn!(%error, "a part was uploaded and could not be noted");
    }
}

/// Nothing is to be gone on with.
pub(super) async fn forget(file: &Path) {
    let path = path(file);
    // one that stays is of no harm: its upload is gone
    let _ = blocking(move || std::fs::remove_file(path)).await;
}

fn path(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(SUFFIX);
    file.with_file_name(name)
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}
