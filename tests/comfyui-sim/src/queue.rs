//! The prompt queue: a binary heap on (number, prompt id), with the recorded tie trap (PROTOCOL §2, §8.1).

use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::{Value, json};

/// One submitted prompt; the 5-tuple of `/queue` and `/history`.
#[derive(Debug)]
pub(crate) struct Item {
    /// Priority; lower runs first.
    pub number: f64,
    /// The same as it is told: whole when the server counted, a float when the caller chose.
    pub number_json: Value,
    pub prompt_id: String,
    pub graph: Arc<Value>,
    pub extra_data: Value,
    pub outputs: Vec<String>,
    /// Position in the record of everything observed.
    pub observed: u64,
}

impl Item {
    /// `[number, id, graph, extra_data, output ids]`.
    pub(crate) fn tuple(&self) -> Value {
        json!([self.number_json, self.prompt_id, &*self.graph, self.extra_data, self.outputs])
    }

    fn order(&self, other: &Item) -> Ordering {
        self.number
            .partial_cmp(&other.number)
            .unwrap_or(Ordering::Equal)
            .then_with(|| self.prompt_id.cmp(&other.prompt_id))
    }
}

/// Pending and running prompts.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pending: Vec<Arc<Item>>,
    running: Option<Arc<Item>>,
    counter: i64,
    /// Two pending prompts compare equal: the next pop kills the worker.
    tied: bool,
    dead: bool,
}

impl Queue {
    /// The next `number` of a prompt that brings none; every such submission counts, rejected ones too.
    pub(crate) fn next_number(&mut self) -> i64 {
        let number = self.counter;
        self.counter += 1;
        number
    }

    /// Adds a prompt. `false` on a tie of number and id: it is queued all the same, but the reply is an error and the
    /// worker will die over it.
    pub(crate) fn push(&mut self, item: Arc<Item>) -> bool {
        let tie =
            self.pending.iter().any(|other| other.order(&item) == Ordering::Equal && !item.number.is_nan());
        self.pending.push(item);
        self.sift_up(self.pending.len() - 1);
        self.tied |= tie;
        !tie
    }

    /// Moves the first pending prompt to running; never, once the worker is dead.
    pub(crate) fn start(&mut self) -> Option<Arc<Item>> {
        if self.tied {
            // comparing two equal prompts raises in the middle of the pop: the first one is lost, the worker gone
            self.tied = false;
            self.dead = true;
            self.pending.swap_remove(0);
        }
        if self.dead || self.pending.is_empty() {
            return None;
        }
        let item = self.pending.swap_remove(0);
        self.heapify();
        self.running = Some(Arc::clone(&item));
        Some(item)
    }

    /// The running prompt left the worker.
    pub(crate) fn finish(&mut self) {
        self.running = None;
    }

    pub(crate) fn running(&self) -> Option<&Arc<Item>> {
        self.running.as_ref()
    }

    pub(crate) fn pending(&self) -> &[Arc<Item>] {
        &self.pending
    }

    /// Pending plus running, as `status` frames tell it.
    pub(crate) fn remaining(&self) -> usize {
        self.pending.len() + usize::from(self.running.is_some())
    }

    /// Removes pending prompts; the running one is not touched.
    pub(crate) fn remove(&mut self, mut doomed: impl FnMut(&Item) -> bool) -> Vec<Arc<Item>> {
        let (removed, kept) = std::mem::take(&mut self.pending).into_iter().partition(|item| doomed(item));
        self.pending = kept;
        self.heapify();
        removed
    }

    fn heapify(&mut self) {
        for index in 1..self.pending.len() {
            self.sift_up(index);
        }
    }

    fn sift_up(&mut self, mut index: usize) {
        while index > 0 {
            let parent = (index - 1) / 2;
            if self.pending[index].order(&self.pending[parent]) != Ordering::Less {
                break;
            }
            self.pending.swap(index, parent);
            index = parent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(number: f64, id: &str) -> Arc<Item> {
        Arc::new(Item {
            number,
            number_json: json!(number),
            prompt_id: id.to_owned(),
            graph: Arc::new(json!({})),
            extra_data: json!({}),
            outputs: Vec::new(),
            observed: 0,
        })
    }

    #[test]
    fn lower_numbers_run_first() {
        let mut queue = Queue::default();
        for number in [5.0, -1.0, 3.0, 0.0, 9.0, -7.0] {
            assert!(queue.push(item(number, "x")));
        }
        let order: Vec<f64> = std::iter::from_fn(|| queue.start()).map(|item| item.number).collect();
        assert_eq!(order, [-7.0, -1.0, 0.0, 3.0, 5.0, 9.0]);
    }

    #[test]
    fn a_tie_kills_the_worker_but_stays_queued() {
        let mut queue = Queue::default();
        assert!(queue.push(item(1.0, "x")));
        assert!(!queue.push(item(1.0, "x")));
        assert_eq!(queue.remaining(), 2);
        assert!(queue.start().is_none());
        assert!(queue.push(item(2.0, "y")));
        assert!(queue.start().is_none(), "dead for good");
    }
}
