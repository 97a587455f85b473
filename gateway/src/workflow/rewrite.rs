//! The caller's graph becomes this attempt's prompt, and what the attempt made becomes the caller's again
//! (DESIGN §4.9).

use serde_json::Value;

use super::hostile::PREFIX_INPUT;
use super::references::escaped;

/// What a saver without a name of its own calls its files.
const DEFAULT_PREFIX: &str = "ComfyUI";
/// How a literal may come wrapped; ComfyUI takes what is inside.
const WRAPPER: &str = "__value__";

/// A prompt made from a caller's graph.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The graph to send.
    pub prompt: Value,
    /// How to undo what was rewritten.
    pub original: Original,
}

/// The way back to the caller's own words.
#[derive(Debug, Clone, Default)]
pub struct Original {
    /// Folder under which the attempt saves, `<job>/<attempt>`.
    pub folder: String,
    /// What stood where: pointer and the caller's own value, in the order of the replacements.
    pub replaced: Vec<(String, Value)>,
}

/// A graph that cannot be prepared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// The stored text is not a graph.
    #[error("the stored workflow cannot be read: {0}")]
    Unreadable(String),
    /// A staged input has no place in it.
    #[error("the workflow has no place {0} for a staged input")]
    NoSuchPlace(String),
}

/// Prepares a graph: references become staged names (`staged`: pointer and name), literal `filename_prefix` inputs go
/// under `folder`. A linked prefix is left alone, and so is everything else.
///
/// # Errors
/// See [`PrepareError`].
pub fn prepare(workflow: &str, folder: &str, staged: &[(String, String)]) -> Result<Prepared, PrepareError> {
    let mut prompt: Value =
        serde_json::from_str(workflow).map_err(|error| PrepareError::Unreadable(error.to_string()))?;
    let mut replaced = Vec::with_capacity(staged.len() + 1);
    for (pointer, name) in staged {
        let place = prompt.pointer_mut(pointer).ok_or_else(|| PrepareError::NoSuchPlace(pointer.clone()))?;
        replaced.push((pointer.clone(), std::mem::replace(place, Value::String(name.clone()))));
    }
    // After the staging, so that a staged name used as a prefix stays in the folder as well.
    let nodes = prompt
        .as_object_mut()
        .ok_or_else(|| PrepareError::Unreadable("it is not an object of nodes".to_owned()))?;
    for (id, node) in nodes {
        replaced.extend(rewrite_prefix(id, node, folder));
    }
    Ok(Prepared { prompt, original: Original { folder: folder.to_owned(), replaced } })
}

/// Puts the prefix of one node under `folder`; what stood where, if there was one to rewrite.
fn rewrite_prefix(id: &str, node: &mut Value, folder: &str) -> Option<(String, Value)> {
    let mut prefix = node.get_mut("inputs")?.get_mut(PREFIX_INPUT)?;
    let mut pointer = format!("/{}/inputs/{PREFIX_INPUT}", escaped(id));
    if prefix.get(WRAPPER).is_some() {
        prefix = prefix.get_mut(WRAPPER)?;
        pointer.push('/');
        pointer.push_str(WRAPPER);
    }
    // ComfyUI makes a text of a number.
    let text = match &*prefix {
        Value::String(text) => under(folder, text),
        Value::Number(number) => under(folder, &number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    Some((pointer, std::mem::replace(prefix, Value::String(text))))
}

/// ComfyUI normalises a prefix: without a last name, the folder itself would become the file's name.
fn under(folder: &str, prefix: &str) -> String {
    let nameless = prefix.split('/').all(|part| part.is_empty() || part == ".");
    format!("{folder}/{}", if nameless { DEFAULT_PREFIX } else { prefix })
}

impl Original {
    /// A file of ComfyUI's listing in the caller's eyes: our folder taken off, the caller's own folders kept. Parts
    /// that would lead out of a folder are dropped: listings come from code that tenants influence.
    #[must_use]
    pub fn name(&self, filename: &str, subfolder: &str) -> String {
        let subfolder = subfolder.replace('\\', "/");
        let inner = self.inside(&subfolder).unwrap_or(&subfolder);
        // `/view` takes the last part of a file name too (PROTOCOL §5).
        let file = filename.rsplit('/').next().unwrap_or_default();
        let parts = inner.split('/').chain([file]).filter(|part| !matches!(*part, "" | "." | ".."));
        parts.collect::<Vec<_>>().join("/")
    }

    /// Whether the file lies in the folder of this attempt (only then may it be deleted).
    #[must_use]
    pub fn is_ours(&self, subfolder: &str) -> bool {
        let subfolder = subfolder.replace('\\', "/");
        self.inside(&subfolder).is_some_and(|inner| inner.split('/').all(|part| part != ".."))
    }

    /// The way from our folder to `subfolder`, if that lies in it.
    fn inside<'a>(&self, subfolder: &'a str) -> Option<&'a str> {
        let inner = subfolder.strip_prefix(&self.folder).filter(|_| !self.folder.is_empty())?;
        if inner.is_empty() { Some(inner) } else { inner.strip_prefix('/') }
    }

    /// Puts the caller's own values back into a graph that ComfyUI embedded in a file.
    pub fn restore(&self, graph: &mut Value) {
        for (pointer, value) in self.replaced.iter().rev() {
            // ComfyUI embeds a wrapped value without its wrapper.
            let outer = pointer.strip_suffix("/__value__");
            let outer = outer.filter(|outer| graph.pointer(outer).is_some_and(Value::is_string));
            if let Some(place) = graph.pointer_mut(outer.unwrap_or(pointer)) {
                *place = value.clone();
            }
        }
    }
}
