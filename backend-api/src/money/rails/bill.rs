//! What a platform's daily bill says, line by line.

use crate::domain::money::{OrderId, RefundId};
use crate::error_chain::BoxError;
use crate::wechat::bill::FileError;

/// A payment or a refund on a bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillLine {
    /// The order; `None` for a name we never gave.
    pub order: Option<OrderId>,
    /// The order's name there.
    pub name: String,
    /// Its price, in fen.
    pub amount_fen: i64,
    /// What the platform keeps, in thousandths of a fen; negative when it gives back.
    pub fee_milli_fen: i64,
    /// Of a refund.
    pub refund: Option<BillRefund>,
}

/// The refund of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillRefund {
    /// The refund; `None` for a name we never gave.
    pub refund: Option<RefundId>,
    /// Its name there.
    pub name: String,
    /// What went back, in fen.
    pub amount_fen: i64,
}

/// Why there is no bill.
#[derive(Debug, thiserror::Error)]
pub enum BillError {
    /// Not now: ask again.
    #[error("the bill cannot be had yet")]
    Later(#[source] BoxError),
    /// Not as we know bills, or longer than what we read: a person has to look.
    #[error("the bill is of no use")]
    Unusable(#[source] BoxError),
}

impl From<FileError> for BillError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Damaged => Self::Later(error.into()),
            FileError::TooLong { .. } | FileError::Unreadable(_) => Self::Unusable(error.into()),
        }
    }
}

/// Lines within a bound. They count only when the bill turned out to be whole.
pub(super) struct Collected {
    lines: Vec<BillLine>,
    limit: usize,
    is_over: bool,
}

impl Collected {
    pub(super) fn new(limit: usize) -> Self {
        Self { lines: Vec::new(), limit, is_over: false }
    }

    pub(super) fn push(&mut self, line: BillLine) {
        if self.lines.len() < self.limit {
            self.lines.push(line);
        } else {
            self.is_over = true;
        }
    }

    pub(super) fn finish(self) -> Result<Vec<BillLine>, BillError> {
        match self.is_over {
            false => Ok(self.lines),
            true => Err(BillError::Unusable(format!("the bill has more than {} rows", self.limit).into())),
        }
    }
}
