//! Which instance a client's requests go to: what a custom node keeps in memory is where it was put. The one where the
//! client was last, by a request or because a job of its began to run there; else one by the client's name. Only that last
//! choice is the same on every gateway and after every start: where a client was, and which instance holds something that
//! its jobs need, is remembered by this process alone and forgotten with it. A job that comes after a start, before any
//! request of its client, has no holder and runs anywhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::Uri;
use moka::sync::Cache;

use super::super::super::state::Shared;
use super::Rule;
use crate::config;
use crate::link::message::InstanceName;
use crate::tenant::Caller;

/// Clients that are remembered; of more, those that were away for longest are forgotten.
const MAX_REMEMBERED: u64 = 10_000;
/// Names of clients in a query.
const CLIENT: [&str; 2] = ["clientId", "client_id"];
/// Longest name of a client, bytes.
const MAX_CLIENT_BYTES: usize = 256;

/// Who asks: a tenant, and within it a client where it names itself, else a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in super::super) struct Who {
    tenant: u32,
    name: Name,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    Client(Arc<str>),
    Key(Option<String>),
    /// Whoever of the tenant had a job run.
    Anybody,
}

impl Who {
    /// Who sent a request.
    pub(super) fn of(caller: &Caller, uri: &Uri) -> Self {
        let query = reqwest::Url::parse(&format!("query:?{}", uri.query().unwrap_or_default()));
        let mut pairs = query.iter().flat_map(reqwest::Url::query_pairs);
        let is_name =
            |name: &str, value: &str| CLIENT.contains(&name) && (1..=MAX_CLIENT_BYTES).contains(&value.len());
        let client = pairs.find(|(name, value)| is_name(name, value)).map(|(_, value)| value.as_ref().into());
        let name = client.map_or_else(|| Name::Key(caller.key_id.clone()), Name::Client);
        Self { tenant: caller.tenant.id, name }
    }
}

/// The instances of clients, each with the order in which they were noted. Cheap to clone.
#[derive(Debug, Clone)]
pub(in super::super) struct Homes {
    known: Cache<Who, (u64, InstanceName)>,
    /// Those that hold something which jobs of the client need.
    holders: Cache<Who, InstanceName>,
    noted: Arc<AtomicU64>,
    is_wanted: bool,
}

impl Homes {
    pub(in super::super) fn new(settings: &config::Native) -> Self {
        let idle = Duration::from_secs(settings.forward_affinity_seconds);
        Self {
            known: Cache::builder().max_capacity(MAX_REMEMBERED).time_to_idle(idle).build(),
            holders: Cache::builder().max_capacity(MAX_REMEMBERED).time_to_idle(idle).build(),
            noted: Arc::default(),
            is_wanted: !settings.forward.is_empty(),
        }
    }

    /// Whether anything is ever passed on.
    pub(in super::super) fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// A job of a client begins to run there.
    pub(in super::super) fn runs(&self, tenant: u32, client: Arc<str>, instance: &InstanceName) {
        for name in [Name::Client(client), Name::Anybody] {
            self.remember(Who { tenant, name }, instance.clone());
        }
    }

    fn remember(&self, who: Who, instance: InstanceName) {
        let order = self.noted.fetch_add(1, Ordering::Relaxed);
        self.known.insert(who, (order, instance));
    }

    /// The instance that holds something of a client, or of the key it uses: many name themselves in jobs only.
    pub(super) fn holder(&self, caller: &Caller, client: Option<&str>) -> Option<InstanceName> {
        let names =
            [client.map(|client| Name::Client(client.into())), Some(Name::Key(caller.key_id.clone()))];
        names.into_iter().flatten().find_map(|name| self.holders.get(&Who { tenant: caller.tenant.id, name }))
    }

    /// Where somebody was last; one that does not name itself may have had any job of its tenant.
    fn of(&self, who: &Who) -> Option<InstanceName> {
        let own = self.known.get(who);
        let jobs = match who.name {
            Name::Client(_) => None,
            Name::Key(_) | Name::Anybody => self.known.get(&Who { tenant: who.tenant, name: Name::Anybody }),
        };
        own.into_iter().chain(jobs).max_by_key(|(order, _)| *order).map(|(_, instance)| instance)
    }
}

/// The instance for a request; `None`: none that may serve it answers.
pub(super) fn choose(app: &Shared, rule: &Rule, who: Who) -> Option<InstanceName> {
    let fleet = app.engine.fleet();
    let may_serve =
        |name: &InstanceName| rule.instances.is_empty() || rule.instances.iter().any(|it| it == name);
    let up = fleet.instances.iter().filter(|instance| instance.up).map(|instance| &instance.name);
    let usable: Vec<&InstanceName> = up.filter(|name| may_serve(name)).collect();
    let homes = app.native.homes();
    let is_usable = |name: &InstanceName| usable.contains(&name);
    let holder = rule.jobs.then(|| homes.holders.get(&who)).flatten().filter(is_usable);
    let home = holder.or_else(|| homes.of(&who).filter(is_usable));
    let by_name = || usable.iter().max_by_key(|name| weight(&who, name)).map(|name| (*name).clone());
    let chosen = home.or_else(by_name)?;
    if rule.jobs {
        homes.holders.insert(who.clone(), chosen.clone());
    }
    homes.remember(who, chosen.clone());
    Some(chosen)
}

/// Who goes where by name alone: the greatest wins, so that an instance more or less moves few clients.
fn weight(who: &Who, instance: &str) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key("darkroom home of a client");
    hasher.update(&who.tenant.to_be_bytes());
    let (kind, name) = match &who.name {
        Name::Client(client) => (0, Some(&**client)),
        Name::Key(key) => (1, key.as_deref()),
        Name::Anybody => (2, None),
    };
    let name = name.unwrap_or_default();
    hasher.update(&[kind]).update(&(name.len() as u64).to_be_bytes()).update(name.as_bytes());
    hasher.update(instance.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_be_bytes(first)
}
