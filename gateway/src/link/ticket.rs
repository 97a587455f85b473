//! Tickets: the right to move one file's bytes (DESIGN §4.13), and what may be asked about the upload of a large one.

use std::path::PathBuf;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

/// The right to move one file's bytes (DESIGN §4.13).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ticket {
    /// A file of the local artifact store; only between ends that share the folder. To be written beside it under
    /// a temporary name, synced, renamed, and its folder synced.
    File {
        /// Absolute path.
        path: PathBuf,
    },
    /// A request against a bucket.
    Http {
        /// `PUT` or `GET`.
        method: String,
        /// Presigned: a secret, never logged.
        url: Secret,
        /// Headers to send as given.
        headers: Vec<(String, String)>,
        /// Milliseconds since the epoch; after it, ask again.
        expires_at: i64,
    },
    /// A form that is posted to a bucket (`multipart/form-data`).
    Form {
        /// Where to.
        url: Secret,
        /// Its fields, sent in this order; the file is the last, in the field `file`.
        fields: Vec<(String, Secret)>,
        /// Milliseconds since the epoch; after it, ask again.
        expires_at: i64,
    },
    /// One request for a small file, pieces for a large one.
    BySize {
        /// For a file of at most [`Pieces::above_bytes`]; `None`: all go in pieces.
        whole: Option<Box<Ticket>>,
        /// For a larger one.
        pieces: Pieces,
    },
}

/// The right to upload a file in pieces, about which a [`Desk`] is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pieces {
    /// Files larger than that, bytes.
    pub above_bytes: u64,
    /// Names the object to the desk, for a while.
    pub token: Secret,
    /// Where the desk answers [`Ask`]s (`POST`, JSON); `None`: in the runner's own process.
    pub desk: Option<Secret>,
    /// Milliseconds since the epoch; after it, ask for another ticket. What was uploaded stays.
    pub expires_at: i64,
}

/// A value that must not show up in logs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What a runner asks about one upload in pieces. All of it may be repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// To begin.
    Begin {
        /// How long it will be, where that is known.
        size_bytes: Option<u64>,
    },
    /// Where some parts go; at most [`URLS_MAX`].
    Urls {
        /// From [`Answer::Parts`].
        upload: Secret,
        /// From 1.
        numbers: Vec<u32>,
    },
    /// To join the parts.
    Complete {
        /// From [`Answer::Parts`].
        upload: Secret,
        /// In order: number and ETag as the bucket gave it.
        parts: Vec<(u32, String)>,
        /// Length of all of it.
        size_bytes: u64,
        /// CRC64 (ECMA, reflected) of all of it.
        crc64: u64,
    },
    /// To forget the parts.
    Abort {
        /// From [`Answer::Parts`].
        upload: Secret,
    },
    /// What is there under the key.
    Check,
}

/// Most part URLs of one answer.
pub const URLS_MAX: usize = 32;

/// What a desk answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Ask::Begin`]: parts of this length, the last one may be shorter.
    Parts {
        /// Names the upload at the bucket.
        upload: Secret,
        /// Bytes of a part.
        part_bytes: u64,
    },
    /// To [`Ask::Begin`]: chunks one after the other to one URL, which tells how far it is (a resumable upload of
    /// Google Cloud Storage).
    Session {
        /// Where to; good for days.
        url: Secret,
        /// Bytes of a chunk, the last one may be shorter.
        chunk_bytes: u64,
    },
    /// To [`Ask::Urls`], in the order asked: a `PUT` each.
    Urls {
        /// Presigned.
        urls: Vec<Secret>,
        /// Milliseconds since the epoch.
        expires_at: i64,
    },
    /// Done, and compared where the bucket tells enough.
    Done,
    /// To [`Ask::Check`]; to [`Ask::Begin`] where something is there that must not be overwritten.
    There {
        /// Its length; `None`: there is nothing.
        size_bytes: Option<u64>,
        /// MD5 in lower-case hex, where the bucket tells.
        md5: Option<String>,
        /// CRC64, where the bucket tells.
        crc64: Option<u64>,
    },
}

/// Why a desk did not do as it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// The ticket is none, or none any more: get another.
    #[error("the ticket has expired")]
    Expired,
    /// There is no such upload any more, or what it led to was of no use: begin another.
    #[error("the upload is gone: {0}")]
    Gone(String),
    /// It will not do that.
    #[error("{0}")]
    Refused(String),
    /// It cannot now: try again.
    #[error("{0}")]
    NotNow(String),
}

/// Who holds the keys to a bucket, for a runner that uploads in pieces.
pub trait Desk: std::fmt::Debug + Send + Sync {
    /// Asks about the upload of a ticket ([`Pieces::token`]).
    fn ask<'a>(&'a self, token: &'a Secret, ask: Ask) -> BoxFuture<'a, Result<Answer, DeskError>>;
}
