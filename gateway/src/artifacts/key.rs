//! Object keys.

use super::ArtifactError;

/// Longest key; S3 takes 1024 bytes with its prefix.
const KEY_MAX_BYTES: usize = 512;

/// A key of our own making: segments of `[a-z0-9._-]`, none of which begins with a dot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a>(&'a str);

impl<'a> Key<'a> {
    /// Nothing else can name an object, so nothing else is found.
    pub(super) fn new(key: &'a str) -> Result<Self, ArtifactError> {
        let is_ours = key.len() <= KEY_MAX_BYTES && key.split('/').all(is_segment);
        if is_ours { Ok(Self(key)) } else { Err(ArtifactError::NotFound) }
    }

    pub(super) fn as_str(self) -> &'a str {
        self.0
    }
}

fn is_segment(segment: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(is_allowed)
}
