//! Money on its way back to a payer.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Credits, Fen, OrderId};
use crate::domain::Millis;

/// Names a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RefundId(pub Uuid);

impl RefundId {
    /// The one refund of `order` that somebody calls `key`.
    pub fn under(order: OrderId, key: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("darkroom backend-api refund by key");
        hasher.update(order.0.as_bytes()).update(key.as_bytes());
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

impl fmt::Display for RefundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A refund's name at the platform, the same for each try: a second name would be a second refund.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OutRefundNo(String);

impl OutRefundNo {
    /// The one name of `refund`.
    pub fn of(refund: RefundId) -> Self {
        Self(refund.0.simple().to_string())
    }

    /// The refund a platform names; `None` for a name we never gave.
    pub fn refund(name: &str) -> Option<RefundId> {
        let id = Uuid::try_parse(name).ok().map(RefundId)?;
        (Self::of(id).0 == name).then_some(id)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundState {
    /// Recorded; whether the platform knows it is not known.
    Requested,
    /// The platform took it. That is not yet money returned.
    Processing,
    /// The payer's account does not take it: a person has to act in the merchant console.
    Abnormal,
    /// The payer has it.
    Succeeded,
    /// The platform will not do it.
    Failed,
}

impl RefundState {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Requested, Self::Processing, Self::Abnormal, Self::Succeeded, Self::Failed];

    /// The name used in tables and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Processing => "processing",
            Self::Abnormal => "abnormal",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether nothing can change any more.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// One refund of one whole order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// Its name.
    pub id: RefundId,
    /// What was bought.
    pub order: OrderId,
    /// How much goes back.
    pub amount: Fen,
    /// The credits it undoes; nothing when the order had given none.
    pub credits: Credits,
    /// How many of them the user still had; the rest was written off.
    pub reclaimed: Credits,
    /// What the payer reads.
    pub reason: String,
    /// Where it stands.
    pub state: RefundState,
    /// When it was asked for.
    pub created_at: Millis,
    /// When the background has to look at it next; `None`: never again.
    pub due_at: Option<Millis>,
    /// Looks of the background since the last good one.
    pub tries: i32,
}

impl Refund {
    /// Its name at the platform.
    pub fn out_refund_no(&self) -> OutRefundNo {
        OutRefundNo::of(self.id)
    }
}
