//! Why a picture was not made.

/// Failure to make the deliverables of one original. The same bytes with the same policy fail the same way, except
/// [`PictureError::OutOfTime`].
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The bytes are not what they claim to be, or are cut off.
    #[error("damaged picture: {0}")]
    Damaged(&'static str),
    /// The decoder gave up on the bytes.
    #[error("damaged picture")]
    Undecodable(#[source] image::ImageError),
    /// Over a bound of [`super::Limits`], or over what the wanted format can hold.
    #[error("picture too large: {0}")]
    TooLarge(&'static str),
    /// We cannot convert it without changing its colours or its meaning.
    #[error("picture not supported: {0}")]
    Unsupported(&'static str),
    /// The policy wants a label, and this type cannot carry one.
    #[error("files of type {0} cannot carry the label")]
    LabelUnsupported(String),
    /// The visible label does not fit at the height the rule asks for.
    #[error("the label does not fit a picture of {width} x {height} pixels")]
    LabelImpossible {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// A finished file did not read back as it should; it must not be published.
    #[error("the finished file did not pass its check: {0}")]
    Unverified(&'static str),
    /// [`super::Limits::time`] passed.
    #[error("out of time")]
    OutOfTime,
    /// An encoder failed on pixels of ours.
    #[error("cannot encode: {0}")]
    Encode(String),
}

impl PictureError {
    /// The stable code of `docs/ERRORS.md`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Damaged(_) | Self::Undecodable(_) => "picture_damaged",
            Self::TooLarge(_) => "picture_too_large",
            Self::Unsupported(_) => "picture_unsupported",
            Self::LabelUnsupported(_) => "label_unsupported",
            Self::LabelImpossible { .. } => "label_impossible",
            Self::Unverified(_) => "label_failed",
            Self::OutOfTime => "picture_timeout",
            Self::Encode(_) => "picture_failed",
        }
    }
}
