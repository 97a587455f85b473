//! Background work: small steps that are found by their time in the database. Any of them may be cut off and is found
//! again; two replicas never take the same one. Nothing depends on when this runs, only on that it runs at all.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use jiff::civil::Date;
use serde::Serialize;
use tokio::time::Instant;
use tracing::{error, warn};
use utoipa::ToSchema;

use super::bills::{BillOptions, beijing_day};
use super::orders::{OrderError, Orders};
use super::receive::give;
use crate::background::Background;
use crate::clock::{millis, now};
use crate::db;
use crate::db::orders::{self as rows, Due};
use crate::domain::Millis;
use crate::domain::money::{Notice, Order, OrderId, OrderState, Refund, RefundId};
use crate::error_chain::chain;

/// Bounds of background work.
#[derive(Debug, Clone)]
pub struct ChoreOptions {
    /// How long one run may take.
    pub run_for: Duration,
    /// Steps of one kind in one run.
    pub batch: u64,
    /// Steps under way at once.
    pub parallel: usize,
    /// A step that is under way is left alone by others for this long.
    pub claim_for: Duration,
    /// After a failed step the next try waits this long, then twice as long, up to six hours.
    pub backoff: Duration,
    /// Requests start a run at most this often; `None`: they start none.
    pub after_requests_every: Option<Duration>,
    /// When and how bills are checked.
    pub bills: BillOptions,
}

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Done {
    /// Orders looked at.
    pub orders: u64,
    /// Refunds carried on.
    pub refunds: u64,
    /// Bills checked.
    pub bills: u64,
    /// Of all, those that have to be tried again later.
    pub later: u64,
    /// Whether more was due than one run takes: run again.
    pub more: bool,
}

#[derive(Clone, Copy)]
enum Chore {
    Order(Due<OrderId>),
    Refund(Due<RefundId>),
}

/// Carries on what was begun.
#[derive(Debug, Clone)]
pub struct Chores {
    orders: Orders,
    options: ChoreOptions,
    /// The day in Beijing on which the bills to be checked were noted.
    expected_on: Arc<Mutex<Option<Date>>>,
    background: Background,
}

impl Chores {
    /// Background work on `orders`.
    pub fn new(orders: Orders, options: ChoreOptions) -> Self {
        let background = Background::new(options.after_requests_every);
        Self { orders, options, expected_on: Arc::default(), background }
    }

    /// One run over everything that is due.
    ///
    /// # Errors
    /// When the database fails before anything was found.
    pub async fn run(&self) -> Result<Done, db::Error> {
        self.background.note_run();
        let deadline = Instant::now() + self.options.run_for;
        let (database, limit) = (&self.orders.database, self.options.batch);
        let orders = database.retry(|| database.due_orders(now(), limit)).await?;
        let refunds = database.retry(|| database.due_refunds(now(), limit)).await?;
        let is_full = |found: usize| u64::try_from(found).is_ok_and(|found| found >= limit);
        let mut done = Done { more: is_full(orders.len()) || is_full(refunds.len()), ..Done::default() };
        let found = orders.into_iter().map(Chore::Order).chain(refunds.into_iter().map(Chore::Refund));
        let mut steps =
            stream::iter(found).map(|chore| self.step(chore)).buffer_unordered(self.options.parallel);
        while let Ok(Some((chore, outcome))) = tokio::time::timeout_at(deadline, steps.next()).await {
            match chore {
                Chore::Order(_) => done.orders += u64::from(outcome.is_some()),
                Chore::Refund(_) => done.refunds += u64::from(outcome.is_some()),
            }
            done.later += u64::from(outcome == Some(false));
        }
        self.bills(deadline, &mut done).await?;
        Ok(done)
    }

    /// One after the other: a bill is much work, and there are a few a day.
    async fn bills(&self, deadline: Instant, done: &mut Done) -> Result<(), db::Error> {
        let (orders, options) = (&self.orders, &self.options);
        let today = beijing_day(now(), 0);
        if *self.expected_on.lock().unwrap_or_else(PoisonError::into_inner) != today {
            orders.expect_bills(&options.bills).await?;
            *self.expected_on.lock().unwrap_or_else(PoisonError::into_inner) = today;
        }
        for bill in orders.database.due_bills(now(), options.batch).await? {
            let check = orders.check_bill(&bill, &options.bills, options.claim_for);
            let Ok(checked) = tokio::time::timeout_at(deadline, check).await else {
                done.more = true;
                break;
            };
            let outcome = self.told("bill", checked);
            done.bills += u64::from(outcome.is_some());
            done.later += u64::from(outcome == Some(false));
        }
        Ok(())
    }

    /// Starts a run beside the caller unless one began a moment ago.
    pub fn nudge(&self) {
        let chores = self.clone();
        self.background.nudge(async move { chores.run_and_log().await });
    }

    /// Runs again and again beside the caller; for processes that have time between requests.
    pub fn run_every(&self, pause: Duration) {
        let chores = self.clone();
        self.background.run_every(pause, move || {
            let chores = chores.clone();
            async move { chores.run_and_log().await }
        });
    }

    /// Ends what runs beside others. A step that it cuts off is found again.
    pub async fn end(&self) {
        self.background.end().await;
    }

    async fn run_and_log(&self) {
        if let Err(error) = self.run().await {
            error!(error = %chain(&error), "background work failed");
        }
    }

    async fn step(&self, chore: Chore) -> (Chore, Option<bool>) {
        let outcome = match chore {
            Chore::Order(due) => self.order(due).await,
            Chore::Refund(due) => self.refund(due).await,
        };
        (chore, outcome)
    }

