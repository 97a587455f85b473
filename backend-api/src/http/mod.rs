//! The HTTP face: a table of doors, a guard in each, and the layers round them.

mod artwork_deeds;
mod artworks;
mod auth;
mod bridge;
mod caller;
pub mod codes;
mod credits;
mod door;
mod doors;
mod error;
mod events;
mod gateway_callbacks;
mod generation_errors;
mod guard;
mod limits;
mod me;
mod money_errors;
mod observe;
mod openapi;
mod ops;
mod orders;
mod pay_callbacks;
mod photos;
mod reviews;
mod sockets;
mod token;
mod treasury;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::HeaderName;
use axum::middleware::{self, Next};
use axum::response::Response;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};

pub use caller::{Caller, SeenThrough};
pub use codes::ErrorKind;
pub use door::{Access, Door, Endpoint, Rate, Serving, Side};
pub use error::ApiError;
pub use limits::RateOptions;
pub use token::MachineToken;

use crate::generation::{Chores as ArtworkChores, Generation, Live};
use crate::health::Health;
use crate::identity::{Identity, Partner};
use crate::metrics::Metrics;
use crate::money::{Chores, Money};
use crate::wechat::events::Push;
use doors::Table;
use limits::Limits;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Bounds of a request.
#[derive(Debug, Clone)]
pub struct Options {
    /// The largest body that is read.
    pub max_body_bytes: usize,
    /// After this a request is answered 504.
    pub request_timeout: Duration,
    /// The longest that `GET /artworks/{id}?wait_seconds=` waits.
    pub max_wait: Duration,
    /// Whether strangers can connect: what the platform's public access is set to.
    pub public_access: bool,
    /// The header in which a proxy that we trust tells the caller's address; none: whoever connects is the caller.
    pub client_address_header: Option<HeaderName>,
    /// How often one caller may.
    pub rates: RateOptions,
}

/// What the handlers need. What is `None` is not served, or answers that it is not set up.
pub struct Services {
    /// As what this process serves.
    pub serving: Serving,
    /// What `/readyz` asks.
    pub health: Health,
    /// Who people are.
    pub identity: Option<Identity>,
    /// The mini program whose people WeChat's headers tell, where they are trusted.
    pub trusted_appid: Option<String>,
    /// The existing user system.
    pub partner: Option<Partner>,
    /// What is sold, who pays, and the books.
    pub money: Money,
    /// Everybody's artworks; `None` when nothing is offered.
    pub generation: Option<Generation>,
    /// Who watches them over sockets.
    pub live: Option<Live>,
    /// Carries on what was begun with them.
    pub artwork_chores: Option<ArtworkChores>,
    /// How pushed events are signed; `None`: they are taken on WeChat's own way only.
    pub push: Option<Push>,
    /// Opens the doors marked [`Access::Trigger`].
    pub trigger_token: Option<MachineToken>,
    /// Opens the doors marked [`Access::Metrics`].
    pub metrics_token: Option<MachineToken>,
    /// What is counted.
    pub metrics: Metrics,
    /// Bounds.
    pub options: Options,
}

/// What every handler gets. Cheap to clone.
#[derive(Clone)]
struct AppState(Arc<Shared>);

struct Shared {
    services: Services,
    limits: Limits,
    document: String,
}

impl Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Deref for Shared {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.services
    }
}

impl AppState {
    /// Who people are.
    fn identity(&self) -> Result<&Identity, ApiError> {
        let missing = || ApiError::of(codes::IDENTITY_NOT_CONFIGURED, "logins are not set up here");
        self.identity.as_ref().ok_or_else(missing)
    }

    /// Everybody's artworks.
    fn generation(&self) -> Result<&Generation, ApiError> {
        let missing = || ApiError::of(codes::GENERATION_NOT_CONFIGURED, "no pictures are made here");
        self.generation.as_ref().ok_or_else(missing)
    }

    /// Whether anybody could ever pass such a door.
    fn knows(&self, access: Access) -> bool {
        match access {
            Access::Open | Access::Signed | Access::User | Access::Admin => true,
            Access::Partner => self.partner.is_some(),
            Access::Trigger => self.trigger_token.is_some(),
            Access::Metrics => self.metrics_token.is_some(),
        }
    }
}

/// Every door there is, one line a part.
fn table() -> Table {
    let mut table = Table::default();
    ops::doors(&mut table);
    auth::doors(&mut table);
    me::doors(&mut table);
    bridge::doors(&mut table);
    orders::doors(&mut table);
    credits::doors(&mut table);
    pay_callbacks::doors(&mut table);
    events::doors(&mut table);
    treasury::doors(&mut table);
    artworks::doors(&mut table);
    artwork_deeds::doors(&mut table);
    photos::doors(&mut table);
    gateway_callbacks::doors(&mut table);
    reviews::doors(&mut table);
    sockets::doors(&mut table);
    table
}

/// Every door there is, whatever is configured.
pub fn endpoints() -> Vec<Endpoint> {
    table().endpoints()
}

/// The whole face, ready to be served with the addresses of who connects.
pub fn router(services: Services) -> Router {
    let table = table();
    let limits = Limits::new(&services.options.rates);
    let state = AppState(Arc::new(Shared { services, limits, document: table.document() }));
    let (metrics, options) = (state.metrics.clone(), state.options.clone());
    let chores = (state.money.chores.clone(), state.artwork_chores.clone());
    table
        .router(&state)
        .fallback(error::unknown_route)
        .method_not_allowed_fallback(error::unknown_method)
        .with_state(state)
        .layer(
            ServiceBuilder::new()
                .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
                .layer(middleware::from_fn_with_state(metrics, observe::observe))
                .layer(PropagateRequestIdLayer::new(REQUEST_ID))
                .layer(CatchPanicLayer::custom(error::after_panic))
                .layer(middleware::from_fn_with_state(options.request_timeout, limit_time))
                .layer(middleware::from_fn_with_state(chores, nudge))
                .layer(DefaultBodyLimit::max(options.max_body_bytes)),
        )
}

/// Where a process has time only while it answers, requests are what carries background work on.
async fn nudge(
    State((money, artworks)): State<(Chores, Option<ArtworkChores>)>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    money.nudge();
    if let Some(artworks) = artworks {
        artworks.nudge();
    }
    response
}

async fn limit_time(
    State(limit): State<Duration>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    tokio::time::timeout(limit, next.run(request))
        .await
        .map_err(|_| ApiError::of(codes::TIMEOUT, "the request took too long"))
}
