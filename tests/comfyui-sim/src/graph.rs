//! Reading a submitted graph `{node_id: {class_type, inputs}}`.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::catalogue::Classes;

static NO_INPUTS: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);

/// A validated graph, borrowed from its prompt.
#[derive(Clone, Copy)]
pub(crate) struct Graph<'a>(pub &'a Map<String, Value>);

impl<'a> Graph<'a> {
    /// The class of a node, "" for an unknown one.
    pub(crate) fn class(&self, node: &str) -> &'a str {
        self.0.get(node).and_then(|node| node["class_type"].as_str()).unwrap_or("")
    }

    /// The inputs of a node.
    pub(crate) fn inputs(&self, node: &str) -> &'a Map<String, Value> {
        self.0.get(node).and_then(|node| node["inputs"].as_object()).unwrap_or(&NO_INPUTS)
    }

    /// Names the node's result: class, literals and ancestry, but not the node ids (PROTOCOL §7).
    ///
    /// `file_hash` tells loaders' content; `nonce` makes nodes that always change unlike any other run.
    pub(crate) fn signatures(
        &self,
        nonce: &str,
        file_hash: &dyn Fn(&str) -> String,
    ) -> HashMap<String, blake3::Hash> {
        let mut known = HashMap::new();
        for node in self.0.keys() {
            self.sign(node, nonce, file_hash, &mut known);
        }
        known
    }

    /// Signs ancestors first, with an explicit stack: chains may be long.
    fn sign(
        &self,
        node: &str,
        nonce: &str,
        file_hash: &dyn Fn(&str) -> String,
        known: &mut HashMap<String, blake3::Hash>,
    ) {
        let mut stack = vec![node.to_owned()];
        while let Some(node) = stack.last().cloned() {
            let missing: Vec<String> = self
                .inputs(&node)
                .values()
                .filter_map(|value| link(value))
                .map(|(from, _)| from.to_owned())
                .filter(|from| {
                    !known.contains_key(from) && self.0.contains_key(from) && !stack.contains(from)
                })
                .collect();
            if missing.is_empty() {
                let hash = self.sign_one(&node, nonce, file_hash, known);
                known.insert(node, hash);
                stack.pop();
            } else {
                stack.extend(missing);
            }
        }
    }

    fn sign_one(
        &self,
        node: &str,
        nonce: &str,
        file_hash: &dyn Fn(&str) -> String,
        known: &HashMap<String, blake3::Hash>,
    ) -> blake3::Hash {
        let class = self.class(node);
        let mut hasher = blake3::Hasher::new();
        hasher.update(class.as_bytes());
        if matches!(class, "SaveImageWebsocket" | "GwUiUnserialisable") {
            hasher.update(nonce.as_bytes());
        }
        let mut inputs: Vec<_> = self.inputs(node).iter().collect();
        inputs.sort_by_key(|(name, _)| *name);
        for (name, value) in inputs {
            hasher.update(b"\0").update(name.as_bytes()).update(b"=");
            match link(value).and_then(|(from, slot)| Some((known.get(from)?, slot))) {
                Some((ancestor, slot)) => hasher.update(ancestor.as_bytes()).update(&slot.to_be_bytes()),
                None => hasher.update(value.to_string().as_bytes()),
            };
        }
        if class.starts_with("LoadImage") || class == "LoadAudio" {
            let file = self.inputs(node).get("image").and_then(Value::as_str).unwrap_or("");
            hasher.update(file_hash(file).as_bytes());
        }
        hasher.finalize()
    }
}

/// A link `[node_id, output_index]`, or `None` for a literal.
pub(crate) fn link(value: &Value) -> Option<(&str, u64)> {
    let pair = value.as_array()?;
    match pair.as_slice() {
        [Value::String(from), Value::Number(slot)] => Some((from, slot.as_u64()?)),
        _ => None,
    }
}

/// Whether an input waits until the node asks for it.
pub(crate) fn is_lazy(classes: &Classes, class: &str, input: &str) -> bool {
    class == "TestLazyMixImages" && classes.is_lazy(class, input)
}
