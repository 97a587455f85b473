//! Money for administrators and for who starts the background work.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::door::{Access, Door, Rate, Side};
use super::doors::Table;
use super::orders::{idempotency_key, timestamp};
use super::{ApiError, AppState, Caller, codes};
use crate::db::bills::{Bill, FoundDifference};
use crate::domain::UserId;
use crate::domain::money::{Credits, Fen, OrderId, Rail, Refund, RefundId, RefundState};
use crate::generation as artworks;
use crate::money::{Done, Posted, RefundRequest};

/// Longest reason of a refund: 80 characters at the platform.
const REASON_MAX: usize = 80;
/// Longest reference of a grant that is ours.
const REFERENCE_MAX: usize = 100;

pub(super) fn doors(table: &mut Table) {
    table.add(Door::admin(Rate::Write), routes!(grant));
    table.add(Door::admin(Rate::Write), routes!(refund));
    table.add(Door::admin(Rate::Write), routes!(audit));
    table.add(Door::admin(Rate::Read), routes!(bills));
    table.add(Door { access: Access::Trigger, side: Side::Both, rate: Rate::Unlimited }, routes!(chores));
}

/// Credits to be given.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewGrant {
    /// To whom.
    #[schema(value_type = Uuid)]
    user: UserId,
    /// How many.
    #[schema(minimum = 1)]
    credits: i64,
}

/// A grant.
#[derive(Serialize, ToSchema)]
struct Granted {
    /// False when the very same key gave them before.
    is_new: bool,
    /// What the user may spend now.
    available: i64,
}

/// A refund to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRefund {
    /// How much, of a service; without it all that has not gone back.
    #[serde(default)]
    #[schema(minimum = 1)]
    amount_fen: Option<i64>,
    /// What the payer reads.
    #[serde(default)]
    #[schema(max_length = 80)]
    reason: String,
    /// Also when credits of the order are spent: those are written off.
    #[serde(default)]
    even_if_spent: bool,
}

/// Money on its way back.
#[derive(Serialize, ToSchema)]
struct RefundView {
    #[schema(value_type = Uuid)]
    id: RefundId,
    #[schema(value_type = Uuid)]
    order: OrderId,
    amount_fen: i64,
    /// Credits that it takes back.
    credits: i64,
    /// Of those, what the user still had.
    reclaimed: i64,
    /// `requested`, `processing`, `abnormal` (act in the merchant console), `succeeded` or `failed`.
    #[schema(value_type = String, example = "processing")]
    state: RefundState,
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
}

/// The proof of the books.
#[derive(Serialize, ToSchema)]
struct AuditView {
    /// Whether every rule holds.
    balanced: bool,
    /// Rules that do not, and how many rows break each.
    broken: BTreeMap<&'static str, i64>,
    /// The sum of every account, by unit.
    accounts: BTreeMap<String, BTreeMap<String, i64>>,
    /// Pictures that are being made.
    open_holds: i64,
}

/// Which bills.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct WhichBills {
    /// `wechat_pay` or `virtual`.
    #[param(value_type = String, example = "wechat_pay")]
    rail: Rail,
}

/// What the platform's bills say, and what of it does not fit the books.
#[derive(Serialize, ToSchema)]
struct BillsView {
    bills: Vec<BillView>,
    differences: Vec<DifferenceView>,
}

/// One day's bill.
#[derive(Serialize, ToSchema)]
struct BillView {
    #[schema(example = "2026-11-22")]
    day: String,
    /// `due`, `checked` or `unusable`.
    state: String,
    rows: i64,
    differences: i64,
    #[schema(value_type = Option<String>, format = DateTime)]
    checked_at: Option<Timestamp>,
}

/// Something that is not the same in the books and on the bill.
#[derive(Serialize, ToSchema)]
struct DifferenceView {
    day: String,
    /// The platform's name of the order or refund.
    name: String,
    /// See docs/MONEY.md.
    kind: String,
    ours_fen: Option<i64>,
    theirs_fen: Option<i64>,
}

/// What a run of background work did.
#[derive(Serialize, ToSchema)]
struct ChoresView {
    /// Orders looked at.
    orders: u64,
    /// Refunds carried on.
    refunds: u64,
    /// Bills checked.
    bills: u64,
    /// Artworks looked at.
    artworks: u64,
    /// Events of the gateway read.
    events: u64,
    /// Files of deleted artworks removed.
    files: u64,
    /// Of all, those that have to be tried again later.
    later: u64,
    /// Whether more was due than one run takes: run again.
    more: bool,
}

impl ChoresView {
    fn of(money: Done, artworks: artworks::Done) -> Self {
        Self {
            orders: money.orders,
            refunds: money.refunds,
            bills: money.bills,
            artworks: artworks.artworks,
            events: artworks.events,
            files: artworks.files,
            later: money.later + artworks.later,
            more: money.more || artworks.more,
        }
    }
}

/// Gives credits, once for each `Idempotency-Key`.
#[utoipa::path(post, path = "/admin/credits", tag = "admin", request_body = NewGrant, params(
    ("Idempotency-Key" = String, Header, description = "Names this grant; up to 100 visible characters.")),
    responses((status = 200, description = "Given, now or before.", body = Granted)))]
