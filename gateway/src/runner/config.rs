//! What a runner is started with: its instances and every bound and pause, named.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::nvml::Nvml;
use crate::link::ticket::Desk;
use crate::outside::Outside;
use crate::pictures::Limits;

/// Settings of one host's runner.
#[derive(Debug, Clone)]
pub struct Config {
    /// The host's name, as the engine will know it.
    pub host: String,
    /// The ComfyUI servers it drives.
    pub instances: Vec<InstanceConfig>,
    /// Folder for results that cannot be delivered yet.
    pub spool_dir: PathBuf,
    /// Bound of the spool, bytes.
    pub spool_max_bytes: u64,
    /// How long the spool keeps what nobody asks for; longer than results are retained.
    pub spool_keep_for: Duration,
    /// Bound of one WebSocket message, bytes (a full-size picture of a `SaveImageWebsocket` node is one).
    pub max_frame_bytes: usize,
    /// Bound of one answer of `/history` and `/queue`, bytes.
    pub max_history_bytes: usize,
    /// Bound of `/object_info`, bytes.
    pub max_catalogue_bytes: usize,
    /// Bound of the text chunk of a PNG that is rewritten; a longer one passes through as it is, bytes.
    pub max_png_text_bytes: usize,
    /// How many files are fetched or written at the same time.
    pub max_deliveries: usize,
    /// How many requests may be passed on at the same time.
    pub max_forwards: usize,
    /// How many pictures are worked on at the same time.
    pub picture_threads: usize,
    /// Bound of what decoding takes altogether, bytes; a picture that takes more has it for itself.
    pub picture_memory_bytes: u64,
    /// Bounds of one picture that is worked on.
    pub picture_limits: Limits,
    /// Pauses and deadlines.
    pub times: Times,
    /// Readings of the host's devices, forwarded as they change; `None` where nobody reads them.
    pub nvml: Option<Arc<Nvml>>,
    /// Answers about uploads in pieces, where the artifact store is in this process; elsewhere tickets name a URL.
    pub desk: Option<Arc<dyn Desk>>,
    /// What buckets that callers name are held to; `None`: to nothing, for a host that no such tickets come to.
    pub outside: Option<Outside>,
    /// Base URL of a metadata server that gives notice before the host is taken away; `None`: nobody does.
    pub spot_notice: Option<String>,
}

impl Config {
    /// Defaults for everything but the names.
    #[must_use]
    pub fn new(host: impl Into<String>, instances: Vec<InstanceConfig>, spool_dir: PathBuf) -> Self {
        Self {
            host: host.into(),
            instances,
            spool_dir,
            spool_max_bytes: 20 << 30,
            spool_keep_for: Duration::from_hours(8 * 24),
            max_frame_bytes: 64 << 20,
            max_history_bytes: 16 << 20,
            max_catalogue_bytes: 64 << 20,
            max_png_text_bytes: 16 << 20,
            max_deliveries: 16,
            max_forwards: 64,
            picture_threads: picture_threads(),
            picture_memory_bytes: 1 << 30,
            picture_limits: Limits::default(),
            times: Times::default(),
            nvml: None,
            desk: None,
            outside: None,
            spot_notice: None,
        }
    }
}

/// Half of the cores, so that the pictures of one job never hold up the prompts of others.
fn picture_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}

