//! What WeChat says about people, in identity's words (FACTS 1.12).

use crate::wechat::CallError;
use crate::wechat::platform::{LoginError, PhoneError};

/// Why a code brought nothing, split by what the caller will do.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Wrong, used or too old: the client gets a new one.
    #[error("the code does not count")]
    CodeRefused,
    /// Too many of one person: later.
    #[error("too many logins of this person")]
    TooFrequent,
    /// WeChat takes the person for a risk: no login, and no repeat.
    #[error("WeChat blocks this person")]
    Blocked,
    /// App id, secret or permissions are not as they have to be: an operator has to act.
    #[error("WeChat does not accept our app")]
    Misconfigured(#[source] CallError),
    /// No usable answer now: later, with a new code.
    #[error("WeChat does not answer")]
    Unavailable(#[source] CallError),
}

impl From<LoginError> for ExchangeError {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::CodeRefused => Self::CodeRefused,
            LoginError::TooFrequent => Self::TooFrequent,
            LoginError::Blocked => Self::Blocked,
            LoginError::Platform(cause) => cause.into(),
        }
    }
}

impl From<PhoneError> for ExchangeError {
    fn from(error: PhoneError) -> Self {
        match error {
            PhoneError::CodeRefused => Self::CodeRefused,
            PhoneError::Platform(cause) => cause.into(),
        }
    }
}

impl From<CallError> for ExchangeError {
    /// A refusal that is not about the code is about how we asked.
    fn from(error: CallError) -> Self {
        if error.is_passing() { Self::Unavailable(error) } else { Self::Misconfigured(error) }
    }
}
