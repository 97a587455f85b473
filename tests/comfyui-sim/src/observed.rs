//! What the server saw, for tests to ask.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;

/// Prompts remembered; older ones are dropped, the counts go on.
const PROMPTS_MAX: usize = 20_000;

/// What became of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptState {
    /// Waits in the queue.
    Pending,
    /// Is being executed.
    Running,
    /// Ended with `execution_success`.
    Succeeded,
    /// Ended with `execution_error`.
    Failed,
    /// Ended with `execution_interrupted`.
    Interrupted,
    /// Deleted from the queue before it ran.
    Removed,
    /// Queued or running when the process died.
    Lost,
}

/// One accepted submission.
#[derive(Clone, Debug, Serialize)]
pub struct ObservedPrompt {
    /// The id it got.
    pub prompt_id: String,
    /// The body's `client_id`, null when absent.
    pub client_id: Value,
    /// The body's `extra_data` as given, null when absent.
    pub extra_data: Value,
    /// The submitted graph.
    pub graph: Arc<Value>,
    /// Its priority.
    pub number: f64,
    /// What became of it.
    pub state: PromptState,
    /// When the worker took it.
    #[serde(skip)]
    pub started: Option<Instant>,
    /// When the worker was done with it, or it was removed or lost.
    #[serde(skip)]
    pub finished: Option<Instant>,
    /// Names of the files its savers listed, cached ones included.
    pub files: Vec<String>,
}

/// A snapshot of everything seen since the simulator was created, restarts included.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Observed {
    /// Accepted submissions, oldest first.
    pub prompts: Vec<ObservedPrompt>,
    /// `POST /prompt` requests, refused ones included.
    pub posts: u64,
    /// `POST /interrupt` requests and cancels of running jobs.
    pub interrupts: u64,
    /// `POST /free` requests.
    pub frees: u64,
    /// `GET` and `HEAD /view` requests.
    pub views: u64,
    /// Sockets ever opened.
    pub sockets: u64,
    /// Sockets open now.
    pub open_sockets: usize,
    /// Answers of `/sim_node/endless` and `/sim_node/deaf` that somebody waits for.
    pub endless: u64,
    /// Bytes that `/sim_node/bytes` made because somebody took them.
    pub made_bytes: u64,
    /// Bodies of scripts that were served.
    pub files: u64,
    /// Times the process was killed or died.
    pub deaths: u64,
}

#[derive(Default)]
struct Inner {
    prompts: VecDeque<ObservedPrompt>,
    dropped: u64,
    counts: Observed,
}

/// The running record behind [`Observed`].
#[derive(Default)]
pub(crate) struct Record(Mutex<Inner>);

impl Record {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the counters.
    pub(crate) fn count(&self, change: impl FnOnce(&mut Observed)) {
        change(&mut self.inner().counts);
    }

    /// Notes an accepted submission; the result names it in [`Record::update`].
    pub(crate) fn add(&self, prompt: ObservedPrompt) -> u64 {
        let mut inner = self.inner();
        if inner.prompts.len() == PROMPTS_MAX {
            inner.prompts.pop_front();
            inner.dropped += 1;
        }
        inner.prompts.push_back(prompt);
        inner.dropped + inner.prompts.len() as u64 - 1
    }

    /// Changes one submission, if it is still remembered.
    pub(crate) fn update(&self, number: u64, change: impl FnOnce(&mut ObservedPrompt)) {
        let mut inner = self.inner();
        let index = number.checked_sub(inner.dropped).and_then(|index| usize::try_from(index).ok());
        if let Some(prompt) = index.and_then(|index| inner.prompts.get_mut(index)) {
            change(prompt);
        }
    }

    /// The process died: whatever had not ended is lost.
    pub(crate) fn died(&self) {
        let mut inner = self.inner();
        inner.counts.deaths += 1;
        let now = Instant::now();
        for prompt in &mut inner.prompts {
            if matches!(prompt.state, PromptState::Pending | PromptState::Running) {
                prompt.state = PromptState::Lost;
                prompt.finished = Some(now);
            }
        }
    }

    /// A copy for a test.
    pub(crate) fn snapshot(&self, open_sockets: usize) -> Observed {
        let inner = self.inner();
        Observed { prompts: inner.prompts.iter().cloned().collect(), open_sockets, ..inner.counts.clone() }
    }
}
