//! Several kinds of instances.

use std::sync::Arc;

use scheduler::ModelKind;
use serde_json::json;

use crate::support::{empty_image, judged, problems, text_to_picture, varied, with_models};

#[test]
fn without_a_catalogue_everything_waits() {
    let judged = judged(&text_to_picture("a.safetensors", "l.safetensors"), &[]).unwrap();
    assert!(judged.provisional);
    assert_eq!(judged.requirement.parts.len(), 7, "one a class");
    assert!(judged.shape.prior_run_ms > 0);
}

#[test]
fn one_instance_that_accepts_is_enough() {
    let with = with_models(&["a.safetensors"], &["l.safetensors"]);
    let without = with_models(&[], &[]);
    for fleet in [[with.clone(), without.clone()], [without.clone(), with.clone()]] {
        let judged = judged(&text_to_picture("a.safetensors", "l.safetensors"), &fleet).unwrap();
        assert!(!judged.provisional);
        let offers = |catalogue: &Arc<gateway::workflow::Catalogue>| {
            judged.requirement.parts.iter().all(|&part| catalogue.parts.offers(part))
        };
        assert!(offers(&with) && !offers(&without));
    }
}

#[test]
fn models_are_told_by_what_they_are_used_as() {
    let fleet = [with_models(&["sdxl/a.safetensors"], &["l.safetensors"])];
    let judged = judged(&text_to_picture("sdxl/a.safetensors", "l.safetensors"), &fleet).unwrap();
    let kinds: Vec<ModelKind> = judged.requirement.models.iter().map(|model| model.kind).collect();
    assert_eq!(kinds, [ModelKind::Checkpoint, ModelKind::Lora]);
}

#[test]
fn the_same_file_through_two_loaders_is_one_model() {
    let fleet = [varied(|info| {
        info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0] = json!(["a.ckpt"]);
        info["LoraLoader"]["input"]["required"]["lora_name"][0] = json!(["l.pt"]);
        info["unCLIPCheckpointLoader"]["input"]["required"]["ckpt_name"][0] = json!(["a.ckpt"]);
    })];
    let mut workflow = text_to_picture("a.ckpt", "l.pt");
    workflow["9"] = json!({"class_type": "unCLIPCheckpointLoader", "inputs": {"ckpt_name": "a.ckpt"}});
    workflow["7"]["inputs"]["vae"] = json!(["9", 2]);
    assert_eq!(judged(&workflow, &fleet).unwrap().requirement.models.len(), 2);
}

#[test]
fn what_the_whole_fleet_lacks_is_listed() {
    let fleet = [with_models(&["a.safetensors"], &[]), with_models(&["b.safetensors"], &[])];
    let refused = judged(&text_to_picture("c.safetensors", "l.safetensors"), &fleet).unwrap_err();
    assert_eq!(refused.kind, "prompt_outputs_failed_validation");
    assert_eq!(refused.missing, ["c.safetensors", "l.safetensors"]);
}

#[test]
fn parts_that_no_one_instance_joins_are_named_as_a_pair() {
    let left = with_models(&["a.safetensors"], &[]);
    let right = with_models(&[], &["l.safetensors"]);
    let sides = [left.hash[..8].to_owned(), right.hash[..8].to_owned()];
    let refused = judged(&text_to_picture("a.safetensors", "l.safetensors"), &[left, right]).unwrap_err();
    assert_eq!(refused.kind, "no_single_instance");
    assert!(refused.missing.is_empty());
    for said in ["a.safetensors", "l.safetensors", &sides[0], &sides[1]] {
        assert!(refused.message.contains(said), "{said}: {}", refused.message);
    }
}

#[test]
fn a_class_here_and_a_model_there_conflict_too() {
    let left = varied(|info| {
        info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0] = json!(["a.safetensors"]);
        info["LoraLoader"]["input"]["required"]["lora_name"][0] = json!(["l.safetensors"]);
        info.as_object_mut().unwrap().remove("SaveImage");
    });
    let refused = judged(
        &text_to_picture("a.safetensors", "l.safetensors"),
        &[left, with_models(&[], &["l.safetensors"])],
    )
    .unwrap_err();
    assert_eq!(refused.kind, "no_single_instance");
    assert!(refused.message.contains("class SaveImage") && refused.message.contains("a.safetensors"));
}

#[test]
fn a_plain_fault_is_not_dressed_up_as_a_conflict() {
    let mut workflow = text_to_picture("a.safetensors", "l.safetensors");
    workflow["5"]["inputs"]["width"] = json!(1);
    let fleet = [with_models(&["a.safetensors"], &["l.safetensors"]), with_models(&[], &[])];
    let refused = judged(&workflow, &fleet).unwrap_err();
    assert_eq!(refused.kind, "prompt_outputs_failed_validation");
    assert_eq!(problems(&refused), [("value_smaller_than_min", "5", "width")]);
}

#[test]
fn the_closest_instance_gives_the_reasons() {
    let bare = varied(|info| {
        info.as_object_mut().unwrap().remove("EmptyImage");
    });
    let refused = judged(&empty_image(json!(0)), &[bare, crate::support::RECORDED.clone()]).unwrap_err();
    assert_eq!(problems(&refused), [("value_smaller_than_min", "1", "width")]);
}
