//! Workflows in API format, small enough to read.

use serde_json::{Value, json};

/// A picture of one colour (`0xRRGGBB`); takes no time. The saver is node `9`.
pub fn plain(color: u32, side: u32) -> Value {
    json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": side, "height": side, "batch_size": 1, "color": color}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "plain"}},
    })
}

/// As [`plain`], but the instance is busy with it for this long.
pub fn slow(color: u32, seconds: f64) -> Value {
    json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": color}},
        "2": {"class_type": "TestSleep", "inputs": {"value": ["1", 0], "seconds": seconds}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "slow"}},
    })
}

/// The negative of an input: a name, or a `core/ASSET` reference.
pub fn negative(image: &Value) -> Value {
    json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": image}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "negative"}},
    })
}

/// The reference that stands for an asset or an earlier output where a file name would.
pub fn asset(id: &str) -> Value {
    json!({"__type": "core/ASSET", "info": {"id": id}})
}

/// Text to image with a checkpoint, as people run it.
#[derive(Clone, Debug)]
pub struct Painting {
    /// File name of the checkpoint.
    pub checkpoint: String,
    /// What to paint.
    pub words: String,
    /// Seed of the noise.
    pub seed: u64,
    /// Sampling steps.
    pub steps: u32,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

impl Default for Painting {
    fn default() -> Self {
        Self {
            checkpoint: "sd15.safetensors".to_owned(),
            words: "a lighthouse at dusk".to_owned(),
            seed: 1,
            steps: 4,
            width: 128,
            height: 64,
        }
    }
}

impl Painting {
    /// The graph. The saver is node `9`.
    pub fn workflow(&self) -> Value {
        json!({
            "3": {"class_type": "KSampler", "inputs": {
                "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0],
                "seed": self.seed, "steps": self.steps, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal",
                "denoise": 1.0,
            }},
            "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": self.checkpoint}},
            "5": {"class_type": "EmptyLatentImage", "inputs": {
                "width": self.width, "height": self.height, "batch_size": 1,
            }},
            "6": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["4", 1], "text": self.words}},
            "7": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["4", 1], "text": "blurry"}},
            "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
            "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "painting"}},
        })
    }
}
