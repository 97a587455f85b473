//! Double entry: every change of money or credits is a posting whose entries sum to zero in each unit.
//!
//! A positive amount goes into an account, a negative one leaves it. Accounts of users and assets are never negative;
//! accounts where value enters our books (sales, credits sold, credits given) only grow more negative.

use uuid::Uuid;

use crate::domain::UserId;

use super::{Credits, Fen, OrderId, Rail, RefundId};

/// What an amount counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// Money, in fen.
    Fen,
    /// Credits.
    Credits,
}

impl Unit {
    /// The name used in tables and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fen => "fen",
            Self::Credits => "credits",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Fen, Self::Credits].into_iter().find(|unit| unit.as_str() == name)
    }
}

/// Where amounts lie. An account has one unit for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// Credits a user may spend.
    Available(UserId),
    /// Credits a user's open pictures hold.
    Held(UserId),
    /// Where sold credits come from.
    CreditsSold,
    /// Where credits given by an administrator come from.
    CreditsGranted,
    /// Where credits go that pictures cost.
    CreditsUsed,
    /// Credits that were refunded although they were spent: our loss.
    CreditsWrittenOff,
    /// Fen a platform has collected for us and not yet accounted for.
    Receivable(Rail),
    /// Fen a platform's bill confirms as ours.
    Cash(Rail),
    /// Fen a platform keeps for itself.
    Fees(Rail),
    /// Where fen come from: what was sold.
    Sales,
    /// Fen given back to payers.
    Refunds,
}

impl Account {
    /// What its amounts count.
    pub fn unit(self) -> Unit {
        match self {
            Self::Available(_)
            | Self::Held(_)
            | Self::CreditsSold
            | Self::CreditsGranted
            | Self::CreditsUsed
            | Self::CreditsWrittenOff => Unit::Credits,
            Self::Receivable(_) | Self::Cash(_) | Self::Fees(_) | Self::Sales | Self::Refunds => Unit::Fen,
        }
    }

    /// Whose it is; `None` for an account of the house.
    pub fn user(self) -> Option<UserId> {
        match self {
            Self::Available(user) | Self::Held(user) => Some(user),
            _ => None,
        }
    }

    /// The name used in tables and on the wire; the user is a column of its own.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available(_) => "available",
            Self::Held(_) => "held",
            Self::CreditsSold => "credits_sold",
            Self::CreditsGranted => "credits_granted",
            Self::CreditsUsed => "credits_used",
            Self::CreditsWrittenOff => "credits_written_off",
            Self::Receivable(Rail::WechatPay) => "receivable_wechat_pay",
            Self::Receivable(Rail::Virtual) => "receivable_virtual",
            Self::Cash(Rail::WechatPay) => "cash_wechat_pay",
            Self::Cash(Rail::Virtual) => "cash_virtual",
            Self::Fees(Rail::WechatPay) => "fees_wechat_pay",
            Self::Fees(Rail::Virtual) => "fees_virtual",
            Self::Sales => "sales",
            Self::Refunds => "refunds",
        }
    }
}

/// What a posting is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An administrator gave credits.
    Grant,
    /// An order was paid.
    Payment,
    /// A paid order gave its credits.
    Purchase,
    /// A picture holds its price.
    Hold,
    /// A picture was made.
    Settle,
    /// A picture was not made.
    Release,
    /// A refund took the order's credits back.
    Reclaim,
    /// A failed refund gave them again.
    Restore,
    /// Money went back to the payer.
    Refund,
    /// A platform's bill confirmed a payment or refund.
    Settlement,
}

impl Kind {
    /// The name used in tables and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Payment => "payment",
            Self::Purchase => "purchase",
            Self::Hold => "hold",
            Self::Settle => "settle",
            Self::Release => "release",
            Self::Reclaim => "reclaim",
            Self::Restore => "restore",
            Self::Refund => "refund",
            Self::Settlement => "settlement",
        }
    }
}

/// One line of a posting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Which account.
    pub account: Account,
    /// How much goes in; negative: out. In the account's unit.
    pub amount: i64,
}

/// A change of the books: balanced, and under a reference that exists once, so that a repeat posts nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    /// Unique name, derived from what caused it, e.g. `order:<id>`.
    pub reference: String,
    /// What it is about.
    pub kind: Kind,
    /// The order, refund or hold it is about; `None` for a grant.
    pub subject: Option<Uuid>,
    /// Its lines; none is zero.
    pub entries: Vec<Entry>,
}

impl Posting {
    /// An administrator gives `credits`; `reference` is `admin:<their key>`.
    pub fn grant(user: UserId, credits: Credits, reference: &str) -> Self {
        let entries = [(Account::CreditsGranted, -credits.get()), (Account::Available(user), credits.get())];
        Self::of(reference.to_owned(), Kind::Grant, None, entries)
    }

