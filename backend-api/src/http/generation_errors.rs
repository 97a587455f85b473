//! What went wrong with artworks, as responses.

use std::time::Duration;

use tracing::{error, warn};

use super::codes;
use super::error::{ApiError, internal, unauthorized};
use crate::error_chain::chain;
use crate::generation::{CreateError, DeedError, GatewayDown, GatewaySignatureError, PhotoError};
use crate::wechat::storage::StorageError;

/// When to repeat what the gateway or WeChat did not answer.
const COME_BACK: Duration = Duration::from_secs(2);
/// When a person who gave enough photos for a day may try again.
const NEXT_PHOTO: Duration = Duration::from_secs(3_600);

impl From<GatewayDown> for ApiError {
    fn from(cause: GatewayDown) -> Self {
        warn!(error = %chain(&cause), "gateway cannot be asked");
        Self::of(codes::GATEWAY_UNAVAILABLE, "pictures cannot be made now: repeat").retry_after(COME_BACK)
    }
}

impl From<CreateError> for ApiError {
    fn from(cause: CreateError) -> Self {
        match cause {
            CreateError::NoSuchTemplate => Self::of(codes::NO_SUCH_TEMPLATE, "there is no such template"),
            CreateError::Unavailable => {
                Self::of(codes::TEMPLATE_UNAVAILABLE, "this template cannot be used now")
                    .retry_after(COME_BACK)
            }
            CreateError::Inputs(message) => Self::of(codes::INVALID_REQUEST, message),
            CreateError::KeyReused => Self::of(codes::KEY_REUSED, "this key named another wish before"),
            CreateError::TooManyOpen => {
                Self::of(codes::TOO_MANY_OPEN_ARTWORKS, "too many pictures are being made: wait for one")
            }
            CreateError::WordsRefused => {
                Self::of(codes::CONTENT_REFUSED, "nothing can be made of these words")
            }
            CreateError::NoSuchPhoto => Self::of(codes::NO_SUCH_PHOTO, "there is no such photo of yours"),
            CreateError::PhotoNotReady => Self::of(codes::PHOTO_NOT_READY, "the photo is not checked yet"),
            CreateError::PhotoRefused => {
                Self::of(codes::CONTENT_REFUSED, "nothing can be made of this photo")
            }
            CreateError::LoginAgain => Self::of(codes::LOGIN_AGAIN, "log in at WeChat again, then repeat"),
            CreateError::NoCheck(cause) if cause.is_passing() => {
                warn!(error = %chain(&cause), "words cannot be checked");
                Self::of(codes::CHECK_UNAVAILABLE, "the words cannot be checked now: repeat")
                    .retry_after(COME_BACK)
            }
            CreateError::NoCheck(cause) => {
                error!(error = %chain(&cause), "words cannot be checked");
                Self::of(codes::WECHAT_MISCONFIGURED, "checks are not set up rightly")
            }
            CreateError::NotEnough { available } => {
                Self::of(codes::NOT_ENOUGH_CREDITS, format!("you have {available} credits"))
            }
            CreateError::Refused(refusal) => Self::of_gateway(refusal.code, refusal.message),
            CreateError::Gateway(cause) => cause.into(),
            CreateError::Database(cause) => cause.into(),
        }
    }
}

impl From<PhotoError> for ApiError {
    fn from(cause: PhotoError) -> Self {
        match cause {
            PhotoError::NotFound => Self::of(codes::NOT_FOUND, "there is no such photo"),
            PhotoError::NotConfigured => Self::of(codes::PHOTOS_NOT_CONFIGURED, "no photos are taken here"),
            PhotoError::TooLarge => Self::of(codes::TOO_LARGE, "the photo is too large"),
            PhotoError::Unfit(message) => Self::of(codes::PHOTO_UNFIT, message),
            PhotoError::TooMany => {
                Self::of(codes::TOO_MANY_PHOTOS, "too many photos in a day").retry_after(NEXT_PHOTO)
            }
            PhotoError::LoginAgain => Self::of(codes::LOGIN_AGAIN, "log in at WeChat again, then repeat"),
            PhotoError::Storage(cause) => cause.into(),
            PhotoError::Gateway(cause) => cause.into(),
            PhotoError::Database(cause) => cause.into(),
        }
    }
}

impl From<DeedError> for ApiError {
    fn from(cause: DeedError) -> Self {
        match cause {
            DeedError::NotFound => Self::of(codes::NOT_FOUND, "there is no such picture"),
            DeedError::Open => Self::of(codes::ARTWORK_OPEN, "the picture is being made"),
            DeedError::Ended => Self::of(codes::ARTWORK_ENDED, "the picture is not being made any more"),
            DeedError::NotVisible => Self::of(codes::ARTWORK_NOT_VISIBLE, "nobody may see the picture"),
            DeedError::Gateway(cause) => cause.into(),
            DeedError::Database(cause) => cause.into(),
        }
    }
}

impl From<GatewaySignatureError> for ApiError {
    fn from(cause: GatewaySignatureError) -> Self {
        match cause {
            GatewaySignatureError::Wrong => unauthorized(),
            GatewaySignatureError::Stale => {
                Self::of(codes::SIGNATURE_STALE, "signed more than five minutes from now")
            }
        }
    }
}

impl From<StorageError> for ApiError {
    fn from(cause: StorageError) -> Self {
        error!(error = %chain(&cause), "storage does not serve");
        match cause {
            StorageError::NotConfigured => {
                Self::of(codes::GENERATION_NOT_CONFIGURED, "no bucket is set up here")
            }
            StorageError::Unfitting => Self::of(codes::INVALID_REQUEST, "files: too many at once"),
            StorageError::NotFound => internal(),
            StorageError::Platform(_) => {
                Self::of(codes::WECHAT_UNAVAILABLE, "WeChat does not answer: repeat").retry_after(COME_BACK)
            }
        }
    }
}
