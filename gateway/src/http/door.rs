//! Doors (DESIGN §7). Open: no key was ever created and only this machine can reach us; then a web page of somebody
//! else is the one stranger to keep out, by `Host` and `Origin`. Closed: a key, or 401.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{Extensions, HeaderMap, HeaderName, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::credentials::{self, Way};
use super::error::{ApiError, ErrorKind};
use super::forwarded::{self, CameFrom};
use super::routes::Need;
use super::state::Shared;
use crate::store::Scope;
use crate::tenant::Caller;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What stands before one route.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) app: Arc<Shared>,
    pub(super) need: Need,
    pub(super) timeout: Option<Duration>,
}

/// Lets a request through to its handler with its [`Caller`], or not.
pub(super) async fn enter(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let admitted = match gate.need {
        Need::Nothing | Need::Ticket => Ok(None),
        Need::Door => let_see(&gate.app, request.headers()).map(|()| None),
        Need::Scope(scope) => {
            admit(&gate.app, scope, request.headers(), request.extensions()).await.map(Some)
        }
    };
    match admitted {
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller);
        }
        Ok(None) => {}
        Err(refusal) => return refusal.into_response(),
    }
    match gate.timeout {
        None => next.run(request).await,
        Some(timeout) => match tokio::time::timeout(timeout, next.run(request)).await {
            Ok(response) => response,
            Err(_) => ApiError::timed_out().into_response(),
        },
    }
}

/// Who sends a request, if it may do what wants this scope.
pub(super) async fn admit(
    app: &Shared,
    scope: Scope,
    headers: &HeaderMap,
    about: &Extensions,
) -> Result<Arc<Caller>, ApiError> {
    let caller = match app.tenants.everybody() {
        Some(everybody) if app.doors.loopback => {
            keep_pages_out(app, headers)?;
            everybody
        }
        _ => by_key(app, headers, about, scope).await?,
    };
    let from = about.get::<CameFrom>();
    if !caller.networks.is_empty()
        && !from.is_some_and(|CameFrom(from)| caller.networks.iter().any(|network| network.contains(*from)))
    {
        return Err(ApiError::new(ErrorKind::Forbidden, "forbidden", "this key may not be used from here"));
    }
    if !caller.scope.allows(scope) {
        return Err(ApiError::new(ErrorKind::Forbidden, "forbidden", "this key may not do that"));
    }
    Ok(caller)
}

/// What holds no data is kept from pages of others at the open door, and from nobody else.
pub(super) fn let_see(app: &Shared, headers: &HeaderMap) -> Result<(), ApiError> {
    if app.doors.loopback && !app.tenants.is_closed() { keep_pages_out(app, headers) } else { Ok(()) }
}

/// The caller whose key a request carries. A key that was not given deliberately with this very request reads and
/// submits, whatever its scope; and where a browser would add it by itself, pages of others are kept out.
async fn by_key(
    app: &Shared,
    headers: &HeaderMap,
    about: &Extensions,
    scope: Scope,
) -> Result<Arc<Caller>, ApiError> {
    let unauthorized =
        |message: &'static str| ApiError::new(ErrorKind::Unauthorized, "unauthorized", message);
    let (key, way) = credentials::find(headers, about)
        .ok_or_else(|| unauthorized("a key is needed: Authorization: Bearer <key>"))?;
    match way {
        Way::Bearer | Way::Path => {}
        Way::Basic | Way::Cookie => keep_origins_out(app, headers)?,
        Way::Listener => keep_pages_out(app, headers)?,
    }
    let caller = app.tenants.caller_now(&key.0).await?;
    let caller = caller.ok_or_else(|| unauthorized("the key is not known"))?;
    if way != Way::Bearer && !matches!(scope, Scope::Read | Scope::Submit) {
        return Err(ApiError::new(
            ErrorKind::Forbidden,
            "forbidden",
            "this wants the key in the header: Authorization: Bearer <key>",
        ));
    }
    Ok(caller)
}

/// The open door's rule against web pages of others, DNS rebinding included.
pub(super) fn keep_pages_out(app: &Shared, headers: &HeaderMap) -> Result<(), ApiError> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_loopback_name(host_name(host)) {
        return Err(ApiError::new(
            ErrorKind::Forbidden,
            "forbidden_host",
            "without keys the gateway answers to loopback names only",
        ));
    }
    keep_origins_out(app, headers)
}

/// The rule against web pages of others wherever a browser brings the right to enter by itself.
pub(super) fn keep_origins_out(app: &Shared, headers: &HeaderMap) -> Result<(), ApiError> {
    let host = headers.get(forwarded::HOST).or_else(|| headers.get(HOST));
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let foreign = || {
        ApiError::new(
            ErrorKind::Forbidden,
            "forbidden_origin",
            "pages of this origin may not call the gateway",
        )
    };
    if let Some(origin) = headers.get(ORIGIN) {
        let origin = origin.to_str().map_err(|_| foreign())?;
        return if is_own(origin, host) || is_allowed(app, origin) { Ok(()) } else { Err(foreign()) };
    }
    match headers.get(SEC_FETCH_SITE) {
        Some(site) if site.as_bytes().eq_ignore_ascii_case(b"cross-site") => Err(foreign()),
        _ => Ok(()),
    }
}

/// Whether the configuration lets pages of this origin call.
pub(super) fn is_allowed(app: &Shared, origin: &str) -> bool {
    app.doors.allowed_origins.iter().any(|allowed| allowed.trim_end_matches('/').eq_ignore_ascii_case(origin))
}

fn is_own(origin: &str, host: &str) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// A `Host` without its port.
fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map_or("", |(address, _)| address);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

fn is_loopback_name(name: &str) -> bool {
    let address = name.parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// `OPTIONS` needs no key; origins that may call learn it here.
pub(super) fn options(app: &Shared, headers: &HeaderMap) -> Response {
    if let Err(refusal) = let_see(app, headers) {
        return refusal.into_response();
    }
    let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
    let allowed_headers = "authorization, content-type, idempotency-key, if-none-match, if-range, last-event-id, range, x-request-id";
    let headers = [
        ("allow", methods),
        ("access-control-allow-methods", methods),
        ("access-control-allow-headers", allowed_headers),
        ("access-control-max-age", "600"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_loopback() {
        for host in ["localhost", "LOCALHOST:8190", "127.0.0.1:8190", "127.9.9.9", "[::1]:8190", "[::1]"] {
            assert!(is_loopback_name(host_name(host)), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example:8190", "10.0.0.1", "[fe80::1]:1", "127.0.0.1.evil"]
        {
            assert!(!is_loopback_name(host_name(host)), "{host}");
        }
    }

    #[test]
    fn an_origin_is_own_only_with_the_same_port() {
        assert!(is_own("http://localhost:8190", "localhost:8190"));
        assert!(!is_own("http://localhost:3000", "localhost:8190"));
        assert!(!is_own("null", "localhost:8190"));
        assert!(!is_own("file://localhost:8190", "localhost:8190"));
    }
}
