//! Names become addresses through here only, right before the connection is made: what passes is what is connected to.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::rules::{Refusal, Rules};

/// The system's resolver.
pub(super) struct System;

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

/// A resolver that keeps to itself what may not be reached.
pub(super) struct Guarded {
    rules: Arc<Rules>,
    inner: Arc<dyn Resolve>,
}

impl Guarded {
    pub(super) fn new(rules: Arc<Rules>, inner: Arc<dyn Resolve>) -> Self {
        Self { rules, inner }
    }
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        if let Err(refusal) = self.rules.admits_name(&host) {
            return Box::pin(async move { Err(refusal.into()) });
        }
        let (rules, found) = (self.rules.clone(), self.inner.resolve(name));
        Box::pin(async move {
            let admitted: Vec<SocketAddr> =
                found.await?.filter(|address| rules.admits(Some(&host), address.ip()).is_ok()).collect();
            if admitted.is_empty() {
                return Err(Refusal::Address.into());
            }
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}