/// Pauses and deadlines of a runner.
#[derive(Debug, Clone)]
pub struct Times {
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for an answer (except `/view` and `/object_info`).
    pub request_timeout: Duration,
    /// Longest wait for the next bytes of a file.
    pub stall_timeout: Duration,
    /// Longest wait for the reply to `POST /prompt`; then it is looked up.
    pub post_timeout: Duration,
    /// Pause between signs of life while inputs are brought to an instance; well below the engine's lease.
    pub staging_sign: Duration,
    /// Silence after which a prompt of ours is polled (DESIGN §13).
    pub poll_after: Duration,
    /// Pause between polls of a prompt whose socket is gone.
    pub blind_poll: Duration,
    /// Pause before the second look-up of a POST that was never answered (DESIGN §13).
    pub second_look: Duration,
    /// How long history may lag behind a prompt's last frame.
    pub history_grace: Duration,
    /// First and longest pause between tries to reach an instance.
    pub contact_backoff: (Duration, Duration),
    /// Pause between our pings.
    pub ping_every: Duration,
    /// Silence on a socket, our pings unanswered, after which it is dead.
    pub socket_dead_after: Duration,
    /// How long after a POST a `status` frame must have come (PROTOCOL §8.3).
    pub deaf_after: Duration,
    /// How long prompts may wait with nothing running before the worker counts as dead (PROTOCOL §8.3).
    pub dead_worker_after: Duration,
    /// How long an instance with a dead worker is avoided before it is tried again.
    pub stuck_cooldown: Duration,
    /// Least time without progress that counts as hanging; four times the prediction if that is more.
    pub hang_min: Duration,
    /// Pause between previews of one attempt.
    pub preview_every: Duration,
    /// Pause between readings of `/object_info`.
    pub catalogue_refresh: Duration,
    /// Pause between looks for the device of an instance that is not bound to one.
    pub bind_every: Duration,
    /// Pause between searches for strays.
    pub stray_scan: Duration,
    /// How long outputs wait in ComfyUI for tickets before they are spooled.
    pub spool_after: Duration,
    /// Pause before tickets are asked for again.
    pub ticket_retry: Duration,
    /// First and longest pause between tries to upload a file.
    pub upload_backoff: (Duration, Duration),
}

impl Default for Times {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(30),
            post_timeout: Duration::from_secs(30),
            staging_sign: Duration::from_secs(10),
            poll_after: Duration::from_secs(1),
            blind_poll: Duration::from_millis(250),
            second_look: Duration::from_secs(2),
            history_grace: Duration::from_secs(5),
            contact_backoff: (Duration::from_millis(100), Duration::from_secs(5)),
            ping_every: Duration::from_secs(10),
            socket_dead_after: Duration::from_secs(30),
            deaf_after: Duration::from_secs(3),
            dead_worker_after: Duration::from_secs(8),
            stuck_cooldown: Duration::from_secs(60),
            hang_min: Duration::from_mins(10),
            preview_every: Duration::from_millis(200),
            catalogue_refresh: Duration::from_mins(10),
            bind_every: Duration::from_secs(2),
            stray_scan: Duration::from_secs(30),
            spool_after: Duration::from_secs(5),
            ticket_retry: Duration::from_secs(30),
            upload_backoff: (Duration::from_millis(200), Duration::from_secs(30)),
        }
    }
}

/// One ComfyUI server.
#[derive(Debug, Clone, Default)]
pub struct InstanceConfig {
    /// Its name, unique in the fleet.
    pub name: String,
    /// Its base URL (`http://127.0.0.1:8188`).
    pub url: String,
    /// Device class, where the name that ComfyUI tells does not say enough.
    pub device_class: Option<String>,
    /// Speed in thousandths of the reference class (A100); `None`: a prior by class.
    pub speed_milli: Option<u32>,
    /// Memory of the device, MiB, where it differs from what ComfyUI tells (a configured split).
    pub vram_mib: Option<u32>,
    /// UUID of the device it is bound to.
    pub device_uuid: Option<String>,
    /// ComfyUI's output folder, if it is reachable here: stored files are deleted from it.
    pub output_folder: Option<PathBuf>,
    /// Speeds by model family (`sd15`, `sdxl`, `flux`, `video`), thousandths; the rest: `speed_milli`.
    pub family_speeds: BTreeMap<String, u32>,
    /// Rate of the disk that holds the models, MiB/s; `None`: a prior by class.
    pub disk_mib_s: Option<u32>,
    /// Rate from host RAM to the device, MiB/s; `None`: a prior by class.
    pub pcie_mib_s: Option<u32>,
    /// Host RAM that keeps model files, MiB; `None`: two thirds of what the machine has.
    pub host_cache_mib: Option<u32>,
    /// ComfyUI's folder of models, if it is reachable here: the sizes of the files are read from it.
    pub models_dir: Option<PathBuf>,
}