    /// `None`: somebody else has it. `false`: it has to be tried again.
    async fn order(&self, due: Due<OrderId>) -> Option<bool> {
        let until = now() + millis(self.options.claim_for);
        let outcome = async {
            if !self.orders.database.claim_order(due, until).await? {
                return Ok(None);
            }
            let Some(order) = self.orders.database.find_order(due.id).await? else { return Ok(None) };
            let worked = self.carry_on(&order).await;
            let order = match &worked {
                Ok(order) => order,
                Err(error) => {
                    warn!(order = %due.id, error = %chain(error), "order is looked at again later");
                    &order
                }
            };
            self.orders.database.reschedule_order(due.id, until, self.next_look(order, now())).await?;
            Ok::<_, db::Error>(Some(worked.is_ok()))
        };
        self.told("order", outcome.await)
    }

    async fn refund(&self, due: Due<RefundId>) -> Option<bool> {
        let until = now() + millis(self.options.claim_for);
        let outcome = async {
            if !self.orders.database.claim_refund(due, until).await? {
                return Ok(None);
            }
            let Some(refund) = self.orders.database.find_refund(due.id).await? else { return Ok(None) };
            let worked = self.orders.refunder().push(&refund).await;
            if let Err(error) = &worked {
                warn!(refund = %due.id, error = %chain(error), "refund is tried again later");
            }
            let refund = worked.as_ref().unwrap_or(&refund);
            self.orders.database.reschedule_refund(due.id, until, self.next_push(refund, now())).await?;
            Ok::<_, db::Error>(Some(worked.is_ok()))
        };
        self.told("refund", outcome.await)
    }

    fn told(&self, step: &'static str, outcome: Result<Option<bool>, db::Error>) -> Option<bool> {
        let outcome = outcome.unwrap_or_else(|error| {
            error!(step, error = %chain(&error), "background step failed");
            Some(false)
        });
        if let Some(is_done) = outcome {
            self.orders.metrics.chore(step, is_done);
        }
        outcome
    }

    /// Whatever an order needs next, by its state alone.
    async fn carry_on(&self, order: &Order) -> Result<Order, OrderError> {
        match order.state {
            OrderState::Created | OrderState::Prepaid | OrderState::Unknown => {
                let seen = self.orders.look(order).await?.into_order();
                let is_over = now() >= seen.expires_at && seen.trouble.is_none();
                if seen.state.is_open() && is_over { self.orders.close(&seen).await } else { Ok(seen) }
            }
            OrderState::Closed => Ok(self.orders.look(order).await?.into_order()),
            OrderState::Paid => self.give(order).await,
            OrderState::Fulfilled if order.notice == Notice::Due => self.tell_given(order).await,
            OrderState::Fulfilled | OrderState::Refunding | OrderState::Refunded => Ok(order.clone()),
        }
    }

    async fn give(&self, order: &Order) -> Result<Order, OrderError> {
        let given = Order { state: OrderState::Fulfilled, ..order.clone() };
        let database = &self.orders.database;
        database
            .retry(|| async {
                let tx = database.begin().await?;
                if rows::move_order(&tx, OrderState::Paid, &given).await? {
                    give(&tx, &given, now()).await?;
                }
                database.commit(tx).await
            })
            .await?;
        Ok(given)
    }

    async fn tell_given(&self, order: &Order) -> Result<Order, OrderError> {
        self.orders.rail(order.rail)?.tell_given(order).await?;
        let told = Order { notice: Notice::Given, due_at: None, tries: 0, ..order.clone() };
        let database = &self.orders.database;
        database
            .retry(|| async {
                let tx = database.begin().await?;
                rows::move_order(&tx, order.state, &told).await?;
                database.commit(tx).await
            })
            .await?;
        Ok(told)
    }

    /// When an order is looked at again, if nothing happens meanwhile.
    fn next_look(&self, order: &Order, at: Millis) -> Option<Millis> {
        let pause = self.pause(order.tries);
        let next = match order.state {
            OrderState::Created | OrderState::Prepaid if at < order.expires_at => {
                (at + pause.min(LOOK_AT_LEAST_EVERY)).min(order.expires_at)
            }
            OrderState::Created | OrderState::Prepaid | OrderState::Unknown | OrderState::Paid => at + pause,
            OrderState::Fulfilled if order.notice == Notice::Due => at + pause,
            OrderState::Fulfilled | OrderState::Refunding | OrderState::Refunded | OrderState::Closed => {
                return None;
            }
        };
        (order.tries < TRIES_MAX).then_some(next)
    }

    fn next_push(&self, refund: &Refund, at: Millis) -> Option<Millis> {
        let goes_on = !refund.state.is_ended() && refund.tries < TRIES_MAX;
        goes_on.then(|| at + self.pause(refund.tries))
    }

    /// Once, twice, four times … the first pause.
    fn pause(&self, tries: i32) -> Millis {
        let doublings = u32::try_from(tries.clamp(1, 20) - 1).unwrap_or(0);
        millis(self.options.backoff).saturating_mul(1 << doublings).min(TRY_AT_LEAST_EVERY)
    }
}

const MINUTE: Millis = 60_000;
/// The longest pause between looks at an order that may be paid.
const LOOK_AT_LEAST_EVERY: Millis = 10 * MINUTE;
/// The longest pause between tries of anything else.
const TRY_AT_LEAST_EVERY: Millis = 6 * 60 * MINUTE;
/// After so many tries (some weeks) a person has to act: the row stays as it is.
const TRIES_MAX: i32 = 100;
