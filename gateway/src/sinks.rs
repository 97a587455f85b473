//! Every store that bytes may be in: the gateway's own, and those that are named in the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::artifacts::Artifacts;
use crate::delivery::Place;
use crate::link::message::Secret;
use crate::link::ticket::{Answer, Ask, Desk, DeskError};

/// One store and how people fetch from it.
#[derive(Debug, Clone)]
pub struct Sink {
    /// Where its bytes are.
    pub artifacts: Artifacts,
    /// Whether downloads are sent to a signed URL of the store where it has any, rather than through the gateway.
    pub redirect: bool,
}

/// All stores. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sinks {
    all: Arc<All>,
}

#[derive(Debug)]
struct All {
    own: Sink,
    named: BTreeMap<Arc<str>, Sink>,
}

impl Sinks {
    /// The gateway's own store and those with names.
    pub fn new(own: Sink, named: impl IntoIterator<Item = (Arc<str>, Sink)>) -> Self {
        Self { all: Arc::new(All { own, named: named.into_iter().collect() }) }
    }

    /// The gateway's own store.
    #[must_use]
    pub fn own(&self) -> &Artifacts {
        &self.all.own.artifacts
    }

    /// The store of a place; `None` for a caller's bucket and for a name that is not configured any more.
    #[must_use]
    pub fn get(&self, place: &Place) -> Option<&Sink> {
        match place {
            Place::Own => Some(&self.all.own),
            Place::Sink(name) => self.all.named.get(name),
            Place::Caller => None,
        }
    }

    /// Whether a sink of that name is configured.
    #[must_use]
    pub fn is_known(&self, name: &str) -> bool {
        self.all.named.contains_key(name)
    }

    /// Every place with its store, the gateway's own first.
    pub fn iter(&self) -> impl Iterator<Item = (Place, &Sink)> {
        let named = self.all.named.iter().map(|(name, sink)| (Place::Sink(name.clone()), sink));
        std::iter::once((Place::Own, &self.all.own)).chain(named)
    }
}

/// Asks the store that a token is of: the others do not know it.
impl Desk for Sinks {
    fn ask<'a>(&'a self, token: &'a Secret, ask: Ask) -> BoxFuture<'a, Result<Answer, DeskError>> {
        Box::pin(async move {
            for (_, sink) in self.iter() {
                match sink.artifacts.ask(token, ask.clone()).await {
                    Err(DeskError::Expired) => {}
                    answer => return answer,
                }
            }
            Err(DeskError::Expired)
        })
    }
}

impl From<Artifacts> for Sinks {
    fn from(artifacts: Artifacts) -> Self {
        Self::new(Sink { artifacts, redirect: true }, [])
    }
}
