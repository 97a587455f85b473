//! The output, temp and input directories, in memory: pictures are recipes, drawn when fetched (PROTOCOL §5).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::render::Picture;

/// Files kept per directory; the oldest are dropped.
const FILES_MAX: usize = 20_000;

/// The three directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Output,
    Temp,
    Input,
}

impl Kind {
    pub(crate) fn parse(name: &str) -> Option<Kind> {
        match name {
            "output" => Some(Kind::Output),
            "temp" => Some(Kind::Temp),
            "input" => Some(Kind::Input),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Output => "output",
            Kind::Temp => "temp",
            Kind::Input => "input",
        }
    }
}

/// What a file holds.
#[derive(Clone)]
pub(crate) enum Content {
    /// Bytes as uploaded or made.
    Bytes(Bytes),
    /// A PNG to be drawn, with its text chunks.
    Png(Arc<Picture>, Arc<Vec<(String, String)>>),
}

/// One file.
#[derive(Clone)]
pub(crate) struct File {
    pub content: Content,
    pub modified: SystemTime,
    /// Changes whenever the content does.
    pub version: u64,
}

/// Path inside a directory: `subfolder/name` or `name`.
pub(crate) fn join(subfolder: &str, name: &str) -> String {
    if subfolder.is_empty() { name.to_owned() } else { format!("{}/{name}", subfolder.trim_matches('/')) }
}

/// All files of a server.
#[derive(Default)]
pub(crate) struct Files {
    files: HashMap<Kind, BTreeMap<String, File>>,
    order: HashMap<Kind, VecDeque<String>>,
    counters: HashMap<(Kind, String), u32>,
    version: u64,
}

impl Files {
    /// A fresh installation: nothing but `example.png` among the inputs.
    pub(crate) fn new() -> Files {
        let mut files = Files::default();
        let example = Content::Png(Arc::new(Picture::scene(512, 512, 7, "example")), Arc::default());
        files.put(Kind::Input, "example.png", example);
        files
    }

    /// Writes a file, replacing one of the same path.
    pub(crate) fn put(&mut self, kind: Kind, path: &str, content: Content) {
        self.version += 1;
        let file = File { content, modified: SystemTime::now(), version: self.version };
        let directory = self.files.entry(kind).or_default();
        if directory.insert(path.to_owned(), file).is_none() {
            let order = self.order.entry(kind).or_default();
            order.push_back(path.to_owned());
            if order.len() > FILES_MAX
                && let Some(oldest) = order.pop_front()
            {
                directory.remove(&oldest);
            }
        }
    }

    pub(crate) fn get(&self, kind: Kind, path: &str) -> Option<File> {
        self.files.get(&kind)?.get(path).cloned()
    }

    /// Paths of a directory's top level.
    pub(crate) fn names(&self, kind: Kind) -> Vec<String> {
        let all = self.files.get(&kind).into_iter().flat_map(BTreeMap::keys);
        all.filter(|path| !path.contains('/')).cloned().collect()
    }

    /// Loses everything that was saved; numbering starts over, as it goes by the directory listing.
    pub(crate) fn lose_saved(&mut self) {
        for kind in [Kind::Output, Kind::Temp] {
            self.files.remove(&kind);
            self.order.remove(&kind);
        }
        self.counters.clear();
    }

    /// The next number for a prefix; a prefix with `%batch_num%` never matches its own files, so it always starts at 1.
    pub(crate) fn reserve(&mut self, kind: Kind, prefix: &str, count: u32) -> u32 {
        if prefix.contains("%batch_num%") {
            return 1;
        }
        let counter = self.counters.entry((kind, prefix.to_owned())).or_insert(1);
        let first = *counter;
        *counter += count;
        first
    }

    /// The file named by a loader's input, `name`, `name [output]`, `sub/name`; `None` when absent or outside.
    pub(crate) fn annotated(&self, name: &str) -> Option<File> {
        let (kind, path) = annotation(name);
        if path.contains("..") || path.starts_with('/') {
            return None;
        }
        self.get(kind, path)
    }
}

/// Splits `name [type]`; without an annotation the file is an input.
pub(crate) fn annotation(name: &str) -> (Kind, &str) {
    for kind in [Kind::Output, Kind::Input, Kind::Temp] {
        if let Some(path) = name.strip_suffix(&format!(" [{}]", kind.name())) {
            return (kind, path);
        }
    }
    (Kind::Input, name)
}

/// An output entry `{filename, subfolder, type}`.
pub(crate) fn entry(kind: Kind, subfolder: &str, filename: &str) -> Value {
    json!({"filename": filename, "subfolder": subfolder, "type": kind.name()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbering_counts_per_prefix() {
        let mut files = Files::default();
        assert_eq!(files.reserve(Kind::Output, "a", 2), 1);
        assert_eq!(files.reserve(Kind::Output, "a", 1), 3);
        assert_eq!(files.reserve(Kind::Output, "b", 1), 1);
        assert_eq!(files.reserve(Kind::Output, "x_%batch_num%", 4), 1);
        assert_eq!(files.reserve(Kind::Output, "x_%batch_num%", 4), 1);
    }
}
