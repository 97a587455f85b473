//! One attempt from its dispatch to its settlement, as one task: submit or adopt, follow, hand over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use scheduler::AttemptEnd;
use tokio::sync::{mpsc, watch};
use tokio_util::future::FutureExt as _;

use super::board::{Hint, Orders, Slot};
use super::shared::Shared;
use super::{find, remove, stage, sweep};
use crate::link::message::{Attempt, Dispatch, Signal};
use crate::runner::activity::Usage;
use crate::runner::attempt::{self, Whereabouts};
use crate::runner::native::Voice;
use crate::runner::outputs::list::{self, SavedFrame};
use crate::runner::outputs::spool::{Item, Manifest};
use crate::runner::progress::Tracker;
use crate::runner::sketch::Sketch;
use crate::workflow::{self, Original};

/// How an attempt begins for this runner.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    Fresh,
    /// Sent by an earlier process, perhaps.
    Known {
        maybe_in_flight: bool,
    },
}

/// Why the task of an attempt is over before its files are stored.
#[derive(Debug)]
pub(super) enum Stop {
    Withdrawn,
    Over(Signal),
}

impl Stop {
    pub(super) fn lost(end: AttemptEnd, message: impl Into<String>) -> Self {
        Self::Over(Signal::Lost { end, message: message.into() })
    }
}

