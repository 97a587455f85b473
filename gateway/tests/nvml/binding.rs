//! An instance is bound to the device that the process on its port uses, and what that process uses is not foreign.

use std::sync::Arc;
use std::time::Duration;

use comfyui_sim::Simulator;
use gateway::link::local;
use gateway::link::message::{Command, Report};
use gateway::runner::nvml::Nvml;
use gateway::runner::{Config, InstanceConfig, Runner};
use uuid::Uuid;

use crate::shim::Shim;
use crate::{T4, settings};

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_bound_to_the_device_its_process_uses() {
    // The simulator listens in this very process; a stranger shares the card.
    let ours = std::process::id();
    let text =
        format!("{}\nproc = {ours} 4000 60 python\nproc = 1 1000 20 stranger\n", Shim::fixture("t4x1.conf"));
    let shim = Shim::with("t4x1.conf");
    shim.configure(&text);
    let sim = Simulator::start(comfyui_sim::Config::default()).await.unwrap();
    let spool = tempfile::tempdir().unwrap();
    let instance = InstanceConfig { name: "gpu-0".into(), url: sim.url(), ..InstanceConfig::default() };
    let mut config = Config::new("host", vec![instance], spool.path().join("spool"));
    config.times.bind_every = Duration::from_millis(50);
    config.nvml = Some(Arc::new(Nvml::start(settings(shim.library()))));
    let (engine, end) = local::pair(true);
    let mut reports = engine.reports;
    let _runner = Runner::start(config, end).unwrap();
    engine.commands.send(Command::Welcome { cell: Uuid::new_v4() }).await.unwrap();

    let (mut bound, mut foreign) = (None, None);
    let found = tokio::time::timeout(Duration::from_secs(30), async {
        while bound.as_deref() != Some(T4) || foreign != Some(1_000) {
            match reports.recv().await.unwrap() {
                Report::InstanceUp { facts, .. } => bound = facts.device_uuid,
                Report::Devices(report) => {
                    foreign = report.devices.first().and_then(|device| device.foreign_mib)
                }
                _ => {}
            }
        }
    });
    assert!(found.await.is_ok(), "bound to {bound:?}, foreign memory {foreign:?} MiB");
}
