//! An event in the words of `/v1`: the body of a webhook and an entry of the feed, byte for byte the same.
//!
//! It carries the job as it is when the event is sent, which may be further than when the event happened: then
//! `job.revision` is above `revision`.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::time::at;
use super::super::view::{Outlook, Seen};
use super::render::{self, Job, Setting};
use crate::engine::EngineHandle;
use crate::outbox::Bodies;
use crate::prices::Prices;
use crate::store::{Event, EventKind, OutputRow, StoreError};

/// Something that happened to a job.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub(super) struct Body<'a> {
    /// The same in every delivery.
    id: String,
    #[serde(rename = "type")]
    kind: EventKind,
    created_at: Timestamp,
    revision: u64,
    cursor: String,
    job_id: Uuid,
    /// `null` once the job is past its retention.
    job: Option<Job<'a>>,
}

/// Renders events; reads each job once, however many of its events there are.
pub(super) struct Renderer<'a> {
    engine: &'a EngineHandle,
    base: &'a str,
    prices: &'a Prices,
    jobs: HashMap<Uuid, Option<(Seen, Vec<OutputRow>)>>,
}

impl<'a> Renderer<'a> {
    pub(super) fn new(engine: &'a EngineHandle, base: &'a str, prices: &'a Prices) -> Self {
        Self { engine, base, prices, jobs: HashMap::new() }
    }

    /// The JSON text of an event.
    pub(super) async fn text(&mut self, event: &Event) -> Result<String, StoreError> {
        if !self.jobs.contains_key(&event.job) {
            let job = self.job(event.job).await?;
            self.jobs.insert(event.job, job);
        }
        let fleet = self.engine.fleet();
        let setting = Setting { base: self.base, fleet: &fleet, prices: self.prices };
        let known = self.jobs.get(&event.job).and_then(Option::as_ref);
        let body = Body {
            id: event.id(),
            kind: event.kind,
            created_at: at(event.at),
            revision: event.revision,
            cursor: event.cursor.to_string(),
            job_id: event.job,
            job: known.map(|(seen, outputs)| render::job(seen, Outlook::default(), outputs, &setting)),
        };
        serde_json::to_string(&body)
            .map_err(|error| StoreError::Damaged(format!("an event is no JSON: {error}")))
    }

    /// The job, unless it is forgotten. The board first, then the row: see [`Seen::new`].
    async fn job(&self, id: Uuid) -> Result<Option<(Seen, Vec<OutputRow>)>, StoreError> {
        let live = self.engine.live(id);
        let found = self.engine.store().job_with_outputs(id).await?;
        let seen = found.map(|(row, outputs)| (Seen::new(row, live), outputs));
        Ok(seen.filter(|(seen, _)| !seen.is_forgotten()))
    }
}

/// Bodies of webhooks.
pub(in crate::http) struct EventBodies {
    engine: EngineHandle,
    base: String,
    prices: Prices,
}

impl EventBodies {
    /// `base`: of absolute URLs, as there is no request to take it from.
    pub(in crate::http) fn shared(engine: EngineHandle, base: String, prices: Prices) -> Arc<dyn Bodies> {
        Arc::new(Self { engine, base, prices })
    }
}

impl Bodies for EventBodies {
    fn body<'a>(&'a self, event: &'a Event) -> BoxFuture<'a, Result<String, StoreError>> {
        Box::pin(async move { Renderer::new(&self.engine, &self.base, &self.prices).text(event).await })
    }
}
