//! What stands before the table of routes: a key in the path (`/k/<key>/…`), and a page where people log in with one.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use tower::ServiceExt as _;

use super::body;
use super::credentials::{COOKIE_NAME, ListenerKey, PathKey};
use super::door;
use super::error::ApiError;
use super::routes::{Need, Routes};
use super::state::App;
use crate::link::message::Secret;

/// Longest login, bytes.
const MAX_LOGIN_BYTES: usize = 4 << 10;
/// How long a login lasts, seconds.
const LOGIN_SECONDS: u32 = 30 * 24 * 3600;

/// The page acts by its form alone.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'";

/// Takes keys out of paths before a request is routed.
pub(super) fn before(routes: Router) -> Router {
    // A fallback and no route: parameters of a route would be handed on to those of the table.
    Router::new().fallback(move |mut request: Request| async move {
        if let Some(whole) = unfinished(request.uri()) {
            return to(&whole);
        }
        let Some((key, uri)) = split(request.uri()) else { return answer(routes, request).await };
        *request.uri_mut() = uri;
        let way = format!("/k/{}", key.0);
        request.extensions_mut().insert(PathKey(key));
        let mut response = answer(routes, request).await;
        keep_to(&way, response.headers_mut());
        // Pages behind the key must not tell it to others.
        response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    })
}

/// Binds all requests that carry no key to this one.
pub(super) fn bind(routes: Router, key: Secret) -> Router {
    routes.layer(Extension(ListenerKey(key)))
}

/// The key in a path and what stands behind it, as it came: names may hold escaped slashes.
fn split(uri: &Uri) -> Option<(Secret, Uri)> {
    let (key, rest) = uri.path_and_query()?.as_str().strip_prefix("/k/")?.split_once('/')?;
    Some((Secret(key.to_owned()), format!("/{rest}").parse().ok()?))
}

/// A key without a slash behind it: where it should have led. Pages there ask for what is beside them.
fn unfinished(uri: &Uri) -> Option<String> {
    let key = uri.path().strip_prefix("/k/").filter(|key| !key.is_empty() && !key.contains('/'))?;
    let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    Some(format!("/k/{key}/{query}"))
}

/// Whoever is led elsewhere on this server goes on by its key.
fn keep_to(way: &str, headers: &mut HeaderMap) {
    let Some(location) = headers.get(header::LOCATION).and_then(|location| location.to_str().ok()) else {
        return;
    };
    if location.starts_with('/') && !location.starts_with("//") {
        let kept = HeaderValue::from_str(&format!("{way}{location}"));
        if let Ok(kept) = kept {
            headers.insert(header::LOCATION, kept);
        }
    }
}

fn to(whole: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(whole) else { return StatusCode::NOT_FOUND.into_response() };
    let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn answer(routes: Router, request: Request) -> Response {
    routes.oneshot(request).await.unwrap_or_else(|never| match never {})
}

/// Adds the login page.
pub(super) fn add(routes: &mut Routes) {
    routes.add(Method::GET, "/login", Need::Door, page);
    routes.add(Method::POST, "/login", Need::Door, login);
    routes.add(Method::POST, "/logout", Need::Door, logout);
}

async fn page() -> Response {
    shown(StatusCode::OK, include_str!("entrance/login.html"))
}

fn shown(status: StatusCode, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // With `no-referrer` browsers send the form from the origin `null`, which is nobody's.
        (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    ];
    (status, headers, text).into_response()
}

/// A form with the member `key`: a good one becomes a cookie that scripts cannot read.
async fn login(app: App, request: Request) -> Result<Response, ApiError> {
    door::keep_origins_out(&app, request.headers())?;
    let read = body::read_any(&app, request, MAX_LOGIN_BYTES).await?;
    let text = std::str::from_utf8(&read.bytes).unwrap_or_default();
    let form = reqwest::Url::parse(&format!("form:?{text}"));
    let mut pairs = form.iter().flat_map(|form| form.query_pairs());
    let key = pairs.find(|(name, _)| name == "key").map(|(_, key)| key.trim().to_owned());
    let key = key.ok_or_else(|| ApiError::invalid("key is missing"))?;
    if app.tenants.caller_now(&key).await?.is_none() {
        return Ok(again(StatusCode::SEE_OTHER, "/login#refused"));
    }
    let mut response = again(StatusCode::SEE_OTHER, "/");
    set_cookie(&mut response, &key, LOGIN_SECONDS, app.doors.tls)?;
    Ok(response)
}

async fn logout(app: App, headers: HeaderMap) -> Result<Response, ApiError> {
    door::keep_origins_out(&app, &headers)?;
    let mut response = again(StatusCode::SEE_OTHER, "/login");
    set_cookie(&mut response, "", 0, app.doors.tls)?;
    Ok(response)
}

fn again(status: StatusCode, to: &'static str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(to));
    response
}

fn set_cookie(response: &mut Response, key: &str, seconds: u32, tls: bool) -> Result<(), ApiError> {
    let secure = if tls { "; Secure" } else { "" };
    let cookie = format!("{COOKIE_NAME}={key}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut cookie = HeaderValue::from_str(&cookie).map_err(|error| ApiError::internal(&error))?;
    cookie.set_sensitive(true);
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(())
}
