//! What is known of one attempt at ComfyUI and what follows from it; pure: instants come in as arguments.

use std::time::{Duration, Instant};

use scheduler::AttemptEnd;

use super::comfy::wire::{ErrorEvent, FrameEvent, HistoryEntry};
use super::config::Times;
use super::failure;
use crate::link::message::Signal;

/// Bound of what a prediction may ask for.
const LONGEST_PATIENCE: Duration = Duration::from_hours(24 * 7);

/// Longest pause between looks for the history entry of a prompt that ended.
const LONGEST_SETTLING: Duration = Duration::from_millis(250);

/// Where a look-up found the prompt (PROTOCOL §8.2: history and queue are the truth).
#[derive(Debug)]
pub(super) enum Whereabouts {
    /// Its history entry: it has left the worker.
    Ended(Box<HistoryEntry>),
    Running,
    /// Waiting; and whether anything runs before it.
    Pending {
        behind_another: bool,
    },
    Nowhere,
}

/// What follows from a look-up.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Go on watching.
    GoOn,
    /// It runs: first sign of it.
    Started,
    /// It succeeded; collect its outputs.
    Succeeded(Box<HistoryEntry>),
    /// The attempt is over.
    Over(Signal),
    /// Its instance's worker is dead (PROTOCOL §8.3).
    DeadWorker,
}

/// How long connections must be refused before an instance counts as gone: longer than a hiccup of its listener.
const GONE_FOR: Duration = Duration::from_millis(500);

/// Everything seen of an attempt whose POST was answered.
#[derive(Debug)]
pub(super) struct Attempt {
    started: bool,
    /// `executing` with no node: it left the worker.
    left_at: Option<Instant>,
    /// `execution_success`: its history entry follows at once, or `executing` with no node does.
    success: bool,
    error: Option<Box<ErrorEvent>>,
    /// Since when it waits with nothing running before it.
    unserved_since: Option<Instant>,
    /// The socket that its events go to is gone.
    blind: bool,
    /// The instance was out of reach since the POST.
    gap: bool,
    /// Last frame or look-up.
    heard_at: Instant,
    /// Last sign that it moves on.
    moved_at: Instant,
    /// When it was first found nowhere.
    missing_since: Option<Instant>,
    /// Connections to its instance are refused since then.
    gone_since: Option<Instant>,
    /// Look-ups since its frames said that it ended.
    settling: u32,
}

