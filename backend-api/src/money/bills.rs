//! Every day the platform's bill is held against the books. What fits moves from what the platform owes us to cash and
//! fees; what does not is a difference that a person looks at. A check may be repeated at any time: it posts nothing twice.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::{self, TimeZone};
use jiff::{Span, Timestamp};
use tracing::{error, info, warn};
use uuid::Uuid;

use super::orders::Orders;
use super::rails::{BillError, BillLine, BillRefund};
use crate::clock::{millis, now};
use crate::db::bills::{Bill, Difference, FoundDifference, finish_bill};
use crate::db::ledger;
use crate::db::{self, Database};
use crate::domain::Millis;
use crate::domain::money::{Fen, Order, OrderId, Posting, Rail, RefundState};
use crate::error_chain::chain;

/// When and how bills are checked.
#[derive(Debug, Clone)]
pub struct BillOptions {
    /// How long after midnight in Beijing the bill of the day before is asked for; the platform has it from ten.
    pub ready_after: Duration,
    /// How many past days are checked after a long rest.
    pub days_back: i32,
    /// After a failed try the next one waits this long.
    pub retry_after: Duration,
}

/// After so many tries a person has to look.
const TRIES_MAX: i32 = 60;
/// Orders of ours that are read at once.
const PAGE: u64 = 200;
/// Differences of one bill that are stored; more have one cause.
const DIFFERENCES_MAX: usize = 1_000;

/// Days of bills that are shown, and differences.
const DAYS_SHOWN: u64 = 31;
const DIFFERENCES_SHOWN: u64 = 500;

