//! What the platform saw and sent, for tests to look at.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::broadcast;

use crate::faults::Seal;

/// Entries kept of each list; the oldest go first.
const KEPT_MAX: usize = 20_000;
/// Lines that a follower may be behind; then it misses the oldest.
const BEHIND_MAX: usize = 1_024;
/// Longest body kept, bytes.
const BODY_MAX: usize = 16 << 10;

/// A request that came.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// `METHOD /path`, without the query.
    pub line: String,
    /// The body, as far as it is text and short.
    pub body: String,
    /// What it was answered with.
    pub status: u16,
    /// `errcode` of the open platform (0 is success) or `code` of WeChat Pay; empty where neither applies.
    pub code: String,
}

/// An attempt to deliver a callback or an event.
#[derive(Clone, Debug, Serialize)]
pub struct Delivery {
    /// The event's type.
    pub kind: String,
    /// `out_trade_no`, `out_refund_no`, `trace_id`: what it is about.
    pub about: String,
    /// 1 is the first.
    pub attempt: usize,
    /// How it was sealed.
    pub seal: Seal,
    /// What it was answered with; `None` when nothing came in time.
    pub status: Option<u16>,
    /// The body of the answer, as far as it is text and short.
    pub answer: String,
    /// Whether that means that it was taken.
    pub taken: bool,
}

/// A message that reached somebody.
#[derive(Clone, Debug, Serialize)]
pub struct Message {
    /// Whom.
    pub openid: String,
    /// By which template.
    pub template: String,
    /// Where it leads.
    pub page: String,
    /// Its fields.
    pub data: serde_json::Value,
}

#[derive(Debug)]
pub(crate) struct Record {
    inner: Mutex<Inner>,
    lines: broadcast::Sender<String>,
}

impl Default for Record {
    fn default() -> Self {
        Self { inner: Mutex::default(), lines: broadcast::Sender::new(BEHIND_MAX) }
    }
}

#[derive(Debug, Default)]
struct Inner {
    seen: VecDeque<Seen>,
    deliveries: VecDeque<Delivery>,
    messages: VecDeque<Message>,
}

fn keep<T>(list: &mut VecDeque<T>, one: T) {
    if list.len() == KEPT_MAX {
        list.pop_front();
    }
    list.push_back(one);
}

impl Record {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn saw(&self, line: String, body: &[u8], status: u16, code: String) {
        let body = if body.len() > BODY_MAX { &[] } else { body };
        let body = String::from_utf8_lossy(body).into_owned();
        let _ = self.lines.send(line.clone()); // nobody has to follow
        keep(&mut self.inner().seen, Seen { line, body, status, code });
    }

    pub(crate) fn delivered(&self, delivery: Delivery) {
        let _ = self.lines.send(delivery.kind.clone());
        keep(&mut self.inner().deliveries, delivery);
    }

    pub(crate) fn sent(&self, message: Message) {
        keep(&mut self.inner().messages, message);
    }

    pub(crate) fn follow(&self) -> broadcast::Receiver<String> {
        self.lines.subscribe()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.inner().seen.iter().cloned().collect()
    }

    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.inner().deliveries.iter().cloned().collect()
    }

    pub(crate) fn messages(&self) -> Vec<Message> {
        self.inner().messages.iter().cloned().collect()
    }
}
