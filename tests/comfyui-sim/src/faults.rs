//! What can go wrong on demand, from code or over `POST /_sim/faults`.
//!
//! Over HTTP a fault is `{"fault":"<name in snake case>", ...fields}`, for example
//! `{"fault":"out_of_memory","prompts":2}`; `GET /_sim/faults` lists the settings in force. Faults survive a restart
//! of the server until [`Faults::clear`].

use std::sync::{OnceLock, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;

use crate::frames;
use crate::process::Process;
use crate::simulator::Shared;

/// One fault to put in force, or to cause now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// Reset every open socket now.
    DropSockets,
    /// Reset every open socket instead of sending the frame after this many.
    DropSocketsAfter {
        /// Frames still delivered, counted over all sockets.
        frames: u64,
    },
    /// Sockets stay open but get no frames (PROTOCOL §3 "Socket identity").
    Deaf {
        /// Whether it holds.
        on: bool,
    },
    /// Whatever runs, or starts to run, makes no progress and ignores interrupts.
    Hang {
        /// Whether it holds; `false` lets it go on.
        on: bool,
    },
    /// The next prompt does all its work but never ends; it can be interrupted.
    NeverFinishNext,
    /// The next `POST /prompt` are queued, but the connection closes without a reply.
    LoseNextReply {
        /// How many.
        count: u32,
    },
    /// Every `POST /prompt` is queued at once and answered this much later.
    DelayReply {
        /// Milliseconds; 0 ends it.
        ms: u64,
    },
    /// The next `POST /prompt` answer 500 and queue nothing.
    FailNextPost {
        /// How many.
        count: u32,
    },
    /// History is empty and stays so.
    LoseHistory {
        /// Whether it holds.
        on: bool,
    },
    /// The next prompts end with an out-of-memory error at their heaviest node.
    OutOfMemory {
        /// How many.
        prompts: u32,
        /// Whether to use the older name `torch.cuda.OutOfMemoryError`.
        #[serde(default)]
        legacy_name: bool,
    },
    /// The next prompts end with a CUDA fault ("an illegal memory access was encountered").
    CudaFault {
        /// How many.
        prompts: u32,
    },
    /// The process dies when a prompt reaches this many progress ticks; once.
    DieAtStep {
        /// Progress ticks counted over the whole prompt, from 1.
        step: u32,
        /// Milliseconds until it comes back by itself.
        #[serde(default)]
        restart_after_ms: Option<u64>,
    },
    /// The process dies now.
    Die {
        /// Milliseconds until it comes back by itself.
        #[serde(default)]
        restart_after_ms: Option<u64>,
    },
    /// History is written this long after `execution_success` (PROTOCOL §8.2).
    DelayHistory {
        /// Milliseconds; 0 ends it.
        ms: u64,
    },
    /// The next prompts send an `execution_error` of type `ExecutionBlocked` that does not end them (PROTOCOL §8.2).
    BlockedBranch {
        /// How many.
        prompts: u32,
    },
    /// The next prompts fail, yet history says success and completed, with an `execution_error` among the messages.
    LyingSuccess {
        /// How many.
        prompts: u32,
    },
    /// All saved files are gone; history and node cache still list them (PROTOCOL §7).
    LoseFiles,
    /// Like older versions: the caller's `prompt_id` is ignored.
    IgnorePromptId {
        /// Whether it holds.
        on: bool,
    },
    /// Like 0.3.64: no `/api/jobs`.
    NoJobsApi {
        /// Whether it holds.
        on: bool,
    },
    /// Send everyone a type 3 text frame now.
    BroadcastText {
        /// The node id in it.
        node: String,
        /// The text in it.
        text: String,
    },
    /// Send everyone the frames of a prompt that was never submitted here, up to its success.
    ForeignFrames {
        /// The prompt id in them.
        prompt_id: String,
    },
    /// Pending prompts never start, as with a dead worker.
    StickQueue {
        /// Whether it holds.
        on: bool,
    },
    /// Every `/view` answers this much later.
    SlowView {
        /// Milliseconds; 0 ends it.
        ms: u64,
    },
    /// The next `/view` bodies end half way.
    TruncateView {
        /// How many.
        count: u32,
    },
    /// Send everyone a `progress` frame holding a bare `NaN`.
    NanFrame,
    /// Send everyone a text frame of this size.
    OversizeFrame {
        /// Its length.
        bytes: usize,
    },
    /// Pad every PNG to about this size; not a fault, but handy for load runs.
    PadOutputs {
        /// Bytes; 0 ends it.
        bytes: usize,
    },
}

