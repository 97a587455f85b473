//! What a simulated server is made of.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::Catalogue;

/// Everything a [`crate::Simulator`] is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 picks a free one, which later restarts keep.
    pub listen: SocketAddr,
    /// The simulated accelerator.
    pub device: Device,
    /// File names offered by every checkpoint and diffusion model loader.
    pub checkpoints: Vec<String>,
    /// File names offered by every LoRA loader.
    pub loras: Vec<String>,
    /// Node classes the server knows.
    pub catalogue: Catalogue,
    /// How long work takes.
    pub pace: Pace,
    /// History entries kept before the oldest is dropped (ComfyUI: 10 000, PROTOCOL §4).
    pub history_capacity: usize,
    /// The version told by `/system_stats`.
    pub version: String,
    /// Scripts of custom nodes that it lists and serves, as paths below `/extensions/`.
    pub extensions: Vec<String>,
    /// Whether sampling sends latent previews unless a prompt asks otherwise (`--preview-method`).
    pub preview: bool,
}

impl Default for Config {
    /// A T4 with one checkpoint, on a free loopback port, taking no time for anything.
    fn default() -> Self {
        Config {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            device: Device::t4(),
            checkpoints: vec!["sd15.safetensors".to_owned()],
            loras: Vec::new(),
            catalogue: Catalogue::Builtin,
            pace: Pace::instant(),
            history_capacity: 10_000,
            version: "0.33.0".to_owned(),
            extensions: Vec::new(),
            preview: false,
        }
    }
}

/// A graphics card as far as the protocol shows it.
#[derive(Clone, Debug)]
pub struct Device {
    /// Marketing name, shown as `cuda:0 {name} : cudaMallocAsync`.
    pub name: String,
    /// Memory in MiB.
    pub vram_mib: u64,
    /// Sampling speed in thousandths of the reference.
    pub speed_milli: u32,
    /// How fast weights reach the card, in MiB per second.
    pub load_mib_per_s: u64,
}

impl Device {
    /// NVIDIA T4, 16 GB.
    pub fn t4() -> Self {
        Device::new("Tesla T4", 15_360, 1000, 1200)
    }

    /// NVIDIA V100, 16 GB.
    pub fn v100() -> Self {
        Device::new("Tesla V100-SXM2-16GB", 16_160, 2500, 2400)
    }

    /// NVIDIA A100, 40 GB.
    pub fn a100() -> Self {
        Device::new("NVIDIA A100-SXM4-40GB", 40_513, 6000, 6000)
    }

    fn new(name: &str, vram_mib: u64, speed_milli: u32, load_mib_per_s: u64) -> Self {
        Device { name: name.to_owned(), vram_mib, speed_milli, load_mib_per_s }
    }
}

/// Simulated durations; zero means "do not wait at all".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// One sampling step on a device of speed 1000.
    pub step: Duration,
    /// Any other executed node.
    pub node: Duration,
}

impl Pace {
    /// Nothing takes time, loading weights included.
    pub fn instant() -> Self {
        Pace { step: Duration::ZERO, node: Duration::ZERO }
    }

    /// One step on `device`.
    pub(crate) fn step_on(&self, device: &Device) -> Duration {
        self.step * 1000 / device.speed_milli.max(1)
    }

    /// Moving `mib` of weights onto `device`; free when the pace is instant.
    pub(crate) fn load_on(&self, device: &Device, mib: u64) -> Duration {
        if *self == Pace::instant() {
            return Duration::ZERO;
        }
        Duration::from_millis(mib * 1000 / device.load_mib_per_s.max(1))
    }
}
