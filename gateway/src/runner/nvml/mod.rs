//! Readings of the host's GPUs through NVML, as snapshots (nvml FACTS §2, §6).
//!
//! Every call into the driver may block for ever. So one thread looks, another holds the clock: past the deadline of a
//! look it reports the problem and waits on; it never starts a second look. No driver is a fact to report, too.

mod health;
mod listener;
mod look;
mod watch_xids;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ffi::OsString;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

pub use listener::{listening_pid, listening_pid_under};

use self::look::{Look, Looker};
use crate::link::message::{DeviceReading, DeviceReport};

/// How to look.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The library (`GATEWAY_NVML_LIBRARY`); `None`: the driver's own name for it, found by the loader.
    pub library: Option<OsString>,
    /// From look to look: memory, utilisation, processes.
    pub period: Duration,
    /// From look to look at what changes slowly: power, heat, requested resets.
    pub slow_period: Duration,
    /// A look that takes longer is reported as a call that hangs.
    pub deadline: Duration,
    /// First pause before a missing driver is looked for again; doubles up to `retry_max`.
    pub retry_min: Duration,
    /// Longest such pause.
    pub retry_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            library: None,
            period: Duration::from_secs(1),
            slow_period: Duration::from_secs(5),
            deadline: Duration::from_secs(5),
            retry_min: Duration::from_secs(2),
            retry_max: Duration::from_secs(60),
        }
    }
}

/// The process ids of this host's instances of ours; the runner keeps it current. What others use is foreign.
pub type OurPids = Arc<Mutex<BTreeSet<u32>>>;

/// Devices by the process that uses them.
type Users = Arc<Mutex<BTreeMap<u32, BTreeSet<String>>>>;

/// The running look-out. It stops when dropped.
#[derive(Debug)]
pub struct Nvml {
    reports: watch::Receiver<DeviceReport>,
    ours: OurPids,
    users: Users,
    /// Never sent on: the look-out ends when it is gone.
    _stop: mpsc::Sender<Infallible>,
}

impl Nvml {
    /// Starts looking. The first snapshot is empty and names the problem that nobody has looked yet.
    #[must_use]
    pub fn start(settings: Settings) -> Self {
        let (ours, users) = (OurPids::default(), Users::default());
        let (stop, stopped) = mpsc::channel();
        let (sender, reports) = watch::channel(problem("the driver has not been asked yet", &[]));
        let looker = Looker::new(settings.clone(), ours.clone(), users.clone());
        let watchdog = Watchdog { settings, reports: sender, stopped };
        let spawned = thread::Builder::new().name("nvml-clock".into()).spawn(move || watchdog.run(looker));
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread for the nvml look-out");
        }
        Self { reports, ours, users, _stop: stop }
    }

    /// The newest snapshot, and word of newer ones.
    #[must_use]
    pub fn reports(&self) -> watch::Receiver<DeviceReport> {
        self.reports.clone()
    }

    /// The set of our own processes, to be kept current.
    #[must_use]
    pub fn ours(&self) -> OurPids {
        self.ours.clone()
    }

    /// Whether any device was ever seen.
    #[must_use]
    pub fn has_devices(&self) -> bool {
        !self.reports.borrow().devices.is_empty()
    }

    /// UUID of the one device that a process uses (DESIGN §3: listener pid → NVML process); `None` if it was seen on
    /// none or on several.
    #[must_use]
    pub fn device_of(&self, pid: u32) -> Option<String> {
        let users = locked(&self.users);
        let devices = users.get(&pid)?;
        devices.first().filter(|_| devices.len() == 1).cloned()
    }
}

/// A lock whose data is whole after every step, so a panic elsewhere does no harm.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Holds the clock for the thread that looks.
struct Watchdog {
    settings: Settings,
    reports: watch::Sender<DeviceReport>,
    stopped: Receiver<Infallible>,
}

impl Watchdog {
    fn run(self, mut looker: Looker) {
        let (ask, asked) = mpsc::channel::<()>();
        let (answer, answers) = mpsc::channel();
        let look = move || {
            while asked.recv().is_ok() {
                if answer.send(looker.look()).is_err() {
                    return;
                }
            }
        };
        if let Err(error) = thread::Builder::new().name("nvml-look".into()).spawn(look) {
            self.publish(problem(&format!("no thread to ask the driver: {error}"), &[]));
            return;
        }
        let mut retry = self.settings.retry_min;
        loop {
            if ask.send(()).is_err() {
                self.publish(problem("the thread that asks the driver has died", &self.devices()));
                return;
            }
            let Some(look) = self.answer(&answers) else { return };
            let pause = if look.has_driver {
                retry = self.settings.retry_min;
                self.settings.period
            } else {
                let pause = retry;
                retry = retry.saturating_mul(2).min(self.settings.retry_max);
                pause
            };
            self.publish(look.report);
            if self.is_stopped_within(pause) {
                return;
            }
        }
    }

    /// Waits for the answer however long it takes; past the deadline the devices are unknown. `None`: stopped, or
    /// nobody is left to answer.
    fn answer(&self, answers: &Receiver<Look>) -> Option<Look> {
        let mut wait = self.settings.deadline;
        loop {
            match answers.recv_timeout(wait) {
                Ok(look) => return Some(look),
                Err(RecvTimeoutError::Disconnected) => {
                    self.publish(problem("the thread that asks the driver has died", &self.devices()));
                    return None;
                }
                Err(RecvTimeoutError::Timeout) => {
                    let deadline = self.settings.deadline;
                    self.publish(problem(
                        &format!("a call into the driver has not returned within {deadline:?}"),
                        &self.devices(),
                    ));
                    wait = self.settings.period;
                }
            }
            if self.is_stopped_within(Duration::ZERO) {
                return None;
            }
        }
    }

    fn is_stopped_within(&self, pause: Duration) -> bool {
        self.stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout)
    }

    fn devices(&self) -> Vec<DeviceReading> {
        self.reports.borrow().devices.clone()
    }

    fn publish(&self, report: DeviceReport) {
        let before = self.reports.send_replace(report);
        let now = self.reports.borrow();
        if before.problem != now.problem {
            match &now.problem {
                Some(problem) => tracing::warn!(%problem, "gpu readings are missing"),
                None => tracing::info!(devices = now.devices.len(), "gpu readings are available"),
            }
        }
    }
}

/// A look that failed: the devices known before keep their names and nothing else.
fn problem(what: &str, devices: &[DeviceReading]) -> DeviceReport {
    let known = |device: &DeviceReading| DeviceReading {
        uuid: device.uuid.clone(),
        index: device.index,
        name: device.name.clone(),
        pci_bus_id: device.pci_bus_id.clone(),
        xids: device.xids.clone(),
        fault: device.fault.clone(),
        ..DeviceReading::default()
    };
    DeviceReport {
        problem: Some(what.to_owned()),
        driver: None,
        devices: devices.iter().map(known).collect(),
    }
}