async fn grant(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Json<NewGrant>, JsonRejection>,
) -> Result<Json<Granted>, ApiError> {
    let Json(body) = body?;
    let invalid = |message: &'static str| ApiError::of(codes::INVALID_REQUEST, message);
    let key = idempotency_key(&headers)?
        .filter(|key| key.len() <= REFERENCE_MAX)
        .ok_or_else(|| invalid("Idempotency-Key: 1 to 100 visible characters are expected"))?;
    let credits = Credits::new(body.credits).filter(|credits| !credits.is_zero());
    let credits = credits.ok_or_else(|| invalid("credits: a positive number is expected"))?;
    if state.identity()?.user(body.user).await?.is_none() {
        return Err(ApiError::of(codes::NOT_FOUND, "there is no such person"));
    }
    let posted = state.money.ledger.grant(body.user, credits, &format!("admin:{key}")).await?;
    let balance = state.money.ledger.balance(body.user).await?;
    info!(admin = %caller.user, user = %body.user, %credits, is_new = posted == Posted::Now, "credits granted");
    Ok(Json(Granted { is_new: posted == Posted::Now, available: balance.available.get() }))
}

/// Gives the money of an order back: all that is left of it, or of a service a part. Each part is named by its own
/// `Idempotency-Key`, under which a repeat gives the same refund; without a key a repeat gives the refund there is.
#[utoipa::path(post, path = "/admin/orders/{id}/refund", tag = "admin", request_body = NewRefund,
    params(("id" = Uuid, Path, description = "Which order."),
    ("Idempotency-Key" = Option<String>, Header,
        description = "Names this refund of the order; up to 128 visible characters. Needed with `amount_fen`.")),
    responses((status = 200, description = "The refund, as far as it is.", body = RefundView),
    (status = 404, description = "There is no such order."),
    (status = 409, description = "`order_not_paid`; `credits_spent`: repeat with `even_if_spent` to write them off; \
        `refund_open`, `refund_too_large`, `refund_indivisible`; `key_reused`.")))]
async fn refund(
    State(state): State<AppState>,
    caller: Caller,
    id: Result<Path<OrderId>, PathRejection>,
    headers: HeaderMap,
    body: Result<Json<NewRefund>, JsonRejection>,
) -> Result<Json<RefundView>, ApiError> {
    let (Path(order), Json(body)) = (id?, body?);
    let invalid = |message: &'static str| ApiError::of(codes::INVALID_REQUEST, message);
    if body.reason.chars().count() > REASON_MAX {
        return Err(invalid("reason: at most 80 characters are expected"));
    }
    let key = idempotency_key(&headers)?.map(str::to_owned);
    let amount = match body.amount_fen {
        None => None,
        Some(_) if key.is_none() => {
            return Err(invalid("amount_fen: an Idempotency-Key is needed beside it"));
        }
        Some(fen) => {
            let fen = Fen::new(fen).filter(|fen| !fen.is_zero());
            Some(fen.ok_or_else(|| invalid("amount_fen: a positive number is expected"))?)
        }
    };
    let (reason, even_if_spent, by) = (body.reason, body.even_if_spent, caller.user);
    let request = RefundRequest { order, amount, key, reason, even_if_spent, by };
    let refund = state.money.orders.refund(&request).await?;
    info!(admin = %by, %order, refund = %refund.id, "refund wanted");
    Ok(Json(view(&refund)))
}

/// Proves the books over every row there is: slow, and never wrong.
#[utoipa::path(get, path = "/admin/ledger/audit", tag = "admin", responses(
    (status = 200, description = "What was found.", body = AuditView)))]
async fn audit(State(state): State<AppState>) -> Result<Json<AuditView>, ApiError> {
    let audit = state.money.ledger.audit().await?;
    let mut accounts: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    let balanced = audit.balanced();
    for ((unit, account), sum) in audit.accounts {
        accounts.entry(unit).or_default().insert(account, sum);
    }
    Ok(Json(AuditView { balanced, broken: audit.broken, accounts, open_holds: audit.open_holds }))
}

/// The newest bills of a rail, and the newest differences.
#[utoipa::path(get, path = "/admin/bills", tag = "admin", params(WhichBills), responses(
    (status = 200, description = "Up to 31 days and 500 differences.", body = BillsView)))]
async fn bills(
    State(state): State<AppState>,
    query: Result<Query<WhichBills>, QueryRejection>,
) -> Result<Json<BillsView>, ApiError> {
    let Query(WhichBills { rail }) = query?;
    let (bills, differences) = state.money.orders.bills(rail).await?;
    let bill = |bill: Bill| BillView {
        day: bill.day,
        state: bill.state,
        rows: bill.rows,
        differences: bill.differences,
        checked_at: bill.checked_at.and_then(timestamp),
    };
    let difference = |found: FoundDifference| DifferenceView {
        day: found.day,
        name: found.name,
        kind: found.kind,
        ours_fen: found.ours_fen,
        theirs_fen: found.theirs_fen,
    };
    Ok(Json(BillsView {
        bills: bills.into_iter().map(bill).collect(),
        differences: differences.into_iter().map(difference).collect(),
    }))
}

/// One run of background work. Call it every minute: any run may be cut off, and two at once do nothing twice.
#[utoipa::path(post, path = "/internal/chores", tag = "internal", responses(
    (status = 200, description = "What was done; run again while `more`.", body = ChoresView)))]
async fn chores(State(state): State<AppState>) -> Result<Json<ChoresView>, ApiError> {
    let artworks = async {
        match &state.artwork_chores {
            Some(chores) => chores.run().await,
            None => Ok(artworks::Done::default()),
        }
    };
    let (money, artworks) = tokio::try_join!(state.money.chores.run(), artworks)?;
    Ok(Json(ChoresView::of(money, artworks)))
}

fn view(refund: &Refund) -> RefundView {
    RefundView {
        id: refund.id,
        order: refund.order,
        amount_fen: refund.amount.get(),
        credits: refund.credits.get(),
        reclaimed: refund.reclaimed.get(),
        state: refund.state,
        created_at: timestamp(refund.created_at),
    }
}
