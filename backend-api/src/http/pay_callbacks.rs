//! What WeChat Pay calls. Signed ones are checked over the bytes that came before anything in them is read; the unsigned
//! one of Cloud Run is only a reason to ask.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use tracing::{error, info, warn};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::door::{Access, Door, Rate, Side};
use super::doors::Table;
use super::{ApiError, AppState, Serving, codes};
use crate::error_chain::chain;
use crate::money::ToldError;
use crate::wechat::cloud_run_pay::Hint;
use crate::wechat::pay::{CallbackError, Merchant};

/// The platform waits 5 s (FACTS §3.6).
const ANSWER_WITHIN: Duration = Duration::from_secs(4);

pub(super) fn doors(table: &mut Table) {
    table.add(Door::machine(Access::Signed), routes!(payment));
    table.add(Door::machine(Access::Signed), routes!(refund));
    table.add(Door { access: Access::Signed, side: Side::Both, rate: Rate::Unlimited }, routes!(cloud_run));
}

/// The refusal that the platform understands: it will call again.
#[derive(Debug, Serialize, ToSchema)]
struct Fail {
    #[schema(example = "FAIL")]
    code: &'static str,
    message: &'static str,
}

/// A callback of WeChat Pay about a payment.
#[utoipa::path(post, path = "/callbacks/wechat-pay", tag = "callbacks",
    request_body(content = Object, description = "As WeChat Pay signs and seals it."),
    responses((status = 204, description = "Taken down, now or before."),
    (status = 401, description = "Not signed by the platform, or a probe of it.", body = Fail),
    (status = 400, description = "Signed, but not as documented.", body = Fail),
    (status = 404, description = "Of nothing that we know.", body = Fail),
    (status = 500, description = "Not taken down: call again.", body = Fail)))]
async fn payment(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    called_back(&state, &headers, body?).await
}

/// A callback of WeChat Pay about a refund.
#[utoipa::path(post, path = "/callbacks/wechat-pay/refunds", tag = "callbacks",
    request_body(content = Object, description = "As WeChat Pay signs and seals it."),
    responses((status = 204, description = "Taken down, now or before."),
    (status = 401, description = "Not signed by the platform, or a probe of it.", body = Fail),
    (status = 400, description = "Signed, but not as documented.", body = Fail),
    (status = 404, description = "Of nothing that we know.", body = Fail),
    (status = 500, description = "Not taken down: call again.", body = Fail)))]
async fn refund(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    called_back(&state, &headers, body?).await
}

/// A callback of Cloud Run's simplified pay. It is not signed: the order it names is asked about.
#[utoipa::path(post, path = "/callbacks/cloud-run-pay", tag = "callbacks",
    request_body(content = Object, description = "As the side-car sends it; only `outTradeNo` is read."),
    responses((status = 200, description = "Asked and taken down.", body = Object),
    (status = 401, description = "It did not come through WeChat.", body = Fail),
    (status = 400, description = "It names no order.", body = Fail),
    (status = 404, description = "Of nothing that we know.", body = Fail),
    (status = 500, description = "Not taken down: call again.", body = Fail)))]
async fn cloud_run(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    if !state.money.has_cloud_run_pay {
        return Err(not_configured());
    }
    // Without the platform's mark anybody could make us ask (FACTS §5).
    if state.serving == Serving::Callbacks || !headers.contains_key("x-wx-source") {
        return Ok(fail(StatusCode::UNAUTHORIZED, "not through WeChat"));
    }
    let Ok(hint) = Hint::read(&body?) else { return Ok(fail(StatusCode::BAD_REQUEST, "no order is named")) };
    let told = tokio::time::timeout(ANSWER_WITHIN, state.money.orders.hinted(&hint.out_trade_no));
    Ok(match told.await {
        Ok(Ok(())) => ([(CONTENT_TYPE, "application/json")], Hint::ANSWER).into_response(),
        Ok(Err(error)) => refuse(&error),
        Err(_) => fail(StatusCode::INTERNAL_SERVER_ERROR, "not in time"),
    })
}

async fn called_back(state: &AppState, headers: &HeaderMap, body: Bytes) -> Result<Response, ApiError> {
    let merchant = state.money.merchant.as_ref().ok_or_else(not_configured)?;
    Ok(match tokio::time::timeout(ANSWER_WITHIN, take_down(state, merchant, headers, &body)).await {
        Ok(answer) => answer,
        Err(_) => fail(StatusCode::INTERNAL_SERVER_ERROR, "not in time"),
    })
}

async fn take_down(state: &AppState, merchant: &Merchant, headers: &HeaderMap, body: &[u8]) -> Response {
    let callback = match merchant.callback(headers, body, Timestamp::now()).await {
        Ok(callback) => callback,
        Err(error) => return disbelieve(&error),
    };
    match state.money.orders.called_back(merchant, &callback.event).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refuse(&error),
    }
}

fn disbelieve(error: &CallbackError) -> Response {
    match error {
        CallbackError::Unverified(cause) => {
            info!(error = %chain(cause), "callback is not believed");
            fail(StatusCode::UNAUTHORIZED, "the signature is not the platform's")
        }
        CallbackError::Unreadable(cause) => {
            warn!(error = %chain(cause), "signed callback is unreadable");
            fail(StatusCode::BAD_REQUEST, "unreadable")
        }
        CallbackError::Sealed(cause) => {
            error!(error = %chain(cause), "callback does not open with our key");
            fail(StatusCode::INTERNAL_SERVER_ERROR, "does not open")
        }
    }
}

fn refuse(error: &ToldError) -> Response {
    match error {
        ToldError::Unknown => {
            warn!("callback of nothing that we know");
            fail(StatusCode::NOT_FOUND, "unknown")
        }
        error => {
            error!(error = %chain(error), "callback is not taken down");
            fail(StatusCode::INTERNAL_SERVER_ERROR, "not taken down")
        }
    }
}

fn fail(status: StatusCode, message: &'static str) -> Response {
    (status, Json(Fail { code: "FAIL", message })).into_response()
}

fn not_configured() -> ApiError {
    ApiError::of(codes::PAY_NOT_CONFIGURED, "this payment is not set up here")
}
