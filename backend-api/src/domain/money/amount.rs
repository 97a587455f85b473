//! The two units: fen (a hundredth of a yuan, what people pay) and credits (what pictures cost). Never mixed, never
//! fractions.

use std::fmt;

use serde::{Deserialize, Serialize};

/// No single amount is larger, so that a million of them still sum up within an `i64`.
const AMOUNT_MAX: i64 = 1_000_000_000_000;

macro_rules! amount {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(i64);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);

            /// `None` for a negative amount or one that no business of ours has (over 10^12).
            pub const fn new(amount: i64) -> Option<Self> {
                if 0 <= amount && amount <= AMOUNT_MAX { Some(Self(amount)) } else { None }
            }

            /// The number itself.
            pub const fn get(self) -> i64 {
                self.0
            }

            /// Whether there is nothing.
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }

            /// The smaller of the two.
            #[must_use]
            pub fn at_most(self, bound: Self) -> Self {
                self.min(bound)
            }

            /// What is left after taking `other`; nothing if that is more.
            #[must_use]
            pub fn without(self, other: Self) -> Self {
                Self((self.0 - other.0).max(0))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

amount!(
    /// An amount of money in fen: 100 are one yuan.
    Fen
);
amount!(
    /// An amount of credits.
    Credits
);
