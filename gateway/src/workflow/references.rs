//! Bytes of the tenant that a workflow names: tagged assets anywhere, and file names in inputs that take files
//! (DESIGN §4.8, PROTOCOL §9).

use serde_json::Value;
use uuid::Uuid;

use super::catalogue::{Class, Kind};
use super::graph::{Graph, Node, NodeInput};
use super::problems::NodeProblem;
use super::python;
use crate::store::{Named, Reference};

/// The tag of an asset reference.
const ASSET_TAG: &str = "core/ASSET";
/// The folder of an instance's input folder under which attempts stage their files; nobody names it directly.
pub(super) const STAGING_FOLDER: &str = "darkroom/";
/// Extensions of files that callers feed in. A list of choices without an upload flag may hold them all the same:
/// many classes list the input folder and check the name themselves.
const MEDIA: [&str; 26] = [
    "png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "exr", "avif", "mp4", "webm", "mkv", "mov",
    "avi", "m4v", "wav", "mp3", "flac", "ogg", "opus", "m4a", "aac", "latent", "glb", "obj",
];
/// Inputs that take files in every ComfyUI, for as long as no catalogue says which do.
pub(super) const CORE_UPLOADS: [(&str, &str); 2] = [("LoadImage", "image"), ("LoadImageMask", "image")];

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What is to be resolved.
    pub(super) references: Vec<Reference>,
    /// Ids (or, lacking one, places) of tags that can name no asset.
    pub(super) malformed: Vec<String>,
    /// File names that no caller may use, with the index of their node.
    pub(super) problems: Vec<(usize, NodeProblem)>,
}

/// Whether a literal is tagged as an asset.
pub(super) fn is_asset(value: &Value) -> bool {
    value.get("__type").and_then(Value::as_str) == Some(ASSET_TAG)
}

/// Whether a choice that is not listed may name a caller's file instead.
pub(super) fn names_a_file(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let (name, place) = annotated(text);
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    place.is_some() || extension.is_some_and(|it| MEDIA.iter().any(|media| it.eq_ignore_ascii_case(media)))
}

/// Whether a value names the folder it lies in (`name [output]`).
pub(super) fn is_annotated(value: &Value) -> bool {
    value.as_str().is_some_and(|text| annotated(text).1.is_some())
}

/// The assets tagged anywhere in the graph.
pub(super) fn assets(graph: &Graph, found: &mut Found) {
    for node in &graph.nodes {
        for (name, input) in &node.inputs {
            if let NodeInput::Literal(literal @ (Value::Object(_) | Value::Array(_))) = input {
                tagged(literal, pointer(node, name), found);
            }
        }
    }
}

/// The file names in the inputs of one node; `class` is `None` while no catalogue is known.
pub(super) fn files(at: usize, node: &Node, class: Option<&Class>, shared: &[String], found: &mut Found) {
    for (name, input) in &node.inputs {
        let NodeInput::Literal(literal) = input else { continue };
        let value = python::unwrapped(literal);
        let Some(text) = value.as_str() else { continue };
        if !takes_file(node, class, name, value) {
            continue;
        }
        let mut place = pointer(node, name);
        if literal.is_object() {
            place.push_str("/__value__");
        }
        match resolve(text, shared) {
            File::AsIs => {}
            File::Names(names) => found.references.push(Reference { pointer: place, names }),
            File::Forbidden => {
                let details = format!("{name} - Invalid image file: {}", text.escape_debug());
                let problem = NodeProblem::new(node, Some(name), "custom_validation_failed", details);
                found.problems.push((at, problem));
            }
        }
    }
}

/// Whether this literal of this input names a file of the caller's.
fn takes_file(node: &Node, class: Option<&Class>, name: &str, value: &Value) -> bool {
    let Some(class) = class else {
        return CORE_UPLOADS.contains(&(node.class_type.as_str(), name));
    };
    let Some(input) = class.input(name) else { return false };
    match &input.kind {
        _ if input.upload => true,
        // A listed name is the instance's own; one of another folder is the caller's, listed or not: such lists hold
        // the files of all tenants (PROTOCOL §9).
        Kind::Combo(choices) => {
            names_a_file(value)
                && (is_annotated(value) || choices.find(&node.class_type, name, value).is_none())
        }
        _ => false,
    }
}

