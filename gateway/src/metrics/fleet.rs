//! Gauges of the fleet, computed from its view at a scrape: what is not known is left out, never 0.

use std::collections::HashMap;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, GaugeVec, IntCounterVec, IntGaugeVec, Opts};

use super::families::Family;
use crate::fleet::{FleetView, HostView, InstanceView};
use crate::link::message::DeviceReading;

type Result<T> = std::result::Result<T, prometheus::Error>;

const MIB: f64 = 1_048_576.0;

/// All gauges of one scrape. Made anew each time, so that a host that left leaves no series behind.
struct Gauges {
    backlog: IntGaugeVec,
    backlog_work: GaugeVec,
    backlog_drain: GaugeVec,
    class_worth: GaugeVec,
    attempts: IntGaugeVec,
    instance_up: IntGaugeVec,
    instance_reconnects: IntCounterVec,
    instance_cordoned: IntGaugeVec,
    usable: IntGaugeVec,
    gpu_info: IntGaugeVec,
    gpu_total: GaugeVec,
    gpu_used: GaugeVec,
    gpu_foreign: GaugeVec,
    gpu_utilization: GaugeVec,
    gpu_temperature: GaugeVec,
    gpu_power: GaugeVec,
    gpu_energy: CounterVec,
    gpu_xids: IntCounterVec,
    gpu_state: IntGaugeVec,
    collect_success: IntGaugeVec,
    last_collect: GaugeVec,
    spool_bytes: GaugeVec,
    spool_full: IntGaugeVec,
}

const GPU: &[&str] = &["host", "gpu", "uuid"];

impl Gauges {
    fn new() -> Result<Self> {
        let whole = |name: &str, help: &str, labels: &[&str]| IntGaugeVec::new(Opts::new(name, help), labels);
        let real = |name: &str, help: &str, labels: &[&str]| GaugeVec::new(Opts::new(name, help), labels);
        let count =
            |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        Ok(Self {
            backlog: whole("gateway_backlog_jobs", "Jobs that wait for a placement.", &["class"])?,
            backlog_work: real(
                "gateway_backlog_work_seconds",
                "Predicted work of the backlog on the reference device class.",
                &[],
            )?,
            backlog_drain: real(
                "gateway_backlog_drain_seconds",
                "How long the fleet would take for the backlog, were every device busy with what it does best.",
                &[],
            )?,
            class_worth: real(
                "gateway_device_class_worth",
                "What one more device of a class would be worth, in mean devices of the fleet.",
                &["device_class"],
            )?,
            attempts: whole("gateway_attempts", "Attempts on instances, by where they stand.", &["phase"])?,
            instance_up: whole("gateway_instance_up", "Whether an instance answers.", &["instance"])?,
            instance_reconnects: count(
                "gateway_instance_reconnects_total",
                "Times contact with an instance came back.",
                &["instance"],
            )?,
            instance_cordoned: whole(
                "gateway_instance_cordoned",
                "Whether an instance takes no new work by order.",
                &["instance"],
            )?,
            usable: whole("gateway_usable_instances", "Instances that can take work now or later.", &[])?,
            gpu_info: whole(
                "gateway_gpu_info",
                "Always 1.",
                &["host", "gpu", "uuid", "name", "pci_bus_id", "driver_version"],
            )?,
            gpu_total: real("gateway_gpu_memory_total_bytes", "Memory of a GPU.", GPU)?,
            gpu_used: real("gateway_gpu_memory_used_bytes", "Used memory of a GPU.", GPU)?,
            gpu_foreign: real(
                "gateway_gpu_memory_foreign_bytes",
                "Memory of a GPU used by processes that are no instance of ours.",
                GPU,
            )?,
            gpu_utilization: real(
                "gateway_gpu_utilization_ratio",
                "Share of time with any kernel running.",
                GPU,
            )?,
            gpu_temperature: real("gateway_gpu_temperature_celsius", "Temperature of a GPU.", GPU)?,
            gpu_power: real("gateway_gpu_power_watts", "Power drawn by a GPU.", GPU)?,
            gpu_energy: CounterVec::new(
                Opts::new(
                    "gateway_gpu_energy_joules_total",
                    "Energy used by a GPU since its driver was loaded.",
                ),
                GPU,
            )?,
            gpu_xids: count(
                "gateway_gpu_xid_events_total",
                "XID events of a GPU since its host's runner started.",
                &["host", "gpu", "uuid", "xid"],
            )?,
            gpu_state: whole(
                "gateway_gpu_state",
                "1 for the state a GPU is in.",
                &["host", "gpu", "uuid", "state"],
            )?,
            collect_success: whole(
                "gateway_gpu_collect_success",
                "Whether the last reading of a host's GPUs succeeded.",
                &["host"],
            )?,
            last_collect: real(
                "gateway_gpu_last_collect_timestamp_seconds",
                "When a host's GPUs were read last.",
                &["host"],
            )?,
            spool_bytes: real(
                "gateway_spool_bytes",
                "Bytes of outputs that wait on a host for the artifact store.",
                &["host"],
            )?,
            spool_full: whole("gateway_spool_full", "Whether a host's spool takes nothing more.", &["host"])?,
        })
    }

