//! HTTP: three faces over the same engine calls (DESIGN §7). This module owns what all of them share: the table of
//! routes, doors, request ids, bounds, and the one place where errors get their shape.
//!
//! A route is added through [`routes::Routes`] only, with what its callers must be allowed to do; so the tests walk
//! over a table that cannot miss one.

mod admin;
mod body;
mod credentials;
mod delivery;
mod door;
mod editor;
mod entrance;
mod error;
mod forwarded;
mod listing;
mod multipart;
mod native;
mod observe;
mod openapi;
mod ops;
mod private;
mod quota;
mod reader;
mod respond;
mod routes;
mod state;
mod submit;
mod tickets;
mod time;
mod v2;
mod view;

use std::sync::Arc;

use axum::Router;

pub use editor::Editor;
pub use error::{ApiError, ErrorKind};
pub use native::Desk;
pub(crate) use native::{is_free, may_pass};
pub use routes::{Need, RouteInfo};
pub use state::{Doors, Limits, State};

use crate::engine::EngineHandle;
use crate::link::message::Secret;
use crate::outbox::Bodies;
use crate::prices::Prices;
use routes::Routes;
use state::Shared;

/// All of the gateway's HTTP, for any number of listeners.
pub fn router(state: State) -> Router {
    let app = Arc::new(Shared::new(state));
    let (routes, _, document) = all_routes(&app);
    app.document(document);
    let routes = routes
        .fallback(editor::file)
        .layer(axum::extract::DefaultBodyLimit::disable()) // Each handler has bounds of its own.
        .layer(axum::middleware::from_fn_with_state(app.clone(), observe::observe))
        .with_state(app);
    entrance::before(routes)
}

/// The same for a listener whose callers need no key of their own: requests without one count as made with this.
pub fn bound(router: Router, key: Secret) -> Router {
    entrance::bind(router, key)
}

/// Bodies of webhooks, in the words of `/v1`; `base` is the base of absolute URLs in them.
pub fn event_bodies(engine: EngineHandle, base: String, prices: Prices) -> Arc<dyn Bodies> {
    private::EventBodies::shared(engine, base, prices)
}

/// Every route there is, with what it asks of its callers.
pub fn route_table(state: State) -> Vec<RouteInfo> {
    all_routes(&Arc::new(Shared::new(state))).1
}

/// The OpenAPI document, JSON text, as it is served at `/openapi.json`.
pub fn openapi(state: State) -> String {
    all_routes(&Arc::new(Shared::new(state))).2
}

fn all_routes(app: &Arc<Shared>) -> (Router<Arc<Shared>>, Vec<RouteInfo>, String) {
    let mut routes = Routes::new(app.clone());
    ops::add(&mut routes);
    v2::add(&mut routes);
    native::add(&mut routes);
    private::add(&mut routes);
    tickets::add(&mut routes);
    entrance::add(&mut routes);
    admin::add(&mut routes);
    routes.finish()
}
