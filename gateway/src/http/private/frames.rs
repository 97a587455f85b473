//! What goes out on the event stream of a job, and when. Plain: a job in, frames out; no clock and no I/O of its own.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use scheduler::Phase;
use serde::Serialize;
use tokio::time::Instant;

use super::super::time::at;
use super::super::view::{Outlook, Seen};
use super::render::{self, Setting};
use crate::engine::LiveState;
use crate::link::message::Progress;
use crate::store::OutputRow;

/// Progress comes at most this often; the newest wins.
const PACE: Duration = Duration::from_millis(500);

/// A prediction that moved by less than this is not told again, milliseconds.
const WORTH_TELLING_MS: i64 = 1_000;

/// What one stream has told so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    revision: u64,
    status: Option<&'static str>,
    progress: Option<Progress>,
    progress_at: Option<Instant>,
    outlook: Outlook,
}

#[derive(Serialize)]
struct Status<'a> {
    status: &'static str,
    attempt: u32,
    instance: Option<&'a str>,
    started_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct OutlookFrame {
    position: Option<u64>,
    predicted_start: Option<Timestamp>,
    predicted_end: Option<Timestamp>,
}

impl Told {
    /// Tells the whole job, if this revision of it was not told yet.
    pub(super) fn job(
        &mut self,
        seen: &Seen,
        outputs: &[OutputRow],
        setting: &Setting<'_>,
        out: &mut String,
    ) {
        if seen.row.revision <= self.revision {
            return;
        }
        self.revision = seen.row.revision;
        self.status = Some(render::status(seen.phase));
        if seen.phase.is_terminal() {
            self.outlook = Outlook::default();
        }
        let _ = writeln!(out, "id: {}", self.revision); // Writing to a String does not fail.
        frame("job", &render::job(seen, self.outlook, outputs, setting), out);
    }

    /// Tells where a job stands that its row does not tell: running, in doubt, collecting.
    pub(super) fn status(&mut self, state: &LiveState, out: &mut String) {
        let Some(phase) = state.phase.filter(|phase| is_live(*phase)) else { return };
        let status = render::status(phase);
        if self.status != Some(status) {
            self.status = Some(status);
            let frame_of = Status {
                status,
                attempt: state.attempt,
                instance: state.instance.as_deref(),
                started_at: state.started_at.map(at),
            };
            frame("status", &frame_of, out);
        }
    }

    /// Tells progress, unless it was told a moment ago: then it says when.
    pub(super) fn progress(&mut self, state: &LiveState, now: Instant, out: &mut String) -> Option<Instant> {
        let newest = state.progress.as_ref().filter(|newest| self.progress.as_ref() != Some(newest))?;
        if let Some(due) = self.progress_at.map(|last| last + PACE).filter(|due| *due > now) {
            return Some(due);
        }
        self.progress_at = Some(now);
        self.progress = Some(newest.clone());
        frame("progress", newest, out);
        None
    }

    /// Tells what lies before the job, if that is another thing than the last.
    pub(super) fn outlook(&mut self, outlook: Outlook, out: &mut String) {
        let moved = |old: Option<i64>, new: Option<i64>| match (old, new) {
            (Some(old), Some(new)) => old.abs_diff(new) >= WORTH_TELLING_MS.unsigned_abs(),
            (old, new) => old != new,
        };
        let told = &self.outlook;
        if told.position != outlook.position
            || moved(told.predicted_start, outlook.predicted_start)
            || moved(told.predicted_end, outlook.predicted_end)
        {
            self.outlook = outlook;
            let frame_of = OutlookFrame {
                position: outlook.position,
                predicted_start: outlook.predicted_start.map(at),
                predicted_end: outlook.predicted_end.map(at),
            };
            frame("outlook", &frame_of, out);
        }
    }
}

/// Phases that only the board knows.
fn is_live(phase: Phase) -> bool {
    matches!(phase, Phase::Running | Phase::InDoubt | Phase::Collecting)
}

/// Writes one frame. The text of a JSON document has no line breaks, so one `data` line carries it.
fn frame(event: &str, data: &impl Serialize, out: &mut String) {
    if let Ok(data) = serde_json::to_string(data) {
        let _ = write!(out, "event: {event}\ndata: {data}\n\n"); // Writing to a String does not fail.
    }
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
