//! What can go wrong with a call to the platform, split by what the caller does next.

use std::fmt;
use std::sync::Arc;

use reqwest::StatusCode;

/// Characters of a message that we pass on.
const MESSAGE_MAX: usize = 256;

/// Why no reply could be used. Cloneable, since callers that waited for one exchange share its end.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// No connection, a lost connection or a time-out.
    #[error("the call to the platform failed")]
    Call(#[source] Arc<reqwest::Error>),
    /// The reply is longer than what we read.
    #[error("the platform's reply is longer than {limit} bytes")]
    TooLong {
        /// The configured bound.
        limit: usize,
    },
    /// The reply is not what the documentation promises.
    #[error("the platform's reply is unreadable")]
    Unreadable(#[source] Arc<serde_json::Error>),
    /// The reply lacks what the documentation promises.
    #[error("the platform's reply has no {0}")]
    Incomplete(&'static str),
    /// The platform named an address without TLS for what nothing else proves.
    #[error("the platform named an address without TLS")]
    Insecure,
    /// A status that decides nothing: a fault of the platform or of something between us.
    #[error("the platform answered {0}")]
    Status(StatusCode),
}

impl From<reqwest::Error> for TransportError {
    /// Forgets the URL: its query may hold a token.
    fn from(error: reqwest::Error) -> Self {
        Self::Call(Arc::new(error.without_url()))
    }
}

impl From<serde_json::Error> for TransportError {
    fn from(error: serde_json::Error) -> Self {
        Self::Unreadable(Arc::new(error))
    }
}

/// The platform's own words for a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `errcode`.
    pub code: i64,
    /// `errmsg`, shortened. For operators: it may name our address or a field, never shown to users.
    pub message: String,
}

impl Refusal {
    pub(super) fn new(code: i64, message: &str) -> Self {
        Self { code, message: message.chars().take(MESSAGE_MAX).collect() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (errcode {})", self.message, self.code)
    }
}

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// No usable reply. Whether the call took effect is unknown: repeat it where a repeat is harmless.
    #[error("the platform gave no usable answer")]
    Unreachable(#[from] TransportError),
    /// The platform is busy or a quota is used up; surely not carried out. Repeat later.
    #[error("the platform is busy: {0}")]
    Busy(Refusal),
    /// App id, secret, address list, permissions or products are not as they have to be. An operator has to act.
    #[error("the platform does not accept our settings: {0}")]
    Misconfigured(Refusal),
    /// No to this call, whenever it is repeated.
    #[error("the platform refuses: {0}")]
    Refused(Refusal),
}

/// The token was refused: renew it once, repeat the call once (FACTS 1.13).
const TOKEN_REFUSED: [i64; 3] = [40001, 40014, 42001];

impl CallError {
    /// By what a caller can do about the code (FACTS 1.12, 1.13, §6.1, §8).
    pub(super) fn from_refusal(refusal: Refusal) -> Self {
        match refusal.code {
            // system busy (of the storage calls: -1000), daily quota, too frequent
            -1 | -1000 | 45009 | 45011 => Self::Busy(refusal),
            // a token that is refused even after renewal, app id, secret, address list, permissions, storage switched off
            40001 | 40013 | 40014 | 40125 | 40164 | 41001 | 41002 | 41004 | 42001 | 48001 | 85088 => {
                Self::Misconfigured(refusal)
            }
            _ => Self::Refused(refusal),
        }
    }

    /// Whether the token of the call was refused.
    pub(super) fn is_token_refused(&self) -> bool {
        self.code().is_some_and(|code| TOKEN_REFUSED.contains(&code))
    }

    /// The platform's code, if it answered with one.
    pub fn code(&self) -> Option<i64> {
        match self {
            Self::Unreachable(_) => None,
            Self::Busy(refusal) | Self::Misconfigured(refusal) | Self::Refused(refusal) => Some(refusal.code),
        }
    }

    /// Whether the same call may be answered otherwise later, without anybody changing anything.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Busy(_))
    }
}
