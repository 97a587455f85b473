//! Asset records: calls about them, answers, rows.

use uuid::Uuid;

use crate::delivery::Place;

/// A call about assets, decided inside a turn.
#[derive(Debug, Clone)]
pub enum AssetCall {
    /// Bytes that were uploaded and are in the artifact store now.
    Mint(NewAsset),
    /// A new record for bytes the tenant holds.
    FromHash {
        /// The record.
        asset: NewRecord,
        /// BLAKE3, lower-case hex.
        hash: String,
    },
    /// Forgets a record; its bytes stay while anything else holds them.
    Delete {
        /// Whose.
        tenant: u32,
        /// Which.
        id: Uuid,
        /// Milliseconds since the epoch.
        now: i64,
    },
}

/// An asset record without its bytes.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// The record's id.
    pub id: Uuid,
    /// Whose.
    pub tenant: u32,
    /// Name, optionally with folders.
    pub file_path: String,
    /// Media type as the caller says.
    pub content_type: String,
    /// Caller's tags.
    pub tags: Vec<String>,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// Milliseconds since the epoch; `None`: kept.
    pub expires_at: Option<i64>,
}

/// An asset record with freshly uploaded bytes.
#[derive(Debug, Clone)]
pub struct NewAsset {
    /// The record.
    pub record: NewRecord,
    /// BLAKE3, lower-case hex.
    pub hash: String,
    /// Bytes.
    pub size_bytes: u64,
    /// The row of the bytes.
    pub blob: Uuid,
    /// Where the bytes are.
    pub object_key: String,
}

/// The answer to an [`AssetCall`].
#[derive(Debug, Clone)]
pub enum AssetAnswer {
    /// The record is there. `fresh` tells whether it is new; `keep` whether the uploaded object is the one kept (a
    /// dedup hit leaves it unused and its bytes may go).
    Minted {
        /// The record.
        asset: Box<AssetRow>,
        /// Newly made, rather than an identical one that existed.
        fresh: bool,
        /// The uploaded object is in use.
        keep: bool,
    },
    /// The tenant does not hold such bytes.
    BlobNotFound,
    /// Deleted.
    Deleted,
    /// There is no such record.
    NotFound,
    /// An open job has pinned it.
    InUse,
}

/// An asset record, an output or a variant of one, as read.
#[derive(Debug, Clone)]
pub struct AssetRow {
    /// Its id.
    pub id: Uuid,
    /// Whose.
    pub tenant: u32,
    /// BLAKE3, lower-case hex.
    pub hash: String,
    /// Bytes.
    pub size_bytes: u64,
    /// Media type.
    pub content_type: String,
    /// Name.
    pub file_path: String,
    /// Where the bytes are.
    pub object_key: String,
    /// Which store holds them.
    pub place: Place,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// Milliseconds since the epoch; `None`: kept.
    pub expires_at: Option<i64>,
    /// Public id of the job it is an output of.
    pub job: Option<String>,
}
