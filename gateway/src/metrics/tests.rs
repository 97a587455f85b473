#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use std::collections::BTreeSet;

use scheduler::{InstanceId, InstanceSummary};

use super::*;
use crate::fleet::{HostView, InstanceView};
use crate::link::message::{DeviceReading, DeviceReport};

const DOCUMENT: &str = include_str!("../../../docs/METRICS.md");

/// A fleet in which every gauge has something to say.
fn fleet() -> FleetView {
    let device = DeviceReading {
        uuid: "GPU-1".into(),
        name: "Tesla T4".into(),
        total_mib: Some(15_360),
        used_mib: Some(1),
        foreign_mib: Some(0),
        utilization_percent: Some(50),
        temperature_celsius: Some(40),
        power_milliwatts: Some(70_000),
        energy_millijoules: Some(1_500),
        xids: vec![(79, 2)],
        ..DeviceReading::default()
    };
    let devices = DeviceReport { devices: vec![device], ..DeviceReport::default() };
    let mut fleet = FleetView {
        hosts: vec![HostView { name: "host".into(), devices, read_at: Some(1_500), ..HostView::default() }],
        instances: vec![InstanceView {
            id: InstanceId(1),
            name: "gpu-0".into(),
            host: "host".into(),
            up: true,
            reason: None,
            facts: None,
            reconnects: 3,
        }],
        ..FleetView::default()
    };
    fleet.summary.queued = [1, 2, 3];
    fleet.summary.instances = vec![InstanceSummary {
        instance: InstanceId(1),
        up: true,
        cordoned: false,
        faulty: false,
        holds: 0,
        free_at: None,
        warm: Vec::new(),
    }];
    fleet
}

/// `| name | type | labels | help |` for each family.
fn rows() -> Vec<String> {
    Metrics::describe()
        .into_iter()
        .map(|family| {
            let labels =
                family.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            let labels = if labels.is_empty() { "none".to_owned() } else { labels };
            format!("| `{}` | {} | {labels} | {} |", family.name, family.kind, family.help)
        })
        .collect()
}

#[test]
fn the_document_lists_exactly_the_families_there_are() {
    let documented: BTreeSet<_> = DOCUMENT.lines().filter(|line| line.starts_with("| `gateway_")).collect();
    let rows = rows();
    let registered: BTreeSet<_> = rows.iter().map(String::as_str).collect();
    let missing: Vec<_> = registered.difference(&documented).collect();
    let stale: Vec<_> = documented.difference(&registered).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "missing in the document:\n{missing:#?}\nstale in it:\n{stale:#?}"
    );
}

#[test]
fn names_keep_the_rules_of_prometheus() {
    for family in Metrics::describe() {
        assert!(family.name.starts_with("gateway_"), "{}", family.name);
        assert_eq!(family.name.ends_with("_total"), family.kind == "counter", "{}", family.name);
        assert!(!family.name.contains("milli") && !family.name.contains("percent"), "{}", family.name);
    }
}

#[test]
fn a_scrape_shows_the_fleet_in_base_units_and_leaves_out_what_is_not_known() {
    let metrics = Metrics::new();
    let text = metrics.render(&fleet()).unwrap();
    for line in [
        "gateway_backlog_jobs{class=\"interactive\"} 3",
        "gateway_gpu_memory_total_bytes{gpu=\"0\",host=\"host\",uuid=\"GPU-1\"} 16106127360",
        "gateway_gpu_utilization_ratio{gpu=\"0\",host=\"host\",uuid=\"GPU-1\"} 0.5",
        "gateway_gpu_power_watts{gpu=\"0\",host=\"host\",uuid=\"GPU-1\"} 70",
        "gateway_gpu_energy_joules_total{gpu=\"0\",host=\"host\",uuid=\"GPU-1\"} 1.5",
        "gateway_gpu_xid_events_total{gpu=\"0\",host=\"host\",uuid=\"GPU-1\",xid=\"79\"} 2",
        "gateway_gpu_last_collect_timestamp_seconds{host=\"host\"} 1.5",
        "gateway_instance_up{instance=\"gpu-0\"} 1",
        "gateway_instance_reconnects_total{instance=\"gpu-0\"} 3",
        "gateway_usable_instances 1",
        "gateway_jobs_total{outcome=\"failed\"} 0",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
    let unread = metrics.render(&FleetView::default()).unwrap();
    assert!(!unread.contains("gateway_gpu_"), "a fleet without readings shows none");
    assert!(unread.contains("process_resident_memory_bytes"));
}

#[test]
fn what_happened_is_counted() {
    let metrics = Metrics::new();
    metrics.http_request("/v1/jobs", &Method::POST, StatusCode::CREATED, Duration::from_millis(3));
    metrics.http_request(
        "unknown",
        &Method::from_bytes(b"BREW").unwrap(),
        StatusCode::NOT_FOUND,
        Duration::ZERO,
    );
    metrics.job_ended(Outcome::Canceled, 1.0, None);
    metrics.job_refused(RefusalReason::QueueFull);
    metrics.attempt_ended(AttemptEnd::Hung);
    let text = metrics.render(&FleetView::default()).unwrap();
    for line in [
        "gateway_http_requests_total{code=\"201\",method=\"POST\",route=\"/v1/jobs\"} 1",
        "gateway_http_requests_total{code=\"404\",method=\"other\",route=\"unknown\"} 1",
        "gateway_jobs_total{outcome=\"canceled\"} 1",
        "gateway_jobs_refused_total{reason=\"queue_full\"} 1",
        "gateway_attempts_ended_total{end=\"hung\"} 1",
        "gateway_run_seconds_count 0",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
}
