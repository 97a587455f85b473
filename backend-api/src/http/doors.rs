//! The table of doors: each route with who may use it, on which side it is served, and how often one caller may. What
//! is not in the table is not served.

use std::collections::BTreeMap;

use axum::Router;
use axum::http::Method;
use axum::middleware;
use axum::routing::MethodRouter;
use utoipa_axum::router::UtoipaMethodRouter;

use super::AppState;
use super::guard::{self, Gate};
use super::openapi::Document;

/// Who may use a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Everybody who can connect.
    Open,
    /// Whoever signed the request in a way that the handler itself checks: callbacks.
    Signed,
    /// A person, by our token or by what WeChat says of them. The handler takes a [`super::Caller`].
    User,
    /// A person who is an admin.
    Admin,
    /// An existing user system, by a signed request.
    Partner,
    /// Bearers of the trigger's token: who starts the scheduled chores.
    Trigger,
    /// Bearers of the token for metrics.
    Metrics,
}

/// As what a process serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Serving {
    /// Everything, for one service that is open to the world.
    Single,
    /// What the mini program calls; public access is off.
    App,
    /// What machines call; public.
    Callbacks,
}

/// On which side a door is served. A single service has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// By `--role app`.
    App,
    /// By `--role callbacks`.
    Callbacks,
    /// By each.
    Both,
}

/// How often one caller may use doors of a kind. See `[http]` of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rate {
    /// As often as they want: health, and machines with a credential of their own.
    Unlimited,
    /// Logins and their like: each costs a call to WeChat.
    Login,
    /// Looking.
    Read,
    /// Changing.
    Write,
}

/// What is true of a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Door {
    /// Who may use it.
    pub access: Access,
    /// Where it is served.
    pub side: Side,
    /// How often.
    pub rate: Rate,
}

/// One door, as the table tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its method.
    pub method: Method,
    /// Its path, with `{parameters}`.
    pub path: String,
    /// What is true of it.
    pub door: Door,
}

/// The table in the making.
#[derive(Default)]
pub(super) struct Table {
    entries: Vec<Entry>,
    document: Document,
}

struct Entry {
    endpoint: Endpoint,
    handler: MethodRouter<AppState>,
}

impl Door {
    /// A door that needs nothing, on both sides.
    pub const fn open() -> Self {
        Self { access: Access::Open, side: Side::Both, rate: Rate::Unlimited }
    }

    /// A person's door on the app's side.
    pub const fn user(rate: Rate) -> Self {
        Self { access: Access::User, side: Side::App, rate }
    }

    /// An admin's door on the app's side.
    pub const fn admin(rate: Rate) -> Self {
        Self { access: Access::Admin, side: Side::App, rate }
    }

    /// A machine's door on the callbacks' side.
    pub const fn machine(access: Access) -> Self {
        Self { access, side: Side::Callbacks, rate: Rate::Unlimited }
    }
}

impl Serving {
    fn serves(self, side: Side) -> bool {
        match (self, side) {
            (Self::Single, _) | (_, Side::Both) => true,
            (Self::App, side) => side == Side::App,
            (Self::Callbacks, side) => side == Side::Callbacks,
        }
    }
}

impl Table {
    /// Adds what `utoipa_axum::routes!(handler)` makes of a handler with `#[utoipa::path(…)]`, which says method and path.
    pub(super) fn add(&mut self, door: Door, (schemas, paths, handler): UtoipaMethodRouter<AppState>) {
        for (path, methods) in self.document.add(door, schemas, paths) {
            self.entries.extend(methods.into_iter().map(|method| Entry {
                endpoint: Endpoint { method, path: path.clone(), door },
                handler: handler.clone(),
            }));
        }
    }

    /// Every door.
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        self.entries.iter().map(|entry| entry.endpoint.clone()).collect()
    }

    /// The OpenAPI document of all doors.
    pub(super) fn document(&self) -> String {
        self.document.text()
    }

    /// The router of those doors that `state` serves and has credentials for, each behind its guard.
    pub(super) fn router(self, state: &AppState) -> Router<AppState> {
        let mut paths: BTreeMap<String, MethodRouter<AppState>> = BTreeMap::new();
        let served = self.entries.into_iter().filter(|entry| {
            state.serving.serves(entry.endpoint.door.side) && state.knows(entry.endpoint.door.access)
        });
        for Entry { endpoint: Endpoint { path, door, .. }, handler } in served {
            let gate = Gate { state: state.clone(), door };
            let handler = handler.route_layer(middleware::from_fn_with_state(gate, guard::enter));
            let there = paths.remove(&path).unwrap_or_default();
            paths.insert(path, there.merge(handler));
        }
        paths.into_iter().fold(Router::new(), |router, (path, handler)| router.route(&path, handler))
    }
}
