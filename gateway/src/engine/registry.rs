//! Who is in the fleet: hosts, instances, devices and their catalogues, with the ids the scheduler knows them by.
//! Turns what runners report into events for the scheduler and facts worth keeping.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use scheduler::{DeviceId, DeviceSample, Event, HostId, InstanceId, InstanceProfile, Loading, Timestamp};

use super::names;
use super::stock::Stock;
use crate::fleet::{HostView, InstanceView};
use crate::link::local::Sender;
use crate::link::message::{Command, DeviceReport, InstanceFacts, LoadingFacts};
use crate::store::KnownInstance;
use crate::workflow::{self, Catalogue};

/// How long the catalogue of an instance that answers may keep us from refusing what the others lack.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

/// All of the fleet that the engine knows.
#[derive(Default)]
pub(super) struct Registry {
    hosts: Vec<Host>,
    instances: Vec<Instance>,
    by_name: HashMap<Arc<str>, usize>,
    by_id: HashMap<InstanceId, usize>,
    devices: HashMap<String, DeviceId>,
    stock: Stock,
    next_id: u32,
    reserve_mib: u32,
}

struct Host {
    view: HostView,
    commands: Sender<Command>,
    instances: Vec<Arc<str>>,
    leaves_at: Option<Timestamp>,
}

struct Instance {
    id: InstanceId,
    name: Arc<str>,
    host: usize,
    up: bool,
    /// When it was first heard of after it was silent: it answers, or it does not.
    heard_at: Option<Instant>,
    reason: Option<String>,
    facts: Option<InstanceFacts>,
    seen_at: i64,
    reconnects: u64,
}

/// What a report about the fleet leads to.
#[derive(Default)]
pub(super) struct Change {
    /// For the scheduler.
    pub(super) events: Vec<Event>,
    /// For the store.
    pub(super) keep: Vec<KnownInstance>,
    /// The instance whose catalogue has to be asked for.
    pub(super) wanted: Option<Arc<str>>,
}

impl Registry {
    pub(super) fn new(
        known: Vec<KnownInstance>,
        catalogues: Vec<Arc<Catalogue>>,
        reserve_mib: u32,
    ) -> (Self, Known) {
        let next_id = known.iter().map(|instance| instance.id).max().map_or(1, |highest| highest + 1);
        let registry = Self { stock: Stock::new(catalogues), next_id, reserve_mib, ..Self::default() };
        let known = known.into_iter().map(|instance| (instance.name.clone(), instance)).collect();
        (registry, Known(known))
    }

    /// Instances of these names are told apart from now on.
    pub(super) fn tell_apart(&mut self, names: Arc<[String]>) {
        self.stock.tell_apart(names);
    }

    /// A runner with its instances. They are down until they are reported up; what they were before is remembered.
    pub(super) fn add_host(
        &mut self,
        name: &str,
        instances: &[Arc<str>],
        commands: Sender<Command>,
        known: &Known,
    ) -> Change {
        let mut change = Change::default();
        let host = self.hosts.len();
        let view = HostView { name: name.to_owned(), ..HostView::default() };
        self.hosts.push(Host { view, commands, instances: instances.to_vec(), leaves_at: None });
        for instance in instances {
            let before = known.0.get(&**instance);
            let id = before.map_or_else(
                || {
                    self.next_id += 1;
                    InstanceId(self.next_id - 1)
                },
                |before| InstanceId(before.id),
            );
            let facts: Option<InstanceFacts> =
                before.and_then(|before| serde_json::from_str(before.facts.as_deref()?).ok());
            let index = self.instances.len();
            self.by_name.insert(instance.clone(), index);
            self.by_id.insert(id, index);
            self.instances.push(Instance {
                id,
                name: instance.clone(),
                host,
                up: false,
                heard_at: None,
                reason: Some("not contacted yet".to_owned()),
                facts,
                seen_at: before.map_or(0, |before| before.seen_at),
                reconnects: 0,
            });
            change.events.push(Event::InstanceJoined { instance: id, profile: self.profile(index) });
            if before.is_none() {
                change.keep.push(self.known(index));
            }
        }
        change
    }

