//! What the tests share: the recorded catalogue, variants of it, small graphs.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use gateway::workflow::{Catalogue, Graph, Judged, Limits, Refused, judge};
use serde_json::{Value, json};

/// A file of the recorded fixtures.
pub(crate) fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/comfyui").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The recorded `/object_info` as a value, to be varied.
pub(crate) static OBJECT_INFO: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(&fixture("object_info.json")).unwrap());

/// The recorded catalogue.
pub(crate) static RECORDED: LazyLock<Arc<Catalogue>> =
    LazyLock::new(|| Arc::new(Catalogue::read(&fixture("object_info.json")).unwrap()));

/// The recorded catalogue after a change.
pub(crate) fn varied(change: impl FnOnce(&mut Value)) -> Arc<Catalogue> {
    let mut info = OBJECT_INFO.clone();
    change(&mut info);
    Arc::new(Catalogue::read(&info.to_string()).unwrap())
}

/// A catalogue of hand-written classes.
pub(crate) fn catalogue(info: &Value) -> Arc<Catalogue> {
    Arc::new(Catalogue::read(&info.to_string()).unwrap())
}

/// The recorded catalogue whose loaders list these checkpoints and LoRAs.
pub(crate) fn with_models(checkpoints: &[&str], loras: &[&str]) -> Arc<Catalogue> {
    varied(|info| {
        info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0] = json!(checkpoints);
        info["LoraLoader"]["input"]["required"]["lora_name"][0] = json!(loras);
    })
}

pub(crate) fn graph(value: &Value) -> Graph {
    Graph::parse(&value.to_string(), &Limits::default()).unwrap()
}

/// Judges a graph against catalogues, nothing shared.
pub(crate) fn judged(value: &Value, fleet: &[Arc<Catalogue>]) -> Result<Judged, Refused> {
    judge(&graph(value), fleet, &[])
}

/// Judges a graph against the recorded catalogue.
pub(crate) fn recorded(value: &Value) -> Result<Judged, Refused> {
    judged(value, std::slice::from_ref(&RECORDED))
}

/// Kind, node and input of each problem.
pub(crate) fn problems(refused: &Refused) -> Vec<(&str, &str, &str)> {
    let of = |it| -> &gateway::workflow::NodeProblem { it };
    let triple = |it| (of(it).kind, it.node_id.as_str(), it.field.as_deref().unwrap_or(""));
    refused.problems.iter().map(triple).collect()
}

/// A text-to-picture workflow with a LoRA.
pub(crate) fn text_to_picture(checkpoint: &str, lora: &str) -> Value {
    json!({
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": checkpoint}},
        "2": {"class_type": "LoraLoader", "inputs": {"model": ["1", 0], "clip": ["1", 1], "lora_name": lora,
            "strength_model": 0.8, "strength_clip": 1}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse", "clip": ["2", 1]}},
        "4": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["2", 1]}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 1024, "height": 1024, "batch_size": 1}},
        "6": {"class_type": "KSampler", "inputs": {"model": ["2", 0], "seed": 7, "steps": 20, "cfg": 7.0,
            "sampler_name": "euler", "scheduler": "normal", "positive": ["3", 0], "negative": ["4", 0],
            "latent_image": ["5", 0], "denoise": 1}},
        "7": {"class_type": "VAEDecode", "inputs": {"samples": ["6", 0], "vae": ["1", 2]}},
        "8": {"class_type": "SaveImage", "inputs": {"images": ["7", 0], "filename_prefix": "shore/night"}},
    })
}

/// `EmptyImage` with these inputs, saved.
pub(crate) fn empty_image(width: Value) -> Value {
    json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": width, "height": 64, "batch_size": 1, "color": 0}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    })
}
