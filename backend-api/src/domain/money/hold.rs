//! What a picture keeps of its owner's credits while it is being made.

use uuid::Uuid;

use super::Credits;
use crate::domain::UserId;

/// Where a hold stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HoldState {
    /// The picture is being made.
    Open,
    /// It was made: the credits are ours.
    Settled,
    /// It was not: the user has them back.
    Released,
}

impl HoldState {
    /// The name used in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Settled => "settled",
            Self::Released => "released",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Open, Self::Settled, Self::Released].into_iter().find(|state| state.as_str() == name)
    }
}

/// Credits set aside for one picture; its id is the picture's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The picture.
    pub id: Uuid,
    /// Whose credits.
    pub user: UserId,
    /// How many.
    pub credits: Credits,
    /// Where it stands.
    pub state: HoldState,
}
