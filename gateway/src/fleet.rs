//! The fleet as everybody else sees it: an immutable view, published after turns that changed it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use scheduler::{ClassSummary, DeviceClassId, InstanceId, Summary};

use crate::link::message::{DeviceReport, InstanceFacts};
use crate::workflow::Catalogue;

/// The whole fleet at one moment.
#[derive(Debug, Clone, Default)]
pub struct FleetView {
    /// Hosts, by name.
    pub hosts: Vec<HostView>,
    /// Instances, by id.
    pub instances: Vec<InstanceView>,
    /// The distinct catalogues of all instances ever seen and still configured; empty while none is known.
    pub catalogues: Vec<Arc<Catalogue>>,
    /// Each instance has been asked, and the catalogue of each that answers has been read: what is refused now would
    /// be refused a second later too.
    pub settled: bool,
    /// Backlog and instances as the scheduler counts them.
    pub summary: Summary,
}

/// One host.
#[derive(Debug, Clone, Default)]
pub struct HostView {
    /// Its name.
    pub name: String,
    /// Newest reading of its devices.
    pub devices: DeviceReport,
    /// When it was read, milliseconds since the epoch.
    pub read_at: Option<i64>,
    /// Its spool takes nothing more.
    pub spool_full: bool,
    /// Bytes in its spool.
    pub spool_bytes: u64,
}

/// One instance.
#[derive(Debug, Clone)]
pub struct InstanceView {
    /// The id the scheduler knows it by.
    pub id: InstanceId,
    /// Its name.
    pub name: Arc<str>,
    /// Its host.
    pub host: String,
    /// Whether it answers.
    pub up: bool,
    /// Why not, in words.
    pub reason: Option<String>,
    /// What it said of itself last.
    pub facts: Option<InstanceFacts>,
    /// Times contact came back after it was lost.
    pub reconnects: u64,
}

impl FleetView {
    /// Name of an instance.
    #[must_use]
    pub fn name(&self, id: InstanceId) -> Option<&Arc<str>> {
        self.instances.iter().find(|instance| instance.id == id).map(|instance| &instance.name)
    }

    /// Device classes with a usable instance by name, as the scheduler values them.
    pub fn classes(&self) -> impl Iterator<Item = (&str, &ClassSummary)> {
        let facts = self.instances.iter().filter_map(|instance| instance.facts.as_ref());
        // Hundreds of instances are of a few classes.
        let names: BTreeSet<&str> = facts.map(|facts| facts.device_class.as_str()).collect();
        let names: BTreeMap<DeviceClassId, &str> =
            names.into_iter().map(|name| (crate::engine::device_class(name), name)).collect();
        self.summary.classes.iter().filter_map(move |class| Some((*names.get(&class.class)?, class)))
    }
}
