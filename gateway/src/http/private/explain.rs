//! `GET /v1/jobs/{id}/explain`: why a job waits, or why it failed, in words (promise 6). The scheduler says it in
//! numbers; here they become sentences with the names people know.

use std::collections::HashMap;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use scheduler::{Cause, Explanation, InstanceVerdict, Obstacle, Part, Phase};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::error::ApiError;
use super::super::respond::json;
use super::super::state::{App, Shared};
use super::super::time::at;
use super::super::view::{self, Seen};
use super::jobs::Who;
use super::render;
use crate::engine::UNJUDGED;
use crate::fleet::FleetView;
use crate::workflow::{self, Graph};

/// Missing parts named in one sentence; more are counted.
const MAX_NAMED: usize = 5;

/// Why a job waits, or why it failed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Explanation)]
struct Explained<'a> {
    job: &'a str,
    #[schema(value_type = render::JobStatus)]
    status: &'static str,
    /// In words.
    message: String,
    /// What it waits for: `device`, `room`, `catalogue`, `drain`, `busy`, `share`, `backoff` or `model`.
    cause: Option<&'static str>,
    position: Option<u64>,
    attempt: u32,
    instance: Option<&'a str>,
    faults: u32,
    losses: u32,
    predicted_start: Option<Timestamp>,
    predicted_end: Option<Timestamp>,
    instances: Vec<Verdict<'a>>,
}

/// What one instance says to a job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InstanceVerdict)]
pub(super) struct Verdict<'a> {
    name: &'a str,
    obstacle: Option<&'static str>,
    message: String,
    warm: bool,
    predicted_end: Option<Timestamp>,
}

/// What sentences are made from.
pub(super) struct Words<'a> {
    pub(super) fleet: &'a FleetView,
    pub(super) parts: HashMap<Part, String>,
    pub(super) now: i64,
}

/// Explain a job: why it waits, or why it failed, in words.
#[utoipa::path(get, path = "/v1/jobs/{id}/explain", tag = "jobs", responses(
    (status = 200, description = "The explanation.", body = Explained<'static>),
    (status = 404, description = "`not_found`.")))]
pub(super) async fn explain(app: App, caller: Who, Path(id): Path<String>) -> Result<Response, ApiError> {
    let seen = view::find(&app, &caller, id.clone()).await?;
    let explanation = if seen.phase.is_terminal() { None } else { app.engine.explain(seen.row.id).await? };
    let Some(explanation) = explanation else {
        // It ended, perhaps just now.
        let seen = view::find(&app, &caller, id).await?;
        return json(StatusCode::OK, &ended(&seen));
    };
    let fleet = app.engine.fleet();
    let words = Words {
        parts: part_names(&app, seen.row.id, &explanation).await?,
        fleet: &fleet,
        now: app.engine.now(),
    };
    json(StatusCode::OK, &waiting(&seen, &explanation, &words))
}

/// Names are read from the caller's own graph, and only when something is missing.
async fn part_names(
    app: &Shared,
    job: Uuid,
    explanation: &Explanation,
) -> Result<HashMap<Part, String>, ApiError> {
    let lacks = |verdict: &InstanceVerdict| matches!(verdict.obstacle, Some(Obstacle::Lacks(_)));
    if !explanation.instances.iter().any(lacks) {
        return Ok(HashMap::new());
    }
    let Some(body) = app.engine.store().body(job).await? else { return Ok(HashMap::new()) };
    let graph = Graph::parse(&body.workflow, &app.limits.workflow);
    let mut names: HashMap<Part, String> =
        graph.map(|graph| workflow::names(&graph).into_iter().collect()).unwrap_or_default();
    let fleet = app.engine.fleet();
    names.extend(fleet.instances.iter().map(|instance| {
        let words = format!("what requests of the job's client put on {}", instance.name);
        (workflow::instance_part(&instance.name), words)
    }));
    Ok(names)
}

fn ended(seen: &Seen) -> Explained<'_> {
    let message = match (seen.phase, &seen.row.error) {
        (Phase::Succeeded, _) => "The job succeeded.".to_owned(),
        (Phase::Canceled, _) => "The job was canceled.".to_owned(),
        (Phase::Failed, Some(error)) => match &error.node_id {
            Some(node) => format!("The job failed at node {node}: {} ({}).", error.message, error.code),
            None => format!("The job failed: {} ({}).", error.message, error.code),
        },
        (Phase::Failed, None) => "The job failed.".to_owned(),
        (Phase::Expired, _) => {
            format!("The job's deadline passed before it ended ({}).", at(seen.row.deadline))
        }
        _ => "The job is about to move on; ask again.".to_owned(),
    };
    Explained {
        job: &seen.row.public_id,
        status: render::status(seen.phase),
        message,
        cause: None,
        position: None,
        attempt: seen.row.attempt,
        instance: None,
        faults: seen.row.faults,
        losses: seen.row.losses,
        predicted_start: None,
        predicted_end: None,
        instances: Vec::new(),
    }
}

