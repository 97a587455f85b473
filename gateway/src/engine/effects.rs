//! One async function per effect that is more than a word to the board. Each may be repeated after a crash and is
//! idempotent by (job, attempt, index); what it turned into comes back to the engine as a message of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use moka::sync::Cache;
use scheduler::AttemptEnd;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::outputs::Terms;
use super::rejudge::Verdict;
use crate::artifacts::ArtifactError;
use crate::delivery::{Delivery, Place};
use crate::link::local::Sender;
use crate::link::message::{
    Attempt, Command, Dispatch, Input, InstanceName, Making, Native, Secret, Signal, Ticket,
};
use crate::metrics::Metrics;
use crate::sinks::Sinks;
use crate::store::{JobBody, NativeFacts, PinnedInput, Store, StoreError, StoredObject};
use crate::ticket_desk::TicketDesk;
use crate::workflow::Catalogue;

/// What comes back from work that was started outside the loop.
pub(super) enum Returned {
    /// An effect could not be carried out: said as the runner would say it.
    Signal(Attempt, Signal),
    /// A job needs the partner key it came with, and the key is gone.
    PartnerKeyLost(Attempt),
    /// A catalogue was read.
    Catalogue { catalogue: Arc<Catalogue>, body: Arc<str> },
    /// Jobs that waited for a catalogue were judged; `settled`: by all that can be known.
    Judged { judged: Vec<(Uuid, Verdict)>, settled: bool },
    /// A catalogue's body was no catalogue.
    BadCatalogue { hash: String, problem: String },
}

/// What effects need.
#[derive(Clone)]
pub(super) struct Hands {
    pub(super) store: Arc<dyn Store>,
    pub(super) sinks: Sinks,
    pub(super) desk: TicketDesk,
    pub(super) deliveries: Deliveries,
    pub(super) metrics: Metrics,
    /// How long a job's files wait for tickets, from its acceptance.
    pub(super) retention_ms: i64,
    pub(super) bodies: Bodies,
    pub(super) returned: mpsc::UnboundedSender<Returned>,
    pub(super) max_output_bytes: u64,
}

/// Bodies of jobs on their way to an instance, bounded by bytes: the common case reads nothing back.
pub(super) type Bodies = Cache<Uuid, Arc<JobBody>>;

/// A cache of bodies that holds about `bytes`.
pub(super) fn bodies(bytes: u64) -> Bodies {
    Cache::builder()
        .max_capacity(bytes)
        .weigher(|_, body: &Arc<JobBody>| u32::try_from(body.workflow.len() + 256).unwrap_or(u32::MAX))
        .build()
}

/// How the files of jobs that were sent to an instance are delivered: known before an instance can say a word of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Deliveries(Arc<Mutex<HashMap<Uuid, Option<Arc<Delivery>>>>>);

impl Deliveries {
    fn inner(&self) -> MutexGuard<'_, HashMap<Uuid, Option<Arc<Delivery>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, job: Uuid, delivery: Option<Arc<Delivery>>) {
        self.inner().insert(job, delivery);
    }

    pub(super) fn terms(&self, job: Uuid) -> Terms {
        self.inner().get(&job).cloned().map_or(Terms::Unknown, Terms::from)
    }

    pub(super) fn forget(&self, job: Uuid) {
        self.inner().remove(&job);
    }

    /// Forgets the others.
    pub(super) fn retain(&self, is_open: impl Fn(Uuid) -> bool) {
        self.inner().retain(|job, _| is_open(*job));
    }
}

/// Where an attempt goes.
pub(super) struct Target {
    pub(super) attempt: Attempt,
    pub(super) prompt: Uuid,
    pub(super) name: InstanceName,
    pub(super) link: Sender<Command>,
    pub(super) partner_key: Option<Secret>,
    pub(super) expected_ms: u64,
}

/// Why an attempt cannot be sent.
enum Unsendable {
    /// Never: the job fails.
    Unreadable(String),
    /// Never: the partner key was in the memory of an earlier life of this process.
    PartnerKeyLost,
    /// Not now: elsewhere or later.
    NotNow(String),
}

impl Hands {
    /// Sends an attempt to its instance.
    pub(super) async fn dispatch(self, target: Target) {
        let (attempt, link) = (target.attempt, target.link.clone());
        match self.prepare(target, true).await {
            Ok(dispatch) => self.send(&link, attempt, Command::Dispatch(Box::new(dispatch))).await,
            Err(problem) => self.unsendable(attempt, problem),
        }
    }

    /// Has an attempt looked up, with all that is needed to go on with it.
    pub(super) async fn look_up(self, target: Target) {
        let (attempt, link) = (target.attempt, target.link.clone());
        match self.prepare(target, false).await {
            // The reply of its POST may have been lost with an earlier life of this process.
            Ok(dispatch) => {
                let command = Command::LookUp { dispatch: Box::new(dispatch), maybe_in_flight: true };
                self.send(&link, attempt, command).await;
            }
            Err(problem) => self.unsendable(attempt, problem),
        }
    }