impl Attempt {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            started: false,
            left_at: None,
            success: false,
            error: None,
            unserved_since: None,
            blind: false,
            gap: false,
            heard_at: now,
            moved_at: now,
            missing_since: None,
            gone_since: None,
            settling: 0,
        }
    }

    pub(super) fn is_started(&self) -> bool {
        self.started
    }

    /// All its frames have come.
    pub(super) fn has_left(&self) -> bool {
        self.left_at.is_some() || self.success
    }

    /// Its socket is gone: nothing more will be heard, so it is polled.
    pub(super) fn blind(&mut self) {
        self.blind = true;
    }

    /// A look-up that told nothing.
    pub(super) fn looked(&mut self, now: Instant) {
        self.heard_at = now;
        self.settling += u32::from(self.has_left());
    }

    /// The instance could not be reached.
    pub(super) fn contact_lost(&mut self, now: Instant) {
        self.heard_at = now;
        self.moved_at = now;
        self.blind = true;
        self.gap = true;
    }

    /// Takes a frame in; whether it is the first sign that the prompt runs.
    pub(super) fn hear(&mut self, event: &FrameEvent, now: Instant) -> bool {
        self.heard_at = now;
        self.moved_at = now;
        match event {
            FrameEvent::Executing(None) => {
                self.left_at = Some(now);
                return false;
            }
            FrameEvent::Success => self.success = true,
            FrameEvent::Error(error) if !error.is_of_a_branch() => {
                self.error = Some(error.clone());
            }
            _ => {}
        }
        self.start()
    }

    /// A sign of it other than an event; whether it is the first sign that it runs.
    pub(super) fn sign(&mut self, now: Instant) -> bool {
        self.heard_at = now;
        self.moved_at = now;
        self.start()
    }

    fn start(&mut self) -> bool {
        self.unserved_since = None;
        !std::mem::replace(&mut self.started, true)
    }

    /// When to look it up next.
    pub(super) fn look_at(&self, times: &Times) -> Instant {
        if self.left_at.is_some() || self.success {
            return self.heard_at + self.settling_pause();
        }
        if self.missing_since.is_some() {
            return self.heard_at + times.blind_poll;
        }
        self.heard_at + if self.blind { times.blind_poll } else { times.poll_after }
    }

    /// None at first, then longer: the entry is late by microseconds as a rule (PROTOCOL §8.2).
    fn settling_pause(&self) -> Duration {
        match (self.left_at, self.settling) {
            (Some(_), 0) => Duration::ZERO,
            // the word that it left the worker follows at once; it is the better moment
            (None, 0) => Duration::from_millis(20),
            (_, tries) => Duration::from_millis(1 << tries.saturating_sub(1).min(8)).min(LONGEST_SETTLING),
        }
    }

    /// When it counts as hanging unless it moves.
    pub(super) fn hangs_at(&self, times: &Times, expected: Duration) -> Instant {
        let patience = times.hang_min.max(expected.saturating_mul(4)).min(LONGEST_PATIENCE);
        // a blind prompt shows no progress, so silence says less
        self.moved_at + if self.blind { patience * 3 } else { patience }
    }

    /// It moves nothing, yet its instance works: it counts as hanging at `until`, not now.
    pub(super) fn bear_with(&mut self, times: &Times, expected: Duration, until: Instant) {
        let due = self.hangs_at(times, expected);
        self.moved_at += until.saturating_duration_since(due);
    }

    /// Only a prompt that runs can hang; one that waits for others just waits.
    pub(super) fn may_hang(&self) -> bool {
        self.started && self.left_at.is_none()
    }

    /// What follows from a look-up.
    pub(super) fn judge(&mut self, found: Whereabouts, times: &Times, now: Instant) -> Verdict {
        self.heard_at = now;
        if self.has_left() {
            self.settling += 1;
        }
        if !matches!(found, Whereabouts::Nowhere) {
            self.missing_since = None;
        }
        match found {
            Whereabouts::Ended(entry) => judge_entry(entry),
            Whereabouts::Running => {
                if self.start() {
                    self.moved_at = now;
                    return Verdict::Started;
                }
                Verdict::GoOn
            }
            Whereabouts::Pending { behind_another: true } => {
                self.unserved_since = None;
                self.moved_at = now;
                Verdict::GoOn
            }
            Whereabouts::Pending { behind_another: false } => {
                let since = *self.unserved_since.get_or_insert(now);
                let dead = now.saturating_duration_since(since) >= times.dead_worker_after;
                if dead { Verdict::DeadWorker } else { Verdict::GoOn }
            }
            Whereabouts::Nowhere => self.missing(times, now),
        }
    }

    /// Nothing listens where its instance was; `true` once that has lasted: its queue and history are gone with it.
    pub(super) fn is_gone_for_good(&mut self, now: Instant) -> bool {
        let since = *self.gone_since.get_or_insert(now);
        now.saturating_duration_since(since) >= GONE_FOR
    }

    /// Its instance answers, or its silence is of another kind.
    pub(super) fn found_again(&mut self) {
        self.gone_since = None;
    }

    /// The end of an attempt whose instance is gone.
    pub(super) fn end_of_gone(&self) -> (AttemptEnd, &'static str) {
        if self.started && !self.has_left() {
            (AttemptEnd::InstanceDied, "its instance died while it ran: nothing listens there any more")
        } else {
            (AttemptEnd::NoTrace, "its instance is gone: nothing listens there any more")
        }
    }

    fn missing(&mut self, times: &Times, now: Instant) -> Verdict {
        let since = *self.missing_since.get_or_insert(now);
        // frames that spoke of its end prove that history is merely late
        let grace =
            if self.has_left() || self.error.is_some() { times.history_grace } else { times.blind_poll };
        if now.saturating_duration_since(since) < grace {
            return Verdict::GoOn;
        }
        if let Some(error) = self.error.take() {
            return Verdict::Over(failure::signal_of(*error));
        }
        let (end, message) = match (self.gap || self.blind, self.started) {
            _ if self.has_left() => (AttemptEnd::NoTrace, "it ended, but history does not know it"),
            (true, true) => (AttemptEnd::InstanceDied, "the instance was restarted while it ran"),
            (true, false) => (AttemptEnd::NoTrace, "the instance was restarted before it ran"),
            (false, _) => (AttemptEnd::NoTrace, "neither queue nor history know it"),
        };
        Verdict::Over(Signal::Lost { end, message: message.into() })
    }
}

/// Success = status success and neither error nor interruption among the messages (PROTOCOL §8.2).
fn judge_entry(entry: Box<HistoryEntry>) -> Verdict {
    let status = entry.status.as_ref();
    let messages = status.map(|status| &status.messages[..]).unwrap_or_default();
    let find = |kind: &str| messages.iter().rev().find(|(event, _)| event == kind).map(|(_, data)| data);
    if let Some(data) = find("execution_error") {
        let error: ErrorEvent = serde_json::from_value(data.clone()).unwrap_or_default();
        return Verdict::Over(failure::signal_of(error));
    }
    if find("execution_interrupted").is_some() {
        let message = "somebody else interrupted it at its instance".into();
        return Verdict::Over(Signal::Lost { end: AttemptEnd::HostFault, message });
    }
    match status.map(|status| status.status_str.as_str()) {
        Some("success") | None => Verdict::Succeeded(entry),
        Some(_) => {
            let message = "history calls it an error and does not say which".into();
            Verdict::Over(Signal::Lost { end: AttemptEnd::HostFault, message })
        }
    }
}

#[cfg(test)]
#[path = "attempt_tests.rs"]
mod tests;
