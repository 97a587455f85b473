//! What a workflow is guessed to cost.

use scheduler::Shape;
use serde_json::{Value, json};

use crate::support::{judged, recorded, text_to_picture, with_models};

fn shape(change: impl FnOnce(&mut Value)) -> Shape {
    let files = ["sdxl_base.safetensors", "v1-5.safetensors", "flux1-dev.safetensors"];
    let fleet = [with_models(&files, &["a.safetensors", "b.safetensors"])];
    let mut workflow = text_to_picture(files[0], "a.safetensors");
    change(&mut workflow);
    judged(&workflow, &fleet).unwrap().shape
}

#[test]
fn texts_seeds_and_loras_do_not_change_the_shape() {
    let base = shape(|_| {});
    assert_eq!(base, shape(|workflow| workflow["3"]["inputs"]["text"] = json!("a harbour")));
    assert_eq!(base, shape(|workflow| workflow["6"]["inputs"]["seed"] = json!(8)));
    assert_eq!(base, shape(|workflow| workflow["2"]["inputs"]["lora_name"] = json!("b.safetensors")));
}

#[test]
fn what_costs_more_has_another_shape_and_a_larger_guess() {
    let base = shape(|_| {});
    for (node, input, value) in [("6", "steps", 60), ("5", "batch_size", 4), ("5", "width", 2048)] {
        let larger = shape(|workflow| workflow[node]["inputs"][input] = json!(value));
        assert_ne!(base.id, larger.id, "{input}");
        assert!(larger.prior_run_ms > base.prior_run_ms, "{input}");
        assert!(larger.prior_vram_mib >= base.prior_vram_mib, "{input}");
    }
    let twice = shape(|workflow| workflow["6"]["inputs"]["sampler_name"] = json!("heun"));
    assert!(twice.prior_run_ms > base.prior_run_ms);
}

#[test]
fn families_are_ranked_by_their_size() {
    let with = |file: &str| shape(|workflow| workflow["1"]["inputs"]["ckpt_name"] = json!(file));
    let (small, middle, large) =
        (with("v1-5.safetensors"), with("sdxl_base.safetensors"), with("flux1-dev.safetensors"));
    assert!(small.prior_vram_mib < middle.prior_vram_mib && middle.prior_vram_mib < large.prior_vram_mib);
    assert!(middle.prior_run_ms < large.prior_run_ms);
    assert!((2_000..4_000).contains(&middle.prior_run_ms), "20 steps of SDXL: {}", middle.prior_run_ms);
}

#[test]
fn monstrous_sizes_do_not_overflow() {
    let workflow = json!({
        "1": {"class_type": "EmptyImage",
            "inputs": {"width": 16384, "height": 16384, "batch_size": 4096, "color": 0}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    });
    let shape = recorded(&workflow).unwrap().shape;
    assert!(shape.prior_vram_mib > 80_000, "no card has room for it");
    let wild = json!({"1": {"class_type": "X", "inputs": {"width": u64::MAX, "height": "9".repeat(60),
        "batch_size": u64::MAX, "steps": u64::MAX, "length": -5}}});
    assert!(judged(&wild, &[]).is_ok());
}
