//! What is remembered of a graph while its prompt runs: ids, classes, order.

use std::collections::HashMap;

use serde_json::Value;

/// The node class whose pictures come over the socket as its output (PROTOCOL §3).
const SOCKET_SAVER: &str = "SaveImageWebsocket";

/// The outline of a graph.
#[derive(Debug, Default)]
pub(super) struct Sketch {
    nodes: HashMap<String, (usize, Box<str>)>,
    saves_by_socket: bool,
}

impl Sketch {
    pub(super) fn of(prompt: &Value) -> Self {
        let mut sketch = Self::default();
        for (place, (id, node)) in prompt.as_object().into_iter().flatten().enumerate() {
            let class = node.get("class_type").and_then(Value::as_str).unwrap_or_default();
            sketch.saves_by_socket |= class == SOCKET_SAVER;
            sketch.nodes.insert(id.clone(), (place, class.into()));
        }
        sketch
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn class(&self, node: &str) -> Option<&str> {
        self.nodes.get(node).map(|(_, class)| &**class)
    }

    /// Where the node stands in the caller's graph; unknown ones come last.
    pub(super) fn place(&self, node: &str) -> usize {
        self.nodes.get(node).map_or(usize::MAX, |(place, _)| *place)
    }

    /// Whether some outputs exist only as frames.
    pub(super) fn saves_by_socket(&self) -> bool {
        self.saves_by_socket
    }

    pub(super) fn is_socket_saver(&self, node: &str) -> bool {
        self.class(node) == Some(SOCKET_SAVER)
    }
}
