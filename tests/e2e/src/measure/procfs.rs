//! What the kernel says of a process.

use std::time::Duration;

use anyhow::Context as _;

/// `USER_HZ`: 100 on every Linux architecture we run on.
const TICK: Duration = Duration::from_millis(10);

/// Memory of a process, bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Resident now (`VmRSS`).
    pub resident: u64,
    /// Most that ever was resident (`VmHWM`).
    pub peak: u64,
}

/// CPU time in user and kernel mode that a process has used, in steps of 10 ms (`/proc/<pid>/stat`).
///
/// # Errors
/// When the process is gone.
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
    // The name may hold anything, parentheses too; what follows the last one is numbers (proc(5)).
    let (_, numbers) = stat.rsplit_once(')').context("unexpected /proc/<pid>/stat")?;
    let mut fields = numbers.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<u32>().ok()).context("unexpected field");
    Ok(TICK * (ticks()? + ticks()?))
}

/// Memory of a process (`/proc/<pid>/status`).
///
/// # Errors
/// When the process is gone.
pub fn memory(pid: u32) -> anyhow::Result<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("unexpected status")?;
        let number = line.trim_start_matches(':').trim().trim_end_matches(" kB");
        Ok::<u64, anyhow::Error>(number.parse::<u64>()? * 1024)
    };
    Ok(Memory { resident: kib("VmRSS")?, peak: kib("VmHWM")? })
}

/// Bytes in MB (10⁶).
pub fn megabytes(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "memory sizes are far below 2^52")]
    let bytes = bytes as f64;
    bytes / 1e6
}

/// The machine in a line: processors, memory, kernel.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = read("/proc/meminfo");
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    let gib = total.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() / (1024 * 1024);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{count} vCPUs ({}), {gib} GiB, Linux {}",
        model.trim_start_matches([' ', '\t', ':']).trim(),
        kernel.trim()
    )
}
