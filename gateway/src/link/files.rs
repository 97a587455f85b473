//! What the messages say of files: listed by ComfyUI, made of them, stored.

use serde::{Deserialize, Serialize};

use crate::pictures::Policy;

/// What a runner makes of an attempt's files before they are stored (DESIGN §4.14).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Making {
    /// Of pictures.
    pub pictures: Policy,
    /// Deliverables go to another store than the originals: files that stay as they are have to be sent to both.
    pub apart: bool,
}

/// A file that an attempt produced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListedFile {
    /// The node that made it.
    pub node_id: String,
    /// What it is.
    pub kind: OutputKind,
    /// Its name in the caller's eyes: our prefix taken off, folders kept (`portraits/ComfyUI_00001_.png`).
    pub name: String,
    /// Media type, by extension.
    pub content_type: String,
}

/// What an output is (CONTRACT §3: closed).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// A picture.
    Image,
    /// A moving picture.
    Video,
    /// Sound.
    Audio,
    /// Text.
    Text,
    /// Anything else.
    File,
    /// A latent.
    Latent,
}

/// What became of a listed file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredFile {
    /// Length, bytes.
    pub size_bytes: u64,
    /// BLAKE3 of the bytes, lower-case hex.
    pub hash: String,
    /// Media type, sniffed from the bytes where they tell, else by extension.
    pub content_type: String,
    /// Width and height in pixels, where the first bytes of a picture tell them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<(u32, u32)>,
    /// What came with the ticket that it was stored by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

/// What the owner of a bucket calls an object there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Receipt {
    /// Its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// More of it, such as a file id: a JSON object as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<String>,
}

/// What was made of one listed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeOf {
    /// Index of that file in the list.
    pub of: usize,
    /// Width and height of the picture that is shown, pixels, where known.
    pub size: Option<(u32, u32)>,
    /// A few characters that stand for the picture until it is loaded.
    pub placeholder: Option<String>,
    /// The files. Without one that is primary the original is delivered itself.
    pub files: Vec<MadeFile>,
}

/// A file that was made of an original.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeFile {
    /// Name of the variant; `None`: the primary deliverable, which stands for the output.
    pub variant: Option<String>,
    /// Its file name: the original's, with what follows from format and variant.
    pub name: String,
    /// Media type.
    pub content_type: String,
    /// Length, bytes.
    pub size_bytes: u64,
    /// BLAKE3 of the bytes, lower-case hex.
    pub hash: String,
    /// Width and height, pixels, where known.
    pub size: Option<(u32, u32)>,
}

/// What the work on the pictures of one attempt cost, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PictureWork {
    /// Waiting for a thread and for memory.
    pub waited_ms: u64,
    /// Decoding, labelling, encoding, reading back.
    pub made_ms: u64,
}
