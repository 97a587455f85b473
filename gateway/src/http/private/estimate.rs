//! `POST /v1/estimate`: what a submission would meet. Nothing is kept of it.

use std::collections::HashMap;
use std::num::NonZeroU32;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use scheduler::{Forecast, InstanceVerdict, Obstacle};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::error::ApiError;
use super::super::respond::json;
use super::super::state::{App, Shared};
use super::super::time::at;
use super::super::{body, quota, submit};
use super::cost::{self, Cost};
use super::explain::{Verdict, Words};
use super::jobs::{self, Who};
use super::submission::{self, Body};
use crate::engine::SubmitError;
use crate::store::NewJob;
use crate::workflow::{self, Graph};

/// What a submission would meet.
#[derive(Serialize, ToSchema)]
struct Estimate<'a> {
    /// Whether some instance could run it; null while no catalogue of the fleet is known.
    runnable: Option<bool>,
    predicted_start: Option<Timestamp>,
    predicted_end: Option<Timestamp>,
    currency: &'a str,
    /// On the cheapest class with all models loaded, millionths of the currency; null without any class.
    price_at_least_micros: Option<u64>,
    /// On the dearest class with all models to be loaded; what `max_cost_micros` is held against.
    price_at_most_micros: Option<u64>,
    classes: Vec<Cost<'a>>,
    /// What each instance says to it, best first.
    instances: Vec<Verdict<'a>>,
}

/// Estimate a job: when it would run, and what it would cost on which class of devices.
///
/// Takes what `POST /v1/jobs` takes and refuses what that would refuse, but keeps nothing. Counts as a submission for
/// the tenant's rate.
#[utoipa::path(post, path = "/v1/estimate", tag = "jobs", request_body = Body<'static>, responses(
    (status = 200, description = "The estimate.", body = Estimate<'static>),
    (status = 422, description = "Well formed, but never to be carried out."),
    (status = 429, description = "`queue_full`, `rate_limited`: come again after `Retry-After`.")))]
pub(super) async fn estimate(app: App, caller: Who, request: Request) -> Result<Response, ApiError> {
    quota::rate(&app, &caller, NonZeroU32::MIN)?;
    let asked = body::read_as(&app, request, submission::read).await?;
    quota::storage(&app, &caller).await?;
    let job = jobs::make(&app, &caller, asked, None).await?;
    let store = app.engine.store();
    let missing = store.missing(job.tenant, job.references.clone(), job.accepted_at).await?;
    if !missing.is_empty() {
        return Err(submit::of_submit_error(SubmitError::MissingAssets(missing)));
    }
    let forecast = app.engine.forecast(&job).await?;
    if let Some(refusal) = forecast.refusal {
        return Err(submit::of_submit_error(SubmitError::Refused(refusal)));
    }
    answer(&app, &job, &forecast)
}

fn answer(app: &Shared, job: &NewJob, forecast: &Forecast) -> Result<Response, ApiError> {
    let fleet = app.engine.fleet();
    let words = Words { fleet: &fleet, parts: part_names(app, job, forecast), now: app.engine.now() };
    let classes = cost::costs(forecast, &fleet, &app.prices);
    let estimate = Estimate {
        runnable: (!job.plan.provisional).then_some(!classes.is_empty()),
        predicted_start: forecast.predicted_start.map(|start| at(start.0)),
        predicted_end: forecast.predicted_end.map(|end| at(end.0)),
        currency: &app.prices.currency,
        price_at_least_micros: classes.iter().map(|cost| cost.price_at_least_micros).min(),
        price_at_most_micros: classes.iter().map(|cost| cost.price_at_most_micros).max(),
        classes,
        instances: forecast.instances.iter().map(|verdict| words.verdict(verdict)).collect(),
    };
    json(StatusCode::OK, &estimate)
}

/// Names of what instances lack, from the caller's own graph.
fn part_names(app: &Shared, job: &NewJob, forecast: &Forecast) -> HashMap<scheduler::Part, String> {
    let lacks = |verdict: &InstanceVerdict| matches!(verdict.obstacle, Some(Obstacle::Lacks(_)));
    if !forecast.instances.iter().any(lacks) {
        return HashMap::new();
    }
    let graph = Graph::parse(&job.body.workflow, &app.limits.workflow);
    graph.map(|graph| workflow::names(&graph).into_iter().collect()).unwrap_or_default()
}
