//! What can go wrong with a call of virtual payment (FACTS 4.11).

use crate::wechat::CallError;

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VirtualError {
    /// The session key is missing or old: the person logs in again.
    #[error("the session key does not count any more")]
    LoginAgain,
    /// An earlier call with the same number did it: as good as done.
    #[error("an earlier call did this already")]
    AlreadyDone,
    /// The amount is more than there is.
    #[error("the amount is more than there is")]
    Insufficient,
    /// It is being made: later.
    #[error("it is not ready yet")]
    NotReady,
    /// The platform does not know the person under our app.
    #[error("the platform does not know the person")]
    UserUnknown,
    /// A wrong signature or an unpublished product: keys or products of the console are not ours. An operator has to act.
    #[error("virtual payment does not accept our settings")]
    Misconfigured(#[source] CallError),
    /// Not about this order.
    #[error(transparent)]
    Platform(CallError),
}

impl From<CallError> for VirtualError {
    fn from(error: CallError) -> Self {
        match error.code() {
            Some(268_490_001) => Self::UserUnknown,
            Some(268_490_003 | 268_490_008) => Self::Misconfigured(error),
            Some(268_490_004 | 268_490_005) => Self::AlreadyDone,
            Some(268_490_006) => Self::Insufficient,
            Some(268_490_009) => Self::LoginAgain,
            Some(268_490_011) => Self::NotReady,
            _ => Self::Platform(error),
        }
    }
}