    /// How many hosts there are; the index of the next one.
    pub(super) fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// All that the scheduler has to hear of the fleet before it takes up jobs.
    pub(super) fn introduce(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for index in 0..self.instances.len() {
            let profile = self.profile(index);
            let instance = &self.instances[index];
            let host = &self.hosts[instance.host].view;
            events.push(Event::InstanceJoined { instance: instance.id, profile });
            if instance.up {
                events.push(Event::InstanceUp { instance: instance.id, up: true });
            }
            if host.spool_full {
                events.push(Event::InstanceSpool { instance: instance.id, full: true });
            }
            if let at @ Some(_) = self.hosts[instance.host].leaves_at {
                events.push(Event::InstanceLeaves { instance: instance.id, at });
            }
        }
        events
    }

    /// An instance answers.
    pub(super) fn up(&mut self, name: &str, facts: InstanceFacts, now: i64) -> Change {
        let mut change = Change::default();
        let Some(&index) = self.by_name.get(name) else { return change };
        if let Some(other) = self.sharing_device(index, &facts) {
            let reason =
                format!("shares its device with {other}; two instances on one device need a VRAM split");
            tracing::error!(instance = name, %other, "two instances on one device; the second takes no work");
            return self.down(name, reason);
        }
        let changed = self.instances[index].facts.as_ref() != Some(&facts);
        let catalogue_known = facts.catalogue.as_ref().is_none_or(|hash| self.stock.knows(hash));
        let instance = &mut self.instances[index];
        let was_up = instance.up;
        if !was_up && instance.seen_at > 0 {
            instance.reconnects += 1;
        }
        if !was_up {
            instance.heard_at = Some(Instant::now());
        }
        instance.up = true;
        instance.reason = None;
        instance.seen_at = now;
        instance.facts = Some(facts);
        let id = instance.id;
        if changed {
            change.keep.push(self.known(index));
            change.events.push(Event::InstanceJoined { instance: id, profile: self.profile(index) });
        }
        if !was_up || changed {
            change.events.push(Event::InstanceUp { instance: id, up: true });
            // To come up is to stay, as far as the scheduler knows; a notice whose time has passed is over with it.
            let leaves_at = &mut self.hosts[self.instances[index].host].leaves_at;
            if !was_up {
                *leaves_at = leaves_at.filter(|at| at.0 > now);
            }
            if let at @ Some(_) = *leaves_at {
                change.events.push(Event::InstanceLeaves { instance: id, at });
            }
        }
        if !catalogue_known {
            change.wanted = Some(self.instances[index].name.clone());
        }
        change
    }

    /// An instance does not answer.
    pub(super) fn down(&mut self, name: &str, reason: String) -> Change {
        let mut change = Change::default();
        let Some(&index) = self.by_name.get(name) else { return change };
        let instance = &mut self.instances[index];
        instance.reason = Some(reason);
        instance.heard_at = Some(Instant::now());
        if std::mem::replace(&mut instance.up, false) {
            change.events.push(Event::InstanceUp { instance: instance.id, up: false });
        }
        change
    }

    /// The process of an instance is a new one.
    pub(super) fn restarted(&self, name: &str) -> Change {
        let events =
            self.id(name).map(|instance| Event::InstanceRestarted { instance }).into_iter().collect();
        Change { events, ..Change::default() }
    }

    /// A host is about to be taken away, milliseconds since the epoch; `None`: it stays.
    pub(super) fn leaving(&mut self, host: usize, at: Option<i64>) -> Vec<Event> {
        let Some(host) = self.hosts.get_mut(host) else { return Vec::new() };
        host.leaves_at = at.map(Timestamp);
        let at = host.leaves_at;
        host.instances
            .iter()
            .filter_map(|name| self.by_name.get(name))
            .map(|&index| Event::InstanceLeaves { instance: self.instances[index].id, at })
            .collect()
    }

