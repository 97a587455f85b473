//! A till of its own on a fresh database, and a rail that says what the test wants.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backend_api::db::Database;
use backend_api::domain::money::{
    Credits, Fen, Item, ItemId, Order, OrderId, Prepared, Refund, RefundState, Shop,
};
use backend_api::domain::{OpenId, UserId};
use backend_api::money::{
    BillError, BillLine, BillOptions, Buyer, ChoreOptions, Chores, Collector, Ledger, Metrics, Offer,
    OfferError, Options, Orders, Payment, RailError, Rails, RefundError, RefundSighting, Sighting,
};
use futures_util::future::BoxFuture;
use jiff::civil::Date;
use sea_orm::{ConnectionTrait as _, DatabaseConnection};
use secrecy::SecretString;
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use crate::engines::Engine;

pub const PRICE: i64 = 600;
pub const CREDITS: i64 = 60;

/// What the platform thinks, and how often it was asked.
#[derive(Debug, Default)]
pub struct Platform {
    pub order: Mutex<Option<Sighting>>,
    pub refund: Mutex<Option<RefundSighting>>,
    pub refuses_refunds: Mutex<bool>,
    pub bill: Mutex<Vec<BillLine>>,
    pub silent: Mutex<bool>,
    pub offers: AtomicUsize,
    pub closed: AtomicUsize,
    pub told: AtomicUsize,
    pub refunds: AtomicUsize,
    pub wants_notice: bool,
}

impl Platform {
    pub fn says(&self, word: Sighting) {
        *self.order.lock().unwrap() = Some(word);
    }

    pub fn says_of_refund(&self, state: RefundState) {
        *self.refund.lock().unwrap() = Some(RefundSighting { state, amount: Fen::new(PRICE) });
    }

    pub fn is_silent(&self, silent: bool) {
        *self.silent.lock().unwrap() = silent;
    }

    fn heard(&self) -> Result<(), RailError> {
        if *self.silent.lock().unwrap() { Err(RailError::Later("silence".into())) } else { Ok(()) }
    }
}

impl Collector for Platform {
    fn offer<'a>(&'a self, order: &'a Order, _: &'a Buyer) -> BoxFuture<'a, Result<Offer, OfferError>> {
        Box::pin(async move {
            self.offers.fetch_add(1, Ordering::SeqCst);
            self.heard().map_err(|_| OfferError::Later("silence".into()))?;
            let prepared = Prepared { prepay_id: "wx1".to_owned(), at: order.created_at };
            Ok(Offer {
                prepared: Some(prepared),
                parameters: json!({"package": order.out_trade_no().as_str()}),
            })
        })
    }

    fn look_up<'a>(&'a self, _: &'a Order) -> BoxFuture<'a, Result<Sighting, RailError>> {
        Box::pin(async move {
            self.heard()?;
            Ok(self.order.lock().unwrap().clone().unwrap_or(Sighting::Unpaid))
        })
    }

    fn close<'a>(&'a self, _: &'a Order) -> BoxFuture<'a, Result<bool, RailError>> {
        Box::pin(async move {
            self.heard()?;
            self.closed.fetch_add(1, Ordering::SeqCst);
            Ok(true)
        })
    }

    fn tell_given<'a>(&'a self, _: &'a Order) -> BoxFuture<'a, Result<(), RailError>> {
        Box::pin(async move {
            self.heard()?;
            self.told.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    }

    fn wants_notice(&self) -> bool {
        self.wants_notice
    }

    fn refund<'a>(
        &'a self,
        _: &'a Order,
        refund: &'a Refund,
    ) -> BoxFuture<'a, Result<RefundSighting, RefundError>> {
        Box::pin(async move {
            self.heard().map_err(|_| RefundError::Later("silence".into()))?;
            if *self.refuses_refunds.lock().unwrap() {
                return Err(RefundError::Refused("never".into()));
            }
            self.refunds.fetch_add(1, Ordering::SeqCst);
            Ok(RefundSighting { state: RefundState::Processing, amount: Some(refund.amount) })
        })
    }

    fn look_up_refund<'a>(
        &'a self,
        _: &'a Order,
        _: &'a Refund,
    ) -> BoxFuture<'a, Result<Option<RefundSighting>, RailError>> {
        Box::pin(async move {
            self.heard()?;
            Ok(*self.refund.lock().unwrap())
        })
    }

    fn bill(&self, _: Date) -> Option<BoxFuture<'_, Result<Vec<BillLine>, BillError>>> {
        Some(Box::pin(async move {
            self.heard().map_err(|_| BillError::Later("silence".into()))?;
            Ok(self.bill.lock().unwrap().clone())
        }))
    }
}

