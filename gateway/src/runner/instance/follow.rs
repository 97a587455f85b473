//! Watches a prompt that ComfyUI has: frames make it fast, look-ups make it true (PROTOCOL §8.2-8.3).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use scheduler::AttemptEnd;

use super::board::Hint;
use super::drive::{Driver, Stop};
use super::find;
use super::shared::Stuck;
use crate::link::message::{Frame, Preview, Report, Signal};
use crate::runner::activity::{self, Activity};
use crate::runner::attempt::{Verdict, Whereabouts};
use crate::runner::comfy::ComfyError;
use crate::runner::comfy::wire::{HistoryEntry, Picture};
use crate::runner::outputs::list::SavedFrame;
use crate::runner::outputs::sink::{FileSink, Lasts, SinkError};

/// What a batch of hints changed.
#[derive(Default)]
struct Heard {
    started: bool,
    progressed: bool,
    frames: Vec<Frame>,
}

impl Driver {
    /// Returns the history entry of a prompt that succeeded.
    pub(super) async fn follow(&mut self) -> Result<Box<HistoryEntry>, Stop> {
        let mut contact = self.shared.contact.subscribe();
        loop {
            let socket = contact.borrow_and_update().socket.clone();
            if socket != self.client_id {
                self.socket_lost().await?;
            }
            let due = self.due();
            tokio::select! {
                biased;
                () = self.slot.withdrawn.cancelled() => return Err(Stop::Withdrawn),
                Some(hint) = self.hints.recv() => self.hear(hint).await?,
                Ok(()) = contact.changed() => {}
                Ok(()) = self.orders.changed() => self.tell_whereabouts().await,
                () = until(due) => {
                    if let Some(entry) = self.look().await? {
                        return Ok(entry);
                    }
                }
            }
        }
    }

    fn expected(&self) -> Duration {
        Duration::from_millis(self.dispatch.expected_ms)
    }

    fn due(&self) -> Instant {
        let times = &self.shared.host.config.times;
        let mut due = self.seen.look_at(times);
        if self.seen.may_hang() {
            due = due.min(self.seen.hangs_at(times, self.expected()));
        }
        if let Some(since) = self.unheard_since {
            due = due.min(since + times.deaf_after);
        }
        due
    }

    /// Asked again: the state is all there is to tell. Out of contact it is not known, and saying otherwise would renew
    /// a lease for ever.
    async fn tell_whereabouts(&self) {
        let signal = if self.out_of_contact {
            Signal::ContactLost
        } else if self.seen.is_started() {
            Signal::Started
        } else {
            Signal::Accepted
        };
        self.tell(signal).await;
    }

    /// Its events go to a socket that is gone (PROTOCOL §3): from now on it is polled.
    async fn socket_lost(&mut self) -> Result<(), Stop> {
        if self.sketch.saves_by_socket() && !self.seen.has_left() {
            return Err(self.void("the socket broke off while pictures came over it").await);
        }
        self.unheard_since = None;
        self.seen.blind();
        Ok(())
    }

    async fn hear(&mut self, first: Hint) -> Result<(), Stop> {
        let mut heard = Heard::default();
        self.take(first, &mut heard).await?;
        while let Ok(hint) = self.hints.try_recv() {
            self.take(hint, &mut heard).await?;
        }
        if heard.started {
            self.tell(Signal::Started).await;
        }
        if !heard.frames.is_empty() {
            self.tell(Signal::Frames(std::mem::take(&mut heard.frames))).await;
        }
        if heard.progressed && !self.seen.has_left() {
            let progress = Signal::Progress(self.tracker.snapshot(&self.sketch));
            self.offer(progress);
        }
        Ok(())
    }

    fn offer(&self, signal: Signal) {
        self.shared.host.reports.offer(Report::Attempt { attempt: self.attempt, signal });
    }

