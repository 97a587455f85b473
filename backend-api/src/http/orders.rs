//! What is sold, and buying it. Nothing that a client says here makes an order paid.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::warn;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;
use uuid::Uuid;

use super::door::{Access, Door, Rate, Side};
use super::doors::Table;
use super::{ApiError, AppState, Caller, codes};
use crate::domain::money::{Item, ItemId, Order, OrderId, OrderState, Rail};
use crate::domain::{Millis, UserId};
use crate::error_chain::chain;
use crate::identity::{ExchangeError, Identity, IdentityError, WechatSession};
use crate::money::{Buyer, Placed};

/// Longest idempotency key, in bytes.
const KEY_MAX: usize = 128;
/// Entries of a page, unless asked for fewer.
const PAGE: u64 = 20;
/// Most entries of a page.
const PAGE_MAX: u64 = 100;

pub(super) fn doors(table: &mut Table) {
    let stranger = Door { access: Access::Open, side: Side::App, rate: Rate::Read };
    table.add(stranger, routes!(items));
    table.add(Door::user(Rate::Write), routes!(place));
    table.add(Door::user(Rate::Read), routes!(list));
    table.add(Door::user(Rate::Read), routes!(read));
    table.add(Door::user(Rate::Write), routes!(cancel));
}

/// Something that can be bought.
#[derive(Serialize, ToSchema)]
struct ItemView {
    #[schema(example = "credits-60")]
    id: String,
    title: String,
    /// In fen: 100 are one yuan.
    #[schema(example = 600)]
    price_fen: i64,
    /// What it gives; 0 for a service.
    #[schema(example = 60)]
    credits: i64,
    /// How it is paid: `wechat_pay` by `wx.requestPayment`, `virtual` by `wx.requestVirtualPayment`.
    #[schema(value_type = String, example = "virtual")]
    rail: Rail,
}

impl ItemView {
    fn of(item: &Item) -> Self {
        Self {
            id: item.id.to_string(),
            title: item.title.clone(),
            price_fen: item.price.get(),
            credits: item.credits.get(),
            rail: item.rail(),
        }
    }
}

/// All that can be bought here.
#[derive(Serialize, ToSchema)]
struct Items {
    items: Vec<ItemView>,
}

/// What somebody wants to buy.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewOrder {
    /// Its id, as `GET /shop/items` tells it.
    #[schema(max_length = 64)]
    item: String,
}

/// A purchase as its buyer sees it.
#[derive(Serialize, ToSchema)]
pub(super) struct OrderView {
    #[schema(value_type = Uuid)]
    id: OrderId,
    item: String,
    title: String,
    price_fen: i64,
    credits: i64,
    #[schema(value_type = String, example = "virtual")]
    rail: Rail,
    /// `created`, `prepaid`, `paid`, `fulfilled`, `refunding`, `refunded`, `closed` or `unknown`.
    #[schema(value_type = String, example = "fulfilled")]
    state: OrderState,
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
    /// Until then it may be paid.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    paid_at: Option<Timestamp>,
}

impl OrderView {
    pub(super) fn of(order: &Order) -> Self {
        Self {
            id: order.id,
            item: order.item.to_string(),
            title: order.title.clone(),
            price_fen: order.price.get(),
            credits: order.credits.get(),
            rail: order.rail,
            state: order.state,
            created_at: timestamp(order.created_at),
            expires_at: timestamp(order.expires_at),
            paid_at: order.paid_at.and_then(timestamp),
        }
    }
}

/// An order and how to pay it.
#[derive(Serialize, ToSchema)]
struct PlacedView {
    order: OrderView,
    /// Handed to the client's payment call as it is; null when there is nothing to pay any more.
    #[schema(value_type = Option<Object>)]
    payment: Option<Value>,
}

/// A page of orders.
#[derive(Serialize, ToSchema)]
struct Orders {
    orders: Vec<OrderView>,
}

/// Which part of a list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// Only what is older than this id.
    before: Option<Uuid>,
    /// At most so many: 20, or up to 100.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u64>,
}

impl Page {
    pub(super) fn before(&self) -> Option<Uuid> {
        self.before
    }

    pub(super) fn limit(&self) -> Result<u64, ApiError> {
        match self.limit.unwrap_or(PAGE) {
            limit @ 1..=PAGE_MAX => Ok(limit),
            _ => Err(ApiError::of(codes::INVALID_REQUEST, "limit: 1 to 100 is expected")),
        }
    }
}

/// What can be bought here.
#[utoipa::path(get, path = "/shop/items", tag = "money", responses(
    (status = 200, description = "All items whose payment is set up.", body = Items)))]
async fn items(State(state): State<AppState>) -> Json<Items> {
    Json(Items { items: state.money.orders.items().map(ItemView::of).collect() })
}

