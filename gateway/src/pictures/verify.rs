//! The check of every finished file, by reading it back.

use super::container::{self, Kind};
use super::label::{self, AigcLabel, Carrier, Found};
use super::{Facts, Limits, PictureError};

/// What a finished file must be.
pub(super) struct Wanted<'a> {
    /// Stored width and height, in pixels.
    pub(super) size: (u32, u32),
    /// The one label it carries; none: nothing is asked of labels.
    pub(super) label: Option<&'a AigcLabel>,
    /// Whether nothing private may be left in it.
    pub(super) stripped: bool,
}

/// Reads a finished file as a stranger would.
pub(super) fn check(bytes: &[u8], kind: Kind, wanted: &Wanted<'_>) -> Result<(), PictureError> {
    let any = Limits {
        max_input_bytes: u64::MAX,
        max_pixels: u64::MAX,
        max_edge: u32::MAX,
        max_frames: u32::MAX,
        ..Limits::default()
    };
    let facts = Facts::read(bytes, kind.content_type(), &any)
        .map_err(|_| PictureError::Unverified("it cannot be taken apart"))?;
    if facts.kind() != Some(kind) || (facts.width, facts.height) != wanted.size {
        return Err(PictureError::Unverified("it is of another type or size"));
    }
    if kind == Kind::Gif {
        return Ok(());
    }
    let stated = container::statements(kind, bytes)
        .map_err(|_| PictureError::Unverified("it cannot be taken apart"))?;
    if wanted.stripped && (stated.private || stated.xmp.len() > usize::from(wanted.label.is_some())) {
        return Err(PictureError::Unverified("metadata is left"));
    }
    let Some(label) = wanted.label else { return Ok(()) };
    match label::labels_in(bytes)?.as_slice() {
        [Found { carrier: Carrier::Xmp, label: Some(found) }] if found == label => Ok(()),
        [] => Err(PictureError::Unverified("the label is missing")),
        [_] => Err(PictureError::Unverified("the label says something else")),
        _ => Err(PictureError::Unverified("there is more than one label")),
    }
}
