//! The runner's look at GPUs against a stand-in for the driver's library.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod binding;
mod listener;
mod shim;

use std::time::Duration;

use gateway::link::message::{DeviceReading, DeviceReport};
use gateway::runner::nvml::{Nvml, Settings};

use crate::shim::Shim;

const T4: &str = "GPU-7b1f2c33-0c1e-4d5a-9a51-3f6f1c2d0001";

/// Fast enough for a test, patient enough for a busy machine.
fn settings(library: std::ffi::OsString) -> Settings {
    Settings {
        library: Some(library),
        period: Duration::from_millis(20),
        slow_period: Duration::from_millis(40),
        deadline: Duration::from_secs(20),
        retry_min: Duration::from_millis(20),
        retry_max: Duration::from_millis(80),
    }
}

/// Waits for a snapshot that satisfies `wanted`.
async fn report(nvml: &Nvml, wanted: impl Fn(&DeviceReport) -> bool) -> DeviceReport {
    let mut reports = nvml.reports();
    let found = tokio::time::timeout(Duration::from_secs(30), reports.wait_for(|report| wanted(report)));
    match found.await {
        Ok(report) => report.unwrap().clone(),
        Err(_) => panic!("no such snapshot; the last one was {:?}", nvml.reports().borrow()),
    }
}

/// Waits for a snapshot whose first device satisfies `wanted`.
async fn first(nvml: &Nvml, wanted: impl Fn(&DeviceReading) -> bool) -> DeviceReading {
    let report =
        report(nvml, |report| report.problem.is_none() && report.devices.first().is_some_and(&wanted));
    report.await.devices.remove(0)
}

fn faulty(device: &DeviceReading) -> bool {
    device.fault.is_some()
}

#[tokio::test]
async fn a_host_without_the_library_is_told_so_and_not_blamed() {
    let nvml = Nvml::start(settings("/nonexistent/libnvidia-ml.so.1".into()));
    let report = report(&nvml, |it| it.problem.as_deref().is_some_and(|it| it.contains("library"))).await;
    assert!(report.devices.is_empty());
}

#[tokio::test]
async fn a_driver_that_is_loaded_later_is_found() {
    let shim = Shim::with("no_driver.conf");
    let nvml = Nvml::start(settings(shim.library()));
    report(&nvml, |it| it.problem.as_deref().is_some_and(|it| it.contains("not loaded"))).await;
    shim.configure(&Shim::fixture("t4x1.conf"));
    first(&nvml, |device| device.uuid == T4).await;
}

#[tokio::test]
async fn a_t4_is_read_in_full() {
    let shim = Shim::with("t4x1.conf");
    let nvml = Nvml::start(settings(shim.library()));
    let report = report(&nvml, |it| it.problem.is_none()).await;
    assert_eq!(report.driver.as_deref(), Some("550.163.01"));
    let [t4] = report.devices.as_slice() else { panic!("{report:?}") };
    assert_eq!((t4.uuid.as_str(), t4.index, t4.name.as_str()), (T4, 0, "Tesla T4"));
    assert_eq!(t4.pci_bus_id.as_deref(), Some("00000000:00:04.0"));
    assert_eq!((t4.total_mib, t4.used_mib, t4.foreign_mib), (Some(15_360), Some(0), Some(0)));
    assert_eq!((t4.utilization_percent, t4.foreign_percent), (Some(0), Some(0)));
    assert_eq!((t4.temperature_celsius, t4.power_milliwatts), (Some(41), Some(13_000)));
    assert!(t4.energy_millijoules.is_some());
    assert_eq!((&t4.fault, t4.xids.len()), (&None, 0));
}

#[tokio::test]
async fn four_v100_are_four_devices() {
    let shim = Shim::with("v100x4.conf");
    let nvml = Nvml::start(settings(shim.library()));
    let report = report(&nvml, |it| it.devices.len() == 4).await;
    for (index, device) in report.devices.iter().enumerate() {
        assert!(device.uuid.ends_with(&format!("00{index}")), "{}", device.uuid);
        assert_eq!((device.total_mib, device.fault.as_deref()), (Some(16_384), None));
    }
}

#[tokio::test]
async fn what_is_not_ours_is_foreign() {
    let shim = Shim::with("t4x1.conf");
    let nvml = Nvml::start(settings(shim.library()));
    shim.append("mem_used = 9000\ngpu_util = 80\nproc = 4242 6000 50 ours\nproc = 4343 3000 30 theirs\n");
    let all = first(&nvml, |device| device.foreign_mib == Some(9_000)).await;
    assert_eq!((all.used_mib, all.utilization_percent), (Some(9_000), Some(80)));
    nvml.ours().lock().unwrap().insert(4242);
    first(&nvml, |device| device.foreign_mib == Some(3_000)).await;
    first(&nvml, |device| device.foreign_percent == Some(30)).await;
    assert_eq!(nvml.device_of(4242).as_deref(), Some(T4));
    assert_eq!(nvml.device_of(1), None);
}

#[tokio::test]
async fn a_process_on_two_devices_is_bound_to_none() {
    let shim = Shim::with("v100x4.conf");
    let two = Shim::fixture("v100x4.conf").replacen("arch = 5", "arch = 5\nproc = 77 10 0 both", 2);
    shim.configure(&two);
    let nvml = Nvml::start(settings(shim.library()));
    report(&nvml, |it| it.devices.len() == 4 && it.devices[1].foreign_mib == Some(10)).await;
    assert_eq!(nvml.device_of(77), None);
}

