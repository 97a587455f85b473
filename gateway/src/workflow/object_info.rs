//! Reads the body of `/object_info` into the compact form that judging needs (PROTOCOL §6).

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::catalogue::{Bounds, CatalogueError, Choice, Choices, Class, Input, Kind};
use super::{parts, python};

/// Longest body, bytes: some forty times what a full installation answers.
const MAX_BYTES: usize = 64 << 20;
/// The flags of inputs that name a caller's file.
const UPLOAD_FLAGS: [&str; 4] = ["image_upload", "audio_upload", "video_upload", "file_upload"];

/// What we read of a class; the rest is skipped without building values.
#[derive(Deserialize, Default)]
struct Entry {
    #[serde(default)]
    input: Value,
    #[serde(default)]
    output: Value,
    #[serde(default)]
    output_node: Value,
}

/// Entries that are no objects are classes all the same.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lenient {
    Entry(Box<Entry>),
    Other(serde::de::IgnoredAny),
}

pub(super) fn read(body: &str) -> Result<HashMap<Box<str>, Class>, CatalogueError> {
    if body.len() > MAX_BYTES {
        return Err(CatalogueError(format!("{} bytes, over the bound of {MAX_BYTES}", body.len())));
    }
    let entries = parse(body).or_else(|error| match strict(body) {
        Cow::Owned(body) => parse(&body),
        Cow::Borrowed(_) => Err(error),
    });
    let entries = entries.map_err(|error| CatalogueError(error.to_string()))?;
    if entries.is_empty() {
        return Err(CatalogueError("it lists no node class".to_owned()));
    }
    Ok(entries.into_iter().map(|(name, entry)| describe(name, entry)).collect())
}

fn parse(body: &str) -> serde_json::Result<HashMap<Box<str>, Entry>> {
    serde_json::from_str::<HashMap<Box<str>, Entry>>(body).or_else(|_| {
        let entries: HashMap<Box<str>, Lenient> = serde_json::from_str(body)?;
        let known = |entry| match entry {
            Lenient::Entry(entry) => *entry,
            Lenient::Other(_) => Entry::default(),
        };
        Ok(entries.into_iter().map(|(name, entry)| (name, known(entry))).collect())
    })
}

/// Python writes `NaN` and `Infinity` where a custom node has such a bound. Neither is JSON: `null` stands in.
#[must_use]
pub fn strict(body: &str) -> Cow<'_, str> {
    let mut fixed = String::new();
    let (mut copied, mut at, mut in_string) = (0, 0, false);
    let bytes = body.as_bytes();
    while let Some(&byte) = bytes.get(at) {
        let bare = ["-Infinity", "Infinity", "NaN"].into_iter();
        match byte {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            b'-' | b'I' | b'N' if !in_string => {
                if let Some(word) = bare.into_iter().find(|word| bytes[at..].starts_with(word.as_bytes())) {
                    fixed.push_str(&body[copied..at]);
                    fixed.push_str("null");
                    copied = at + word.len();
                    at = copied - 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    if copied == 0 {
        return Cow::Borrowed(body);
    }
    fixed.push_str(&body[copied..]);
    Cow::Owned(fixed)
}

fn describe(name: Box<str>, entry: Entry) -> (Box<str>, Class) {
    let mut inputs = Vec::new();
    for (section, required) in [("required", true), ("optional", false)] {
        if let Some(Value::Object(specs)) = entry.input.get(section) {
            inputs.extend(specs.iter().map(|(input, spec)| read_input(&name, input, spec, required)));
        }
    }
    let outputs = match entry.output {
        Value::Array(types) => Some(types.iter().map(type_name).collect()),
        _ => None,
    };
    let class = Class {
        part: parts::class(&name),
        output_node: entry.output_node == Value::Bool(true),
        outputs,
        inputs: inputs.into(),
    };
    (name, class)
}

/// The name of an output's type; a list of choices has none and counts as unknown.
fn type_name(value: &Value) -> Box<str> {
    value.as_str().unwrap_or("*").into()
}

fn read_input(class: &str, name: &str, spec: &Value, required: bool) -> Input {
    let none = Map::new();
    let options = spec.get(1).and_then(Value::as_object).unwrap_or(&none);
    let upload = UPLOAD_FLAGS.into_iter().any(|flag| options.get(flag) == Some(&Value::Bool(true)));
    let kind = match spec.get(0) {
        Some(Value::Array(listed)) => Kind::Combo(choices(class, name, Some(listed), options)),
        Some(Value::String(kind)) => match kind.as_str() {
            "INT" => Kind::Int(bounds(options)),
            "FLOAT" => Kind::Float(bounds(options)),
            "STRING" => Kind::Text,
            "BOOLEAN" => Kind::Boolean,
            "COMBO" => {
                Kind::Combo(choices(class, name, options.get("options").and_then(Value::as_array), options))
            }
            dynamic if dynamic.starts_with("COMFY_") && dynamic.ends_with("_V3") => Kind::Dynamic,
            other => Kind::Other(other.into()),
        },
        _ => Kind::Other("*".into()),
    };
    Input { name: name.into(), required, upload, kind }
}

fn bounds(options: &Map<String, Value>) -> Bounds {
    let bound = |name| options.get(name).and_then(python::number);
    Bounds { min: bound("min"), max: bound("max") }
}

fn choices(class: &str, input: &str, listed: Option<&Vec<Value>>, options: &Map<String, Value>) -> Choices {
    let multiple = options.get("multiselect") == Some(&Value::Bool(true));
    let open = listed.is_none() || multiple || options.contains_key("remote");
    let choice =
        |value: &Value| parts::value(class, input, value).map(|part| Choice { part, value: value.clone() });
    Choices::new(listed.into_iter().flatten().filter_map(choice).collect(), open)
}

#[cfg(test)]
mod tests {
    use super::strict;

    #[test]
    fn numbers_that_json_lacks_become_null_outside_texts() {
        let body = r#"{"a": [Infinity, -Infinity, NaN, -1], "b": "NaN \" Infinity"}"#;
        assert_eq!(strict(body), r#"{"a": [null, null, null, -1], "b": "NaN \" Infinity"}"#);
    }
}
