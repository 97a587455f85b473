//! Which device an instance uses: by configuration, or by the process that listens on its port and what NVML says of
//! that process (DESIGN §3). Without a binding NVML feeds metrics only, never placement.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use reqwest::Url;
use tokio::sync::Semaphore;

use super::activity::{self, Activity, Usage};
use super::nvml::{Nvml, listening_pid};

/// A look through all processes reads megabytes; many instances take turns.
static LOOKS: Semaphore = Semaphore::const_new(1);

/// The process of one instance, as last seen: it is ours, so what it uses on a device is not foreign.
#[derive(Debug, Default)]
pub(super) struct Binding {
    pid: Mutex<Option<u32>>,
    device: Mutex<Option<String>>,
}

impl Binding {
    /// Looks again; the UUID of the one device that the instance's process uses.
    pub(super) async fn find(&self, nvml: &Nvml, url: &str) -> Option<String> {
        let port = local_port(url)?;
        if !nvml.has_devices() {
            return None; // nothing to be bound to, so nobody's process matters
        }
        let _turn = LOOKS.acquire().await.ok()?;
        let pid = tokio::task::spawn_blocking(move || listening_pid(port)).await.ok()?.ok()?;
        self.own(nvml, pid);
        let device = nvml.device_of(pid?)?;
        *locked(&self.device) = Some(device.clone());
        Some(device)
    }

    /// Whether the instance does anything, as far as its device and its process tell. Without a binding nothing tells:
    /// idle. `before` is the look before, and becomes this one.
    pub(super) fn activity(&self, nvml: &Nvml, before: &mut Option<Usage>) -> Activity {
        let Some(device) = locked(&self.device).clone() else { return Activity::Idle };
        if activity::device_is_busy(&nvml.reports().borrow(), &device) == Some(true) {
            return Activity::Working;
        }
        let now = locked(&self.pid).and_then(|pid| activity::usage(Path::new("/proc"), pid));
        activity::judge(std::mem::replace(before, now), now)
    }

    fn own(&self, nvml: &Nvml, pid: Option<u32>) {
        let mut known = locked(&self.pid);
        if *known == pid {
            return;
        }
        let ours = nvml.ours();
        let mut ours = locked(&ours);
        if let Some(gone) = known.take() {
            ours.remove(&gone);
        }
        ours.extend(pid);
        *known = pid;
    }
}

/// A lock whose plain value a panic elsewhere cannot leave half written.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The port of an instance on this machine; `None` for another machine's.
fn local_port(url: &str) -> Option<u16> {
    let url = Url::parse(url).ok()?;
    let host = url.host_str()?.trim_matches(['[', ']']);
    let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if is_local { url.port_or_known_default() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_instance_of_this_machine_has_a_process_here() {
        assert_eq!(local_port("http://127.0.0.1:8188"), Some(8188));
        assert_eq!(local_port("http://[::1]:8189/"), Some(8189));
        assert_eq!(local_port("http://localhost"), Some(80));
        assert_eq!(local_port("http://10.0.0.7:8188"), None);
        assert_eq!(local_port("nonsense"), None);
    }
}
