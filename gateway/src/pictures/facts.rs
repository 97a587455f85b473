//! What an original is, read from its headers.

use image::metadata::Orientation;

use super::container::{self, Kind};
use super::{Limits, PictureError, sniff};

/// What is known of an original before anything is decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Media type by the bytes, where they tell, else as given.
    pub content_type: String,
    /// Width as stored, in pixels; zero where it is no picture that we read.
    pub width: u32,
    /// Height as stored, in pixels; zero where it is no picture that we read.
    pub height: u32,
    /// Frames; more than one: it moves.
    pub frames: u32,
    pub(super) orientation: Orientation,
    /// Coded without loss, of a WebP.
    pub(super) lossless: bool,
    /// Why its pixels cannot be read here, if so.
    pub(super) refusal: Option<&'static str>,
}

/// Whether files of that type are taken apart here, and so must be given whole to [`Facts::read`].
#[must_use]
pub fn is_picture(content_type: &str) -> bool {
    Kind::of(content_type).is_some()
}

impl Facts {
    /// Facts of a file that passes as it is, by its media type alone.
    #[must_use]
    pub fn of_type(content_type: &str) -> Self {
        Self {
            content_type: content_type.to_owned(),
            width: 0,
            height: 0,
            frames: 1,
            orientation: Orientation::NoTransforms,
            lossless: false,
            refusal: None,
        }
    }

    /// Reads the headers of a whole file. `content_type` counts where the bytes do not tell.
    ///
    /// # Errors
    /// [`PictureError::Damaged`] where a picture is not what its type says or is cut off, [`PictureError::TooLarge`]
    /// over a limit.
    pub fn read(bytes: &[u8], content_type: &str, limits: &Limits) -> Result<Self, PictureError> {
        let content_type = sniff::stored_type(bytes, content_type);
        let mut facts = Self::of_type(content_type);
        let Some(kind) = Kind::of(content_type) else {
            return Ok(facts);
        };
        limits.bytes(bytes)?;
        let shape = match kind {
            Kind::Png => container::png::shape(bytes)?,
            Kind::Gif => container::gif::shape(bytes)?,
            Kind::Jpeg => {
                let frame = container::jpeg::frame(bytes)?;
                facts.refusal = frame.refusal;
                frame.shape
            }
            Kind::Webp => {
                let frame = container::webp::frame(bytes)?;
                facts.lossless = frame.lossless;
                frame.shape
            }
        };
        limits.size(shape.width, shape.height)?;
        limits.frames(shape.frames)?;
        Ok(Self {
            width: shape.width,
            height: shape.height,
            frames: shape.frames,
            orientation: shape.orientation,
            ..facts
        })
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        Kind::of(&self.content_type)
    }

    pub(super) fn moves(&self) -> bool {
        self.frames > 1 || self.kind() == Some(Kind::Gif)
    }
}
