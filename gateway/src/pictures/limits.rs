//! How much one picture may cost.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::PictureError;

/// Bounds of the work on one original. They are checked against the file's headers before anything is decoded.
///
/// Memory in use at a time is about twice the original's bytes, twelve bytes for each pixel of it (16-bit pixels on their
/// way to 8; more while WebP is coded without loss), and the finished files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of the original, where it is a picture. Other types pass through and are not bounded here.
    pub max_input_bytes: u64,
    /// Width times height.
    pub max_pixels: u64,
    /// Either side, in pixels.
    pub max_edge: u32,
    /// Frames of an animation.
    pub max_frames: u32,
    /// Wall time, looked at between steps: a step that has begun is finished.
    pub max_seconds: u32,
}

impl Default for Limits {
    /// 64 MiB, 8192 x 8192 pixels in all, 16,384 a side, 1,000 frames, one minute.
    fn default() -> Self {
        Self {
            max_input_bytes: 64 << 20,
            max_pixels: 8192 * 8192,
            max_edge: 16_384,
            max_frames: 1000,
            max_seconds: 60,
        }
    }
}

impl Limits {
    pub(super) fn bytes(&self, bytes: &[u8]) -> Result<(), PictureError> {
        if bytes.len() as u64 > self.max_input_bytes {
            return Err(PictureError::TooLarge("more bytes than max_input_bytes"));
        }
        Ok(())
    }

    pub(super) fn size(&self, width: u32, height: u32) -> Result<(), PictureError> {
        if width == 0 || height == 0 {
            return Err(PictureError::Damaged("a side is zero"));
        }
        if width.max(height) > self.max_edge {
            return Err(PictureError::TooLarge("a side is longer than max_edge"));
        }
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(PictureError::TooLarge("more pixels than max_pixels"));
        }
        Ok(())
    }

    pub(super) fn frames(&self, frames: u32) -> Result<(), PictureError> {
        if frames > self.max_frames {
            return Err(PictureError::TooLarge("more frames than max_frames"));
        }
        Ok(())
    }

    pub(super) fn deadline(&self) -> Deadline {
        Deadline(Instant::now() + Duration::from_secs(u64::from(self.max_seconds)))
    }
}

/// When the work on one original must have ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Instant);

impl Deadline {
    pub(super) fn check(self) -> Result<(), PictureError> {
        if Instant::now() > self.0 { Err(PictureError::OutOfTime) } else { Ok(()) }
    }
}