/// Orders an item and tells how to pay it. A repeat with the same `Idempotency-Key` gives the same order.
#[utoipa::path(post, path = "/orders", tag = "money", request_body = NewOrder, params(
    ("Idempotency-Key" = Option<String>, Header, description = "Names this wish; up to 128 visible characters.")),
    responses(
    (status = 201, description = "The order, and how to pay it.", body = PlacedView),
    (status = 404, description = "`no_such_item`."),
    (status = 409, description = "`login_again`: call `wx.login` and log in, then repeat with the same key; \
        `key_reused`; `too_many_open_orders`; `order_closed`."),
    (status = 502, description = "`pay_refused`: the platform does not take money for this."),
    (status = 503, description = "`pay_unavailable`: repeat with the same key; `pay_not_configured`.")))]
async fn place(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Json<NewOrder>, JsonRejection>,
) -> Result<(StatusCode, Json<PlacedView>), ApiError> {
    let Json(body) = body?;
    let key = idempotency_key(&headers)?;
    let no_item = || ApiError::of(codes::NO_SUCH_ITEM, "there is no such item");
    let id = ItemId::new(&body.item).ok_or_else(no_item)?;
    let orders = &state.money.orders;
    let is_virtual = orders.item(&id).is_some_and(|item| item.rail() == Rail::Virtual);
    let buyer = buyer(state.identity()?, caller.user, is_virtual).await?;
    let Placed { order, parameters } = orders.place(caller.user, &buyer, &id, key).await?;
    let view = PlacedView { order: OrderView::of(&order), payment: parameters };
    Ok((StatusCode::CREATED, Json(view)))
}

/// Your orders, newest first, as we know them.
#[utoipa::path(get, path = "/orders", tag = "money", params(Page), responses(
    (status = 200, description = "A page of orders.", body = Orders)))]
async fn list(
    State(state): State<AppState>,
    caller: Caller,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Orders>, ApiError> {
    let Query(page) = page?;
    let (before, limit) = (page.before().map(OrderId), page.limit()?);
    let orders = state.money.orders.list(caller.user, before, limit).await?;
    Ok(Json(Orders { orders: orders.iter().map(OrderView::of).collect() }))
}

/// One of your orders. While it is open the platform is asked, so call this after the client's payment call returned.
#[utoipa::path(get, path = "/orders/{id}", tag = "money", params(("id" = Uuid, Path, description = "Which.")),
    responses((status = 200, description = "The order.", body = OrderView),
    (status = 404, description = "There is no such order, or it is not yours.")))]
async fn read(
    State(state): State<AppState>,
    caller: Caller,
    id: Result<Path<OrderId>, PathRejection>,
) -> Result<Json<OrderView>, ApiError> {
    let Path(id) = id?;
    let order = state.money.orders.read(caller.user, id).await?;
    Ok(Json(OrderView::of(&order)))
}

/// Closes one of your orders, if it is not paid.
#[utoipa::path(post, path = "/orders/{id}/cancel", tag = "money",
    params(("id" = Uuid, Path, description = "Which.")),
    responses((status = 200, description = "The order, closed.", body = OrderView),
    (status = 404, description = "There is no such order, or it is not yours."),
    (status = 409, description = "`order_paid`: the payer was faster."),
    (status = 503, description = "`pay_unavailable`: repeat.")))]
async fn cancel(
    State(state): State<AppState>,
    caller: Caller,
    id: Result<Path<OrderId>, PathRejection>,
) -> Result<Json<OrderView>, ApiError> {
    let Path(id) = id?;
    let order = state.money.orders.cancel(caller.user, id).await?;
    Ok(Json(OrderView::of(&order)))
}

/// Who pays. Virtual payment needs a session key that the platform still takes; where it cannot be asked, the last one
/// we have is tried.
async fn buyer(identity: &Identity, user: UserId, is_virtual: bool) -> Result<Buyer, ApiError> {
    let session = match is_virtual {
        false => identity.wechat_session(user).await,
        true => match identity.checked_wechat_session(user).await {
            Err(IdentityError::Exchange(error @ ExchangeError::Unavailable(_))) => {
                warn!(error = %chain(&error), "session key cannot be checked");
                identity.wechat_session(user).await
            }
            checked => checked,
        },
    };
    match session {
        Ok(WechatSession { account, session_key }) => {
            Ok(Buyer { openid: account.openid, session_key: Some(session_key) })
        }
        Err(IdentityError::LoginAgain) if !is_virtual => {
            let account = identity.account(user).await?.ok_or(IdentityError::LoginAgain)?;
            Ok(Buyer { openid: account.openid, session_key: None })
        }
        Err(error) => Err(error.into()),
    }
}

/// The key that names a wish, if the caller gave one.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value
        .to_str()
        .ok()
        .filter(|key| (1..=KEY_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()));
    let wrong =
        || ApiError::of(codes::INVALID_REQUEST, "Idempotency-Key: 1 to 128 visible characters are expected");
    key.map(Some).ok_or_else(wrong)
}

/// `None` only for a row with a time no calendar has.
pub(super) fn timestamp(at: Millis) -> Option<Timestamp> {
    Timestamp::from_millisecond(at).ok()
}