    async fn take(&mut self, hint: Hint, heard: &mut Heard) -> Result<(), Stop> {
        match hint {
            Hint::Event(event, text) => {
                let frame = self.voice().zip(text).and_then(|(voice, text)| voice.frame(&event, &text));
                heard.frames.extend(frame);
                heard.started |= self.seen.hear(&event, Instant::now());
                heard.progressed |= self.tracker.take(&event);
                Ok(())
            }
            Hint::Picture { node, picture, .. } => {
                heard.started |= self.seen.sign(Instant::now());
                if self.sketch.is_socket_saver(&node) {
                    return self.save(node, &picture).await;
                }
                self.preview(node, picture);
                Ok(())
            }
            Hint::Oversize => self.oversize().await,
        }
    }

    async fn oversize(&mut self) -> Result<(), Stop> {
        if !(self.sketch.saves_by_socket() && self.seen.is_started()) {
            return Ok(());
        }
        self.get_rid().await;
        let max = self.shared.host.config.max_frame_bytes;
        let message = format!("a picture over the socket is larger than {max} bytes");
        Err(Stop::Over(Signal::OutputTooLarge { message }))
    }

    fn preview(&mut self, node: String, picture: Picture) {
        let now = Instant::now();
        let every = self.shared.host.config.times.preview_every;
        if self.preview_at.is_some_and(|at| now < at + every) {
            return;
        }
        self.preview_at = Some(now);
        self.offer(Signal::Preview(Preview {
            node_id: Some(node),
            content_type: picture.content_type,
            bytes: picture.bytes,
        }));
    }

    /// A picture of a `SaveImageWebsocket` node: into the spool at once, it exists nowhere else.
    async fn save(&mut self, node: String, picture: &Picture) -> Result<(), Stop> {
        let spool = self.shared.host.spool.clone();
        let size = picture.bytes.len() as u64;
        if spool.take(size).is_err() {
            self.get_rid().await;
            return Err(Stop::lost(AttemptEnd::HostFault, "the spool of the host is full"));
        }
        let file = format!("frame-{}", self.frames.len());
        let place = spool.folder(self.attempt).join(&file);
        let saved = async {
            let mut sink = FileSink::new(&place, self.dispatch.max_output_bytes);
            sink.write(&picture.bytes).await?;
            sink.finish(Lasts::Perhaps, &picture.content_type).await
        };
        let saved = saved.await;
        match saved {
            Ok(facts) => {
                self.frames.push(SavedFrame { node, file, facts });
                Ok(())
            }
            Err(error) => {
                spool.give_back(size);
                self.get_rid().await;
                Err(match error {
                    SinkError::TooLarge(_) => {
                        let message = format!("a picture over the socket is {error}");
                        Stop::Over(Signal::OutputTooLarge { message })
                    }
                    SinkError::Io(error) => {
                        Stop::lost(AttemptEnd::HostFault, format!("the spool cannot be written: {error}"))
                    }
                })
            }
        }
    }

    /// Looks the prompt up.
    async fn look(&mut self) -> Result<Option<Box<HistoryEntry>>, Stop> {
        self.listen_check();
        let times = self.shared.host.config.times.clone();
        let now = Instant::now();
        if self.seen.may_hang() && now >= self.seen.hangs_at(&times, self.expected()) {
            match self.activity() {
                Activity::Idle => return Err(self.hung().await),
                Activity::Working | Activity::Unsure => {
                    self.seen.bear_with(&times, self.expected(), now + activity::WINDOW);
                }
            }
        }
        if now < self.seen.look_at(&times) {
            return Ok(None);
        }
        let found = match find::by_id(&self.shared, &self.prompt).await {
            Ok(found) => found,
            Err(error) => return self.not_found_out(&error).await.map(|()| None),
        };
        self.seen.found_again();
        self.regained(&found).await;
        let record = self.record_of(&found);
        match self.seen.judge(found, &times, Instant::now()) {
            Verdict::GoOn => Ok(None),
            Verdict::Started => {
                self.tell(Signal::Started).await;
                Ok(None)
            }
            Verdict::Succeeded(entry) => self.complete(entry, times.history_grace),
            Verdict::Over(signal) => {
                if let Some(record) = record {
                    self.tell(Signal::Record(record)).await;
                }
                Err(Stop::Over(signal))
            }
            Verdict::DeadWorker => Err(self.dead_worker().await),
        }
    }

