//! One look at all devices. Every function here may block in the driver.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Instant;

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::enums::device::{SampleValue, UsedGpuMemory};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;

use super::health::{self, XidLog};
use super::watch_xids::{self, XidWatch};
use super::{OurPids, Settings, Users, locked};
use crate::link::message::{DeviceReading, DeviceReport};

/// Field of the recovery that the driver asks for (nvml FACTS §2).
const RECOVERY_ACTION: FieldId = FieldId(230);
/// Field of a row that could not be remapped.
const REMAP_FAILURE: FieldId = FieldId(145);
/// So many unknown errors in a row make a device faulty.
const MAX_UNKNOWN: u32 = 5;

/// What a look brought.
#[derive(Debug)]
pub(super) struct Look {
    /// The snapshot.
    pub(super) report: DeviceReport,
    /// Whether there is a driver to ask again soon.
    pub(super) has_driver: bool,
}

/// Looks, and remembers what it needs for the next look.
pub(super) struct Looker {
    settings: Settings,
    ours: OurPids,
    users: Users,
    xids: XidLog,
    open: Option<Open>,
}

/// An opened library.
struct Open {
    nvml: Arc<nvml_wrapper::Nvml>,
    driver: Option<String>,
    /// By index.
    devices: BTreeMap<u32, Known>,
    slow_at: Option<Instant>,
    watch: Option<XidWatch>,
}

/// What is remembered of a device.
#[derive(Default)]
struct Known {
    /// Names, and the newest of the slow readings.
    reading: DeviceReading,
    /// What the driver answered the last slow look that speaks against the device.
    slow_fault: Option<String>,
    /// It does not answer any more.
    lost: Option<String>,
    /// Readings that it does not support: never asked again.
    unsupported: HashSet<&'static str>,
    /// Time of the newest sample of processes, by the driver.
    sampled_at: u64,
    /// Unknown errors in a row.
    unknown: u32,
}

impl Looker {
    pub(super) fn new(settings: Settings, ours: OurPids, users: Users) -> Self {
        Self { settings, ours, users, xids: XidLog::default(), open: None }
    }

    pub(super) fn look(&mut self) -> Look {
        let open = match &mut self.open {
            Some(open) => open,
            None => match Open::new(&self.settings) {
                Ok(open) => self.open.insert(open),
                Err(error) => return no_driver(&error),
            },
        };
        let ours = locked(&self.ours).clone();
        match open.look(&self.settings, &ours, &self.xids) {
            Ok((devices, users)) => {
                *locked(&self.users) = users;
                let report = DeviceReport { problem: None, driver: open.driver.clone(), devices };
                Look { report, has_driver: true }
            }
            Err(error) => {
                self.open = None;
                no_driver(&error)
            }
        }
    }
}

fn no_driver(error: &NvmlError) -> Look {
    let problem = match error {
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => {
            format!("no NVML library on this host: {error}")
        }
        NvmlError::DriverNotLoaded => "the NVIDIA driver is not loaded".to_owned(),
        NvmlError::LibRmVersionMismatch => {
            "the NVIDIA driver was replaced while in use: restart the machine".to_owned()
        }
        other => format!("NVML cannot be used: {other}"),
    };
    let report = DeviceReport { problem: Some(problem), driver: None, devices: Vec::new() };
    Look { report, has_driver: false }
}

type Readings = (Vec<DeviceReading>, BTreeMap<u32, BTreeSet<String>>);

impl Open {
    fn new(settings: &Settings) -> Result<Self, NvmlError> {
        let mut builder = nvml_wrapper::Nvml::builder();
        if let Some(library) = &settings.library {
            builder.lib_path(library);
        }
        let nvml = Arc::new(builder.init()?);
        let driver = nvml.sys_driver_version().ok();
        Ok(Self { nvml, driver, devices: BTreeMap::new(), slow_at: None, watch: None })
    }

    fn look(
        &mut self,
        settings: &Settings,
        ours: &BTreeSet<u32>,
        xids: &XidLog,
    ) -> Result<Readings, NvmlError> {
        let now = Instant::now();
        let slow = self.slow_at.is_none_or(|at| now.saturating_duration_since(at) >= settings.slow_period);
        if slow {
            self.slow_at = Some(now);
        }
        let nvml = self.nvml.clone();
        let count = nvml.device_count()?;
        let (mut readings, mut users) = (Vec::new(), BTreeMap::new());
        for index in 0..count {
            let known = self.devices.entry(index).or_default();
            known.look(&nvml, index, slow, ours, &mut readings, &mut users);
        }
        if self.watch.is_none() {
            let named = self.devices.iter().filter(|(_, known)| !known.reading.uuid.is_empty());
            let named = named.map(|(index, known)| (*index, known.reading.uuid.clone())).collect();
            self.watch = Some(watch_xids::start(nvml, named, xids.clone()));
        }
        let log = locked(xids);
        for (parent, reading) in &mut readings {
            if let Some(xids) = log.get(parent) {
                reading.xids = xids.counts();
                reading.fault = xids.fault(count == 1, now).or_else(|| reading.fault.take());
            }
        }
        Ok((readings.into_iter().map(|(_, reading)| reading).collect(), users))
    }
}

