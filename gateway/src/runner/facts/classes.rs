//! What is known of device classes before anything is learned. Only a start: run times and loads are learned per
//! class (DESIGN §4.10), and the operator's figures win.
//!
//! Speeds are thousandths of the reference class, an A100 of 80 GB. Their sources:
//! - SD 1.5 (512x512, 50 steps): T4, V100, A100-40, H100 measured by github.com/alexeigor/sd-benchmarks, A100-80 by
//!   github.com/fal-ai/stable-diffusion-benchmarks.
//! - SDXL (1024x1024): A100 from the latter; V100 derived from github.com/tencent-ailab/IP-Adapter issue 7; T4, H100
//!   assumed between measured neighbours.
//! - Flux: A100 and H100 measured by github.com/varadrane1707/BenchmarkFlux; V100 assumed (no bf16).
//! - Video, all of the L4 (reports differ by 8x), and the classes without families: assumed.
//!
//! Rates are derived: an SDXL checkpoint takes about 36 s from a T4's or V100's disk and 7 s from an H100's, which
//! brackets what production saw (GenTD26: median of base-model loads 34.6 s cold, 2.8 s warm).

use std::collections::BTreeMap;

use crate::workflow::FAMILIES;

/// One class of devices.
pub(super) struct DeviceClass {
    /// Its name as ComfyUI's device name contains it, in lower case.
    pub(super) name: &'static str,
    /// Speed for what has no figure of its own.
    pub(super) speed_milli: u32,
    /// Speeds in the order of [`FAMILIES`], where they are known to differ.
    families: Option<[u32; 4]>,
    /// From disk to host RAM and from there to the device, MiB/s.
    rates: Option<(u32, u32)>,
}

/// Disk and PCIe of a host of which only one is told, MiB/s: those of an L4, the middle of the table.
const USUAL_RATES: (u32, u32) = (350, 3_000);

const KNOWN: [DeviceClass; 14] = [
    full("t4", 160, [250, 160, 60, 60], (200, 2_000)),
    full("v100", 470, [660, 470, 200, 350], (240, 2_500)),
    full("l4", 280, [320, 280, 240, 220], (350, 3_000)),
    full("a100", 960, [980, 960, 960, 950], (500, 4_000)),
    full("h100", 1_800, [1_640, 1_800, 2_200, 2_000], (1_200, 6_000)),
    plain("p100", 250),
    plain("a10g", 400),
    plain("a10", 400),
    plain("l40s", 900),
    plain("l40", 750),
    plain("h200", 1_900),
    plain("rtx3090", 600),
    plain("rtx4090", 1_100),
    plain("cpu", 5),
];

/// A class that is not in the table.
const UNKNOWN: DeviceClass = plain("", 300);

const fn full(name: &'static str, speed_milli: u32, families: [u32; 4], rates: (u32, u32)) -> DeviceClass {
    DeviceClass { name, speed_milli, families: Some(families), rates: Some(rates) }
}

const fn plain(name: &'static str, speed_milli: u32) -> DeviceClass {
    DeviceClass { name, speed_milli, families: None, rates: None }
}

/// A class by its name.
pub(super) fn find(name: &str) -> &'static DeviceClass {
    KNOWN.iter().find(|class| class.name == name).unwrap_or(&UNKNOWN)
}

/// `NVIDIA A100-SXM4-40GB` → `a100`; `NVIDIA GeForce RTX 4090` → `rtx4090`; else the cleaned name.
pub(super) fn name_in(device: &str) -> String {
    let lower = device.to_lowercase();
    let joined = lower.replace("rtx ", "rtx");
    let words = joined.split(|c: char| !c.is_ascii_alphanumeric());
    let known = words.into_iter().find(|word| KNOWN.iter().any(|class| class.name == *word));
    known.map_or_else(|| lower.trim().to_owned(), str::to_owned)
}

impl DeviceClass {
    /// Speeds by family, for a device of `vram_mib`: the A100 of 80 GB is the reference.
    pub(super) fn family_speeds(&self, vram_mib: Option<u32>) -> BTreeMap<String, u32> {
        let is_reference = self.name == "a100" && vram_mib.is_some_and(|mib| mib > REFERENCE_ABOVE_MIB);
        let speeds = if is_reference { Some([1_000; 4]) } else { self.families };
        let named = |speeds| FAMILIES.iter().map(|name| (*name).to_owned()).zip(speeds).collect();
        speeds.map(named).unwrap_or_default()
    }

    /// Disk and PCIe rates, MiB/s; `None` where nothing is known.
    pub(super) fn rates(&self) -> Option<(u32, u32)> {
        self.rates
    }

    /// The same, guessed where nothing is known.
    pub(super) fn rates_or_usual(&self) -> (u32, u32) {
        self.rates.unwrap_or(USUAL_RATES)
    }
}

/// An A100 with more memory than this is the one of 80 GB, MiB.
const REFERENCE_ABOVE_MIB: u32 = 60_000;
