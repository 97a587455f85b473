//! What WeChat pushes: deliveries of virtual goods, refunds, complaints. Taken when it is signed, or when it comes
//! through WeChat's own way into a service that nobody else can call (FACTS §2.5).

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::{error, info, warn};
use utoipa_axum::routes;

use super::door::{Access, Door, Rate, Side};
use super::doors::Table;
use super::error::unauthorized;
use super::{ApiError, AppState, Serving, codes};
use crate::error_chain::chain;
use crate::money::{Goods, Orders, ToldError};
use crate::wechat::events::{self, DELIVERED, Event, IosRefundQuestion, PushQuery, Received, SUCCESS};

/// The platform waits 3 to 5 s (FACTS §4.12).
const ANSWER_WITHIN: Duration = Duration::from_millis(2_800);
/// Anything but `ErrCode` 0 has the event sent again.
const AGAIN: &str = r#"{"ErrCode":1,"ErrMsg":"again"}"#;

pub(super) fn doors(table: &mut Table) {
    let door = Door { access: Access::Signed, side: Side::Both, rate: Rate::Unlimited };
    table.add(door, routes!(echo));
    table.add(door, routes!(push));
}

/// The console tries the address: what it signed is given back.
#[utoipa::path(get, path = "/callbacks/wechat-events", tag = "callbacks", responses(
    (status = 200, description = "`echostr`, as it came.", body = String, content_type = "text/plain"),
    (status = 401, description = "Not signed by the platform.")))]
async fn echo(
    State(state): State<AppState>,
    query: Result<Query<PushQuery>, QueryRejection>,
) -> Result<String, ApiError> {
    let Query(query) = query?;
    let push = state.push.as_ref().ok_or_else(unauthorized)?;
    Ok(push.echo(&query).map_err(|_| unauthorized())?.to_owned())
}

/// An event.
#[utoipa::path(post, path = "/callbacks/wechat-events", tag = "callbacks",
    request_body(content = Object, description = "JSON or XML, plain or sealed, as the console is set."),
    responses((status = 200, description = "Taken down, or to be sent again: the body says.", body = String,
        content_type = "text/plain"),
    (status = 400, description = "It is no event."),
    (status = 401, description = "It comes neither signed nor through WeChat.")))]
async fn push(
    State(state): State<AppState>,
    query: Result<Query<PushQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let (Query(query), body) = (query?, body?);
    let received = read(&state, &query, &headers, &body)?;
    let answer = tokio::time::timeout(ANSWER_WITHIN, dispatch(&state, &received)).await;
    Ok(answer.unwrap_or_else(|_| answered(AGAIN)))
}

fn read(state: &AppState, query: &PushQuery, headers: &HeaderMap, body: &[u8]) -> Result<Received, ApiError> {
    let no_event = |error| {
        warn!(error = %chain(&error), "pushed event is unreadable");
        ApiError::of(codes::INVALID_REQUEST, "this is no event")
    };
    if !query.signature.is_empty() || !query.msg_signature.is_empty() {
        let push = state.push.as_ref().ok_or_else(unauthorized)?;
        return push.open(query, body).map_err(|error| match error {
            events::PushError::Parse(error) => no_event(error),
            error => {
                info!(error = %chain(&error), "pushed event is not believed");
                unauthorized()
            }
        });
    }
    // Nothing is signed on WeChat's own way; elsewhere anybody can write this header.
    let is_ours_alone = state.serving == Serving::App && !state.options.public_access;
    if is_ours_alone && headers.contains_key("x-wx-source") {
        return events::parse(body).map_err(no_event);
    }
    Err(unauthorized())
}

async fn dispatch(state: &AppState, received: &Received) -> Response {
    let orders = &state.money.orders;
    match &received.event {
        Event::Deliver(delivery) => {
            let ours = state.money.environment.map(|environment| i64::from(environment.number()));
            if ours != Some(delivery.environment) {
                warn!("event of another environment");
                return answered(AGAIN);
            }
            confirm(orders.delivery_wanted(delivery).await)
        }
        Event::Refunded(ended) => confirm(orders.refund_ended(ended).await),
        Event::Complaint(complaint) => {
            error!(order = complaint.order_id.as_deref(), "somebody complains about an order");
            answered(DELIVERED)
        }
        Event::IosRefundQuestion(question) => advise(orders, question).await,
        Event::ContentChecked(checked) => match &state.generation {
            Some(generation) => match generation.told_of_check(checked).await {
                Ok(()) => answered(SUCCESS),
                Err(error) => {
                    warn!(error = %chain(&error), "event is not confirmed");
                    answered(AGAIN)
                }
            },
            None => answered(SUCCESS),
        },
        Event::Probe | Event::Other => answered(SUCCESS),
    }
}

fn confirm(told: Result<(), ToldError>) -> Response {
    match told {
        Ok(()) => answered(DELIVERED),
        Err(error) => {
            warn!(error = %chain(&error), "event is not confirmed");
            answered(AGAIN)
        }
    }
}

/// What Apple asks is answered by what became of the goods. Without an answer the question comes again, and in the end
/// Apple decides alone.
async fn advise(orders: &Orders, question: &IosRefundQuestion) -> Response {
    let goods = match question.number() {
        Some(number) => orders.goods(number, question.openid.as_ref()).await,
        None => Ok(None),
    };
    match goods {
        Ok(Some((order, goods))) => {
            info!(%order, favours_refund = goods.favours_refund(), "apple asked about a refund");
            Json(Advice::of(goods)).into_response()
        }
        Ok(None) => {
            error!("apple asks about the refund of an order that is not ours or not the asker's");
            answered(AGAIN)
        }
        Err(error) => {
            warn!(error = %chain(&error), "apple's question about a refund is not answered");
            answered(AGAIN)
        }
    }
}

/// The answer to Apple's question (FACTS §4.12). That 0 favours the refund is an assumption.
#[derive(Serialize)]
struct Advice {
    result_code: u8,
    result_info: &'static str,
    evidence: String,
}

impl Advice {
    fn of(goods: Goods) -> Self {
        let (result_info, evidence) = match goods {
            Goods::NotGiven => ("建议退款", "商品尚未发放".to_owned()),
            Goods::Returned => ("建议退款", "商品已收回，订单已退款或正在退款".to_owned()),
            Goods::Unused { given } => ("建议退款", format!("已发放{given}点，均未使用")),
            Goods::Used { given, used } => ("不建议退款", format!("已发放{given}点，其中{used}点已使用")),
        };
        Self { result_code: u8::from(!goods.favours_refund()), result_info, evidence }
    }
}

fn answered(body: &'static str) -> Response {
    let kind = if body.starts_with('{') { "application/json" } else { "text/plain" };
    (StatusCode::OK, [(CONTENT_TYPE, kind)], body).into_response()
}