    /// A catalogue was read; the instances that offer it can be used.
    pub(super) fn learn(&mut self, catalogue: Arc<Catalogue>) -> Vec<Event> {
        let hash = catalogue.hash.clone();
        self.stock.learn(catalogue);
        let stock = &mut self.stock;
        let offering = self.instances.iter().filter(|instance| instance.catalogue() == Some(&hash));
        offering
            .filter_map(|instance| {
                let catalogue = stock.offer_of(&hash, &instance.name)?;
                Some(Event::InstanceCatalogue { instance: instance.id, catalogue })
            })
            .collect()
    }

    /// New readings of a host's devices.
    pub(super) fn sampled(&mut self, host: usize, report: DeviceReport, now: i64) -> Vec<Event> {
        let mut events = Vec::new();
        for reading in &report.devices {
            let Some(&device) = self.devices.get(&reading.uuid) else { continue };
            events.push(Event::Sampled {
                device,
                sample: DeviceSample {
                    total_mib: reading.total_mib.unwrap_or(0),
                    foreign_mib: reading.foreign_mib.unwrap_or(0),
                    foreign_load_milli: reading.foreign_percent.unwrap_or(0).saturating_mul(10),
                    utilization_milli: reading.utilization_percent.map(|percent| percent.saturating_mul(10)),
                    faulty: reading.fault.is_some(),
                },
            });
        }
        if let Some(host) = self.hosts.get_mut(host) {
            host.view.devices = report;
            host.view.read_at = Some(now);
        }
        events
    }

    /// The spool of a host is full, or has room again.
    pub(super) fn spool(&mut self, host: usize, full: bool, bytes: u64) -> Vec<Event> {
        let Some(host) = self.hosts.get_mut(host) else { return Vec::new() };
        host.view.spool_full = full;
        host.view.spool_bytes = bytes;
        host.instances
            .iter()
            .filter_map(|name| self.by_name.get(name))
            .map(|&index| Event::InstanceSpool { instance: self.instances[index].id, full })
            .collect()
    }

    pub(super) fn id(&self, name: &str) -> Option<InstanceId> {
        self.by_name.get(name).map(|&index| self.instances[index].id)
    }

    pub(super) fn name(&self, id: InstanceId) -> Option<&Arc<str>> {
        self.by_id.get(&id).map(|&index| &self.instances[index].name)
    }

    /// The class of its device, as far as it told.
    pub(super) fn device_class(&self, id: InstanceId) -> Option<&str> {
        let instance = self.by_id.get(&id).map(|&index| &self.instances[index])?;
        instance.facts.as_ref().map(|facts| facts.device_class.as_str())
    }

    /// Where commands for an instance go.
    pub(super) fn link(&self, id: InstanceId) -> Option<&Sender<Command>> {
        self.by_id.get(&id).map(|&index| &self.hosts[self.instances[index].host].commands)
    }

    /// Whether nothing more is about to be known of what the fleet can run: each instance has been asked, and of each
    /// that answers the catalogue has been read.
    pub(super) fn is_settled(&self) -> bool {
        self.instances.iter().all(|instance| {
            let known = instance.catalogue().is_some_and(|hash| self.stock.knows(hash));
            let patient = instance.heard_at.is_none_or(|at| instance.up && at.elapsed() < SETTLES_WITHIN);
            known || !patient
        })
    }

    pub(super) fn catalogue_known(&self, hash: &str) -> bool {
        self.stock.knows(hash)
    }

    /// The distinct catalogues of instances that are configured, in the order of the instances.
    pub(super) fn catalogues(&self) -> Vec<Arc<Catalogue>> {
        let mut seen = Vec::new();
        for instance in &self.instances {
            let Some(hash) = instance.catalogue() else { continue };
            if seen.iter().any(|catalogue: &Arc<Catalogue>| catalogue.hash == *hash) {
                continue;
            }
            seen.extend(self.stock.get(hash).cloned());
        }
        seen
    }