/// The task of one attempt.
pub(super) struct Driver {
    pub(super) shared: Arc<Shared>,
    pub(super) dispatch: Box<Dispatch>,
    pub(super) attempt: Attempt,
    pub(super) slot: Arc<Slot>,
    pub(super) hints: mpsc::Receiver<Hint>,
    pub(super) orders: watch::Receiver<Orders>,
    /// Its id at ComfyUI: ours, unless an older one chose its own.
    pub(super) prompt: String,
    /// The socket that its events go to.
    pub(super) client_id: Option<Arc<str>>,
    pub(super) sketch: Sketch,
    pub(super) original: Original,
    pub(super) seen: attempt::Attempt,
    pub(super) tracker: Tracker,
    pub(super) frames: Vec<SavedFrame>,
    /// What the history says of it, for callers of ComfyUI's own API.
    pub(super) record: Option<Arc<str>>,
    pub(super) preview_at: Option<Instant>,
    /// When the POST went out, until a `status` was seen after it.
    pub(super) unheard_since: Option<Instant>,
    pub(super) out_of_contact: bool,
    /// History has it, but not all its frames have come.
    pub(super) ended_at: Option<Instant>,
    /// What the instance's process had used at the last look.
    pub(super) usage: Option<Usage>,
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        dispatch: Box<Dispatch>,
        slot: Arc<Slot>,
        hints: mpsc::Receiver<Hint>,
    ) -> Self {
        if dispatch.native.as_ref().is_some_and(|native| native.frames) {
            slot.want_frames();
        }
        Self {
            attempt: dispatch.attempt,
            prompt: dispatch.prompt.to_string(),
            orders: slot.orders.subscribe(),
            client_id: None,
            sketch: Sketch::default(),
            original: Original::default(),
            seen: attempt::Attempt::new(Instant::now()),
            tracker: Tracker::default(),
            frames: Vec::new(),
            record: None,
            preview_at: None,
            unheard_since: None,
            out_of_contact: false,
            ended_at: None,
            usage: None,
            shared,
            dispatch,
            slot,
            hints,
        }
    }

    /// Runs the attempt to its end.
    pub(super) async fn drive(mut self, origin: Origin) {
        match self.run(origin).await {
            Ok(()) => sweep(self.shared.clone(), self.attempt).await,
            Err(Stop::Withdrawn) => return self.stop().await,
            Err(Stop::Over(signal)) => {
                tracing::debug!(job = %self.attempt.job, ?signal, "attempt over");
                self.shared.host.spool.drop_attempt(self.attempt).await;
                self.tell(signal).await;
            }
        }
        self.shared.leave(self.attempt);
        // a withdrawal may have come while the attempt ended by itself
        if self.slot.withdrawn.is_cancelled() {
            self.stop().await;
        }
    }

    /// Carries out a withdrawal.
    async fn stop(&self) {
        remove::until_gone(&self.shared, self.attempt, &self.prompt).await;
        sweep(self.shared.clone(), self.attempt).await;
        self.shared.leave(self.attempt);
        self.tell(Signal::Stopped).await;
    }

    async fn run(&mut self, origin: Origin) -> Result<(), Stop> {
        let (items, made) = match origin {
            Origin::Fresh => {
                self.submit().await?;
                (self.follow_to_items().await?, None)
            }
            Origin::Known { maybe_in_flight } => match self.shared.host.spool.recall(self.attempt).await {
                Some(manifest) => {
                    self.slot.note_done();
                    self.prepare(&stage::expected(&self.dispatch.inputs))?;
                    self.prompt.clone_from(&manifest.prompt);
                    self.record.clone_from(&manifest.record);
                    self.usable(manifest).await
                }
                None => {
                    self.adopt(maybe_in_flight).await?;
                    (self.follow_to_items().await?, None)
                }
            },
        };
        self.hand_over(items, made).await
    }

    async fn follow_to_items(&mut self) -> Result<Vec<Item>, Stop> {
        let entry = self.follow().await?;
        self.slot.note_done();
        self.shared.board.unbind(self.attempt);
        let found = list::files(&entry, &self.frames, &self.sketch, &self.original);
        self.record = self.voice().and_then(|voice| voice.record(&entry, &found));
        let items: Vec<Item> =
            found.into_iter().map(|found| Item { found, spooled: None, stored: None }).collect();
        if !self.frames.is_empty() {
            // pictures that came over the socket exist nowhere else
            self.remember(&items).await;
        }
        Ok(items)
    }

    pub(super) async fn remember(&self, items: &[Item]) {
        let manifest = Manifest {
            prompt: self.prompt.clone(),
            files: items.to_vec(),
            made: None,
            record: self.record.clone(),
        };
        if let Err(error) = self.shared.host.spool.remember(self.attempt, &manifest).await {
            tracing::warn!(%error, job = %self.attempt.job, "manifest not written");
        }
    }

    /// How it is spoken of to a caller of ComfyUI's own API.
    pub(super) fn voice(&self) -> Option<Voice<'_>> {
        let native = self.dispatch.native.as_ref()?;
        Some(Voice { attempt: self.attempt, prompt: &self.prompt, native, original: &self.original })
    }

    /// Makes the prompt out of the caller's graph and remembers its outline.
    pub(super) fn prepare(&mut self, staged: &[(String, String)]) -> Result<serde_json::Value, Stop> {
        let folder = format!("{}/{}", self.attempt.job, self.attempt.number);
        let prepared = workflow::prepare(&self.dispatch.workflow, &folder, staged)
            .map_err(|error| Stop::Over(Signal::InputUnavailable { message: error.to_string() }))?;
        self.sketch = Sketch::of(&prepared.prompt);
        self.original = prepared.original;
        Ok(prepared.prompt)
    }

    /// Finds a prompt that an earlier process sent, and goes on with it.
    async fn adopt(&mut self, maybe_in_flight: bool) -> Result<(), Stop> {
        self.prepare(&stage::expected(&self.dispatch.inputs))?;
        self.seen.blind();
        let found = self.look_twice(maybe_in_flight).await?;
        if self.sketch.saves_by_socket() && !matches!(found, Whereabouts::Nowhere) {
            return Err(self.void("pictures came over a socket that is gone").await);
        }
        self.shared.board.bind(&self.prompt, self.attempt);
        match found {
            Whereabouts::Pending { .. } => self.tell(Signal::Accepted).await,
            Whereabouts::Running => self.tell(Signal::Started).await,
            Whereabouts::Ended(_) => {}
            Whereabouts::Nowhere => {
                return Err(Stop::lost(AttemptEnd::NoTrace, "no trace of it at its instance"));
            }
        }
        Ok(())
    }

    /// Looks it up; believes "nowhere" only the second time when its POST may still be under way (DESIGN §13).
    pub(super) async fn look_twice(&mut self, mut again: bool) -> Result<Whereabouts, Stop> {
        loop {
            let found = self.look_by_mark().await?;
            if !matches!(found, Whereabouts::Nowhere) || !std::mem::replace(&mut again, false) {
                return Ok(found);
            }
            self.unless_withdrawn(tokio::time::sleep(self.shared.host.config.times.second_look)).await?;
        }
    }

    async fn look_by_mark(&mut self) -> Result<Whereabouts, Stop> {
        let (mut pause, longest) = self.shared.host.config.times.contact_backoff;
        loop {
            let shared = self.shared.clone();
            let prompt = self.prompt.clone();
            match self.unless_withdrawn(find::by_mark(&shared, self.attempt, &prompt)).await? {
                Ok((found, id)) => {
                    self.prompt = id;
                    return Ok(found);
                }
                Err(error) => {
                    tracing::debug!(instance = %shared.name, error = error.words(), "look-up failed");
                    self.contact_lost().await;
                }
            }
            self.unless_withdrawn(tokio::time::sleep(pause)).await?;
            pause = (pause * 2).min(longest);
        }
    }

    pub(super) async fn contact_lost(&mut self) {
        self.seen.contact_lost(Instant::now());
        if !std::mem::replace(&mut self.out_of_contact, true) {
            self.tell(Signal::ContactLost).await;
        }
    }

    pub(super) async fn tell(&self, signal: Signal) {
        self.shared.signal(self.attempt, signal).await;
    }

    pub(super) fn unless_withdrawn<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> impl Future<Output = Result<T, Stop>> {
        work.with_cancellation_token(&self.slot.withdrawn).map(|done| done.ok_or(Stop::Withdrawn))
    }

    /// The attempt's outputs can never be complete: gets rid of the prompt.
    pub(super) async fn void(&self, why: &str) -> Stop {
        self.get_rid().await;
        Stop::lost(AttemptEnd::OutputsGone, why)
    }

    /// Gets rid of the prompt, with limited patience; whether it is gone.
    pub(super) async fn get_rid(&self) -> bool {
        let patience = Some(Duration::from_secs(5));
        remove::within(&self.shared, self.attempt, &self.prompt, patience).await
    }
}
