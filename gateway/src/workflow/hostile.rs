//! Literals that no workflow may carry, whatever the fleet offers (DESIGN §9, PROTOCOL §9): texts that lead out of the
//! tenant's own names. Inputs that take a caller's files are resolved to that caller's blobs (`references`); this looks
//! at all others, for classes read files by inputs of any name and type.
//!
//! A prompt may say what it likes: an input that the catalogue calls a text, and whose name does not speak of files, is
//! only looked at for what cannot be meant as words.

use serde_json::Value;

use super::catalogue::{Catalogue, Kind};
use super::graph::{Graph, Node, NodeInput};
use super::problems::NodeProblem;
use super::references::{self, STAGING_FOLDER};

/// The input by which savers name their files.
pub(super) const PREFIX_INPUT: &str = "filename_prefix";
/// Words in the name of an input that takes a path.
const PATH_WORDS: [&str; 9] =
    ["path", "paths", "file", "filename", "filepath", "folder", "dir", "directory", "prefix"];
/// Inputs of prompts, for as long as no catalogue tells which inputs are texts.
const TEXT_WORDS: [&str; 8] =
    ["text", "prompt", "positive", "negative", "string", "caption", "lyrics", "tags"];
/// Longest text that is taken for a file's name.
const MAX_NAME_BYTES: usize = 4096;

/// What is wrong with the literals of a graph.
pub(super) fn problems(graph: &Graph, fleet: &[&Catalogue]) -> Vec<NodeProblem> {
    let mut found = Vec::new();
    for node in &graph.nodes {
        for (name, input) in &node.inputs {
            if let NodeInput::Literal(literal) = input {
                found.extend(problem(node, name, literal, fleet));
            }
        }
    }
    found
}

fn problem(node: &Node, name: &str, literal: &Value, fleet: &[&Catalogue]) -> Option<NodeProblem> {
    if matches!(literal, Value::Null | Value::Bool(_) | Value::Number(_)) {
        return None;
    }
    let failed = |details| Some(NodeProblem::new(node, Some(name), "custom_validation_failed", details));
    if has_nul(literal) {
        return failed(format!("{name} - a text must not contain NUL"));
    }
    if references::is_asset(literal) {
        return None; // becomes the name of a staged file
    }
    let reads = reads(node, name, fleet);
    let bad = first_text(literal, &|text| reads.refuses(name, text))?;
    let shown: String = bad.chars().take(128).collect();
    match name {
        // In ComfyUI's own words for such a name.
        _ if reads == Reads::Choice => {
            failed(format!("{name} - Invalid image file: {}", shown.escape_debug()))
        }
        PREFIX_INPUT => failed(format!(
            "{name} - saving outside the output folder is not allowed: {}",
            shown.escape_debug()
        )),
        _ => failed(format!("{name} - a path out of the caller's own files: {}", shown.escape_debug())),
    }
}

/// What a class makes of the texts of an input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// Words.
    Words,
    /// One of a list, files of callers among them.
    Choice,
    /// The name of a file or a folder.
    Path,
    /// Nobody knows.
    Unknown,
}

impl Reads {
    fn refuses(self, name: &str, text: &str) -> bool {
        if name == PREFIX_INPUT {
            return leaves_folder(text);
        }
        if text.len() > MAX_NAME_BYTES {
            return false;
        }
        match self {
            // A choice is checked against the list, a name of a caller's file is resolved.
            Self::Choice => is_ours(text),
            Self::Words => names_foreign_place(text),
            Self::Unknown => is_ours(text) || names_foreign_place(text) || climbs(text),
            Self::Path => is_ours(text) || names_foreign_place(text) || climbs(text) || is_absolute(text),
        }
    }
}

fn reads(node: &Node, name: &str, fleet: &[&Catalogue]) -> Reads {
    let word = name.rsplit('.').next().unwrap_or(name).to_ascii_lowercase();
    let has = |words: &[&str]| word.split('_').any(|part| words.contains(&part));
    let mut declared = fleet.iter().filter_map(|it| it.class(&node.class_type)?.input(name)).peekable();
    if declared.peek().is_none() {
        return match () {
            () if references::CORE_UPLOADS.contains(&(node.class_type.as_str(), name)) => Reads::Choice,
            () if has(&PATH_WORDS) => Reads::Path,
            () if has(&TEXT_WORDS) => Reads::Words,
            () => Reads::Unknown,
        };
    }
    // Two instances may declare it differently: the strictest counts.
    declared
        .map(|input| match &input.kind {
            _ if input.upload => Reads::Choice,
            Kind::Combo(_) => Reads::Choice,
            _ if has(&PATH_WORDS) => Reads::Path,
            Kind::Text => Reads::Words,
            _ => Reads::Unknown,
        })
        .max_by_key(|reads| *reads as u8)
        .unwrap_or(Reads::Unknown)
}