    pub(super) fn views(&self) -> (Vec<HostView>, Vec<InstanceView>) {
        let hosts = self.hosts.iter().map(|host| host.view.clone()).collect();
        let mut instances: Vec<_> = self
            .instances
            .iter()
            .map(|instance| InstanceView {
                id: instance.id,
                name: instance.name.clone(),
                host: self.hosts[instance.host].view.name.clone(),
                up: instance.up,
                reason: instance.reason.clone(),
                facts: instance.facts.clone(),
                reconnects: instance.reconnects,
            })
            .collect();
        instances.sort_by_key(|instance| instance.id);
        (hosts, instances)
    }

    fn sharing_device(&self, index: usize, facts: &InstanceFacts) -> Option<Arc<str>> {
        let uuid = facts.device_uuid.as_ref()?;
        let split = |facts: &InstanceFacts| facts.vram_split;
        self.instances
            .iter()
            .enumerate()
            .find(|(other, instance)| {
                *other != index
                    && instance.up
                    && instance.facts.as_ref().is_some_and(|other| {
                        other.device_uuid.as_ref() == Some(uuid) && !(split(other) && split(facts))
                    })
            })
            .map(|(_, instance)| instance.name.clone())
    }

    fn profile(&mut self, index: usize) -> InstanceProfile {
        let instance = &self.instances[index];
        let host = HostId(u32::try_from(instance.host).unwrap_or(u32::MAX));
        let Some(facts) = &instance.facts else { return unknown(host) };
        self.stock.weigh(facts);
        let next = DeviceId(u32::try_from(self.devices.len()).unwrap_or(u32::MAX));
        let device = facts.device_uuid.clone().map(|uuid| *self.devices.entry(uuid).or_insert(next));
        let speeds = facts.family_speeds.iter();
        InstanceProfile {
            host,
            device,
            device_class: names::device_class(&facts.device_class),
            speed_milli: facts.speed_milli.max(1),
            family_speeds: speeds.map(|(name, &speed)| (workflow::family(name), speed.max(1))).collect(),
            loading: facts.loading.map(loading),
            vram_mib: facts.vram_mib,
            reserve_mib: if facts.vram_mib.is_some() { self.reserve_mib } else { 0 },
            catalogue: facts.catalogue.as_ref().and_then(|hash| self.stock.offer_of(hash, &instance.name)),
        }
    }

    fn known(&self, index: usize) -> KnownInstance {
        let instance = &self.instances[index];
        KnownInstance {
            id: instance.id.0,
            name: instance.name.to_string(),
            host: self.hosts[instance.host].view.name.clone(),
            catalogue: instance.catalogue().cloned(),
            facts: instance.facts.as_ref().and_then(|facts| serde_json::to_string(facts).ok()),
            seen_at: instance.seen_at,
        }
    }
}

impl Instance {
    fn catalogue(&self) -> Option<&String> {
        self.facts.as_ref()?.catalogue.as_ref()
    }
}

/// An instance that never answered.
fn unknown(host: HostId) -> InstanceProfile {
    InstanceProfile {
        host,
        device: None,
        device_class: names::device_class("unknown"),
        speed_milli: 1000,
        family_speeds: Box::default(),
        loading: None,
        vram_mib: None,
        reserve_mib: 0,
        catalogue: None,
    }
}

/// Rates of nothing would stand for loads without end.
fn loading(facts: LoadingFacts) -> Loading {
    Loading {
        disk_mib_s: facts.disk_mib_s.max(1),
        pcie_mib_s: facts.pcie_mib_s.max(1),
        host_cache_mib: facts.host_cache_mib,
    }
}

/// Instances of earlier lives, by name.
pub(super) struct Known(HashMap<String, KnownInstance>);
