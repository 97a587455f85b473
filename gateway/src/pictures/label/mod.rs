//! The label in metadata (GB 45438-2025 annex E, placed as TC260-PG-20259A says): its value and where it is found.

mod value;
mod xmp;

use super::container::{self, Kind};
use super::{PictureError, sniff};

pub(super) use value::is_allowed_value;
pub use value::{AigcLabel, ProduceId};
pub(super) use xmp::packet;

/// Where in a file a label stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// The property `TC260:AIGC` in XMP.
    Xmp,
    /// A text chunk `AIGC` of a PNG.
    Text,
    /// Somewhere in EXIF.
    Exif,
}

/// A label that a file carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it stands.
    pub carrier: Carrier,
    /// What it says; `None` where that makes no sense.
    pub label: Option<AigcLabel>,
}

/// Every label in the metadata of a PNG, JPEG or WebP file, in any of the known carriers and spellings.
///
/// # Errors
/// [`PictureError::Damaged`] where the file cannot be taken apart.
pub fn labels_in(bytes: &[u8]) -> Result<Vec<Found>, PictureError> {
    let kind = sniff::sniff(bytes).and_then(Kind::of).ok_or(PictureError::Damaged("no picture"))?;
    let stated = container::statements(kind, bytes)?;
    let in_xmp = stated
        .xmp
        .iter()
        .flat_map(|packet| xmp::values(packet))
        .map(|value| Found { carrier: Carrier::Xmp, label: value.as_deref().and_then(AigcLabel::read) });
    let in_text = stated.texts.iter().map(|text| Found {
        carrier: Carrier::Text,
        label: std::str::from_utf8(text).ok().and_then(AigcLabel::read),
    });
    let in_exif = stated
        .exif
        .iter()
        .filter(|exif| container::hides_label(exif))
        .map(|exif| Found { carrier: Carrier::Exif, label: value::within(exif).and_then(AigcLabel::read) });
    Ok(in_xmp.chain(in_text).chain(in_exif).collect())
}