    /// Removes the objects of an attempt whose set does not count.
    pub(super) async fn sweep(self, objects: Vec<StoredObject>) {
        for object in objects {
            // One that is not removed now is found by the sweep of what lost attempts left.
            let Some(sink) = self.sinks.get(&object.place) else { continue };
            if let Err(error) = sink.artifacts.delete(&object.key).await {
                tracing::warn!(%error, key = object.key, "an object that is not needed could not be deleted");
            }
        }
    }

    pub(super) async fn send(&self, link: &Sender<Command>, attempt: Attempt, command: Command) {
        if link.send(command).await.is_err() {
            let lost =
                Signal::Lost { end: AttemptEnd::Unreachable, message: "its runner is gone".to_owned() };
            self.give_back(attempt, lost);
        }
    }

    fn unsendable(&self, attempt: Attempt, problem: Unsendable) {
        let returned = match problem {
            Unsendable::Unreadable(message) => {
                Returned::Signal(attempt, Signal::InputUnavailable { message })
            }
            Unsendable::PartnerKeyLost => Returned::PartnerKeyLost(attempt),
            Unsendable::NotNow(message) => {
                Returned::Signal(attempt, Signal::Lost { end: AttemptEnd::HostFault, message })
            }
        };
        // The engine is gone only when the process is going away.
        let _ = self.returned.send(returned);
    }

    pub(super) fn give_back(&self, attempt: Attempt, signal: Signal) {
        // The engine is gone only when the process is going away.
        let _ = self.returned.send(Returned::Signal(attempt, signal));
    }

    /// `to_post`: the prompt is to be sent, not only looked up.
    async fn prepare(&self, target: Target, to_post: bool) -> Result<Dispatch, Unsendable> {
        let Target { attempt, prompt, name, partner_key, expected_ms, .. } = target;
        let body = self.body(attempt.job).await?;
        self.deliveries.note(attempt.job, body.delivery.clone());
        if to_post && body.needs_partner_key && partner_key.is_none() {
            return Err(Unsendable::PartnerKeyLost);
        }
        let mut inputs = Vec::with_capacity(body.inputs.len());
        for input in &body.inputs {
            inputs.push(self.input(input).await?);
        }
        Ok(Dispatch {
            attempt,
            instance: name,
            prompt,
            workflow: body.workflow.clone(),
            inputs,
            extra_pnginfo: body.extra_pnginfo.clone(),
            partner_key,
            strict: body.strict,
            max_output_bytes: self.max_output_bytes,
            expected_ms,
            making: body.delivery.as_deref().map(making),
            native: body.native.as_deref().map(native),
        })
    }

    async fn body(&self, job: Uuid) -> Result<Arc<JobBody>, Unsendable> {
        if let Some(body) = self.bodies.get(&job) {
            return Ok(body);
        }
        match self.store.body(job).await {
            Ok(Some(body)) => Ok(Arc::new(body)),
            Ok(None) => Err(Unsendable::Unreadable("the stored workflow is gone".to_owned())),
            Err(StoreError::Damaged(why)) => Err(Unsendable::Unreadable(why)),
            Err(StoreError::Unavailable(why)) => Err(Unsendable::NotNow(why)),
        }
    }

    async fn input(&self, input: &PinnedInput) -> Result<Input, Unsendable> {
        let place = input.sink.clone().map_or(Place::Own, Place::Sink);
        let Some(sink) = self.sinks.get(&place) else {
            let gone = format!("input {}: the sink that holds it is not configured any more", input.name);
            return Err(Unsendable::Unreadable(gone));
        };
        let source: Ticket = match sink.artifacts.get_ticket(&input.object_key).await {
            Ok(ticket) => ticket,
            Err(ArtifactError::Unavailable(why)) => return Err(Unsendable::NotNow(why)),
            Err(error) => return Err(Unsendable::Unreadable(format!("input {}: {error}", input.name))),
        };
        Ok(Input {
            pointer: input.pointer.clone(),
            hash: input.hash.clone(),
            size_bytes: input.size_bytes,
            extension: extension(&input.name),
            content_type: input.content_type.clone(),
            source,
        })
    }
}

/// What a runner has to know of a delivery.
fn making(delivery: &Delivery) -> Making {
    Making { pictures: delivery.pictures.clone(), apart: delivery.place() != Place::Own }
}

/// What a runner has to know of a job of ComfyUI's own API.
fn native(facts: &NativeFacts) -> Native {
    Native {
        prompt_id: facts.prompt_id.as_str().into(),
        frames: facts.client_id.is_some(),
        preview_method: facts.preview_method.clone(),
        targets: facts.targets.clone(),
    }
}

fn extension(name: &str) -> String {
    let Some((_, extension)) = name.rsplit_once('.') else { return String::new() };
    extension.chars().filter(char::is_ascii_alphanumeric).take(8).collect::<String>().to_ascii_lowercase()
}
