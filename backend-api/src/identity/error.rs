//! What can go wrong with people, split by what the caller will do.

use super::seal::Unsealable;
use super::wechat::ExchangeError;
use crate::db::{self, Transient};

/// Why somebody is not known, or something of them cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No mini program is configured.
    #[error("no mini program is configured")]
    NoWechat,
    /// The code of WeChat brought nothing.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The token is none of ours, or what it names has ended: log in again.
    #[error("the token is not good, or not any more")]
    NotGood,
    /// The refresh token was used before; its login is ended for both who hold it.
    #[error("the refresh token was used before")]
    Reused,
    /// The session key is missing or replaced: `wx.login` again, then repeat.
    #[error("a new login at WeChat is needed")]
    LoginAgain,
    /// There is no such person, or not any more.
    #[error("there is no such person")]
    Unknown,
    /// Personal data does not open: an operator has to act.
    #[error(transparent)]
    Sealed(#[from] Unsealable),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] db::Error),
}

impl Transient for IdentityError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_transient())
    }
}

/// Why somebody could not leave.
#[derive(Debug, thiserror::Error)]
pub enum LeaveError {
    /// A part still needs them for a while.
    #[error("not now: {}", .0.message)]
    NotNow(NotNow),
    /// The database failed; nothing was erased.
    #[error(transparent)]
    Database(#[from] db::Error),
}

impl Transient for LeaveError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_transient())
    }
}

/// Why a part cannot let a person go yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotNow {
    /// For the person: what to wait for.
    pub message: &'static str,
}
