//! `DELETE /v1/tenants/{name}/data`: all that a tenant has, or all that was done for one of its people. Open jobs are
//! canceled, rows and bytes go in every store that is configured, the audit log keeps how many. Works as long as a request may; repeated until `done`, it picks up where it was.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use super::super::error::ApiError;
use super::super::respond::json;
use super::super::state::{App, Shared};
use super::{admin, find};
use crate::store::Erase;
use crate::tenant::Caller;

/// Jobs and files of one transaction.
const PART: u32 = 200;
/// How often ends of canceled jobs are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Whose data.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Whose {
    /// One of the tenant's people only: the `user` of jobs.
    user: Option<String>,
}

impl Whose {
    /// The person, if one is meant; an empty name is nobody's.
    pub(super) fn person(self) -> Result<Option<String>, ApiError> {
        match self.user {
            Some(user) if user.is_empty() => Err(ApiError::invalid("user must not be empty")),
            user => Ok(user),
        }
    }
}

/// What went.
#[derive(Serialize, Default, ToSchema)]
#[schema(as = Erased)]
struct Answer {
    /// Nothing is left.
    done: bool,
    jobs: u64,
    assets: u64,
    /// Objects in the stores.
    files: u64,
    /// Versions of templates, receivers, and sums of usage that named somebody.
    others: u64,
    /// Some of the jobs that are being canceled; more may follow.
    open_jobs: usize,
}

/// Delete all that a tenant has.
///
/// Works as long as a request may; to be repeated until `done`. The tenant and its keys stay.
#[utoipa::path(delete, path = "/v1/tenants/{name}/data", tag = "tenants",
    params(("name" = String, Path, description = "The tenant's name."), Whose), responses(
        (status = 200, description = "What went with this request.", body = Answer),
        (status = 404, description = "`not_found`."),
        (status = 422, description = "`unsupported`.")))]
pub(super) async fn erase(
    app: App,
    caller: Extension<Arc<Caller>>,
    Path(name): Path<String>,
    Query(whose): Query<Whose>,
) -> Result<Response, ApiError> {
    let user = whose.person()?;
    let tenant = find(&app.tenants, &name).await?;
    let until = Instant::now() + app.limits.request_timeout / 2;
    let mut answer = Answer::default();
    let worked = work(&app, tenant.id, user.as_deref(), until, &mut answer).await;
    // What went is noted also when the rest failed.
    let counts = (answer.jobs, answer.assets);
    admin(&app.tenants, &caller).note_deletion(&name, user.as_deref(), counts).await?;
    worked?;
    json(StatusCode::OK, &answer)
}

async fn work(
    app: &Shared,
    tenant: u32,
    user: Option<&str>,
    until: Instant,
    answer: &mut Answer,
) -> Result<(), ApiError> {
    loop {
        let what = Erase { tenant, user: user.map(str::to_owned), limit: PART, now: app.engine.now() };
        let erased = app.engine.store().erase(what).await?;
        answer.jobs += erased.jobs;
        answer.assets += erased.assets;
        answer.others += erased.others;
        answer.open_jobs = erased.open.len();
        for job in &erased.open {
            app.engine.cancel(*job).await?;
        }
        let files = delete_files(app, tenant).await?;
        answer.files += files;
        let is_idle = [erased.jobs, erased.assets, erased.others, files] == [0; 4];
        if is_idle && erased.open.is_empty() {
            answer.done = true;
            return Ok(());
        }
        if Instant::now() >= until {
            return Ok(());
        }
        if is_idle {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Bytes first, then the rows that name them: an interrupted deletion finds them again. A caller's bucket, and a store
/// that is not configured any more, are nobody's to tidy.
async fn delete_files(app: &Shared, tenant: u32) -> Result<u64, ApiError> {
    let doomed = app.engine.store().doomed(tenant, PART).await?;
    let mut gone = Vec::with_capacity(doomed.len());
    for (blob, object) in doomed {
        if let Some(sink) = app.sinks.get(&object.place) {
            sink.artifacts.delete(&object.key).await?;
        }
        gone.push(blob);
    }
    let count = gone.len() as u64;
    if count > 0 {
        app.engine.store().bury(gone).await?;
    }
    Ok(count)
}