    /// What the history says of a prompt that failed, for callers of ComfyUI's own API.
    fn record_of(&self, found: &Whereabouts) -> Option<Arc<str>> {
        let Whereabouts::Ended(entry) = found else { return None };
        self.voice()?.record(entry, &[])
    }

    /// What device and process of the instance show beyond its silence.
    fn activity(&mut self) -> Activity {
        let Some(nvml) = &self.shared.host.config.nvml else { return Activity::Idle };
        self.shared.binding.activity(nvml, &mut self.usage)
    }

    /// A POST without a `status` after it: nobody speaks on this socket any more (PROTOCOL §8.3).
    fn listen_check(&mut self) {
        let Some(since) = self.unheard_since else { return };
        if self.shared.status_since(since) {
            self.unheard_since = None;
        } else if since.elapsed() >= self.shared.host.config.times.deaf_after {
            self.unheard_since = None;
            if self.shared.contact.borrow().socket == self.client_id {
                self.shared.deaf.notify_one();
            }
        }
    }

    async fn not_found_out(&mut self, error: &ComfyError) -> Result<(), Stop> {
        tracing::debug!(instance = %self.shared.name, error = error.words(), "look-up failed");
        if !error.is_gone() {
            self.seen.found_again();
        } else if self.seen.is_gone_for_good(Instant::now()) {
            let (end, message) = self.seen.end_of_gone();
            return Err(Stop::lost(end, message));
        }
        if error.is_silence() {
            self.contact_lost().await;
        } else if let (ComfyError::TooLarge(max), true) = (error, self.seen.has_left()) {
            let message = format!("its history entry is larger than {max} bytes");
            return Err(Stop::Over(Signal::OutputTooLarge { message }));
        }
        self.seen.looked(Instant::now());
        Ok(())
    }

    async fn regained(&mut self, found: &Whereabouts) {
        if !std::mem::replace(&mut self.out_of_contact, false) {
            return;
        }
        match found {
            Whereabouts::Running => self.tell(Signal::Started).await,
            Whereabouts::Pending { .. } => self.tell(Signal::Accepted).await,
            Whereabouts::Ended(_) | Whereabouts::Nowhere => {}
        }
    }

    /// History may be faster than the frames that are outputs.
    fn complete(
        &mut self,
        entry: Box<HistoryEntry>,
        grace: Duration,
    ) -> Result<Option<Box<HistoryEntry>>, Stop> {
        if !self.sketch.saves_by_socket() {
            return Ok(Some(entry));
        }
        let gap = self.slot.gap.load(Ordering::Relaxed);
        let late = self.ended_at.get_or_insert_with(Instant::now).elapsed() > grace;
        match (gap, self.seen.has_left(), late) {
            (false, true, _) => Ok(Some(entry)),
            (false, false, false) => Ok(None),
            _ => Err(Stop::lost(AttemptEnd::OutputsGone, "pictures over the socket are missing")),
        }
    }

    async fn hung(&mut self) -> Stop {
        if !self.get_rid().await {
            self.shared.stuck.send_replace(Some(Stuck::Hung(self.prompt.clone())));
        }
        Stop::lost(AttemptEnd::Hung, "it made no progress for too long")
    }

    async fn dead_worker(&mut self) -> Stop {
        self.shared.stuck.send_replace(Some(Stuck::DeadWorker));
        self.get_rid().await;
        Stop::lost(AttemptEnd::Hung, "the instance's worker is dead: prompts wait and nothing runs")
    }
}

/// Waits until then; not at all when it is past, as a timer of its own would take up to two milliseconds.
async fn until(due: Instant) {
    if due > Instant::now() {
        tokio::time::sleep_until(due.into()).await;
    }
}
