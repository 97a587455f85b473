//! Signs of work that ComfyUI does not tell: a prompt without progress hangs only if its device is idle and its process
//! uses neither CPU nor disk (DESIGN §5).

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::link::message::DeviceReport;

/// Below this share of one CPU a process counts as idle: what a web server's housekeeping takes.
const IDLE_CPU_PERCENT: u64 = 5;
/// Clock ticks of `/proc/<pid>/stat` in a second; 100 on every Linux that runs CUDA.
const TICKS_PER_SECOND: u64 = 100;
/// Bytes of disk traffic in one window that count as work.
const IDLE_DISK_BYTES: u64 = 1 << 20;

/// What a process has used since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    at: Instant,
    cpu_ticks: u64,
    disk_bytes: u64,
}

/// What one look shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    /// Something goes on.
    Working,
    /// Nothing goes on.
    Idle,
    /// One look is not enough: look again after a while.
    Unsure,
}

/// Whether the device shows work in its newest reading; `None` where the driver does not say.
pub(super) fn device_is_busy(report: &DeviceReport, uuid: &str) -> Option<bool> {
    let device = report.devices.iter().find(|device| device.uuid == uuid)?;
    device.utilization_percent.map(|percent| percent > 0)
}

/// Compares a process with how it was at the look before.
pub(super) fn judge(before: Option<Usage>, now: Option<Usage>) -> Activity {
    let (Some(before), Some(now)) = (before, now) else {
        return if now.is_some() { Activity::Unsure } else { Activity::Idle };
    };
    let window = u64::try_from(now.at.duration_since(before.at).as_millis()).unwrap_or(u64::MAX);
    let ticks = now.cpu_ticks.saturating_sub(before.cpu_ticks);
    let percent = ticks.saturating_mul(100_000) / TICKS_PER_SECOND / window.max(1);
    let moved = now.disk_bytes.saturating_sub(before.disk_bytes);
    if percent > IDLE_CPU_PERCENT || moved > IDLE_DISK_BYTES { Activity::Working } else { Activity::Idle }
}

/// What process `pid` has used so far; `None` when it cannot be read.
pub(super) fn usage(proc: &Path, pid: u32) -> Option<Usage> {
    let folder = proc.join(pid.to_string());
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    // The name in brackets may hold anything; the figures follow its last bracket. utime and stime are the 12th and
    // 13th after it (proc(5)).
    let figures: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let cpu_ticks = figures.get(11)?.parse::<u64>().ok()? + figures.get(12)?.parse::<u64>().ok()?;
    let io = fs::read_to_string(folder.join("io")).unwrap_or_default();
    let field = |name: &str| {
        io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    let disk_bytes = field("read_bytes:").saturating_add(field("write_bytes:"));
    Some(Usage { at: Instant::now(), cpu_ticks, disk_bytes })
}

/// How long to wait for the second look.
pub(super) const WINDOW: Duration = Duration::from_secs(5);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    fn used(at: Instant, cpu_ticks: u64, disk_bytes: u64) -> Option<Usage> {
        Some(Usage { at, cpu_ticks, disk_bytes })
    }

    #[test]
    fn a_process_works_when_it_uses_cpu_or_disk() {
        let start = Instant::now();
        let later = start + Duration::from_secs(10);
        assert_eq!(judge(used(start, 0, 0), used(later, 400, 0)), Activity::Working);
        assert_eq!(judge(used(start, 0, 0), used(later, 10, 0)), Activity::Idle);
        assert_eq!(judge(used(start, 0, 0), used(later, 10, 5 << 20)), Activity::Working);
        assert_eq!(judge(None, used(later, 10, 0)), Activity::Unsure);
        assert_eq!(judge(used(start, 0, 0), None), Activity::Idle);
    }

    #[test]
    fn this_very_process_can_be_read() {
        let now = usage(Path::new("/proc"), std::process::id());
        assert!(now.is_some());
        assert!(usage(Path::new("/nonexistent"), 1).is_none());
    }

    #[test]
    fn a_device_is_busy_when_its_reading_says_so() {
        let device = crate::link::message::DeviceReading {
            uuid: "GPU-1".into(),
            utilization_percent: Some(3),
            ..Default::default()
        };
        let report = DeviceReport { devices: vec![device], ..DeviceReport::default() };
        assert_eq!(device_is_busy(&report, "GPU-1"), Some(true));
        assert_eq!(device_is_busy(&report, "GPU-2"), None);
    }
}
