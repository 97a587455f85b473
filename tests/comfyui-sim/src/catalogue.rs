//! Node classes: what `/object_info` tells and what validation checks against.

use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// Facts recorded from a server's `/object_info`, cut down to the classes the simulator executes.
const BUILTIN: &str = include_str!("builtin_classes.json");

static BUILTIN_CLASSES: LazyLock<Arc<Classes>> =
    LazyLock::new(|| Arc::new(Classes::parse(BUILTIN).expect("the built-in catalogue is checked by a test")));

/// Which node classes a server knows.
#[derive(Clone, Debug)]
pub enum Catalogue {
    /// The core classes the simulator can execute, and the testing classes used by the recordings.
    Builtin,
    /// Every class of an `/object_info` answer; unknown ones execute as nodes that only pass time. Share one
    /// [`Classes`] between instances.
    Full(Arc<Classes>),
}

impl Catalogue {
    /// Reads the text of an `/object_info` answer.
    pub fn from_json(text: &str) -> anyhow::Result<Catalogue> {
        Ok(Catalogue::Full(Arc::new(Classes::parse(text)?)))
    }

    /// Reads a file holding an `/object_info` answer.
    pub fn from_file(path: &Path) -> anyhow::Result<Catalogue> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Catalogue::from_json(&text)
    }

    /// The classes behind this choice.
    pub(crate) fn classes(&self) -> Arc<Classes> {
        match self {
            Catalogue::Builtin => Arc::clone(&BUILTIN_CLASSES),
            Catalogue::Full(classes) => Arc::clone(classes),
        }
    }
}

/// The model files and inputs that COMBO lists are filled with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Folders {
    pub checkpoints: Vec<String>,
    pub loras: Vec<String>,
    pub inputs: Vec<String>,
}

impl Folders {
    /// Files of the folder an input chooses from; `None` when the definition's own list stands.
    fn options(&self, class: &str, input: &str) -> Option<Vec<String>> {
        let fixed = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
        match input {
            "ckpt_name" => Some(self.checkpoints.clone()),
            "unet_name" => {
                let mut names = self.checkpoints.clone();
                names.extend(["tiny_a.safetensors".to_owned(), "tiny_b.safetensors".to_owned()]);
                Some(names)
            }
            "lora_name" => Some(self.loras.clone()),
            "clip_name" | "clip_name1" | "clip_name2" | "clip_name3" | "clip_name4" => {
                fixed(&["clip_l.safetensors", "t5xxl_fp16.safetensors"])
            }
            "vae_name" => fixed(&["ae.safetensors", "vae-ft-mse-840000.safetensors", "pixel_space"]),
            "control_net_name" => fixed(&["control_canny.safetensors", "control_depth.safetensors"]),
            "model_name" if class == "UpscaleModelLoader" => fixed(&["4x_upscaler.pth"]),
            "image" if class.starts_with("LoadImage") => Some(self.inputs.clone()),
            _ => None,
        }
    }
}

/// A parsed `/object_info` answer, shared by every instance that uses it.
#[derive(Debug)]
pub struct Classes {
    classes: Map<String, Value>,
    /// The last full answer, so that instances with equal folders share its bytes.
    rendered: Mutex<Option<(Folders, Bytes)>>,
}

impl Classes {
    fn parse(text: &str) -> anyhow::Result<Classes> {
        let classes: Map<String, Value> = serde_json::from_str(text).context("not an object_info answer")?;
        Ok(Classes { classes, rendered: Mutex::new(None) })
    }

    /// The definition as recorded, folder lists not filled in.
    pub(crate) fn get(&self, class: &str) -> Option<&Value> {
        self.classes.get(class)
    }

    /// Whether the class is marked as an output node.
    pub(crate) fn is_output(&self, class: &str) -> bool {
        self.get(class).is_some_and(|info| info["output_node"] == true)
    }

    /// One definition as this server would tell it.
    pub(crate) fn filled(&self, class: &str, folders: &Folders) -> Option<Value> {
        let mut info = self.get(class)?.clone();
        for group in ["required", "optional"] {
            let Some(inputs) = info["input"].get_mut(group).and_then(Value::as_object_mut) else {
                continue;
            };
            for (name, definition) in inputs {
                if let Some(options) = folders.options(class, name) {
                    fill(definition, options);
                }
            }
        }
        Some(info)
    }

    /// The whole `/object_info` answer.
    pub(crate) fn render(&self, folders: &Folders) -> Bytes {
        let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, bytes)) = rendered.as_ref()
            && known == folders
        {
            return bytes.clone();
        }
        let all: Map<String, Value> = self
            .classes
            .keys()
            .filter_map(|class| Some((class.clone(), self.filled(class, folders)?)))
            .collect();
        let bytes = Bytes::from(Value::Object(all).to_string());
        *rendered = Some((folders.clone(), bytes.clone()));
        bytes
    }

    /// The input definitions of a class in validation order: required first, then optional.
    pub(crate) fn inputs<'a>(&'a self, class: &str, folders: &Folders) -> Vec<(&'a str, InputGroup, Value)> {
        let Some(info) = self.get(class) else { return Vec::new() };
        let mut inputs = Vec::new();
        for (key, group) in [("required", InputGroup::Required), ("optional", InputGroup::Optional)] {
            for (name, definition) in info["input"][key].as_object().into_iter().flatten() {
                let mut definition = definition.clone();
                if let Some(options) = folders.options(class, name) {
                    fill(&mut definition, options);
                }
                inputs.push((name.as_str(), group, definition));
            }
        }
        inputs
    }

    /// Whether an input is evaluated only on demand.
    pub(crate) fn is_lazy(&self, class: &str, input: &str) -> bool {
        self.get(class).is_some_and(|info| {
            ["required", "optional"].iter().any(|group| info["input"][group][input][1]["lazy"] == true)
        })
    }
}

/// Whether an input must be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputGroup {
    Required,
    Optional,
}

/// Replaces the options of either COMBO spelling (PROTOCOL §6).
fn fill(definition: &mut Value, options: Vec<String>) {
    if definition[0].is_array() {
        definition[0] = json!(options);
    } else if definition[0] == "COMBO" && definition[1].get("options").is_some() {
        definition[1]["options"] = json!(options);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use super::*;

    #[test]
    fn folder_lists_come_from_the_configuration() {
        let folders = Folders { checkpoints: vec!["mine.safetensors".to_owned()], ..Folders::default() };
        let info = Catalogue::Builtin.classes().filled("CheckpointLoaderSimple", &folders).unwrap();
        assert_eq!(info["input"]["required"]["ckpt_name"][0], json!(["mine.safetensors"]));
    }

    #[test]
    fn instances_with_equal_folders_share_the_answer() {
        let classes = Catalogue::Builtin.classes();
        let folders = Folders::default();
        assert_eq!(classes.render(&folders).as_ptr(), classes.render(&folders).as_ptr());
    }
}
