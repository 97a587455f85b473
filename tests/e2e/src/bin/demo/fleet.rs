//! The GPUs of the demo: three simulated ones, or real servers.

use std::time::Duration;

use anyhow::ensure;
use comfyui_sim::{Config, Device, Pace, Simulator};
use e2e::api::Api;

/// How long the simulated cards take: a sampling step on a T4, and any other node.
const PACE: Pace = Pace { step: Duration::from_millis(100), node: Duration::from_millis(10) };

/// Where the work is done.
pub struct Fleet {
    urls: Vec<String>,
    /// Kept alive; empty with real servers.
    simulators: Vec<Simulator>,
}

impl Fleet {
    /// Starts the simulators, or takes real servers.
    pub async fn start(real: Option<&str>) -> anyhow::Result<Self> {
        if let Some(list) = real {
            let urls = list.split(',').map(|url| url.trim().trim_end_matches('/').to_owned());
            let urls: Vec<String> = urls.filter(|url| !url.is_empty()).collect();
            ensure!(!urls.is_empty(), "COMFYUI_URL names no server");
            return Ok(Self { urls, simulators: Vec::new() });
        }
        let mut simulators = Vec::new();
        for (device, checkpoints) in [
            (Device::t4(), &["sd15.safetensors"][..]),
            (Device::v100(), &["sd15.safetensors", "sdxl.safetensors"]),
            (Device::a100(), &["sd15.safetensors", "sdxl.safetensors", "flux1-dev.safetensors"]),
        ] {
            let checkpoints = checkpoints.iter().map(|&name| name.to_owned()).collect();
            let config = Config { device, checkpoints, pace: PACE, preview: true, ..Config::default() };
            simulators.push(Simulator::start(config).await?);
        }
        Ok(Self { urls: simulators.iter().map(Simulator::url).collect(), simulators })
    }

    /// Addresses of the servers.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Whether nothing real is behind it.
    pub fn is_simulated(&self) -> bool {
        !self.simulators.is_empty()
    }

    /// Tells what it is.
    pub fn describe(&self) {
        let what = if self.is_simulated() { "simulated T4, V100 and A100" } else { "ComfyUI" };
        println!("GPUs         {what}: {}", self.urls.join(", "));
    }

    /// The first checkpoint that any real server offers.
    pub async fn any_checkpoint(&self) -> anyhow::Result<Option<String>> {
        for url in &self.urls {
            let info = Api::new(url)?.get("/object_info/CheckpointLoaderSimple").await?.json()?;
            let input = &info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"];
            // Either spelling of a list of choices.
            let first = input[0].get(0).or_else(|| input[1]["options"].get(0));
            if let Some(name) = first.and_then(|name| name.as_str()).filter(|name| !name.is_empty()) {
                return Ok(Some(name.to_owned()));
            }
        }
        Ok(None)
    }
}