enum File {
    /// No file, or one that everybody shares.
    AsIs,
    /// One of the tenant's.
    Names(Named),
    /// A name that leads elsewhere.
    Forbidden,
}

fn resolve(text: &str, shared: &[String]) -> File {
    // Inputs that may be left open say so by an empty text or by the choice "none".
    if text.is_empty() || text.eq_ignore_ascii_case("none") {
        return File::AsIs;
    }
    let (name, place) = annotated(text);
    if leads_elsewhere(name) || place == Some("temp") {
        return File::Forbidden;
    }
    match place {
        Some("output") => File::Names(Named::Output(name.to_owned())),
        _ if shared.iter().any(|shared| shared == name) => File::AsIs,
        _ => File::Names(Named::Upload(name.to_owned())),
    }
}

/// Splits `name [output]` into the name and the place.
pub(super) fn annotated(text: &str) -> (&str, Option<&str>) {
    for place in ["output", "input", "temp"] {
        let name = text.strip_suffix(']').and_then(|text| text.strip_suffix(place));
        if let Some(name) = name.and_then(|text| text.strip_suffix('[')) {
            return (name.strip_suffix(' ').unwrap_or(name), Some(place));
        }
    }
    (text, None)
}

/// Whether a file name points out of the tenant's own names.
fn leads_elsewhere(name: &str) -> bool {
    name.is_empty()
        || name.starts_with('/')
        || name.contains(['\\', '\0'])
        || has_drive(name)
        || name.split('/').any(|part| part == "..")
        || super::hostile::is_ours(name)
}

/// Whether a path begins with a drive letter (`C:`).
pub(super) fn has_drive(path: &str) -> bool {
    matches!(path.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic())
}

fn tagged(value: &Value, place: String, found: &mut Found) {
    match value {
        Value::Object(_) if is_asset(value) => {
            let id = value.pointer("/info/id").and_then(Value::as_str);
            match id.and_then(|id| Uuid::try_parse(id).ok()) {
                Some(id) => found.references.push(Reference { pointer: place, names: Named::Asset(id) }),
                None => found.malformed.push(id.map_or(place, str::to_owned)),
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                if matches!(value, Value::Object(_) | Value::Array(_)) {
                    tagged(value, format!("{place}/{}", escaped(name)), found);
                }
            }
        }
        Value::Array(items) => {
            for (at, value) in items.iter().enumerate() {
                if matches!(value, Value::Object(_) | Value::Array(_)) {
                    tagged(value, format!("{place}/{at}"), found);
                }
            }
        }
        _ => {}
    }
}

/// Where an input stands in the graph (RFC 6901).
fn pointer(node: &Node, input: &str) -> String {
    format!("/{}/inputs/{}", escaped(&node.id), escaped(input))
}

/// A name as a step of a pointer (RFC 6901 §3).
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_split_off_the_name() {
        assert_eq!(annotated("a/b.png [output]"), ("a/b.png", Some("output")));
        assert_eq!(annotated("b.png[temp]"), ("b.png", Some("temp")));
        assert_eq!(annotated("b [x].png"), ("b [x].png", None));
    }

    #[test]
    fn names_that_lead_elsewhere_are_told() {
        for bad in
            ["../a.png", "a/../b.png", "/etc/x", "C:/x.png", "..\\x", "a\0", "darkroom/x", "./darkroom/x", ""]
        {
            assert!(leads_elsewhere(bad), "{bad:?}");
        }
        for fine in ["a.png", "sub/a..b.png", "darkrooms/x.png"] {
            assert!(!leads_elsewhere(fine), "{fine:?}");
        }
    }
}
