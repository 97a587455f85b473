//! The model files that a workflow loads.

use scheduler::{ModelId, ModelKind, ModelUse};
use serde_json::Value;

use super::parts;

/// Extensions of model files.
const EXTENSIONS: [&str; 8] = ["safetensors", "sft", "ckpt", "pt", "pth", "bin", "gguf", "onnx"];

/// Folders that [`place`] tells apart.
const FOLDERS: [&str; 6] = ["loras", "checkpoints", "diffusion_models", "vae", "text_encoders", "controlnet"];
/// Any other folder of models.
const OTHER_FOLDER: &str = "models";

/// A model file that a workflow loads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Model<'a> {
    /// Its name as the workflow gives it, folders included.
    pub(super) file: &'a str,
    /// The scheduler's view of it.
    pub(super) model: ModelUse,
}

/// The model file that a literal names, judged by its extension.
pub(super) fn find<'a>(class: &str, input: &str, value: &'a Value) -> Option<Model<'a>> {
    let file = value.as_str().filter(|text| is_model_file(text))?;
    let (folder, kind) = place(class, input);
    Some(Model { file, model: ModelUse { id: id(folder, file), kind } })
}

/// The scheduler's word for a file of a model folder, by its path below the folder of all models
/// (`checkpoints/sdxl/base.safetensors`). `None`: it names no model file. ComfyUI reads some folders under two names
/// (`unet` is `diffusion_models`, `clip` is `text_encoders`): they are one.
#[must_use]
pub fn model_file(path: &str) -> Option<ModelId> {
    let path = path.replace('\\', "/");
    let (folder, file) = path.split_once('/').filter(|(_, file)| is_model_file(file))?;
    let folder = match folder {
        "unet" => "diffusion_models",
        "clip" => "text_encoders",
        known if FOLDERS.contains(&known) => known,
        _ => OTHER_FOLDER,
    };
    Some(id(folder, file))
}

fn id(folder: &str, file: &str) -> ModelId {
    // Instances on Windows list the same file with the other slash.
    ModelId(parts::hash(&[folder, &file.replace('\\', "/")]))
}

/// Whether a text ends like the name of a model file.
#[must_use]
pub fn is_model_file(text: &str) -> bool {
    let extension = text.rsplit_once('.').map(|(_, extension)| extension);
    extension.is_some_and(|it| EXTENSIONS.iter().any(|known| it.eq_ignore_ascii_case(known)))
}

/// The folder that an input reads from, and what the file is used as, judged by the names of class and input: the
/// same file read by two loaders is one model.
fn place(class: &str, input: &str) -> (&'static str, ModelKind) {
    let (class, input) = (class.to_ascii_lowercase(), input.to_ascii_lowercase());
    let named = |words: &[&str]| words.iter().any(|word| input.contains(word));
    let loads = |words: &[&str]| words.iter().any(|word| class.contains(word));
    if named(&["lora"]) || (input == "model_name" && loads(&["lora"])) {
        ("loras", ModelKind::Lora)
    } else if named(&["ckpt"]) {
        ("checkpoints", ModelKind::Checkpoint)
    } else if named(&["unet", "diffusion_model"]) {
        ("diffusion_models", ModelKind::Checkpoint)
    } else if named(&["vae"]) {
        ("vae", ModelKind::Auxiliary)
    } else if named(&["clip", "text_encoder"]) {
        ("text_encoders", ModelKind::Auxiliary)
    } else if named(&["control"]) {
        ("controlnet", ModelKind::Auxiliary)
    } else if named(&["model"]) && loads(&["checkpoint", "unet", "diffusionmodel", "diffusion_model"]) {
        ("diffusion_models", ModelKind::Checkpoint)
    } else {
        (OTHER_FOLDER, ModelKind::Auxiliary)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_in_its_folder_is_the_model_that_a_graph_names() {
        for (class, input, file, path) in [
            (
                "CheckpointLoaderSimple",
                "ckpt_name",
                "xl\\base.safetensors",
                "checkpoints/xl/base.safetensors",
            ),
            ("UNETLoader", "unet_name", "flux.sft", "unet/flux.sft"),
            ("UNETLoader", "unet_name", "flux.sft", "diffusion_models/flux.sft"),
            ("CLIPLoader", "clip_name", "t5.safetensors", "clip/t5.safetensors"),
            ("LoraLoader", "lora_name", "a.safetensors", "loras/a.safetensors"),
            ("UpscaleModelLoader", "model_name", "4x.pth", "upscale_models/4x.pth"),
        ] {
            let named = json!(file);
            let named = find(class, input, &named).unwrap().model.id;
            assert_eq!(model_file(path), Some(named), "{path}");
        }
        assert_eq!(model_file("loose.safetensors"), None);
        assert_eq!(model_file("checkpoints/put_models_here"), None);
    }
}