/// The first text in a value that is refused.
fn first_text<'v>(value: &'v Value, refused: &impl Fn(&str) -> bool) -> Option<&'v str> {
    match value {
        Value::String(text) => refused(text).then_some(text.as_str()),
        Value::Array(items) => items.iter().find_map(|item| first_text(item, refused)),
        Value::Object(fields) => fields.values().find_map(|field| first_text(field, refused)),
        _ => None,
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// Whether a name leads into the folders where attempts, of whatever tenant, stage their inputs (`darkroom/…`) and save
/// their outputs (`<job>/<attempt>/…`).
pub(super) fn is_ours(name: &str) -> bool {
    let (name, _) = references::annotated(name);
    let name = name.replace('\\', "/");
    let mut parts = name.split('/').filter(|part| !matches!(*part, "" | "."));
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    let folder = STAGING_FOLDER.trim_end_matches('/');
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    // File systems that do not know case are among those that serve.
    second.is_some()
        && (first.eq_ignore_ascii_case(folder) || (is_job(first) && second.is_some_and(is_number)))
}

fn is_job(name: &str) -> bool {
    matches!(name.len(), 32 | 36) && uuid::Uuid::try_parse(name).is_ok()
}

/// A file name with the folder it lies in: only an input that takes files may say that, and it is resolved.
fn names_foreign_place(text: &str) -> bool {
    let (name, place) = references::annotated(text);
    let file = name.rsplit(['/', '\\']).next().unwrap_or_default();
    place.is_some() && !name.contains('\n') && file.contains('.')
}

/// Whether a path goes up somewhere.
fn climbs(text: &str) -> bool {
    text.contains(['/', '\\']) && text.split(['/', '\\']).any(|part| part == "..") || text == ".."
}

fn is_absolute(text: &str) -> bool {
    text.starts_with(['/', '\\', '~'])
        || references::has_drive(text)
        || text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:"))
}

/// ComfyUI refuses such a prefix itself, but only when the saver runs (PROTOCOL §9).
fn leaves_folder(prefix: &str) -> bool {
    prefix.starts_with(['/', '\\'])
        || references::has_drive(prefix)
        // Also inside a name: ComfyUI saves such a file and then refuses to show it (PROTOCOL §5).
        || prefix.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_of_attempts_are_known_in_every_spelling() {
        for ours in [
            "darkroom/a.png",
            "./darkroom//x/a.png",
            "DARKROOM\\a.png",
            "darkroom/a.png [input]",
            "0199a3f0-0000-7000-8000-000000000001/1/a.png [output]",
            "0199a3f0000070008000000000000001/12/a.png",
        ] {
            assert!(is_ours(ours), "{ours}");
        }
        for fine in ["darkroom", "darkroom.png", "darkrooms/a.png", "my/darkroom/a.png", "0199/1/a.png"] {
            assert!(!is_ours(fine), "{fine}");
        }
    }

    #[test]
    fn words_may_say_almost_everything() {
        for fine in [
            "/imagine a cat",
            "wait... what",
            "../ and ..\\",
            "a [temp]",
            "darkroom/analog, grain",
            "C: minor",
        ] {
            assert!(!Reads::Words.refuses("text", fine), "{fine}");
        }
        assert!(Reads::Words.refuses("text", "ComfyUI_00001_.png [output]"));
    }

    #[test]
    fn a_path_stays_where_it_is() {
        for bad in [
            "/etc/passwd",
            "\\\\host\\share",
            "~/x",
            "c:\\x",
            "a/../../b",
            "..",
            "FILE:///etc/passwd",
            "x.png [temp]",
        ] {
            assert!(Reads::Path.refuses("file_path", bad), "{bad}");
        }
        for fine in ["", "a.png", "sub/a..b.png", "model [v2]"] {
            assert!(!Reads::Path.refuses("file_path", fine), "{fine}");
        }
    }
}
