//! What an instance is: read from `/system_stats` (PROTOCOL §6), completed by configuration and priors.

mod classes;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::comfy::wire::SystemStats;
use super::config::InstanceConfig;
use crate::link::message::{InstanceFacts, LoadingFacts};

/// Share of a machine's RAM that keeps model files, in percent; the rest is for ComfyUI and the system. Two thirds is
/// what the usual machines with one GPU leave (20 of 30 GB beside a T4).
const CACHE_PERCENT: u64 = 66;
/// RAM that keeps files where nobody told it, MiB: that of a machine of 30 GB.
const USUAL_CACHE_MIB: u32 = 20_480;

/// The facts of an instance; its catalogue and the sizes of its models are still unknown.
pub(super) fn of(stats: &SystemStats, config: &InstanceConfig) -> InstanceFacts {
    let device = stats.devices.first();
    let device_name = clean_name(device.map_or("", |device| &device.name));
    let device_class = config.device_class.clone().unwrap_or_else(|| classes::name_in(&device_name));
    let class = classes::find(&device_class);
    let told_mib = device
        .filter(|device| device.kind != "cpu")
        .and_then(|device| u32::try_from(device.vram_total? >> 20).ok());
    let vram_mib = config.vram_mib.or(told_mib);
    // One speed told for all is a speed for each family.
    let mut family_speeds = match config.speed_milli {
        Some(_) => BTreeMap::new(),
        None => class.family_speeds(vram_mib),
    };
    family_speeds.extend(config.family_speeds.clone());
    InstanceFacts {
        url: config.url.clone(),
        comfyui_version: stats.system.comfyui_version.clone(),
        speed_milli: config.speed_milli.unwrap_or(class.speed_milli),
        family_speeds,
        loading: loading(stats, config, class),
        vram_mib,
        vram_split: config.vram_mib.is_some(),
        device_uuid: config.device_uuid.clone(),
        catalogue: None,
        models_mib: Arc::default(),
        device_name,
        device_class,
    }
}

/// `None` where nothing is known of the class and nothing is configured: observed loads tell then.
fn loading(
    stats: &SystemStats,
    config: &InstanceConfig,
    class: &classes::DeviceClass,
) -> Option<LoadingFacts> {
    let told = [config.disk_mib_s, config.pcie_mib_s, config.host_cache_mib];
    if class.rates().is_none() && told.iter().all(Option::is_none) {
        return None;
    }
    let (disk_mib_s, pcie_mib_s) = class.rates_or_usual();
    let cache = stats.system.ram_total.map(|bytes| (bytes >> 20) * CACHE_PERCENT / 100);
    let cache = cache.map_or(USUAL_CACHE_MIB, |mib| u32::try_from(mib).unwrap_or(u32::MAX));
    Some(LoadingFacts {
        disk_mib_s: config.disk_mib_s.unwrap_or(disk_mib_s),
        pcie_mib_s: config.pcie_mib_s.unwrap_or(pcie_mib_s),
        host_cache_mib: config.host_cache_mib.unwrap_or(cache),
    })
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
            assert_eq!(classes::name_in(name), class);
        }
    }

    fn told(text: &str) -> SystemStats {
        serde_json::from_str(text).expect("the test's own text")
    }

    const T4: &str = r#"{"system": {"ram_total": 32212254720},
        "devices": [{"name": "cuda:0 Tesla T4", "type": "cuda", "vram_total": 16106127360}]}"#;

    #[test]
    fn a_known_class_comes_with_speeds_by_family_and_rates_and_the_ram_of_its_machine() {
        let facts = of(&told(T4), &InstanceConfig::default());
        assert_eq!(facts.family_speeds.get("sd15"), Some(&250));
        let expected = LoadingFacts { disk_mib_s: 200, pcie_mib_s: 2_000, host_cache_mib: 20_275 };
        assert_eq!(facts.loading, Some(expected));
    }

    #[test]
    fn what_is_configured_wins() {
        let config = InstanceConfig {
            family_speeds: BTreeMap::from([("sdxl".to_owned(), 170)]),
            disk_mib_s: Some(900),
            host_cache_mib: Some(1_000),
            ..InstanceConfig::default()
        };
        let facts = of(&told(T4), &config);
        assert_eq!((facts.family_speeds["sdxl"], facts.family_speeds["sd15"]), (170, 250));
        let expected = LoadingFacts { disk_mib_s: 900, pcie_mib_s: 2_000, host_cache_mib: 1_000 };
        assert_eq!(facts.loading, Some(expected));
    }

    #[test]
    fn of_an_unknown_class_nothing_is_made_up() {
        let facts = of(&told(r#"{"devices": [{"name": "cpu", "type": "cpu"}]}"#), &InstanceConfig::default());
        assert_eq!((facts.loading, facts.family_speeds.len()), (None, 0));
    }

    #[test]
    fn the_big_a100_is_the_reference() {
        let big =
            r#"{"devices": [{"name": "NVIDIA A100-SXM4-80GB", "type": "cuda", "vram_total": 85899345920}]}"#;
        let facts = of(&told(big), &InstanceConfig::default());
        assert!(facts.family_speeds.values().all(|speed| *speed == 1_000), "{:?}", facts.family_speeds);
        assert_eq!(facts.family_speeds.len(), 4);
    }
}
