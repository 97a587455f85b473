//! Waits for XID events on a thread of its own (nvml FACTS §4, §5).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{EventSet, Nvml};

use super::health::{UNKNOWN_XID, XidLog};
use super::locked;

/// One round over all devices.
const ROUND: Duration = Duration::from_millis(1000);

/// The thread's life: it ends soon after this is dropped.
#[derive(Debug)]
pub(super) struct XidWatch {
    stop: Arc<AtomicBool>,
}

impl Drop for XidWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Starts waiting for the events of these devices, given by index and UUID.
pub(super) fn start(nvml: Arc<Nvml>, devices: Vec<(u32, String)>, log: XidLog) -> XidWatch {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let spawned = thread::Builder::new().name("nvml-xid".into()).spawn(move || {
        watch(&nvml, &devices, &log, &stopped);
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "no thread for xid events");
    }
    XidWatch { stop }
}

/// A set for each device: a device that fell off the bus cannot tell its name any more, its set can.
fn watch(nvml: &Nvml, devices: &[(u32, String)], log: &XidLog, stopped: &AtomicBool) {
    let mut sets: Vec<(EventSet<'_>, &str)> = Vec::new();
    for (index, uuid) in devices {
        match register(nvml, *index) {
            Ok(set) => sets.push((set, uuid)),
            Err(error) => tracing::warn!(%error, %uuid, "xid events cannot be watched"),
        }
    }
    let Ok(count) = u32::try_from(sets.len()) else { return };
    let Some(share) = ROUND.checked_div(count) else { return };
    let share_ms = u32::try_from(share.as_millis()).unwrap_or(u32::MAX).max(1);
    while !stopped.load(Ordering::Relaxed) {
        for (set, uuid) in &sets {
            wait(set, uuid, share_ms, log);
        }
    }
}

/// All critical events, or the XID alone where the device refuses one of the others.
fn register(nvml: &Nvml, index: u32) -> Result<EventSet<'_>, NvmlError> {
    let device = nvml.device_by_index(index)?;
    let xid = EventTypes::CRITICAL_XID_ERROR;
    let all = xid | EventTypes::SINGLE_BIT_ECC_ERROR | EventTypes::DOUBLE_BIT_ECC_ERROR;
    device
        .register_events(all, nvml.create_event_set()?)
        .or_else(|_| device.register_events(xid, nvml.create_event_set()?))
        .map_err(|failed| failed.error)
}

fn wait(set: &EventSet<'_>, uuid: &str, share_ms: u32, log: &XidLog) {
    match set.wait(share_ms) {
        Ok(event) => {
            let code = match event.event_data {
                Some(XidError::Value(code)) => code,
                Some(XidError::Unknown) => UNKNOWN_XID,
                None => return,
            };
            tracing::warn!(%uuid, code, "xid event");
            locked(log).entry(uuid.to_owned()).or_default().note(code, Instant::now());
        }
        Err(NvmlError::Timeout) => {}
        // It returns at once while a device is lost: without the pause this would spin.
        Err(_) => thread::sleep(Duration::from_millis(u64::from(share_ms))),
    }
}
