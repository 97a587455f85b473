//! What is ordered: workflows that differ in words, seeds, sizes and checkpoints.

use e2e::workflows::Painting;
use serde_json::{Value, json};

use crate::fleet::Fleet;

/// Pictures of the first batch.
const BATCH: usize = 30;

const SCENES: [&str; 10] = [
    "a lighthouse at dusk",
    "hills in the morning mist",
    "a badminton hall at night",
    "snow on red roofs",
    "a harbour before the storm",
    "terraced fields after rain",
    "a tea house in the woods",
    "dunes under two moons",
    "a bridge of paper lanterns",
    "an orchard in blossom",
];

/// Checkpoint, size and steps, as people mix them; the rarer ones run on fewer cards.
const RECIPES: [(&str, u32, u32, u32); 5] = [
    ("sd15.safetensors", 512, 512, 14),
    ("sd15.safetensors", 768, 512, 18),
    ("sdxl.safetensors", 1024, 768, 24),
    ("sd15.safetensors", 512, 768, 10),
    ("flux1-dev.safetensors", 960, 640, 12),
];

/// One picture to be made.
pub struct Order {
    /// For people.
    pub title: String,
    /// The graph.
    pub workflow: Value,
    /// What the picture must measure.
    pub size: (u32, u32),
}

/// Makes orders without end.
pub struct Orders {
    /// `None`: every checkpoint of the simulators.
    checkpoint: Option<String>,
    has_models: bool,
    next: usize,
}

impl Orders {
    /// Looks at what the fleet can do.
    pub async fn new(fleet: &Fleet) -> anyhow::Result<Self> {
        let checkpoint = if fleet.is_simulated() { None } else { fleet.any_checkpoint().await? };
        Ok(Self { has_models: fleet.is_simulated() || checkpoint.is_some(), checkpoint, next: 0 })
    }
}

impl Iterator for Orders {
    type Item = Order;

    fn next(&mut self) -> Option<Order> {
        let n = self.next;
        self.next += 1;
        Some(if self.has_models { painting(n, self.checkpoint.as_deref()) } else { without_models(n) })
    }
}

/// The first batch.
pub async fn batch(fleet: &Fleet) -> anyhow::Result<Vec<Order>> {
    Ok(Orders::new(fleet).await?.take(BATCH).collect())
}

fn painting(n: usize, checkpoint: Option<&str>) -> Order {
    let (usual, width, height, steps) = RECIPES[n % RECIPES.len()];
    let words = SCENES[n * 7 % SCENES.len()];
    let checkpoint = checkpoint.unwrap_or(usual);
    let painting = Painting {
        checkpoint: checkpoint.to_owned(),
        words: words.to_owned(),
        seed: 1000 + n as u64,
        steps,
        width,
        height,
    };
    let model = checkpoint.trim_end_matches(".safetensors");
    Order {
        title: format!("{words} ({model}, {width}×{height})"),
        workflow: painting.workflow(),
        size: (width, height),
    }
}

/// Nodes that every ComfyUI has and that need no model.
fn without_models(n: usize) -> Order {
    let color = 0x10_20_30 + (n * 0x0b_0d_11) % 0xa0_a0_a0;
    let side = 64 + u32::try_from(n % 4).unwrap_or_default() * 32;
    let (width, height) = (side * 2, side);
    Order {
        title: format!("colour #{color:06x}, scaled and inverted ({width}×{height})"),
        workflow: json!({
            "1": {"class_type": "EmptyImage", "inputs": {"width": side, "height": side, "batch_size": 1, "color": color}},
            "2": {"class_type": "ImageScale", "inputs": {
                "image": ["1", 0], "upscale_method": "bilinear", "width": width, "height": height, "crop": "disabled",
            }},
            "3": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}},
            "9": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "demo"}},
        }),
        size: (width, height),
    }
}