    /// With the type that each is documented as.
    fn collectors(&self) -> [(&'static str, &dyn Collector); 23] {
        [
            ("gauge", &self.backlog),
            ("gauge", &self.backlog_work),
            ("gauge", &self.backlog_drain),
            ("gauge", &self.class_worth),
            ("gauge", &self.attempts),
            ("gauge", &self.instance_up),
            ("counter", &self.instance_reconnects),
            ("gauge", &self.instance_cordoned),
            ("gauge", &self.usable),
            ("gauge", &self.gpu_info),
            ("gauge", &self.gpu_total),
            ("gauge", &self.gpu_used),
            ("gauge", &self.gpu_foreign),
            ("gauge", &self.gpu_utilization),
            ("gauge", &self.gpu_temperature),
            ("gauge", &self.gpu_power),
            ("counter", &self.gpu_energy),
            ("counter", &self.gpu_xids),
            ("gauge", &self.gpu_state),
            ("gauge", &self.collect_success),
            ("gauge", &self.last_collect),
            ("gauge", &self.spool_bytes),
            ("gauge", &self.spool_full),
        ]
    }

    fn set_summary(&self, fleet: &FleetView) {
        let summary = &fleet.summary;
        for (class, jobs) in ["batch", "normal", "interactive"].into_iter().zip(summary.queued) {
            self.backlog.with_label_values(&[class]).set(whole(jobs));
        }
        self.backlog_work.with_label_values::<&str>(&[]).set(real(summary.backlog_ms) / 1e3);
        let drain_ms = u64::try_from(summary.drain.0).unwrap_or(0);
        self.backlog_drain.with_label_values::<&str>(&[]).set(real(drain_ms) / 1e3);
        for (name, class) in fleet.classes() {
            self.class_worth.with_label_values(&[name]).set(f64::from(class.worth_milli) / 1e3);
        }
        for (phase, attempts) in [
            ("dispatching", summary.dispatching),
            ("running", summary.running),
            ("in_doubt", summary.in_doubt),
            ("collecting", summary.collecting),
            ("canceling", summary.canceling),
        ] {
            self.attempts.with_label_values(&[phase]).set(whole(attempts));
        }
        let usable =
            summary.instances.iter().filter(|known| known.up && !known.cordoned && !known.faulty).count();
        self.usable.with_label_values::<&str>(&[]).set(i64::try_from(usable).unwrap_or(i64::MAX));
    }

    fn set_instance(&self, view: &InstanceView, is_cordoned: bool) {
        let name: &[&str] = &[&view.name];
        self.instance_up.with_label_values(name).set(i64::from(view.up));
        self.instance_reconnects.with_label_values(name).inc_by(view.reconnects);
        self.instance_cordoned.with_label_values(name).set(i64::from(is_cordoned));
    }

    fn set_host(&self, host: &HostView) {
        let name: &[&str] = &[&host.name];
        self.spool_bytes.with_label_values(name).set(real(host.spool_bytes));
        self.spool_full.with_label_values(name).set(i64::from(host.spool_full));
        if let Some(read_at) = host.read_at {
            self.collect_success.with_label_values(name).set(i64::from(host.devices.problem.is_none()));
            self.last_collect.with_label_values(name).set(real(u64::try_from(read_at).unwrap_or(0)) / 1e3);
        }
        for device in &host.devices.devices {
            let driver = host.devices.driver.as_deref().unwrap_or_default();
            self.set_device(&host.name, driver, device);
        }
    }

    fn set_device(&self, host: &str, driver: &str, device: &DeviceReading) {
        let index = device.index.to_string();
        let labels: &[&str] = &[host, &index, &device.uuid];
        let bus = device.pci_bus_id.as_deref().unwrap_or_default();
        self.gpu_info.with_label_values(&[host, &index, &device.uuid, &device.name, bus, driver]).set(1);
        let set = |family: &GaugeVec, reading: Option<f64>| {
            if let Some(reading) = reading {
                family.with_label_values(labels).set(reading);
            }
        };
        set(&self.gpu_total, device.total_mib.map(|mib| f64::from(mib) * MIB));
        set(&self.gpu_used, device.used_mib.map(|mib| f64::from(mib) * MIB));
        set(&self.gpu_foreign, device.foreign_mib.map(|mib| f64::from(mib) * MIB));
        set(&self.gpu_utilization, device.utilization_percent.map(|percent| f64::from(percent) / 100.0));
        set(&self.gpu_temperature, device.temperature_celsius.map(f64::from));
        set(&self.gpu_power, device.power_milliwatts.map(|power| f64::from(power) / 1e3));
        if let Some(energy) = device.energy_millijoules {
            self.gpu_energy.with_label_values(labels).inc_by(real(energy) / 1e3);
        }
        for (xid, events) in &device.xids {
            let xid = xid.to_string();
            self.gpu_xids.with_label_values(&[host, &index, &device.uuid, &xid]).inc_by(*events);
        }
        let is_ready = device.fault.is_none();
        for (state, is_so) in [("ready", is_ready), ("faulty", !is_ready)] {
            self.gpu_state.with_label_values(&[host, &index, &device.uuid, state]).set(i64::from(is_so));
        }
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a gauge may round beyond 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}

/// The fleet's figures of this moment.
pub(super) fn gather(fleet: &FleetView) -> Result<Vec<MetricFamily>> {
    let gauges = Gauges::new()?;
    gauges.set_summary(fleet);
    let cordoned: HashMap<_, _> =
        fleet.summary.instances.iter().map(|known| (known.instance, known.cordoned)).collect();
    for view in &fleet.instances {
        gauges.set_instance(view, cordoned.get(&view.id).copied().unwrap_or(false));
    }
    for host in &fleet.hosts {
        gauges.set_host(host);
    }
    let families = gauges.collectors().into_iter().flat_map(|(_, collector)| collector.collect());
    Ok(families.filter(|family| !family.get_metric().is_empty()).collect())
}

/// The families of this module.
pub(super) fn describe() -> Vec<Family> {
    let Ok(gauges) = Gauges::new() else { return Vec::new() };
    let described = gauges.collectors().into_iter().flat_map(|(kind, collector)| {
        collector.desc().into_iter().map(move |desc| (kind, desc.clone())).collect::<Vec<_>>()
    });
    described
        .map(|(kind, desc)| Family {
            name: desc.fq_name,
            kind,
            labels: desc.variable_labels,
            help: desc.help,
        })
        .collect()
}
