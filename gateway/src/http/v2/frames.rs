//! What goes out on an event stream, and when (CONTRACT §6). Plain: the state of a job in, frames out; no clock and
//! no I/O of its own.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use scheduler::Phase;
use serde::Serialize;
use tokio::time::Instant;

use super::render;
use crate::engine::LiveState;
use crate::link::message::{Preview, Progress};

/// Progress and previews come at most this often; the newest wins.
const PACE: Duration = Duration::from_millis(500);

/// What one stream has told so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    transition: u64,
    status: Option<&'static str>,
    position: Option<u64>,
    progress: Option<Progress>,
    progress_at: Option<Instant>,
    preview: u64,
    preview_at: Option<Instant>,
}

/// What a look at the live state came to.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Look again when it changed, or at this time: something is held back until then.
    Later(Option<Instant>),
    /// The job has ended: its outputs and its last status come from the row.
    Ended,
}

#[derive(Serialize)]
struct Status {
    status: &'static str,
    queue_position: Option<u64>,
}

#[derive(Serialize)]
struct PreviewFrame<'a> {
    node_id: &'a str,
    content_type: &'a str,
    data_base64: String,
}

impl Told {
    /// Tells where a job stands that is met in the middle of its life, not how it came there.
    pub(super) fn begin(&mut self, state: &LiveState, status: &'static str, out: &mut String) {
        self.transition = state.transitions.last().map_or(0, |(number, _)| *number);
        self.status(status, out);
    }

    /// Tells a status, if it is another one than the last.
    pub(super) fn status(&mut self, status: &'static str, out: &mut String) {
        if self.status != Some(status) {
            self.status = Some(status);
            if status != "queued" {
                self.position = None;
            }
            frame("status", &Status { status, queue_position: self.position }, out);
        }
    }

    /// Tells a position in the queue, if the job waits and it is another one than the last.
    pub(super) fn position(&mut self, position: u64, out: &mut String) {
        if self.waits() && self.position != Some(position) {
            self.position = Some(position);
            frame("status", &Status { status: "queued", queue_position: self.position }, out);
        }
    }

    /// Whether the last status told was `queued`.
    pub(super) fn waits(&self) -> bool {
        self.status == Some("queued")
    }

    /// Tells what is new in a live state.
    pub(super) fn live(&mut self, state: &LiveState, now: Instant, out: &mut String) -> Next {
        for (number, phase) in &state.transitions {
            if *number > self.transition {
                self.transition = *number;
                self.phase(*phase, out);
            }
        }
        if state.phase.is_some_and(Phase::is_terminal) {
            return Next::Ended;
        }
        let progress = self.progress(state.progress.as_ref(), now, out);
        let preview =
            self.preview(state.preview.as_ref().map(|(number, preview)| (*number, &**preview)), now, out);
        Next::Later(progress.into_iter().chain(preview).min())
    }

    fn phase(&mut self, phase: Phase, out: &mut String) {
        // A job in doubt is shown as what it was before; its end waits for its outputs.
        if phase != Phase::InDoubt && !phase.is_terminal() {
            self.status(render::status(phase, false), out);
        }
    }

    fn progress(&mut self, newest: Option<&Progress>, now: Instant, out: &mut String) -> Option<Instant> {
        let newest = newest.filter(|newest| self.progress.as_ref() != Some(newest))?;
        if let Some(due) = held_back(self.progress_at, now) {
            return Some(due);
        }
        self.progress_at = Some(now);
        self.progress = Some(newest.clone());
        frame("progress", &render::progress(newest), out);
        None
    }

    fn preview(
        &mut self,
        newest: Option<(u64, &Preview)>,
        now: Instant,
        out: &mut String,
    ) -> Option<Instant> {
        let (number, preview) = newest.filter(|(number, _)| *number != self.preview)?;
        if let Some(due) = held_back(self.preview_at, now) {
            return Some(due);
        }
        self.preview_at = Some(now);
        self.preview = number;
        let data = PreviewFrame {
            node_id: preview.node_id.as_deref().unwrap_or_default(),
            content_type: &preview.content_type,
            data_base64: STANDARD.encode(&preview.bytes),
        };
        frame("preview", &data, out);
        None
    }
}

fn held_back(last: Option<Instant>, now: Instant) -> Option<Instant> {
    last.map(|last| last + PACE).filter(|due| *due > now)
}

/// Writes one frame. The text of a JSON document has no line breaks, so one `data` line carries it.
pub(super) fn frame(event: &str, data: &impl Serialize, out: &mut String) {
    if let Ok(data) = serde_json::to_string(data) {
        let _ = write!(out, "event: {event}\ndata: {data}\n\n"); // Writing to a String does not fail.
    }
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