fn waiting<'a>(seen: &'a Seen, explanation: &'a Explanation, words: &Words<'a>) -> Explained<'a> {
    let fleet = words.fleet;
    let instance = explanation.instance.and_then(|id| fleet.name(id)).map(|name| &**name);
    Explained {
        job: &seen.row.public_id,
        status: render::status(explanation.phase),
        message: sentence(explanation, instance, words),
        cause: explanation.cause.map(cause_name),
        position: explanation.position,
        attempt: explanation.attempt.map_or(seen.row.attempt, |attempt| attempt.0),
        instance,
        faults: explanation.faults,
        losses: explanation.losses,
        predicted_start: explanation.predicted_start.map(|start| at(start.0)),
        predicted_end: explanation.predicted_end.map(|end| at(end.0)),
        instances: explanation.instances.iter().map(|verdict| words.verdict(verdict)).collect(),
    }
}

fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Device => "device",
        Cause::Room => "room",
        Cause::Catalogue => "catalogue",
        Cause::Drain => "drain",
        Cause::Busy => "busy",
        Cause::Share => "share",
        Cause::Backoff => "backoff",
        Cause::Model => "model",
    }
}

fn sentence(explanation: &Explanation, instance: Option<&str>, words: &Words<'_>) -> String {
    let place = instance.unwrap_or("an instance");
    let mut text = match (explanation.phase, explanation.cause) {
        (_, Some(cause)) => words.cause(cause, explanation),
        (Phase::Queued, None) => "The job is about to be placed.".to_owned(),
        (Phase::Dispatching, _) => format!("The job was given to {place} and has not started there yet."),
        (Phase::Running, _) => format!("The job runs on {place}."),
        (Phase::InDoubt, _) => format!("Contact with {place} is lost; the job is being looked up there."),
        (Phase::Collecting, _) => format!("The job is done on {place}; its outputs are being stored."),
        (Phase::Canceling, _) => format!("The job is being stopped on {place}."),
        (Phase::Succeeded | Phase::Failed | Phase::Canceled | Phase::Expired, None) => {
            "The job has ended.".to_owned()
        }
    };
    match explanation.position {
        Some(0) => text.push_str(" It is the next one."),
        Some(1) => text.push_str(" One job comes before it."),
        Some(before) => text.push_str(&format!(" {before} jobs come before it.")),
        None => {}
    }
    if explanation.losses > 0 {
        text.push_str(&format!(
            " Attempts lost so far, through no fault of the job: {}.",
            explanation.losses
        ));
    }
    if explanation.faults > 0 {
        text.push_str(&format!(
            " Times its instance died, hung or ran out of memory under it: {}.",
            explanation.faults
        ));
    }
    text
}

impl<'a> Words<'a> {
    fn cause(&self, cause: Cause, explanation: &Explanation) -> String {
        match cause {
            Cause::Device if self.fleet.instances.is_empty() => "No instance is configured.".to_owned(),
            Cause::Device => {
                "No instance that could take the job answers now; it starts when one comes back.".to_owned()
            }
            Cause::Room => self.room(explanation),
            Cause::Catalogue => self.catalogue(explanation),
            Cause::Drain => {
                "Every instance that could take the job is kept from new work (cordon or drain).".to_owned()
            }
            Cause::Busy => match explanation.instances.iter().filter_map(free_at).min() {
                Some(free) => format!(
                    "All instances that could take the job are busy; one is predicted to be free in {}.",
                    self.until(free)
                ),
                None => "All instances that could take the job are busy.".to_owned(),
            },
            Cause::Share => {
                "Other jobs come first, by the shares of the tenants or the bound of this one.".to_owned()
            }
            Cause::Backoff => "Its last attempt was lost; it pauses before the next.".to_owned(),
            Cause::Model => {
                let warm = explanation.instances.iter().find(|verdict| verdict.warm);
                let name = warm.map_or("A busy instance", |verdict| self.name(verdict));
                format!(
                    "{name} is busy but holds the job's models already: waiting for it is faster than loading them elsewhere."
                )
            }
        }
    }

