//! The table of routes: each with its handler, what its callers must be allowed, and how long it may take.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter};
use utoipa_axum::router::UtoipaMethodRouter;

use super::door::{self, Gate};
use super::openapi::Document;
use super::state::Shared;
use crate::store::Scope;

/// What a route asks of its callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: health, for machines that have no key.
    Nothing,
    /// No key, but by the open door only what that door lets through: the console's page, which holds no data.
    Door,
    /// No key, but in its path the token of an upload ticket, which is good for one object.
    Ticket,
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
    documented: Document,
}

impl Routes {
    pub(super) fn new(app: Arc<Shared>) -> Self {
        Self { app, table: Vec::new(), paths: BTreeMap::new(), documented: Document::default() }
    }

    /// What the handlers will be given.
    pub(super) fn app(&self) -> Arc<Shared> {
        self.app.clone()
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

    /// A documented route: what `utoipa_axum::routes!(handler)` makes of a handler with `#[utoipa::path(…)]`, which
    /// says method and path. It answers within [`super::Limits::request_timeout`].
    pub(super) fn api(&mut self, need: Need, route: UtoipaMethodRouter<Arc<Shared>>) {
        let timeout = Some(self.app.limits.request_timeout);
        self.document(need, timeout, route);
    }

    /// A documented route that waits as long as its caller wants, within bounds of its own.
    pub(super) fn api_slow(&mut self, need: Need, route: UtoipaMethodRouter<Arc<Shared>>) {
        self.document(need, None, route);
    }

    fn document(
        &mut self,
        need: Need,
        timeout: Option<Duration>,
        (schemas, paths, route): UtoipaMethodRouter<Arc<Shared>>,
    ) {
        for (path, methods) in self.documented.add(need, schemas, paths) {
            // The table is made once and lives as long as the process.
            let path: &'static str = Box::leak(path.into_boxed_str());
            self.table.extend(methods.into_iter().map(|method| RouteInfo { method, path, need }));
            self.guard(path, need, timeout, route.clone());
        }
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
        self.guard(path, need, timeout, axum::routing::on(filter(&method), handler));
        self.table.push(RouteInfo { method, path, need });
    }

    /// Puts the door before a route.
    fn guard(
        &mut self,
        path: &'static str,
        need: Need,
        timeout: Option<Duration>,
        route: MethodRouter<Arc<Shared>>,
    ) {
        let gate = Gate { app: self.app.clone(), need, timeout };
        let route = route.route_layer(axum::middleware::from_fn_with_state(gate, door::enter));
        let there = self.paths.remove(path).unwrap_or_default();
        self.paths.insert(path, there.merge(route));
    }

    /// The router, its table, and the document of the documented routes (OpenAPI, JSON text).
    pub(super) fn finish(self) -> (Router<Arc<Shared>>, Vec<RouteInfo>, String) {
        let router =
            self.paths.into_iter().fold(Router::new(), |router, (path, route)| router.route(path, route));
        (router, self.table, self.documented.text())
    }
}

/// The methods we use; `GET` answers `HEAD` too.
fn filter(method: &Method) -> MethodFilter {
    match *method {
        Method::POST => MethodFilter::POST,
        Method::PUT => MethodFilter::PUT,
        Method::DELETE => MethodFilter::DELETE,
        Method::HEAD => MethodFilter::HEAD,
        Method::PATCH => MethodFilter::PATCH,
        _ => MethodFilter::GET,
    }
}