impl Known {
    /// Reads a device, or the slices it is cut into; pairs of the whole device's UUID and a reading.
    fn look(
        &mut self,
        nvml: &nvml_wrapper::Nvml,
        index: u32,
        slow: bool,
        ours: &BTreeSet<u32>,
        readings: &mut Vec<(String, DeviceReading)>,
        users: &mut BTreeMap<u32, BTreeSet<String>>,
    ) {
        // A lost device is not polled in a loop (nvml FACTS §4).
        if self.lost.is_none() || slow {
            self.lost = None;
            match nvml.device_by_index(index) {
                Ok(device) => {
                    self.name(&device, index, slow);
                    if slow {
                        self.look_slowly(&device);
                    }
                    let slices = slices(&device);
                    for slice in &slices {
                        let reading = self.slice(slice, ours, users);
                        readings.extend(reading.map(|reading| (self.reading.uuid.clone(), reading)));
                    }
                    if !slices.is_empty() {
                        return;
                    }
                    let reading = self.read(&device, ours, users);
                    if !reading.uuid.is_empty() {
                        readings.push((self.reading.uuid.clone(), reading));
                    }
                    return;
                }
                // The others of the host may be ours all the same.
                Err(NvmlError::NoPermission) => return,
                Err(error) => self.blame(&error),
            }
        }
        if !self.reading.uuid.is_empty() {
            let mut reading = self.names_only();
            reading.fault.clone_from(&self.lost);
            readings.push((self.reading.uuid.clone(), reading));
        }
    }

    /// Indices may change with the driver: names are read again with every slow look.
    fn name(&mut self, device: &Device<'_>, index: u32, slow: bool) {
        if !slow && !self.reading.uuid.is_empty() {
            return;
        }
        self.reading.index = index;
        if let Some(uuid) = self.ask("uuid", || device.uuid()) {
            self.reading.uuid = uuid;
        }
        if let Some(name) = self.ask("name", || device.name()) {
            self.reading.name = name;
        }
        if let Some(pci) = self.ask("pci", || device.pci_info()) {
            self.reading.pci_bus_id = Some(pci.bus_id);
        }
    }

    fn look_slowly(&mut self, device: &Device<'_>) {
        self.reading.temperature_celsius =
            self.ask("temperature", || device.temperature(TemperatureSensor::Gpu));
        self.reading.power_milliwatts = self.ask("power", || device.power_usage());
        self.reading.energy_millijoules = self.ask("energy", || device.total_energy_consumption());
        let recovery =
            self.field("recovery action", device, RECOVERY_ACTION).and_then(health::recovery_action);
        let remap = self.field("remap failure", device, REMAP_FAILURE).filter(|value| *value > 0);
        self.slow_fault = recovery
            .or(remap.map(|_| "a faulty memory row could not be replaced: reset the device"))
            .map(str::to_owned);
    }

    fn read(
        &mut self,
        device: &Device<'_>,
        ours: &BTreeSet<u32>,
        users: &mut BTreeMap<u32, BTreeSet<String>>,
    ) -> DeviceReading {
        let mut reading = self.reading.clone();
        if let Some(memory) = self.ask("memory", || device.memory_info()) {
            reading.total_mib = Some(mib(memory.total));
            reading.used_mib = Some(mib(memory.used));
        }
        reading.utilization_percent = self.ask("utilisation", || device.utilization_rates()).map(|it| it.gpu);
        reading.foreign_mib = self.foreign_mib(device, &reading.uuid, ours, users);
        reading.foreign_percent = self.foreign_percent(device, ours);
        reading.fault = self.lost.clone().or_else(|| self.slow_fault.clone());
        if self.lost.is_some() {
            reading = DeviceReading { fault: reading.fault, ..self.names_only() };
        }
        reading
    }

    /// A slice of a device has memory and processes of its own; the driver tells no more of it.
    fn slice(
        &mut self,
        slice: &Device<'_>,
        ours: &BTreeSet<u32>,
        users: &mut BTreeMap<u32, BTreeSet<String>>,
    ) -> Option<DeviceReading> {
        let uuid = slice.uuid().ok()?;
        let memory = slice.memory_info().ok();
        let name = slice.name().unwrap_or_else(|_| self.reading.name.clone());
        let foreign_mib = self.foreign_mib(slice, &uuid, ours, users);
        Some(DeviceReading {
            uuid,
            name,
            total_mib: memory.as_ref().map(|memory| mib(memory.total)),
            used_mib: memory.as_ref().map(|memory| mib(memory.used)),
            foreign_mib,
            fault: self.lost.clone().or_else(|| self.slow_fault.clone()),
            ..self.names_only()
        })
    }

