//! Finished prompts: `/history` and the raw material of `/api/jobs` (PROTOCOL §4).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::queue::Item;

/// One finished prompt.
#[derive(Debug)]
pub(crate) struct Entry {
    pub item: Arc<Item>,
    /// UI outputs by node id.
    pub outputs: Map<String, Value>,
    /// Where each output node belongs.
    pub meta: Map<String, Value>,
    pub status_str: &'static str,
    pub completed: bool,
    /// `[event, data]` pairs: start, cached and the final one.
    pub messages: Vec<Value>,
}

impl Entry {
    /// The value under the prompt's id in a `/history` answer.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "prompt": self.item.tuple(),
            "outputs": self.outputs,
            "status": self.status_json(),
            "meta": self.meta,
        })
    }

    /// The `status` member.
    pub(crate) fn status_json(&self) -> Value {
        json!({"status_str": self.status_str, "completed": self.completed, "messages": self.messages})
    }

    /// The data of the message of this kind, if any.
    pub(crate) fn message(&self, kind: &str) -> Option<&Value> {
        self.messages.iter().find(|message| message[0] == kind).map(|message| &message[1])
    }
}

/// A bounded map in order of insertion.
#[derive(Debug)]
pub(crate) struct History {
    order: VecDeque<String>,
    entries: HashMap<String, Arc<Entry>>,
    capacity: usize,
}

impl History {
    pub(crate) fn new(capacity: usize) -> History {
        History { order: VecDeque::new(), entries: HashMap::new(), capacity: capacity.max(1) }
    }

    /// Adds an entry; the same id again replaces the earlier one in its place.
    pub(crate) fn insert(&mut self, entry: Entry) {
        let id = entry.item.prompt_id.clone();
        if self.entries.insert(id.clone(), Arc::new(entry)).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > self.capacity {
            if let Some(oldest) = self.order.pop_front() {
                self.entries.remove(&oldest);
            }
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Entry>> {
        self.entries.get(id).cloned()
    }

    pub(crate) fn remove(&mut self, id: &str) {
        if self.entries.remove(id).is_some() {
            self.order.retain(|other| other != id);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.order.clear();
        self.entries.clear();
    }

    /// All entries, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.order.iter().filter_map(|id| self.get(id)).collect()
    }

    /// A page, oldest first. Without an offset the last `max_items`; with one, that many from there.
    pub(crate) fn page(&self, max_items: Option<i64>, offset: Option<i64>) -> Vec<Arc<Entry>> {
        let len = self.order.len();
        let limit = max_items.map_or(len, |max| usize::try_from(max).unwrap_or(0));
        let start = match offset {
            Some(offset) if offset >= 0 => usize::try_from(offset).unwrap_or(usize::MAX),
            _ => len.saturating_sub(limit),
        };
        self.order.iter().skip(start).take(limit).filter_map(|id| self.get(id)).collect()
    }
}
