//! What can go wrong with the gateway, split by what the caller will do.

use std::time::Duration;

use reqwest::StatusCode;

use super::Job;

/// Why no reply could be used.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No connection, a lost connection or a time-out.
    #[error("the call to the gateway failed")]
    Call(#[from] reqwest::Error),
    /// The reply is longer than what we read.
    #[error("the gateway's reply is longer than {limit} bytes")]
    TooLong {
        /// The configured bound.
        limit: usize,
    },
    /// The reply says success but is not what the contract promises.
    #[error("the gateway's reply is unreadable")]
    Unreadable(#[source] serde_json::Error),
    /// A status that decides nothing: a fault of the gateway or of something between us.
    #[error("the gateway answered {status}")]
    Status {
        /// Its status.
        status: StatusCode,
    },
    /// It answered well, but not with a stream.
    #[error("the gateway gives no stream")]
    NoStream,
    /// A stream on which nothing came for too long.
    #[error("the gateway fell silent")]
    Silent,
    /// The configured key has characters that a header cannot carry.
    #[error("the gateway key cannot be sent in a header")]
    Key,
}

/// The gateway's own words for a refusal (RFC 9457), shortened to what we pass on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Stable, for programs.
    pub code: String,
    /// For people; safe to show.
    pub message: String,
}

/// Why a submission got no job.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// This request will never be taken: do not repeat it.
    #[error("the gateway refuses the job: {} ({})", .0.message, .0.code)]
    Invalid(Refusal),
    /// Our key is unknown or not allowed to do this; surely not submitted. An operator has to act.
    #[error("the gateway does not accept our key")]
    Unauthorized,
    /// Full; surely not submitted. Repeat later.
    #[error("the gateway is full")]
    Busy {
        /// Not before this long.
        retry_after: Duration,
    },
    /// Perhaps submitted, perhaps not: repeat the same bytes under the same key.
    #[error("whether the gateway took the job is unknown")]
    Unreachable {
        /// The gateway's wish, if it answered at all.
        retry_after: Option<Duration>,
        /// What happened.
        #[source]
        source: TransportError,
    },
}

/// Why a question about a job has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The gateway has no such job, or not for our key.
    #[error("the gateway does not know the job")]
    NotFound,
    /// Our key is unknown or not allowed to do this. An operator has to act.
    #[error("the gateway does not accept our key")]
    Unauthorized,
    /// This question will never be answered otherwise.
    #[error("the gateway refuses: {} ({})", .0.message, .0.code)]
    Refused(Refusal),
    /// No answer now: ask again.
    #[error("the gateway does not answer")]
    Unavailable {
        /// The gateway's wish, if it answered at all.
        retry_after: Option<Duration>,
        /// What happened.
        #[source]
        source: TransportError,
    },
}

/// Why following stopped before the end of the job.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The deadline came first.
    #[error("the job had not ended by the deadline")]
    StillOpen {
        /// The job at the last poll.
        last: Box<Job>,
    },
    /// The last poll failed.
    #[error(transparent)]
    Ask(#[from] AskError),
}

impl From<TransportError> for SubmitError {
    fn from(source: TransportError) -> Self {
        Self::Unreachable { retry_after: None, source }
    }
}

impl From<TransportError> for AskError {
    fn from(source: TransportError) -> Self {
        Self::Unavailable { retry_after: None, source }
    }
}

impl SubmitError {
    /// Only a problem document speaks for the gateway; the same status from a proxy decides nothing.
    pub(super) fn from_refusal(
        status: StatusCode,
        retry_after: Option<Duration>,
        refusal: Option<Refusal>,
    ) -> Self {
        match (status, refusal) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => Self::Unauthorized,
            (StatusCode::TOO_MANY_REQUESTS, _) => {
                Self::Busy { retry_after: retry_after.unwrap_or(Duration::from_secs(1)) }
            }
            (status, Some(refusal)) if is_final(status) => Self::Invalid(refusal),
            (status, _) => Self::Unreachable { retry_after, source: TransportError::Status { status } },
        }
    }
}

impl AskError {
    pub(super) fn from_refusal(
        status: StatusCode,
        retry_after: Option<Duration>,
        refusal: Option<Refusal>,
    ) -> Self {
        match (status, refusal) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => Self::Unauthorized,
            (StatusCode::NOT_FOUND, Some(_)) => Self::NotFound,
            (status, Some(refusal)) if is_final(status) => Self::Refused(refusal),
            (status, _) => Self::Unavailable { retry_after, source: TransportError::Status { status } },
        }
    }
}

/// Client errors stay, except those that tell of a moment.
fn is_final(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}
