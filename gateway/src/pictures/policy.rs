//! The picture policy: what a tenant wants done to outputs, and what a job may choose within it.

mod check;
mod narrow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use check::PolicyError;
pub use narrow::Choice;

/// Variants of one policy, at most.
pub const MAX_VARIANTS: usize = 8;

/// What happens to an output before callers see it. The default changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Metadata that is embedded in pictures. Unset: the face that a job came through decides
    /// ([`Policy::or_metadata`]); then also the job may choose either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// Format of the primary deliverable.
    pub format: Encoding,
    /// Further files made from each picture, at most [`MAX_VARIANTS`].
    pub variants: Vec<Variant>,
    /// Whether to compute a BlurHash.
    pub placeholder: bool,
    /// The label of AI-generated pictures; none: no label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<LabelPolicy>,
    /// What becomes of files that cannot carry the wanted label.
    pub unlabelled: Unlabelled,
}

/// Embedded metadata: prompts, workflows, camera data, comments, anything after the picture's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metadata {
    /// Stays where the deliverable's format can hold it.
    Keep,
    /// Goes; colour profile and orientation stay.
    Strip,
}

/// A file format and its settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Encoding {
    /// The format.
    #[serde(rename = "type")]
    pub format: Format,
    /// 1 to 100, for JPEG and lossy WebP. Unset: 90 for JPEG, 80 for WebP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<u8>,
    /// WebP without loss.
    pub lossless: bool,
}

/// A file format that deliverables can have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The original's own. Of a variant of a GIF: PNG.
    #[default]
    AsMade,
    /// PNG, 8 bits a channel.
    Png,
    /// Baseline JPEG; transparent parts become white.
    Jpeg,
    /// WebP.
    Webp,
}

/// One further file: the picture made to fit, never enlarged, never cropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// `[a-z0-9_-]{1,32}`, part of the file's name.
    pub name: String,
    /// Widest, in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_width: Option<u32>,
    /// Highest, in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_height: Option<u32>,
    /// The same bound for both sides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_edge: Option<u32>,
    /// Format of the file.
    #[serde(default)]
    pub format: Encoding,
}

/// The label of AI-generated pictures, visible and in metadata (`docs/PICTURES.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelPolicy {
    /// Name or code of the provider that generates, in the characters that the standard allows.
    pub content_producer: String,
    /// The visible text; it must say both "AI" and "generated".
    #[serde(default = "default_text")]
    pub text: String,
    /// Where the visible text stands.
    #[serde(default)]
    pub corner: Corner,
    /// Whether there is a visible text at all; the label in metadata is always written.
    #[serde(default = "yes")]
    pub visible: bool,
    /// Whether every job is labelled. `false`: a job may choose to go without.
    #[serde(default = "yes")]
    pub required: bool,
}

/// A corner of the picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Corner {
    /// Top left.
    TopLeft,
    /// Top right.
    TopRight,
    /// Bottom left.
    BottomLeft,
    /// Bottom right.
    #[default]
    BottomRight,
}

/// What becomes of files that cannot carry the wanted label.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unlabelled {
    /// The job fails: `label_unsupported`.
    #[default]
    Fail,
    /// They are delivered without.
    Pass,
}

impl Policy {
    /// The policy with that way with metadata where the tenant chose none.
    #[must_use]
    pub fn or_metadata(mut self, default: Metadata) -> Self {
        self.metadata.get_or_insert(default);
        self
    }

    pub(super) fn strips(&self) -> bool {
        self.metadata == Some(Metadata::Strip)
    }
}

impl Encoding {
    /// The settings for a format, quality as usual.
    #[must_use]
    pub fn of(format: Format) -> Self {
        Self { format, ..Self::default() }
    }
}

impl Variant {
    /// The greatest width and height, in pixels.
    pub(super) fn bounds(&self) -> (u32, u32) {
        let edge = self.max_edge.unwrap_or(u32::MAX);
        (self.max_width.unwrap_or(u32::MAX).min(edge), self.max_height.unwrap_or(u32::MAX).min(edge))
    }
}

fn default_text() -> String {
    "AI生成".to_owned()
}

fn yes() -> bool {
    true
}