    fn room(&self, explanation: &Explanation) -> String {
        let rooms = explanation.instances.iter().filter_map(|verdict| match verdict.obstacle {
            Some(Obstacle::Room { need_mib, have_mib }) => Some((need_mib, have_mib)),
            _ => None,
        });
        match rooms.max_by_key(|(_, have)| *have) {
            Some((need, have)) => {
                format!(
                    "No device has the memory: the job needs about {need} MiB, the largest can give {have} MiB."
                )
            }
            None => "No device has the memory that the job needs.".to_owned(),
        }
    }

    fn catalogue(&self, explanation: &Explanation) -> String {
        let fewest = explanation.instances.iter().filter_map(|verdict| match &verdict.obstacle {
            Some(Obstacle::Lacks(parts)) => Some((verdict, parts)),
            _ => None,
        });
        match fewest.min_by_key(|(_, parts)| parts.len()) {
            Some((verdict, parts)) => format!(
                "No instance offers everything the workflow needs; {} comes nearest and lacks {}.",
                self.name(verdict),
                self.named(parts)
            ),
            None => self.nothing_known(explanation),
        }
    }

    pub(super) fn verdict(&self, verdict: &InstanceVerdict) -> Verdict<'a> {
        let (obstacle, message) = match &verdict.obstacle {
            None if verdict.warm => (None, "could take it now, with its models loaded".to_owned()),
            None => (None, "could take it now".to_owned()),
            Some(Obstacle::Down) => (Some("down"), self.down(verdict)),
            Some(Obstacle::Drained) => (Some("drained"), "takes no new work (cordon or drain)".to_owned()),
            Some(Obstacle::DeviceFaulty) => (Some("device_faulty"), "its device reports a fault".to_owned()),
            Some(Obstacle::SpoolFull) => (Some("spool_full"), "its host has no room for outputs".to_owned()),
            Some(Obstacle::CatalogueUnknown) => (Some("catalogue_unknown"), self.unasked(verdict)),
            Some(Obstacle::Lacks(parts)) => (Some("lacks"), format!("lacks {}", self.named(parts))),
            Some(Obstacle::Room { need_mib, have_mib }) => {
                (Some("room"), format!("the job needs about {need_mib} MiB, it can give {have_mib} MiB"))
            }
            Some(Obstacle::Busy { free_at }) => {
                (Some("busy"), format!("busy, free in {}", self.until(free_at.0)))
            }
        };
        Verdict {
            name: self.name(verdict),
            obstacle,
            message,
            warm: verdict.warm,
            predicted_end: verdict.predicted_end.map(|end| at(end.0)),
        }
    }

    fn name(&self, verdict: &InstanceVerdict) -> &'a str {
        self.fleet.name(verdict.instance).map_or("an instance", |name| name)
    }

    /// The first instance that does not answer tells more than that nothing is known.
    fn nothing_known(&self, explanation: &Explanation) -> String {
        let silent = explanation.instances.iter().find_map(|verdict| {
            let reason = self.reason(verdict)?;
            Some(format!(" {} does not answer: {reason}.", self.name(verdict)))
        });
        format!("What the instances offer is not known yet.{}", silent.unwrap_or_default())
    }

    fn unasked(&self, verdict: &InstanceVerdict) -> String {
        match self.reason(verdict) {
            Some(reason) => format!("does not answer, so what it offers is not known: {reason}"),
            None => "what it offers is not known yet".to_owned(),
        }
    }

    /// Why an instance does not answer.
    fn reason(&self, verdict: &InstanceVerdict) -> Option<&'a str> {
        let view = self.fleet.instances.iter().find(|view| view.id == verdict.instance);
        view.and_then(|view| view.reason.as_deref())
    }

    fn down(&self, verdict: &InstanceVerdict) -> String {
        match self.reason(verdict) {
            Some(reason) => format!("does not answer: {reason}"),
            None => "does not answer".to_owned(),
        }
    }

    fn named(&self, parts: &[Part]) -> String {
        if parts == [UNJUDGED] {
            return "the judgement of its workflow, which waits for the catalogues of the fleet".to_owned();
        }
        let mut names: Vec<_> =
            parts.iter().filter_map(|part| self.parts.get(part)).map(String::as_str).collect();
        names.sort_unstable();
        names.truncate(MAX_NAMED);
        let rest = parts.len() - names.len();
        match (names.join(", "), rest) {
            (names, 0) => names,
            (names, rest) if names.is_empty() => format!("{rest} of its parts"),
            (names, rest) => format!("{names} and {rest} more"),
        }
    }

    fn until(&self, moment: i64) -> String {
        format!("{} s", (moment - self.now).max(0).cast_unsigned().div_ceil(1000))
    }
}

fn free_at(verdict: &InstanceVerdict) -> Option<i64> {
    match verdict.obstacle {
        Some(Obstacle::Busy { free_at }) => Some(free_at.0),
        _ => None,
    }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