impl Orders {
    /// The newest bills of a rail, and the newest differences.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bills(&self, rail: Rail) -> Result<(Vec<Bill>, Vec<FoundDifference>), db::Error> {
        let database = &self.database;
        let bills = database.retry(|| database.bills(rail, DAYS_SHOWN)).await?;
        let differences = database.retry(|| database.differences(rail, DIFFERENCES_SHOWN)).await?;
        Ok((bills, differences))
    }

    /// Notes which bills have to be checked by now.
    pub(super) async fn expect_bills(&self, options: &BillOptions) -> Result<(), db::Error> {
        for rail in Rail::ALL {
            let Some(collector) = self.rails.find(rail) else { continue };
            for back in 1..=options.days_back {
                let Some(day) = beijing_day(now(), back) else { continue };
                if collector.bill(day).is_none() {
                    break;
                }
                let Some((_, midnight)) = bounds(day) else { continue };
                let due_at = midnight + millis(options.ready_after);
                self.database.expect_bill(rail, &day.to_string(), due_at).await?;
            }
        }
        Ok(())
    }

    /// Checks one bill. `None`: somebody else does. `false`: it has to be tried again.
    pub(super) async fn check_bill(
        &self,
        bill: &Bill,
        options: &BillOptions,
        claim_for: Duration,
    ) -> Result<Option<bool>, db::Error> {
        let Some((rail, day)) = self.rails.find(bill.rail).zip(bill.day.parse::<Date>().ok()) else {
            return Ok(None);
        };
        let Some(read) = rail.bill(day) else { return Ok(None) };
        if !self.database.claim_bill(bill, now() + millis(claim_for)).await? {
            return Ok(None);
        }
        let tried = |state: &str, due_at| Bill { state: state.to_owned(), due_at, ..bill.clone() };
        let (bill, found) = match read.await {
            Ok(lines) => self.compare(bill, day, &lines).await?,
            Err(BillError::Later(cause)) if bill.tries < TRIES_MAX => {
                warn!(rail = bill.rail.as_str(), day = bill.day, error = %chain(&*cause), "bill is asked for again later");
                (tried("due", Some(now() + millis(options.retry_after))), Vec::new())
            }
            Err(BillError::Later(cause) | BillError::Unusable(cause)) => {
                error!(rail = bill.rail.as_str(), day = bill.day, error = %chain(&*cause), "bill is of no use");
                (tried("unusable", None), Vec::new())
            }
        };
        self.store(&bill, &found).await?;
        Ok(Some(bill.state == "checked"))
    }

    async fn store(&self, bill: &Bill, found: &[Difference]) -> Result<(), db::Error> {
        let database = &self.database;
        database
            .retry(|| async {
                let tx = database.begin().await?;
                finish_bill(&tx, bill, found, now()).await?;
                database.commit(tx).await
            })
            .await?;
        if bill.state == "checked" {
            self.metrics.bill(bill.rail, bill.differences);
            match bill.differences {
                0 => {
                    info!(rail = bill.rail.as_str(), day = bill.day, rows = bill.rows, "bill fits the books")
                }
                differences => {
                    error!(
                        rail = bill.rail.as_str(),
                        day = bill.day,
                        differences,
                        "bill does not fit the books"
                    );
                }
            }
        }
        Ok(())
    }

    async fn compare(
        &self,
        bill: &Bill,
        day: Date,
        lines: &[BillLine],
    ) -> Result<(Bill, Vec<Difference>), db::Error> {
        let mut found = BTreeMap::new();
        for line in lines {
            let difference = match &line.refund {
                None => self.payment_line(bill.rail, line).await?,
                Some(refund) => self.refund_line(bill.rail, line, refund).await?,
            };
            note(&mut found, difference);
        }
        self.missing(bill.rail, day, &mut found).await?;
        let count = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
        let differences = count(found.len());
        let found = found.into_values().take(DIFFERENCES_MAX).collect();
        let checked = Bill {
            state: "checked".to_owned(),
            rows: count(lines.len()),
            differences,
            checked_at: Some(now()),
            due_at: None,
            ..bill.clone()
        };
        Ok((checked, found))
    }

    async fn payment_line(&self, rail: Rail, line: &BillLine) -> Result<Option<Difference>, db::Error> {
        let difference = |kind, ours_fen| Difference {
            name: line.name.clone(),
            kind,
            ours_fen,
            theirs_fen: Some(line.amount_fen),
        };
        let order = match line.order {
            Some(id) => self.database.find_order(id).await?,
            None => None,
        };
        let Some(order) = order.filter(|order| order.rail == rail) else {
            return Ok(Some(difference("unknown_order", None)));
        };
        let ours = Some(order.price.get());
        if line.amount_fen != order.price.get() {
            return Ok(Some(difference("another_amount", ours)));
        }
        if !order.state.was_paid() {
            return Ok(Some(difference("not_paid_here", ours)));
        }
        let fee = fee(line.fee_milli_fen, order.price);
        post(&self.database, &Posting::settlement(order.id, rail, order.price, fee)).await?;
        Ok(None)
    }

    async fn refund_line(
        &self,
        rail: Rail,
        line: &BillLine,
        refund: &BillRefund,
    ) -> Result<Option<Difference>, db::Error> {
        let difference = |kind, ours_fen| Difference {
            name: refund.name.clone(),
            kind,
            ours_fen,
            theirs_fen: Some(refund.amount_fen),
        };
        let ours = match refund.refund {
            Some(id) => self.database.find_refund(id).await?,
            None => None,
        };
        let order = match &ours {
            Some(ours) => self.database.find_order(ours.order).await?,
            None => None,
        };
        let Some((ours, _)) = ours.zip(order.filter(|order| order.rail == rail)) else {
            return Ok(Some(difference("unknown_refund", None)));
        };
        if ours.amount.get() != refund.amount_fen {
            return Ok(Some(difference("another_refund_amount", Some(ours.amount.get()))));
        }
        if ours.state != RefundState::Succeeded {
            return Ok(Some(difference("not_refunded_here", Some(ours.amount.get()))));
        }
        let fee = fee(line.fee_milli_fen.saturating_neg(), ours.amount);
        post(&self.database, &Posting::refund_settlement(ours.id, rail, ours.amount, fee)).await?;
        Ok(None)
    }

    /// Orders that were paid on that day by our books, and that the bill does not know.
    async fn missing(
        &self,
        rail: Rail,
        day: Date,
        found: &mut BTreeMap<(String, &'static str), Difference>,
    ) -> Result<(), db::Error> {
        let Some(bounds) = bounds(day) else { return Ok(()) };
        let mut after = OrderId(Uuid::nil());
        loop {
            let page = self.database.orders_paid(rail, bounds, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            for order in &page {
                note(found, self.absent(order, found).await?);
            }
        }
    }

    async fn absent(
        &self,
        order: &Order,
        found: &BTreeMap<(String, &'static str), Difference>,
    ) -> Result<Option<Difference>, db::Error> {
        let name = order.out_trade_no().as_str().to_owned();
        let is_settled = self.database.is_settled(order.id).await?;
        let is_noted = found.contains_key(&(name.clone(), "another_amount"));
        let (ours_fen, theirs_fen) = (Some(order.price.get()), None);
        Ok((!is_settled && !is_noted).then_some(Difference {
            name,
            kind: "not_on_bill",
            ours_fen,
            theirs_fen,
        }))
    }
}

fn note(found: &mut BTreeMap<(String, &'static str), Difference>, difference: Option<Difference>) {
    if let Some(difference) = difference {
        found.insert((difference.name.clone(), difference.kind), difference);
    }
}

async fn post(database: &Database, posting: &Posting) -> Result<(), db::Error> {
    database
        .retry(|| async {
            let tx = database.begin().await?;
            let _ = ledger::post(&tx, posting, now()).await?; // there already is as good
            database.commit(tx).await
        })
        .await
}

/// In whole fen, rounded half up; never negative, never more than the amount.
fn fee(milli_fen: i64, amount: Fen) -> Fen {
    let fen = milli_fen.saturating_add(500).div_euclid(1_000);
    Fen::new(fen.max(0)).unwrap_or(amount).at_most(amount)
}

fn beijing() -> TimeZone {
    TimeZone::fixed(tz::offset(8))
}

/// The day in Beijing, `back` days before now.
pub(super) fn beijing_day(now: Millis, back: i32) -> Option<Date> {
    let today = Timestamp::from_millisecond(now).ok()?.to_zoned(beijing()).date();
    today.checked_sub(Span::new().try_days(back).ok()?).ok()
}

/// The first instant of the day and of the next, in Beijing.
fn bounds(day: Date) -> Option<(Millis, Millis)> {
    let at = |day: Date| Some(day.to_zoned(beijing()).ok()?.timestamp().as_millisecond());
    Some((at(day)?, at(day.tomorrow().ok()?)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use super::*;

    #[test]
    fn a_day_is_beijings_not_utcs() {
        let late_evening_utc: Timestamp = "2026-03-01T17:30:00Z".parse().unwrap();
        let day = beijing_day(late_evening_utc.as_millisecond(), 0).unwrap();
        assert_eq!(day.to_string(), "2026-03-02");
        let (from, until) = bounds(day).unwrap();
        assert_eq!(Timestamp::from_millisecond(from).unwrap().to_string(), "2026-03-01T16:00:00Z");
        assert_eq!(until - from, 86_400_000);
        assert_eq!(beijing_day(late_evening_utc.as_millisecond(), 2).unwrap().to_string(), "2026-02-28");
    }

    #[test]
    fn fees_are_rounded_and_stay_within_the_amount() {
        let price = Fen::new(100).unwrap();
        let rounded = |milli| fee(milli, price).get();
        assert_eq!(
            [rounded(499), rounded(500), rounded(1_499), rounded(-7), rounded(i64::MAX)],
            [0, 1, 1, 0, 100]
        );
    }
}
