//! What may be asked of one job: cancel, another class, the same again.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request};
use axum::http::HeaderMap;
use axum::response::Response;
use scheduler::{Class, Phase};
use serde::Deserialize;
use utoipa::ToSchema;

use super::super::delivery::Asked as Delivery;
use super::super::error::{ApiError, ErrorKind};
use super::super::state::{App, Shared};
use super::super::submit::{self, Wanted};
use super::super::view::{self, Seen};
use super::super::{body, quota, time};
use super::idempotency;
use super::jobs::{self, Who, show};
use super::render::{self, ServiceClass};
use super::submission::malformed;
use crate::pictures::{Metadata, Policy};
use crate::store::{Face, JobBody, JobRow, Named, Reference};
use crate::tenant::Caller;

/// Cancel a job.
///
/// The intent is on disk when this answers. A job that has ended or is done already stays as it is: 200 either way.
#[utoipa::path(post, path = "/v1/jobs/{id}/cancel", tag = "jobs", responses(
    (status = 200, description = "The job as it is now.", body = render::Job<'static>),
    (status = 404, description = "`not_found`.")))]
pub(super) async fn cancel(
    app: App,
    caller: Who,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let seen = view::cancel(&app, &caller, id).await?;
    show(&app, &seen, &headers).await
}

/// The level a waiting job is moved to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewClass {
    #[schema(value_type = ServiceClass)]
    class: Class,
}

fn read_class(_: &Shared, bytes: &[u8]) -> Result<NewClass, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| malformed(&error))
}

/// Move a waiting job to another service level.
///
/// The change is on disk when this answers. A job keeps its age.
#[utoipa::path(post, path = "/v1/jobs/{id}/class", tag = "jobs", request_body = NewClass, responses(
    (status = 200, description = "The job as it is now.", body = render::Job<'static>),
    (status = 404, description = "`not_found`."),
    (status = 409, description = "`job_not_waiting`: it is on an instance, or has ended.")))]
pub(super) async fn change_class(
    app: App,
    caller: Who,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let headers = request.headers().clone();
    let wanted = body::read_as(&app, request, read_class).await?;
    let seen = view::find(&app, &caller, id.clone()).await?;
    if seen.phase != Phase::Queued {
        let message = "only a job that waits can change its class";
        return Err(ApiError::new(ErrorKind::Conflict, "job_not_waiting", message));
    }
    app.engine.change_class(seen.row.id, wanted.class).await?;
    let seen = view::find(&app, &caller, id).await?;
    show(&app, &seen, &headers).await
}

/// Submit an ended job again.
///
/// A new job with the workflow, the very inputs, the labels and the relative deadlines of the old one, which it names
/// in `retry_of`. Takes an `Idempotency-Key` as a submission does.
#[utoipa::path(post, path = "/v1/jobs/{id}/retry", tag = "jobs",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    responses(
        (status = 201, description = "Accepted.", body = render::Job<'static>),
        (status = 400, description = "The `Idempotency-Key` is malformed."),
        (status = 404, description = "`not_found`."),
        (status = 409, description = "`job_not_ended`, `idempotency_conflict`."),
        (status = 422, description = "`retry_impossible`: it is past its retention or needs a partner key; `missing_asset`: an input is gone; `invalid_workflow`."),
        (status = 429, description = "`queue_full`, `rate_limited`: come again after `Retry-After`.")))]
pub(super) async fn retry(
    app: App,
    caller: Who,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let key = submit::idempotency_key(&headers)?;
    let pace = idempotency::pace(quota::rate(&app, &caller, NonZeroU32::MIN), key.as_deref())?;
    let base = view::base_url(&app, &headers);
    let hash = *blake3::hash(format!("retry {id}").as_bytes()).as_bytes();
    let retried = match pace {
        Ok(()) => try_retry(&app, &caller, id, key.clone(), hash, &base).await,
        Err(failure) => Err(failure),
    };
    idempotency::or_first(&app, &caller, retried, key, hash).await
}

async fn try_retry(
    app: &Arc<Shared>,
    caller: &Caller,
    id: String,
    key: Option<String>,
    body_hash: [u8; 32],
    base: &str,
) -> Result<Response, ApiError> {
    let seen = view::find(app, caller, id).await?;
    if !seen.phase.is_terminal() {
        let message = "only a job that has ended can be submitted again";
        return Err(ApiError::new(ErrorKind::Conflict, "job_not_ended", message));
    }
    quota::storage(app, caller).await?;
    let kept = app.engine.store().body(seen.row.id).await?;
    let kept = kept.ok_or_else(|| impossible("what was submitted is not kept any more"))?;
    if kept.needs_partner_key {
        return Err(impossible("it came with a partner key, which is never kept: submit it anew"));
    }
    let delivery = kept.delivery.clone();
    let wanted = again((app, caller), &seen, kept, body_hash).await?;
    let now = app.engine.now();
    let key = key.map(|key| (key, None));
    let mut job = submit::job(app, caller, Face::Private, wanted, key, (time::job_id(now), now))?;
    if let Some(delivery) =
        delivery.filter(|old| still_allowed(&old.pictures, &caller.tenant.settings.pictures))
    {
        job.body.delivery = Some(delivery);
    }
    if let Some(webhook) = app.engine.store().outbox().webhook_of(seen.row.id).await? {
        job.webhook = Some(webhook);
    }
    job.retry_of = Some(seen.row.public_id.as_str().into());
    jobs::accept(app, job, base).await
}

/// Whether what was settled for the old job still does all that its tenant must have.
fn still_allowed(old: &Policy, tenant: &Policy) -> bool {
    let strips = tenant.metadata != Some(Metadata::Strip) || old.metadata == Some(Metadata::Strip);
    strips && (tenant.label.is_none() || old.label == tenant.label)
}

fn impossible(why: &'static str) -> ApiError {
    ApiError::refused("retry_impossible", why)
}

/// What the old job wanted, judged anew; the bytes that it read are the bytes it reads again.
async fn again(
    (app, caller): (&Arc<Shared>, &Caller),
    old: &Seen,
    kept: JobBody,
    body_hash: [u8; 32],
) -> Result<Wanted, ApiError> {
    let mut judged = submit::judge_apart(app, caller, &kept.workflow).await?;
    for reference in &mut judged.references {
        pin_again(reference, &kept);
    }
    let row = &old.row;
    let kept_place = kept.delivery.as_deref();
    let delivery = Delivery {
        pictures: None,
        sink: kept_place.and_then(|delivery| delivery.sink.as_deref()).map(str::to_owned),
        ticket_url: kept_place.and_then(|delivery| delivery.ticket_url.clone()),
    };
    Ok(Wanted {
        workflow: kept.workflow,
        judged,
        extra_pnginfo: kept.extra_pnginfo,
        class: row.class,
        order: None,
        start_within: row.start_deadline.map(|at| since_acceptance(row, at)),
        finish_within: Some(since_acceptance(row, row.deadline)),
        due_within: row.due_at.map(|at| since_acceptance(row, at)),
        labels: row.labels.clone(),
        user: row.user.clone(),
        template: row.template.clone(),
        partner_key: None,
        delivery,
        webhook: None,
        body_hash,
    })
}

fn pin_again(reference: &mut Reference, kept: &JobBody) {
    if let Some(input) = kept.inputs.iter().find(|input| input.pointer == reference.pointer) {
        reference.names = Named::Again(Box::new(input.clone()));
    }
}

fn since_acceptance(row: &JobRow, at: i64) -> Duration {
    Duration::from_millis(u64::try_from(at.saturating_sub(row.accepted_at)).unwrap_or(0))
}
