//! Virtual payment (FACTS §4): what credits for pictures have to be sold by. The client pays with data that we sign;
//! the platform tells of the payment by an event, which [`Virtual::query_order`] confirms before anything is credited.

mod bill;
mod calls;
mod error;
mod sign;

use std::fmt;

use secrecy::SecretString;

pub use bill::{BillColumns, BillError, BillOptions, BillRow, RefundColumns, Unit};
pub use calls::{Balance, DeliveredBy, OrderStatus, RefundOrder, VirtualOrder};
pub use error::VirtualError;
pub use sign::{Purchase, SignedPurchase, What, pay_signature, user_signature};

use super::Platform;

/// Which set of products and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// Real money.
    Production,
    /// The platform's sandbox; not on iOS devices.
    Sandbox,
}

impl Environment {
    /// As the platform writes it.
    pub fn number(self) -> u8 {
        match self {
            Self::Production => 0,
            Self::Sandbox => 1,
        }
    }
}

/// From the console.
#[derive(Debug, Clone)]
pub struct Options {
    /// `offerId`.
    pub offer_id: String,
    /// The key of the same environment.
    pub app_key: SecretString,
    /// Which one.
    pub environment: Environment,
    /// How bills are read; `None`: they are not.
    pub bills: Option<BillOptions>,
}

/// Sells virtual goods. Cheap to clone.
#[derive(Clone)]
pub struct Virtual {
    platform: Platform,
    options: Options,
}

impl fmt::Debug for Virtual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Virtual").field("environment", &self.options.environment).finish_non_exhaustive()
    }
}

impl Virtual {
    /// Over the platform's client.
    pub fn new(platform: Platform, options: Options) -> Self {
        Self { platform, options }
    }

    /// Which environment it sells in: events of the other one are not for us.
    pub fn environment(&self) -> Environment {
        self.options.environment
    }
}
