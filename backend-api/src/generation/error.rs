//! What can go wrong with artworks, split by what the caller will do.

use crate::db::{self, Transient};
use crate::domain::money::Credits;
use crate::gateway_client::{AskError, Refusal};
use crate::money::HoldError;
use crate::wechat::CallError;
use crate::wechat::storage::StorageError;

/// The gateway cannot be asked now.
#[derive(Debug, thiserror::Error)]
#[error("the gateway cannot be asked")]
pub struct GatewayDown(#[from] pub AskError);

/// Why nothing is made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// It is not offered.
    #[error("there is no such template")]
    NoSuchTemplate,
    /// It is offered, but the fleet cannot make it now.
    #[error("the template cannot be used now")]
    Unavailable,
    /// The inputs do not fit the template.
    #[error("{0}")]
    Inputs(String),
    /// The key named another wish before.
    #[error("the key named another wish before")]
    KeyReused,
    /// Too many of this person are in the making.
    #[error("too many artworks are in the making")]
    TooManyOpen,
    /// The words may not be made into a picture.
    #[error("the words are refused")]
    WordsRefused,
    /// An input names a photo that is none of theirs.
    #[error("there is no such photo")]
    NoSuchPhoto,
    /// An input names a photo that is not checked yet.
    #[error("the photo is not ready")]
    PhotoNotReady,
    /// An input names a photo that must not be used.
    #[error("the photo is refused")]
    PhotoRefused,
    /// WeChat does not know the person as one who is here now.
    #[error("the person has to log in again")]
    LoginAgain,
    /// The words cannot be checked now.
    #[error("the words cannot be checked")]
    NoCheck(#[source] CallError),
    /// The person has too little.
    #[error("the person has {available} credits only")]
    NotEnough {
        /// What they have.
        available: Credits,
    },
    /// The gateway will never take it; the credits are back.
    #[error("the gateway refuses the artwork: {}", .0.code)]
    Refused(Refusal),
    /// What is offered is not known now.
    #[error(transparent)]
    Gateway(#[from] GatewayDown),
    /// It may be recorded or not: repeat with the same key.
    #[error(transparent)]
    Database(#[from] db::Error),
}

impl From<HoldError> for CreateError {
    fn from(error: HoldError) -> Self {
        match error {
            HoldError::Insufficient { available } => Self::NotEnough { available },
            HoldError::Conflict { id } => {
                Self::Database(db::Error::Corrupt { id, what: "hold of an artwork".to_owned() })
            }
            HoldError::Database(error) => Self::Database(error),
        }
    }
}

impl Transient for CreateError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_transient())
    }
}

/// Why a photo is not kept, or not shown.
#[derive(Debug, thiserror::Error)]
pub enum PhotoError {
    /// There is none, or it is not theirs.
    #[error("there is no such photo")]
    NotFound,
    /// Photos could not be checked here, so none are taken.
    #[error("no photos are taken here")]
    NotConfigured,
    /// It has too many bytes.
    #[error("the photo is too large")]
    TooLarge,
    /// It is no picture that can be used.
    #[error("{0}")]
    Unfit(&'static str),
    /// The person gave enough of them for a day.
    #[error("too many photos in a day")]
    TooMany,
    /// WeChat does not know the person as one who is here now.
    #[error("the person has to log in again")]
    LoginAgain,
    /// The bucket does not take it now.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The gateway does not take it now.
    #[error(transparent)]
    Gateway(#[from] GatewayDown),
    /// Whether it is kept is not known.
    #[error(transparent)]
    Database(#[from] db::Error),
}

impl From<AskError> for PhotoError {
    fn from(error: AskError) -> Self {
        Self::Gateway(GatewayDown(error))
    }
}

impl Transient for PhotoError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_transient())
    }
}

/// Why something was not done with an artwork.
#[derive(Debug, thiserror::Error)]
pub enum DeedError {
    /// There is none, or it is not theirs.
    #[error("there is no such artwork")]
    NotFound,
    /// It is being made: cancel it first.
    #[error("the artwork is being made")]
    Open,
    /// It has ended: there is nothing to cancel.
    #[error("the artwork has ended")]
    Ended,
    /// Nobody may see it.
    #[error("the artwork is not visible")]
    NotVisible,
    /// The gateway cannot be asked now.
    #[error(transparent)]
    Gateway(#[from] GatewayDown),
    /// It may be done or not: repeat.
    #[error(transparent)]
    Database(#[from] db::Error),
}

impl Transient for DeedError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_transient())
    }
}
