//! Which paths are passed on, and within which bounds.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, Method};

use crate::config;

/// All rules; the configuration was checked.
#[derive(Debug, Default)]
pub(super) struct Rules(Vec<Arc<Rule>>);

/// One prefix of paths.
#[derive(Debug)]
pub(super) struct Rule {
    /// Without `/api` and without a slash at its end.
    prefix: String,
    pub(super) methods: Vec<Method>,
    /// Names of instances; empty: any.
    pub(super) instances: Vec<Arc<str>>,
    /// Jobs of a client go where its requests went.
    pub(super) jobs: bool,
    /// Names of tenants; empty: all.
    tenants: Vec<String>,
    /// Headers that pass beside the usual ones.
    pub(super) headers: Vec<HeaderName>,
    pub(super) max_body_bytes: u64,
    pub(super) timeout: Duration,
}

impl Rules {
    pub(super) fn new(configured: &[config::Forward]) -> Self {
        Self(configured.iter().map(|forward| Arc::new(Rule::new(forward))).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.0.iter()
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.0.iter().any(|rule| rule.has(path))
    }
}

impl Rule {
    fn new(forward: &config::Forward) -> Self {
        let methods = forward.methods.iter().filter_map(|name| Method::from_bytes(name.as_bytes()).ok());
        let headers = forward.headers.iter().filter_map(|name| name.parse().ok());
        Self {
            prefix: forward.bare_prefix().to_owned(),
            methods: methods.collect(),
            instances: forward.instances.iter().map(|name| name.as_str().into()).collect(),
            jobs: forward.jobs,
            tenants: forward.tenants.clone(),
            headers: headers.collect(),
            max_body_bytes: forward.max_body_bytes,
            timeout: Duration::from_secs(forward.timeout_seconds),
        }
    }

    /// Templates of its routes: as ComfyUI has every route of a custom node twice.
    pub(super) fn routes(&self) -> impl Iterator<Item = String> + use<> {
        let prefix = self.prefix.clone();
        ["", "/api"]
            .into_iter()
            .flat_map(move |api| ["", "/", "/{*rest}"].map(|rest| format!("{api}{prefix}{rest}")))
    }

    /// Whether this tenant may use it.
    pub(super) fn serves(&self, tenant: &str) -> bool {
        self.tenants.is_empty() || self.tenants.iter().any(|name| name == tenant)
    }

    fn has(&self, path: &str) -> bool {
        let bare = path.strip_prefix("/api").filter(|rest| rest.starts_with('/')).unwrap_or(path);
        bare.strip_prefix(&self.prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_about_its_prefix_and_what_is_below_it() {
        let rules =
            Rules::new(&[config::Forward { prefix: "/api/my_node/".into(), ..config::Forward::default() }]);
        for path in ["/my_node", "/my_node/", "/my_node/a/b", "/api/my_node", "/api/my_node/a"] {
            assert!(rules.has(path), "{path}");
        }
        for path in ["/", "/my_nodes", "/api/my_node2/a", "/apimy_node", "/a/my_node", "/prompt"] {
            assert!(!rules.has(path), "{path}");
        }
    }
}