/// Settings in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct State {
    pub deaf: bool,
    pub frames_left: Option<u64>,
    pub hang: bool,
    pub never_finish_next: bool,
    pub lose_replies: u32,
    pub reply_delay_ms: u64,
    pub fail_posts: u32,
    pub lose_history: bool,
    pub out_of_memory: u32,
    pub legacy_oom_name: bool,
    pub cuda_faults: u32,
    pub die_at_step: Option<u32>,
    pub restart_after_ms: Option<u64>,
    pub history_delay_ms: u64,
    pub blocked_branches: u32,
    pub lying_successes: u32,
    pub ignore_prompt_id: bool,
    pub no_jobs_api: bool,
    pub stick_queue: bool,
    pub view_delay_ms: u64,
    pub truncate_views: u32,
    pub pad_bytes: usize,
}

/// The fault switches of one simulator.
#[derive(Debug)]
pub struct Faults {
    state: watch::Sender<State>,
    shared: OnceLock<Weak<Shared>>,
}

macro_rules! shorthands {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) => $fault:expr;)*) => {
        $($(#[$doc])* pub fn $name(&self $(, $arg: $type)*) { self.apply($fault); })*
    };
}

impl Faults {
    pub(crate) fn new() -> Faults {
        Faults { state: watch::Sender::new(State::default()), shared: OnceLock::new() }
    }

    pub(crate) fn attach(&self, shared: Weak<Shared>) {
        let _ = self.shared.set(shared);
    }

    shorthands! {
        /// See [`Fault::DropSockets`].
        drop_sockets() => Fault::DropSockets;
        /// See [`Fault::DropSocketsAfter`].
        drop_sockets_after(frames: u64) => Fault::DropSocketsAfter { frames };
        /// See [`Fault::Deaf`].
        deaf(on: bool) => Fault::Deaf { on };
        /// See [`Fault::Hang`].
        hang(on: bool) => Fault::Hang { on };
        /// See [`Fault::NeverFinishNext`].
        never_finish_next() => Fault::NeverFinishNext;
        /// See [`Fault::LoseNextReply`], once.
        lose_next_reply() => Fault::LoseNextReply { count: 1 };
        /// See [`Fault::FailNextPost`].
        fail_next_post(count: u32) => Fault::FailNextPost { count };
        /// See [`Fault::LoseHistory`].
        lose_history(on: bool) => Fault::LoseHistory { on };
        /// See [`Fault::OutOfMemory`].
        out_of_memory(prompts: u32) => Fault::OutOfMemory { prompts, legacy_name: false };
        /// See [`Fault::CudaFault`].
        cuda_fault(prompts: u32) => Fault::CudaFault { prompts };
        /// See [`Fault::DieAtStep`].
        die_at_step(step: u32) => Fault::DieAtStep { step, restart_after_ms: None };
        /// See [`Fault::BlockedBranch`].
        blocked_branch(prompts: u32) => Fault::BlockedBranch { prompts };
        /// See [`Fault::LyingSuccess`].
        lying_success(prompts: u32) => Fault::LyingSuccess { prompts };
        /// See [`Fault::LoseFiles`].
        lose_files() => Fault::LoseFiles;
        /// See [`Fault::IgnorePromptId`].
        ignore_prompt_id(on: bool) => Fault::IgnorePromptId { on };
        /// See [`Fault::NoJobsApi`].
        no_jobs_api(on: bool) => Fault::NoJobsApi { on };
        /// See [`Fault::StickQueue`].
        stick_queue(on: bool) => Fault::StickQueue { on };
        /// See [`Fault::TruncateView`].
        truncate_view(count: u32) => Fault::TruncateView { count };
        /// See [`Fault::NanFrame`].
        nan_frame() => Fault::NanFrame;
        /// See [`Fault::OversizeFrame`].
        oversize_frame(bytes: usize) => Fault::OversizeFrame { bytes };
        /// See [`Fault::PadOutputs`].
        pad_outputs(bytes: usize) => Fault::PadOutputs { bytes };
    }

    /// See [`Fault::DelayReply`].
    pub fn delay_reply(&self, delay: Duration) {
        self.apply(Fault::DelayReply { ms: millis(delay) });
    }

    /// See [`Fault::DelayHistory`].
    pub fn delay_history(&self, delay: Duration) {
        self.apply(Fault::DelayHistory { ms: millis(delay) });
    }

    /// See [`Fault::SlowView`].
    pub fn slow_view(&self, delay: Duration) {
        self.apply(Fault::SlowView { ms: millis(delay) });
    }

    /// See [`Fault::BroadcastText`].
    pub fn broadcast_text(&self, node: &str, text: &str) {
        self.apply(Fault::BroadcastText { node: node.to_owned(), text: text.to_owned() });
    }

    /// See [`Fault::ForeignFrames`].
    pub fn foreign_frames(&self, prompt_id: &str) {
        self.apply(Fault::ForeignFrames { prompt_id: prompt_id.to_owned() });
    }

    /// Ends every fault in force; what hung goes on.
    pub fn clear(&self) {
        self.state.send_replace(State::default());
    }

    /// Puts a fault in force, or causes it now.
    pub fn apply(&self, fault: Fault) {
        match fault {
            Fault::DropSocketsAfter { frames } => self.set(|state| state.frames_left = Some(frames)),
            Fault::Deaf { on } => self.set(|state| state.deaf = on),
            Fault::Hang { on } => self.set(|state| state.hang = on),
            Fault::NeverFinishNext => self.set(|state| state.never_finish_next = true),
            Fault::LoseNextReply { count } => self.set(|state| state.lose_replies = count),
            Fault::DelayReply { ms } => self.set(|state| state.reply_delay_ms = ms),
            Fault::FailNextPost { count } => self.set(|state| state.fail_posts = count),
            Fault::OutOfMemory { prompts, legacy_name } => self.set(|state| {
                state.out_of_memory = prompts;
                state.legacy_oom_name = legacy_name;
            }),
            Fault::CudaFault { prompts } => self.set(|state| state.cuda_faults = prompts),
            Fault::DieAtStep { step, restart_after_ms } => self.set(|state| {
                state.die_at_step = Some(step);
                state.restart_after_ms = restart_after_ms;
            }),
            Fault::DelayHistory { ms } => self.set(|state| state.history_delay_ms = ms),
            Fault::BlockedBranch { prompts } => self.set(|state| state.blocked_branches = prompts),
            Fault::LyingSuccess { prompts } => self.set(|state| state.lying_successes = prompts),
            Fault::IgnorePromptId { on } => self.set(|state| state.ignore_prompt_id = on),
            Fault::NoJobsApi { on } => self.set(|state| state.no_jobs_api = on),
            Fault::StickQueue { on } => self.set(|state| state.stick_queue = on),
            Fault::SlowView { ms } => self.set(|state| state.view_delay_ms = ms),
            Fault::TruncateView { count } => self.set(|state| state.truncate_views = count),
            Fault::PadOutputs { bytes } => self.set(|state| state.pad_bytes = bytes),
            Fault::LoseHistory { on } => {
                self.set(|state| state.lose_history = on);
                self.with_process(|process| process.history().clear());
            }
            now => self.cause(&now),
        }
    }

    /// The faults that happen once, now, to the running process.
    fn cause(&self, fault: &Fault) {
        match fault {
            Fault::DropSockets => self.with_process(|process| process.sockets.drop_all()),
            Fault::LoseFiles => self.with_process(|process| process.files().lose_saved()),
            Fault::BroadcastText { node, text } => {
                self.with_process(|process| process.sockets.broadcast(frames::text(node, text)));
            }
            Fault::ForeignFrames { prompt_id } => {
                self.with_process(|process| foreign_prompt(process, prompt_id))
            }
            Fault::NanFrame => self.with_process(|process| {
                let data = json!({"value": crate::wire::nan(), "max": 1, "prompt_id": "", "node": "1"});
                process.sockets.send_event(None, "progress", &data);
            }),
            Fault::OversizeFrame { bytes } => self.with_process(|process| {
                let data = json!({"padding": "x".repeat(*bytes)});
                process.sockets.send_event(None, "oversize", &data);
            }),
            Fault::Die { restart_after_ms } => {
                if let Some(shared) = self.shared.get().and_then(Weak::upgrade) {
                    shared.die(restart_after_ms.map(Duration::from_millis));
                }
            }
            _ => {}
        }
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(change);
    }

    fn with_process(&self, act: impl FnOnce(&Process)) {
        if let Some(process) = self.shared.get().and_then(Weak::upgrade).and_then(|shared| shared.process()) {
            act(&process);
        }
    }

    /// A copy of what is in force.
    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Uses up one of a counted fault; `true` when there was one.
    pub(crate) fn take(&self, counter: impl Fn(&mut State) -> &mut u32) -> bool {
        let mut taken = false;
        self.state.send_if_modified(|state| {
            let left = counter(state);
            taken = *left > 0;
            *left = left.saturating_sub(1);
            taken
        });
        taken
    }

    /// Uses up the order never to finish the next prompt.
    pub(crate) fn take_never_finish(&self) -> bool {
        let mut taken = false;
        self.state.send_if_modified(|state| {
            taken = std::mem::take(&mut state.never_finish_next);
            taken
        });
        taken
    }

    /// Counts one frame about to be sent; `true` when the sockets are to be dropped instead.
    pub(crate) fn take_frame(&self) -> bool {
        let mut drop_now = false;
        self.state.send_if_modified(|state| {
            match state.frames_left {
                None => return false,
                Some(0) => {
                    state.frames_left = None;
                    drop_now = true;
                }
                Some(left) => state.frames_left = Some(left - 1),
            }
            true
        });
        drop_now
    }

    /// Whether a prompt reaching this tick kills the process, and when it comes back; at most once.
    pub(crate) fn take_death(&self, step: u32) -> Option<Option<Duration>> {
        let mut death = None;
        self.state.send_if_modified(|state| {
            if state.die_at_step.is_none_or(|at| step < at) {
                return false;
            }
            state.die_at_step = None;
            death = Some(state.restart_after_ms.take().map(Duration::from_millis));
            true
        });
        death
    }

    /// Waits until the settings fit.
    pub(crate) async fn wait_until(&self, fit: impl Fn(&State) -> bool) {
        // the sender lives as long as `self`, so this cannot fail
        let _ = self.state.subscribe().wait_for(|state| fit(state)).await;
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A whole small life of a prompt nobody here submitted.
fn foreign_prompt(process: &Process, prompt_id: &str) {
    let images = json!([{"filename": "foreign_00001_.png", "subfolder": "", "type": "output"}]);
    for (kind, data) in [
        ("execution_start", json!({"prompt_id": prompt_id, "timestamp": 0})),
        ("execution_cached", json!({"nodes": [], "prompt_id": prompt_id, "timestamp": 0})),
        ("executing", json!({"node": "1", "display_node": "1", "prompt_id": prompt_id})),
        ("progress", json!({"value": 1, "max": 2, "prompt_id": prompt_id, "node": "1"})),
        (
            "executed",
            json!({"node": "1", "display_node": "1", "output": {"images": images}, "prompt_id": prompt_id}),
        ),
        ("execution_success", json!({"prompt_id": prompt_id, "timestamp": 0})),
        ("executing", json!({"node": null, "prompt_id": prompt_id})),
    ] {
        process.sockets.send_event(None, kind, &data);
    }
}
