//! File formats as lists of parts: what is the picture, what is said about it.
//!
//! Nothing here decodes pixels. Stripping and labelling a picture whose pixels stay is done on the parts alone. Each
//! format knows which of its parts make the picture; everything else is metadata, known or not, and so is everything
//! after the picture's end.

pub(super) mod exif;
pub(super) mod gif;
pub(super) mod jpeg;
pub(super) mod png;
pub(super) mod webp;

use super::PictureError;

/// Parts of one file, at most. A file of 64 MiB has a thousand or so.
const MAX_PARTS: usize = 1 << 16;
/// Bytes of a colour profile, at most. Profiles of printers are the largest, with 2 MB or so.
const MAX_PROFILE_BYTES: usize = 4 << 20;

/// A format that we can take apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Png,
    Jpeg,
    Webp,
    Gif,
}

impl Kind {
    pub(super) fn of(content_type: &str) -> Option<Self> {
        match content_type {
            "image/png" => Some(Self::Png),
            "image/jpeg" => Some(Self::Jpeg),
            "image/webp" => Some(Self::Webp),
            "image/gif" => Some(Self::Gif),
            _ => None,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
            Self::Gif => "image/gif",
        }
    }

    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Webp => "webp",
            Self::Gif => "gif",
        }
    }
}

/// What of the original's metadata stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Everything.
    All,
    /// Everything but labels and what may hide one.
    AllButLabels,
    /// Only what the picture needs to look the same.
    Picture,
}

/// What a new file inherits from the original beside its pixels.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    /// Colour profile, uncompressed.
    pub(super) icc: Option<Vec<u8>>,
    /// EXIF from its byte order mark on, with the orientation reset.
    pub(super) exif: Option<Vec<u8>>,
    /// XMP packet.
    pub(super) xmp: Option<Vec<u8>>,
    /// Parts about colours that only the original's own format has, ready to be written into a file of that format.
    pub(super) own_colours: Vec<u8>,
    /// Other parts only the original's own format has, ready to be written into a file of that format.
    pub(super) own: Vec<u8>,
    /// Whether pixel values mean something else than sRGB or the profile says, which only `own_colours` tells.
    pub(super) odd_colours: bool,
}

impl Inherited {
    /// What a file of the same format, or of another one, can hold of it.
    pub(super) fn for_format(&self, same: bool) -> Inherited {
        let own = |parts: &Vec<u8>| if same { parts.clone() } else { Vec::new() };
        Inherited {
            icc: self.icc.clone(),
            exif: self.exif.clone(),
            xmp: self.xmp.clone(),
            own_colours: own(&self.own_colours),
            own: own(&self.own),
            odd_colours: self.odd_colours && !same,
        }
    }

    /// Makes sure that the colours will look the same: drops a profile that viewers would ignore.
    ///
    /// # Errors
    /// [`PictureError::Unsupported`] where the new file cannot say what the pixel values mean.
    pub(super) fn settle_colours(
        &mut self,
        colour: image::ColorType,
        kind: Kind,
    ) -> Result<(), PictureError> {
        if self.odd_colours {
            return Err(PictureError::Unsupported("converting a picture of a gamma or primaries of its own"));
        }
        let Some(icc) = &self.icc else { return Ok(()) };
        let is_profile = icc.len() >= 128 && icc.get(36..40) == Some(b"acsp");
        match (is_profile, icc.get(16..20), colour.has_color()) {
            (true, Some(b"RGB "), true) => Ok(()),
            (true, Some(b"GRAY"), false) if kind != Kind::Webp => Ok(()),
            (true, Some(b"GRAY"), false) => Err(PictureError::Unsupported("grey with a profile as WebP")),
            _ => {
                self.icc = None;
                Ok(())
            }
        }
    }

    /// Nothing private.
    pub(super) fn colours_only(&self) -> Inherited {
        Inherited {
            icc: self.icc.clone(),
            own_colours: self.own_colours.clone(),
            odd_colours: self.odd_colours,
            ..Inherited::default()
        }
    }
}

/// The original with fewer parts and perhaps a label, its pixels untouched.
pub(super) fn rewrite(
    kind: Kind,
    original: &[u8],
    keep: Keep,
    xmp: Option<&str>,
) -> Result<Vec<u8>, PictureError> {
    match kind {
        Kind::Png => png::rewrite(original, keep, xmp),
        Kind::Jpeg => jpeg::rewrite(original, keep, xmp),
        Kind::Webp => webp::rewrite(original, keep, xmp),
        Kind::Gif => gif::rewrite(original, keep),
    }
}

/// What a new picture made from the original's pixels inherits. Profiles come out uncompressed, within a bound.
pub(super) fn inherited(kind: Kind, original: &[u8], keep: Keep) -> Result<Inherited, PictureError> {
    match kind {
        Kind::Png => png::inherited(original, keep),
        Kind::Jpeg => jpeg::inherited(original, keep),
        Kind::Webp => webp::inherited(original, keep),
        Kind::Gif => Ok(Inherited::default()),
    }
}

/// A freshly encoded picture with what it inherits and perhaps a label.
pub(super) fn dress(
    kind: Kind,
    encoded: Vec<u8>,
    inherited: &Inherited,
    xmp: Option<&str>,
) -> Result<Vec<u8>, PictureError> {
    let xmp = xmp.map(str::as_bytes).or(inherited.xmp.as_deref());
    match kind {
        Kind::Png => png::dress(encoded, inherited, xmp),
        Kind::Jpeg => jpeg::dress(encoded, inherited, xmp),
        Kind::Webp => webp::dress(encoded, inherited, xmp),
        Kind::Gif => Ok(encoded),
    }
}

/// Metadata of one file that concerns labels.
#[derive(Debug, Default)]
pub(super) struct Statements {
    /// XMP packets.
    pub(super) xmp: Vec<Vec<u8>>,
    /// EXIF blocks.
    pub(super) exif: Vec<Vec<u8>>,
    /// Texts under the keyword `AIGC` (PNG).
    pub(super) texts: Vec<Vec<u8>>,
    /// Whether there is any part that stripping would remove, apart from XMP.
    pub(super) private: bool,
}

/// Everything in the file that could state a label.
pub(super) fn statements(kind: Kind, bytes: &[u8]) -> Result<Statements, PictureError> {
    match kind {
        Kind::Png => png::statements(bytes),
        Kind::Jpeg => jpeg::statements(bytes),
        Kind::Webp => webp::statements(bytes),
        Kind::Gif => Ok(Statements::default()),
    }
}

/// Whether an EXIF block may state a label (ASCII or UTF-16 text).
pub(super) fn hides_label(exif: &[u8]) -> bool {
    contains(exif, b"AIGC") || contains(exif, b"A\0I\0G\0C")
}

pub(super) fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

fn le24(bytes: &[u8], at: usize) -> Option<u32> {
    let [a, b, c] = *bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes([a, b, c, 0]))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}