    /// Memory of processes that are not ours; `None` where the driver does not tell it process by process.
    fn foreign_mib(
        &mut self,
        device: &Device<'_>,
        uuid: &str,
        ours: &BTreeSet<u32>,
        users: &mut BTreeMap<u32, BTreeSet<String>>,
    ) -> Option<u32> {
        let compute = self.ask("compute processes", || device.running_compute_processes())?;
        let graphics = self.ask("graphics processes", || device.running_graphics_processes());
        let mut foreign: BTreeMap<u32, Option<u64>> = BTreeMap::new();
        for process in compute.into_iter().chain(graphics.into_iter().flatten()) {
            users.entry(process.pid).or_default().insert(uuid.to_owned());
            if !ours.contains(&process.pid) {
                let used = match process.used_gpu_memory {
                    UsedGpuMemory::Used(bytes) => Some(bytes),
                    UsedGpuMemory::Unavailable => None,
                };
                // One process may be in both lists.
                let known = foreign.entry(process.pid).or_default();
                *known = (*known).max(used);
            }
        }
        foreign.into_values().try_fold(0_u64, |sum, used| used.map(|used| sum.saturating_add(used))).map(mib)
    }

    /// Utilisation by processes that are not ours, percent.
    fn foreign_percent(&mut self, device: &Device<'_>, ours: &BTreeSet<u32>) -> Option<u32> {
        let since = self.sampled_at;
        let samples = self.ask("process utilisation", || match device.process_utilization_stats(since) {
            // No sample in the period: nobody was busy.
            Err(NvmlError::NotFound) => Ok(Vec::new()),
            other => other,
        })?;
        let mut newest: BTreeMap<u32, (u64, u32)> = BTreeMap::new();
        for sample in samples {
            self.sampled_at = self.sampled_at.max(sample.timestamp);
            let known = newest.entry(sample.pid).or_default();
            *known = (*known).max((sample.timestamp, sample.sm_util));
        }
        let foreign = newest.iter().filter(|(pid, _)| !ours.contains(*pid));
        Some(foreign.fold(0_u32, |sum, (_, (_, percent))| sum.saturating_add(*percent)).min(100))
    }

    /// One field as a number.
    fn field(&mut self, what: &'static str, device: &Device<'_>, field: FieldId) -> Option<u64> {
        let value = self.ask(what, || match device.field_values_for(&[field])?.into_iter().next() {
            Some(sample) => sample?.value,
            None => Err(NvmlError::NotFound),
        })?;
        match value {
            SampleValue::U32(value) => Some(u64::from(value)),
            SampleValue::U64(value) => Some(value),
            SampleValue::I64(value) => u64::try_from(value).ok(),
            SampleValue::F64(_) => None,
        }
    }

    /// Asks for one reading. What is not supported is logged once and never asked again; a lost device is asked
    /// nothing more in this look.
    fn ask<T>(&mut self, what: &'static str, ask: impl FnOnce() -> Result<T, NvmlError>) -> Option<T> {
        if self.lost.is_some() || self.unsupported.contains(what) {
            return None;
        }
        match ask() {
            Ok(value) => {
                self.unknown = 0;
                Some(value)
            }
            Err(error @ (NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_))) => {
                tracing::debug!(%error, uuid = %self.reading.uuid, what, "gpu reading not supported");
                self.unsupported.insert(what);
                None
            }
            Err(error) => {
                self.blame(&error);
                None
            }
        }
    }

    /// Errors that speak against the device itself; others are transient (nvml FACTS §4).
    fn blame(&mut self, error: &NvmlError) {
        match error {
            NvmlError::GpuLost => self.lost = Some("the device is lost: restart the machine".to_owned()),
            NvmlError::ResetRequired => self.lost = Some("the device requires a reset".to_owned()),
            NvmlError::Unknown => {
                self.unknown = self.unknown.saturating_add(1);
                if self.unknown >= MAX_UNKNOWN {
                    self.lost = Some("the device answers nothing but unknown errors".to_owned());
                }
            }
            _ => {}
        }
    }

    fn names_only(&self) -> DeviceReading {
        DeviceReading {
            uuid: self.reading.uuid.clone(),
            index: self.reading.index,
            name: self.reading.name.clone(),
            pci_bus_id: self.reading.pci_bus_id.clone(),
            ..DeviceReading::default()
        }
    }
}

/// The slices of a device; none where it is whole.
fn slices<'nvml>(device: &Device<'nvml>) -> Vec<Device<'nvml>> {
    if !device.mig_mode().is_ok_and(|mode| mode.current == 1) {
        return Vec::new();
    }
    let count = device.mig_device_count().unwrap_or(0);
    (0..count).filter_map(|index| device.mig_device_by_index(index).ok()).collect()
}

fn mib(bytes: u64) -> u32 {
    u32::try_from(bytes >> 20).unwrap_or(u32::MAX)
}