    /// `order` was paid: the platform owes us the price.
    pub fn payment(order: OrderId, rail: Rail, price: Fen) -> Self {
        let entries = [(Account::Sales, -price.get()), (Account::Receivable(rail), price.get())];
        Self::of(format!("payment:{order}"), Kind::Payment, Some(order.0), entries)
    }

    /// The paid `order` gives its credits.
    pub fn purchase(order: OrderId, user: UserId, credits: Credits) -> Self {
        let entries = [(Account::CreditsSold, -credits.get()), (Account::Available(user), credits.get())];
        Self::of(format!("order:{order}"), Kind::Purchase, Some(order.0), entries)
    }

    /// A picture holds its price until it is known whether it was made.
    pub fn hold(hold: Uuid, user: UserId, credits: Credits) -> Self {
        let entries = [(Account::Available(user), -credits.get()), (Account::Held(user), credits.get())];
        Self::of(format!("hold:{hold}"), Kind::Hold, Some(hold), entries)
    }

    /// The picture was made: what it held is ours.
    pub fn settle(hold: Uuid, user: UserId, credits: Credits) -> Self {
        let entries = [(Account::Held(user), -credits.get()), (Account::CreditsUsed, credits.get())];
        Self::of(format!("settle:{hold}"), Kind::Settle, Some(hold), entries)
    }

    /// The picture was not made: the user has it back.
    pub fn release(hold: Uuid, user: UserId, credits: Credits) -> Self {
        let entries = [(Account::Held(user), -credits.get()), (Account::Available(user), credits.get())];
        Self::of(format!("release:{hold}"), Kind::Release, Some(hold), entries)
    }

    /// A refund takes the order's `credits` back: `from_user` of them, the rest is written off.
    pub fn reclaim(refund: RefundId, user: UserId, credits: Credits, from_user: Credits) -> Self {
        let entries = [
            (Account::Available(user), -from_user.get()),
            (Account::CreditsWrittenOff, -credits.without(from_user).get()),
            (Account::CreditsSold, credits.get()),
        ];
        Self::of(format!("reclaim:{refund}"), Kind::Reclaim, Some(refund.0), entries)
    }

    /// The refund failed for good: what [`Self::reclaim`] moved goes back.
    pub fn restore(refund: RefundId, user: UserId, credits: Credits, from_user: Credits) -> Self {
        let entries = [
            (Account::CreditsSold, -credits.get()),
            (Account::Available(user), from_user.get()),
            (Account::CreditsWrittenOff, credits.without(from_user).get()),
        ];
        Self::of(format!("restore:{refund}"), Kind::Restore, Some(refund.0), entries)
    }

    /// The payer has the money back.
    pub fn refund(refund: RefundId, rail: Rail, amount: Fen) -> Self {
        let entries = [(Account::Receivable(rail), -amount.get()), (Account::Refunds, amount.get())];
        Self::of(format!("refund:{refund}"), Kind::Refund, Some(refund.0), entries)
    }

    /// The platform's bill lists the payment of `order` and what the platform kept of it.
    pub fn settlement(order: OrderId, rail: Rail, price: Fen, fee: Fen) -> Self {
        let entries = [
            (Account::Receivable(rail), -price.get()),
            (Account::Cash(rail), price.get() - fee.get()),
            (Account::Fees(rail), fee.get()),
        ];
        Self::of(format!("settlement:{order}"), Kind::Settlement, Some(order.0), entries)
    }

    /// The platform's bill lists a refund and the part of its fee that came back.
    pub fn refund_settlement(refund: RefundId, rail: Rail, amount: Fen, fee: Fen) -> Self {
        let entries = [
            (Account::Receivable(rail), amount.get()),
            (Account::Cash(rail), fee.get() - amount.get()),
            (Account::Fees(rail), -fee.get()),
        ];
        Self::of(format!("settlement:{refund}"), Kind::Settlement, Some(refund.0), entries)
    }

    /// The sum of all entries of `unit`: zero, always.
    pub fn sum(&self, unit: Unit) -> i64 {
        self.entries.iter().filter(|entry| entry.account.unit() == unit).map(|entry| entry.amount).sum()
    }

    /// Whose credits it moves, and by how much: available, then held. No posting moves those of two users.
    pub fn user_change(&self) -> Option<(UserId, i64, i64)> {
        let user = self.entries.iter().find_map(|entry| entry.account.user())?;
        let of = |account| {
            self.entries.iter().filter(|entry| entry.account == account).map(|entry| entry.amount).sum()
        };
        Some((user, of(Account::Available(user)), of(Account::Held(user))))
    }

    fn of<const N: usize>(
        reference: String,
        kind: Kind,
        subject: Option<Uuid>,
        entries: [(Account, i64); N],
    ) -> Self {
        let entries: Vec<_> = entries
            .into_iter()
            .filter(|&(_, amount)| amount != 0)
            .map(|(account, amount)| Entry { account, amount })
            .collect();
        let posting = Self { reference, kind, subject, entries };
        debug_assert!(posting.sum(Unit::Fen) == 0 && posting.sum(Unit::Credits) == 0, "{posting:?}");
        posting
    }
}
