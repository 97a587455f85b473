//! What is submitted: text to image with a checkpoint, about 2 KB of JSON.

use serde_json::{Value, json};

/// The checkpoint that the simulators list.
const CHECKPOINT: &str = "sd15.safetensors";

const POSITIVE: &str = "a lighthouse on a rocky coast at dusk, long exposure of the sea, warm light in the lantern \
    room, low clouds lit from beneath, gulls far away, wet granite in the foreground, film grain, 35 mm photograph, \
    shallow haze, highly detailed, muted teal and orange palette, quiet mood, volumetric light";
const NEGATIVE: &str = "lowres, blurry, text, watermark, signature, frame, jpeg artefacts, oversaturated, deformed, \
    duplicate, cropped, out of focus, extra limbs, bad anatomy, ugly, worst quality, low quality, noise, banding";

/// The graph with its own seed, so that nothing of it is cached by an instance that ran another.
pub fn painting(seed: u64) -> Value {
    json!({
        "3": {"class_type": "KSampler", "_meta": {"title": "KSampler"}, "inputs": {
            "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0],
            "seed": seed, "steps": 4, "cfg": 7.0, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1.0,
        }},
        "4": {"class_type": "CheckpointLoaderSimple", "_meta": {"title": "Load Checkpoint"},
            "inputs": {"ckpt_name": CHECKPOINT}},
        "5": {"class_type": "EmptyLatentImage", "_meta": {"title": "Empty Latent Image"},
            "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "_meta": {"title": "CLIP Text Encode (positive prompt)"},
            "inputs": {"clip": ["4", 1], "text": POSITIVE}},
        "7": {"class_type": "CLIPTextEncode", "_meta": {"title": "CLIP Text Encode (negative prompt)"},
            "inputs": {"clip": ["4", 1], "text": NEGATIVE}},
        "8": {"class_type": "VAEDecode", "_meta": {"title": "VAE Decode"},
            "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "_meta": {"title": "Save Image"},
            "inputs": {"images": ["8", 0], "filename_prefix": format!("bench/{seed}")}},
    })
}

/// Nodes of [`colour`].
pub const NODES: u32 = 2;

/// A picture of one colour, without any model, as a body.
pub fn colour(seed: u64) -> Vec<u8> {
    let workflow = json!({
        "1": {"class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": seed & 0xff_ffff}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "bench"}},
    });
    json!({"workflow": workflow}).to_string().into_bytes()
}

/// The body of `POST /api/v2/jobs` and of `POST /v1/jobs`.
pub fn submission(seed: u64) -> Vec<u8> {
    json!({"workflow": painting(seed)}).to_string().into_bytes()
}
