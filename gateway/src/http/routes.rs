//! The table of routes: each with its handler, what its callers must be allowed, and how long it may take.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter};

use super::door::{self, Gate};
use super::state::Shared;
use crate::store::Scope;

/// What a route asks of its callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: health, for machines that have no key.
    Nothing,
    /// No key, but by the open door only what that door lets through: the console's page, which holds no data.
    Door,
    /// A key whose scope allows this ([`Scope::allows`]).
    Scope(Scope),
}

/// One entry of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteInfo {
    /// `GET`, `POST` …
    pub method: Method,
    /// Its template, such as `/v1/jobs/{id}`.
    pub path: &'static str,
    /// What it asks of its callers.
    pub need: Need,
}

/// The table in the making.
pub(super) struct Routes {
    app: Arc<Shared>,
    table: Vec<RouteInfo>,
    paths: BTreeMap<&'static str, MethodRouter<Arc<Shared>>>,
}

impl Routes {
    pub(super) fn new(app: Arc<Shared>) -> Self {
        Self { app, table: Vec::new(), paths: BTreeMap::new() }
    }

    /// A route that answers within [`super::Limits::request_timeout`].
    pub(super) fn add<H, T>(&mut self, method: Method, path: &'static str, need: Need, handler: H)
    where
        H: Handler<T, Arc<Shared>>,
        T: 'static,
    {
        let timeout = self.app.limits.request_timeout;
        self.insert(method, path, need, Some(timeout), handler);
    }

    /// A route that moves bytes as long as they flow; its handler bounds each wait by itself.
    pub(super) fn add_slow<H, T>(&mut self, method: Method, path: &'static str, need: Need, handler: H)
    where
        H: Handler<T, Arc<Shared>>,
        T: 'static,
    {
        self.insert(method, path, need, None, handler);
    }

    fn insert<H, T>(
        &mut self,
        method: Method,
        path: &'static str,
        need: Need,
        timeout: Option<Duration>,
        handler: H,
    ) where
        H: Handler<T, Arc<Shared>>,
        T: 'static,
    {
        let gate = Gate { app: self.app.clone(), need, timeout };
        let route = axum::routing::on(filter(&method), handler)
            .route_layer(axum::middleware::from_fn_with_state(gate, door::enter));
        let there = self.paths.remove(path).unwrap_or_default();
        self.paths.insert(path, there.merge(route));
        self.table.push(RouteInfo { method, path, need });
    }

    pub(super) fn finish(self) -> (Router<Arc<Shared>>, Vec<RouteInfo>) {
        let router =
            self.paths.into_iter().fold(Router::new(), |router, (path, route)| router.route(path, route));
        (router, self.table)
    }
}

/// The methods we use; `GET` answers `HEAD` too.
fn filter(method: &Method) -> MethodFilter {
    match *method {
        Method::POST => MethodFilter::POST,
        Method::DELETE => MethodFilter::DELETE,
        Method::HEAD => MethodFilter::HEAD,
        Method::PATCH => MethodFilter::PATCH,
        _ => MethodFilter::GET,
    }
}