/// Everything about money on one database.
pub struct Till {
    _folder: TempDir,
    pub url: String,
    pub database: Database,
    pub ledger: Ledger,
    pub orders: Orders,
    pub chores: Chores,
    pub platform: Arc<Platform>,
}

pub async fn till(engine: Engine) -> Till {
    till_with(engine, Duration::from_secs(1800), Platform { wants_notice: true, ..Platform::default() }).await
}

pub async fn till_with(engine: Engine, lifetime: Duration, platform: Platform) -> Till {
    let folder = TempDir::new().unwrap();
    let url = engine.fresh(&folder).await;
    let database = Database::open(&crate::engines::options(&url)).await.unwrap();
    let platform = Arc::new(platform);
    let collector: Arc<dyn Collector> = platform.clone();
    let rails = Rails { wechat_pay: Some(collector.clone()), virtual_payment: Some(collector) };
    let options = Options {
        lifetime,
        max_open: 5,
        look_every: Duration::ZERO,
        first_look: Duration::ZERO,
        refund_look: Duration::ZERO,
    };
    let orders = Orders::new(database.clone(), shop(), rails, options, Metrics::new());
    let chores = Chores::new(orders.clone(), chore_options());
    Till { _folder: folder, url, ledger: Ledger::new(database.clone()), database, orders, chores, platform }
}

fn chore_options() -> ChoreOptions {
    ChoreOptions {
        run_for: Duration::from_secs(20),
        batch: 50,
        parallel: 8,
        claim_for: Duration::from_secs(30),
        backoff: Duration::ZERO,
        after_requests_every: None,
        bills: BillOptions { ready_after: Duration::ZERO, days_back: 1, retry_after: Duration::ZERO },
    }
}

fn shop() -> Shop {
    let item = |id: &str, credits| Item {
        id: ItemId::new(id).unwrap(),
        title: "一些".to_owned(),
        price: Fen::new(PRICE).unwrap(),
        credits: Credits::new(credits).unwrap(),
    };
    [item("credits-60", CREDITS), item("lesson", 0)].into_iter().collect()
}

impl Till {
    pub async fn order(&self, user: UserId) -> Order {
        self.orders.place(user, &buyer(), &credits_item(), None).await.unwrap().order
    }

    /// An order that its platform says is paid.
    pub async fn paid(&self, user: UserId) -> Order {
        let order = self.order(user).await;
        self.orders.told(order.id, &paid(order.id)).await.unwrap().into_order()
    }

    /// A paid order of a service.
    pub async fn paid_lesson(&self, user: UserId) -> Order {
        let lesson = ItemId::new("lesson").unwrap();
        let order = self.orders.place(user, &buyer(), &lesson, None).await.unwrap().order;
        self.orders.told(order.id, &paid(order.id)).await.unwrap().into_order()
    }

    pub async fn has(&self, user: UserId) -> (i64, i64) {
        let balance = self.ledger.balance(user).await.unwrap();
        (balance.available.get(), balance.held.get())
    }

    pub async fn find(&self, id: OrderId) -> Order {
        self.database.find_order(id).await.unwrap().unwrap()
    }

    /// The books have to be right after every test.
    pub async fn audit(&self) {
        let audit = self.ledger.audit().await.unwrap();
        assert!(audit.balanced(), "{audit:?}");
    }

    pub async fn sum(&self, account: &str) -> i64 {
        let audit = self.ledger.audit().await.unwrap();
        audit.accounts.iter().filter(|((_, name), _)| name == account).map(|(_, &sum)| sum).sum()
    }

    /// A connection that does not go through backend-api.
    pub async fn beside(&self) -> DatabaseConnection {
        sea_orm::Database::connect(&self.url).await.unwrap()
    }

    pub async fn execute(&self, sql: &str) {
        self.beside().await.execute_unprepared(sql).await.unwrap();
    }
}

pub fn user() -> UserId {
    UserId(Uuid::now_v7())
}

pub fn credits(number: i64) -> Credits {
    Credits::new(number).unwrap()
}

pub fn credits_item() -> ItemId {
    ItemId::new("credits-60").unwrap()
}

pub fn buyer() -> Buyer {
    Buyer { openid: openid("payer"), session_key: Some(SecretString::from("session".to_owned())) }
}

pub fn openid(name: &str) -> OpenId {
    OpenId::new(name)
}

pub fn payment(order: OrderId) -> Payment {
    Payment {
        transaction_id: format!("42{}", order.0.simple()),
        amount: Fen::new(PRICE).unwrap(),
        payer: Some(openid("payer")),
        paid_at: backend_api::clock::now(),
        is_told: false,
    }
}

pub fn paid(order: OrderId) -> Sighting {
    Sighting::Paid(payment(order))
}
