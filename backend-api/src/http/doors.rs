//! The table of doors: each route with what is true of it. What is not in the table is not served.

use std::collections::BTreeMap;

use axum::Router;
use axum::middleware;
use axum::routing::MethodRouter;
use utoipa_axum::router::UtoipaMethodRouter;

use super::AppState;
use super::door::{Door, Endpoint};
use super::guard::{self, Gate};
use super::openapi::Document;

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