#[tokio::test]
async fn a_lost_device_keeps_its_name_and_gets_a_fault_and_comes_back() {
    let shim = Shim::with("t4x1.conf");
    let nvml = Nvml::start(settings(shim.library()));
    first(&nvml, |device| device.total_mib.is_some()).await;
    shim.append("error = 15\n");
    let lost = first(&nvml, faulty).await;
    assert_eq!((lost.uuid.as_str(), lost.total_mib), (T4, None));
    assert!(lost.fault.unwrap().contains("lost"));
    shim.configure(&Shim::fixture("t4x1.conf"));
    first(&nvml, |device| device.fault.is_none() && device.total_mib.is_some()).await;
}

#[tokio::test]
async fn unknown_errors_in_a_row_make_a_device_faulty() {
    let shim = Shim::with("t4x1.conf");
    let nvml = Nvml::start(settings(shim.library()));
    first(&nvml, |device| device.total_mib.is_some()).await;
    shim.append("error = 999\n");
    first(&nvml, faulty).await;
}

/// Sends an event until it was heard: those before the registration are lost.
async fn hear_xid(shim: &Shim, nvml: &Nvml, code: u64) -> DeviceReading {
    let mut reports = nvml.reports();
    for seq in 1..200 {
        shim.append(&format!("xid = {code} {seq}\n"));
        let heard = |report: &DeviceReport| {
            report.devices.first().is_some_and(|it| it.xids.iter().any(|(known, _)| *known == code))
        };
        let wait = tokio::time::timeout(Duration::from_millis(500), reports.wait_for(heard));
        if let Ok(report) = wait.await {
            return report.unwrap().devices[0].clone();
        }
    }
    panic!("xid {code} was never heard")
}

#[tokio::test]
async fn an_error_of_an_application_is_counted_and_no_more() {
    let shim = Shim::with("t4x1.conf");
    let nvml = Nvml::start(settings(shim.library()));
    let device = hear_xid(&shim, &nvml, 13).await;
    assert_eq!(device.fault, None);
}

#[tokio::test]
async fn a_device_that_fell_off_the_bus_takes_no_more_work() {
    let shim = Shim::with("t4x1.conf");
    let nvml = Nvml::start(settings(shim.library()));
    let device = hear_xid(&shim, &nvml, 79).await;
    let device = if faulty(&device) { device } else { first(&nvml, faulty).await };
    assert!(device.fault.unwrap().starts_with("xid 79"));
}

#[tokio::test]
async fn events_are_heard_where_only_the_xid_can_be_registered() {
    let shim = Shim::with("t4x1.conf");
    shim.append("ecc = -1\n");
    let nvml = Nvml::start(settings(shim.library()));
    hear_xid(&shim, &nvml, 48).await;
}

#[tokio::test]
async fn a_call_that_hangs_is_reported_and_forgotten_when_it_returns() {
    let shim = Shim::with("t4x1.conf");
    let deadline = Duration::from_millis(300);
    let nvml = Nvml::start(Settings { deadline, ..settings(shim.library()) });
    first(&nvml, |device| device.total_mib.is_some()).await;
    shim.append("delay_ms = 1000\n");
    let hung = report(&nvml, |it| it.problem.as_deref().is_some_and(|it| it.contains("not returned"))).await;
    assert_eq!(hung.devices.len(), 1, "the device keeps its name");
    assert_eq!((hung.devices[0].uuid.as_str(), hung.devices[0].total_mib), (T4, None));
    shim.configure(&Shim::fixture("t4x1.conf"));
    first(&nvml, |device| device.total_mib.is_some()).await;
}

#[tokio::test]
async fn slices_of_a_device_are_devices_without_a_utilisation() {
    let shim = Shim::with("a100_mig.conf");
    let nvml = Nvml::start(settings(shim.library()));
    let report = report(&nvml, |it| it.problem.is_none()).await;
    assert_eq!(report.devices.len(), 2, "{report:?}");
    for slice in &report.devices {
        assert!(slice.uuid.starts_with("MIG-"), "{}", slice.uuid);
        assert_eq!((slice.total_mib, slice.utilization_percent), (Some(20_096), None));
    }
}

#[tokio::test]
async fn unsupported_readings_are_absent_and_the_others_present() {
    let shim = Shim::with("t4x1.conf");
    shim.append("fail = nvmlDeviceGetUtilizationRates:3 nvmlDeviceGetPowerUsage:29\n");
    let nvml = Nvml::start(settings(shim.library()));
    let device = first(&nvml, |device| device.total_mib.is_some()).await;
    assert_eq!((device.utilization_percent, device.power_milliwatts, device.fault), (None, None, None));
    assert_eq!(device.temperature_celsius, Some(41));
}

#[tokio::test]
async fn looking_ends_with_its_handle() {
    let shim = Shim::with("t4x1.conf");
    let nvml = Nvml::start(settings(shim.library()));
    first(&nvml, |device| device.total_mib.is_some()).await;
    let mut reports = nvml.reports();
    drop(nvml);
    let ended = async { while reports.changed().await.is_ok() {} };
    assert!(tokio::time::timeout(Duration::from_secs(30), ended).await.is_ok(), "the sender is gone");
}
