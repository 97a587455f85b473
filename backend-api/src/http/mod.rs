//! The HTTP face: a table of endpoints, the layers round it, and who may pass which door.

mod auth;
mod error;
mod ops;
mod works;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::handler::Handler;
use axum::http::{HeaderName, Method};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{self, MethodRouter};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::trace::TraceLayer;
use tracing::{Span, info_span};

pub use auth::ServiceToken;
pub use error::{ApiError, ErrorKind};

use crate::works::Works;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Bounds of a request.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The largest body that is read.
    pub max_body_bytes: usize,
    /// After this a request is answered 504.
    pub request_timeout: Duration,
    /// The longest that `GET /works/{id}?wait_seconds=` waits.
    pub max_wait: Duration,
}

/// What the handlers need.
pub struct Services {
    /// The works of all users.
    pub works: Arc<Works>,
    /// Opens the doors marked [`Access::Service`]; without it they are not served.
    pub service_token: Option<ServiceToken>,
    /// Bounds.
    pub options: Options,
}

/// Who may use an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody who can connect.
    Open,
    /// Bearers of the service token.
    Service,
}

/// One door: what is not in [`endpoints`] is not served.
pub struct Endpoint {
    /// Its method.
    pub method: Method,
    /// Its path, with `{parameters}`.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
    handler: MethodRouter<AppState>,
}

/// What every handler gets.
#[derive(Clone)]
struct AppState {
    works: Arc<Works>,
    max_wait: Duration,
}

/// Every door there is.
pub fn endpoints() -> Vec<Endpoint> {
    use Access::{Open, Service};
    vec![
        get("/livez", Open, ops::livez),
        get("/readyz", Open, ops::readyz),
        post("/works", Service, works::create),
        get("/works/{id}", Service, works::read),
    ]
}

/// The whole face, ready to be served.
pub fn router(services: Services) -> Router {
    let Services { works, service_token, options } = services;
    let state = AppState { works, max_wait: options.max_wait };
    let open = routes(Access::Open);
    let doors = match service_token {
        Some(token) => open
            .merge(routes(Access::Service).route_layer(middleware::from_fn_with_state(token, auth::require))),
        None => open,
    };
    doors
        .fallback(error::unknown_route)
        .method_not_allowed_fallback(error::unknown_method)
        .with_state(state)
        .layer(
            ServiceBuilder::new()
                .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
                .layer(TraceLayer::new_for_http().make_span_with(span))
                .layer(PropagateRequestIdLayer::new(REQUEST_ID))
                .layer(CatchPanicLayer::custom(error::after_panic))
                .layer(middleware::from_fn_with_state(options.request_timeout, limit_time))
                .layer(DefaultBodyLimit::max(options.max_body_bytes)),
        )
}

fn routes(access: Access) -> Router<AppState> {
    endpoints()
        .into_iter()
        .filter(|endpoint| endpoint.access == access)
        .fold(Router::new(), |router, endpoint| router.route(endpoint.path, endpoint.handler))
}

fn get<H: Handler<T, AppState>, T: 'static>(path: &'static str, access: Access, handler: H) -> Endpoint {
    Endpoint { method: Method::GET, path, access, handler: routing::get(handler) }
}

fn post<H: Handler<T, AppState>, T: 'static>(path: &'static str, access: Access, handler: H) -> Endpoint {
    Endpoint { method: Method::POST, path, access, handler: routing::post(handler) }
}

async fn limit_time(
    State(limit): State<Duration>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    tokio::time::timeout(limit, next.run(request))
        .await
        .map_err(|_| ApiError::new(ErrorKind::Timeout, "timeout", "the request took too long"))
}

/// Path only: a query may one day carry something secret.
fn span(request: &Request) -> Span {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
    info_span!("request", method = %request.method(), path = request.uri().path(), id)
}
