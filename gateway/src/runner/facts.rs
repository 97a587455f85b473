//! What an instance is: read from `/system_stats` (PROTOCOL §6), completed by configuration and priors.

use std::collections::BTreeMap;

use super::comfy::wire::SystemStats;
use super::config::InstanceConfig;
use crate::link::message::InstanceFacts;

/// Speed priors in thousandths of the reference class, an A100 of 80 GB, for SDXL at 1024x1024. A100 and its 5.9 s:
/// github.com/fal-ai/stable-diffusion-benchmarks; V100: derived from github.com/tencent-ailab/IP-Adapter issue 7; T4,
/// L4, H100: assumed between measured neighbours; the rest: assumed from memory bandwidth. Only a start: run times are
/// learned per class (DESIGN §4.10).
const SPEEDS: [(&str, u32); 14] = [
    ("t4", 160),
    ("l4", 280),
    ("p100", 250),
    ("v100", 470),
    ("a10g", 400),
    ("a10", 400),
    ("l40s", 900),
    ("l40", 750),
    ("a100", 960),
    ("h100", 1800),
    ("h200", 1900),
    ("rtx3090", 600),
    ("rtx4090", 1100),
    ("cpu", 5),
];

/// A class that is not in the table.
const UNKNOWN_SPEED: u32 = 300;

/// The facts of an instance, its catalogue still unknown.
pub(super) fn of(stats: &SystemStats, config: &InstanceConfig) -> InstanceFacts {
    let device = stats.devices.first();
    let device_name = clean_name(device.map_or("", |device| &device.name));
    let device_class = config.device_class.clone().unwrap_or_else(|| class_of(&device_name));
    let told_mib = device
        .filter(|device| device.kind != "cpu")
        .and_then(|device| u32::try_from(device.vram_total? >> 20).ok());
    InstanceFacts {
        url: config.url.clone(),
        comfyui_version: stats.system.comfyui_version.clone(),
        speed_milli: config.speed_milli.unwrap_or_else(|| speed_of(&device_class)),
        vram_mib: config.vram_mib.or(told_mib),
        vram_split: config.vram_mib.is_some(),
        device_uuid: config.device_uuid.clone(),
        catalogue: None,
        family_speeds: BTreeMap::new(),
        loading: None,
        models_mib: BTreeMap::new(),
        device_name,
        device_class,
    }
}

/// `cuda:0 Tesla T4 : cudaMallocAsync` → `Tesla T4`.
fn clean_name(told: &str) -> String {
    let name = told.split(" : ").next().unwrap_or(told);
    let name = match name.split_once(' ') {
        Some((index, rest)) if index.contains(':') => rest,
        _ => name,
    };
    name.trim().to_owned()
}

/// `NVIDIA A100-SXM4-40GB` → `a100`; `NVIDIA GeForce RTX 4090` → `rtx4090`; else the cleaned name.
fn class_of(name: &str) -> String {
    let lower = name.to_lowercase();
    let joined = lower.replace("rtx ", "rtx");
    let words = joined.split(|c: char| !c.is_ascii_alphanumeric());
    let known = words.into_iter().find(|word| SPEEDS.iter().any(|(class, _)| class == word));
    known.map_or_else(|| lower.trim().to_owned(), str::to_owned)
}

fn speed_of(class: &str) -> u32 {
    SPEEDS.iter().find(|(known, _)| *known == class).map_or(UNKNOWN_SPEED, |(_, speed)| *speed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_is_found_in_the_name_that_comfyui_tells() {
        for (told, name, class) in [
            ("cuda:0 Tesla T4 : cudaMallocAsync", "Tesla T4", "t4"),
            ("cuda:0 Tesla V100-SXM2-16GB : cudaMallocAsync", "Tesla V100-SXM2-16GB", "v100"),
            ("cuda:1 NVIDIA A100-SXM4-40GB : native", "NVIDIA A100-SXM4-40GB", "a100"),
            ("cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync", "NVIDIA GeForce RTX 4090", "rtx4090"),
            ("cpu", "cpu", "cpu"),
            ("cuda:0 Something New : native", "Something New", "something new"),
        ] {
            assert_eq!(clean_name(told), name);
            assert_eq!(class_of(name), class);
        }
    }
}
