//! What stands in every door: credentials first, then how often.

use std::net::{IpAddr, SocketAddr};

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;

use super::door::{Access, Door};
use super::error::{ApiError, unauthorized};
use super::limits::Key;
use super::token::{MachineToken, bearer};
use super::{AppState, Caller, SeenThrough, codes};
use crate::clock::now;
use crate::domain::{OpenId, WechatAccount};
use crate::identity::SignedRequest;

/// The guard of one door.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) state: AppState,
    pub(super) door: Door,
}

/// Lets pass who may, as often as they may.
pub(super) async fn enter(
    State(gate): State<Gate>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let Gate { state, door } = gate;
    let key = match door.access {
        Access::Open | Access::Signed => stranger(&state, &request),
        Access::User | Access::Admin => {
            let caller = caller(&state, request.headers()).await?;
            if door.access == Access::Admin {
                caller.admin()?;
            }
            request.extensions_mut().insert(caller);
            Key::User(caller.user)
        }
        Access::Partner => {
            request = signed(&state, request).await?;
            Key::Machine
        }
        Access::Trigger => machine(state.trigger_token.as_ref(), request.headers())?,
        Access::Metrics => machine(state.metrics_token.as_ref(), request.headers())?,
    };
    state.limits.check(door.rate, key).map_err(|wait| {
        state.metrics.rate_limited(door.rate.name());
        ApiError::of(codes::RATE_LIMITED, "too many requests").retry_after(wait)
    })?;
    Ok(next.run(request).await)
}

fn machine(token: Option<&MachineToken>, headers: &HeaderMap) -> Result<Key, ApiError> {
    match (token, bearer(headers)) {
        (Some(token), Some(presented)) if token.matches(presented) => Ok(Key::Machine),
        _ => Err(unauthorized()),
    }
}

/// The person who calls. A token goes before headers: whoever sends one wants to be known by it.
async fn caller(state: &AppState, headers: &HeaderMap) -> Result<Caller, ApiError> {
    if let Some(token) = bearer(headers) {
        let token = std::str::from_utf8(token).map_err(|_| unauthorized())?;
        let found = state.identity()?.bearer(token).await?;
        let seen_through = SeenThrough::Token { login: found.login };
        return Ok(Caller { user: found.user.id, role: found.user.role, seen_through });
    }
    let account = account_by_headers(state, headers).ok_or_else(unauthorized)?;
    let user = state.identity()?.seen_through_wechat(&account).await?;
    Ok(Caller { user: user.id, role: user.role, seen_through: SeenThrough::WxHeaders })
}

/// What WeChat says of the caller, where it alone can say something (FACTS 2.1, 2.2).
fn account_by_headers(state: &AppState, headers: &HeaderMap) -> Option<WechatAccount> {
    let trusted = state.trusted_appid.as_deref()?;
    let text =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty());
    text("x-wx-source")?;
    let openid = text("x-wx-openid").filter(|text| is_openid(text))?;
    // Under resource sharing another mini program may call: its people are not ours.
    let appid = text("x-wx-appid").unwrap_or(trusted);
    (appid == trusted).then(|| WechatAccount { appid: appid.to_owned(), openid: OpenId::new(openid) })
}

/// What can be one: no longer than the column, and of characters that every engine takes.
pub(super) fn is_openid(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// By what somebody without credentials is counted.
fn stranger(state: &AppState, request: &Request) -> Key {
    if let Some(account) = account_by_headers(state, request.headers()) {
        return Key::Account(account);
    }
    let told = state.options.client_address_header.as_ref().and_then(|name| {
        let value = request.headers().get_all(name).iter().next_back()?;
        // A proxy appends; what stands before its own word may be the caller's invention.
        value.to_str().ok()?.rsplit(',').next()?.trim().parse::<IpAddr>().ok()
    });
    let peer = || request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    told.or_else(peer).map_or(Key::Machine, Key::Address)
}

/// Checks the signature over the raw body, notes it, and hands the body on.
async fn signed(state: &AppState, request: Request) -> Result<Request, ApiError> {
    let partner = state.partner.as_ref().ok_or_else(unauthorized)?;
    let (parts, body) = request.into_parts();
    let header =
        |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).ok_or_else(unauthorized);
    let (id, time) = (header("x-darkroom-partner")?, header("x-darkroom-time")?);
    let (nonce, signature) = (header("x-darkroom-nonce")?, header("x-darkroom-signature")?);
    let body = to_bytes(body, state.options.max_body_bytes)
        .await
        .map_err(|_| ApiError::of(codes::TOO_LARGE, "the body is too long or broke off"))?;
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let method = parts.method.as_str();
    let request = SignedRequest { method, path, id, time, nonce, signature, body: &body };
    let noted = partner.check(&request, now())?;
    if !state.identity()?.note_signed(noted).await? {
        return Err(ApiError::of(codes::SIGNATURE_USED, "this request was seen before: sign it anew"));
    }
    Ok(Request::from_parts(parts, Body::from(body)))
}
