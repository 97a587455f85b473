//! How receivers stand, and what could not be delivered to them.
//!
//! A key sees its own tenant's; one of scope `admin` may name another tenant, or `*` for all. URLs are shown without
//! their query, which may hold a secret.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, Request};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::body;
use super::super::error::{ApiError, ErrorKind};
use super::super::respond::json;
use super::super::state::{App, Shared};
use super::super::time::at;
use crate::outbox;
use crate::store::{DeadLetter, DeadQuery, EventKind, ReceiverLag, Scope};
use crate::tenant::Caller;

type Who = Extension<Arc<Caller>>;

/// Receivers shown at once, and dead letters of a page.
const PAGE_MAX: u32 = 1_000;
const PAGE: u32 = 100;
/// Dead letters made pending again in one transaction.
const REPLAY_STEP: u32 = 500;

#[derive(Serialize, ToSchema)]
#[schema(as = Receivers)]
pub(super) struct Receivers {
    receivers: Vec<Receiver>,
}

/// A receiver for which anything waits or was given up.
#[derive(Serialize, ToSchema)]
struct Receiver {
    tenant: String,
    url: String,
    pending: u64,
    oldest_at: Option<Timestamp>,
    next_at: Option<Timestamp>,
    reason: Option<String>,
    dead: u64,
}

impl From<ReceiverLag> for Receiver {
    fn from(lag: ReceiverLag) -> Self {
        Self {
            tenant: lag.tenant_name,
            url: lag.url,
            pending: lag.pending,
            oldest_at: lag.oldest_at.map(at),
            next_at: lag.next_at.map(at),
            reason: lag.reason,
            dead: lag.dead,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetters)]
pub(super) struct Dead {
    dead: Vec<Letter>,
    next_cursor: Option<String>,
}

/// An event that could not be delivered.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetter)]
struct Letter {
    id: String,
    #[serde(rename = "type")]
    kind: EventKind,
    created_at: Timestamp,
    job_id: Uuid,
    tenant: String,
    url: String,
    tries: u32,
    dead_at: Timestamp,
    reason: String,
}

impl From<DeadLetter> for Letter {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.event.id(),
            kind: letter.event.kind,
            created_at: at(letter.event.at),
            job_id: letter.event.job,
            tenant: letter.tenant_name,
            url: letter.receiver,
            tries: letter.tries,
            dead_at: at(letter.dead_at),
            reason: letter.reason,
        }
    }
}

/// Receivers for which anything waits or was given up
#[utoipa::path(get, path = "/v1/webhooks", tag = "events",
    params(("tenant" = Option<String>, Query, description = "Of scope `admin`: another tenant's, or `*` for all")),
    responses((status = 200, description = "The receivers.", body = Receivers),
        (status = 403, description = "`forbidden`: another tenant's."), (status = 404, description = "`not_found`: the tenant.")))]
pub(super) async fn receivers(
    app: App,
    caller: Who,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let mut tenant = None;
    for (name, value) in query {
        match name.as_str() {
            "tenant" => tenant = Some(value),
            other => return Err(unknown(other)),
        }
    }
    let tenant = whose(&app, &caller, tenant).await?;
    let lags = app.engine.store().outbox().lags(tenant, PAGE_MAX).await?;
    json(StatusCode::OK, &Receivers { receivers: lags.into_iter().map(Into::into).collect() })
}

/// Events that could not be delivered, the oldest first
#[utoipa::path(get, path = "/v1/webhooks/dead", tag = "events",
    params(
        ("tenant" = Option<String>, Query, description = "Of scope `admin`: another tenant's, or `*` for all"),
        ("url" = Option<String>, Query, description = "Only of this receiver"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Events of a page"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the answer before")),
    responses((status = 200, description = "The events.", body = Dead),
        (status = 403, description = "`forbidden`: another tenant's."), (status = 404, description = "`not_found`: the tenant.")))]
pub(super) async fn dead(
    app: App,
    caller: Who,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let (mut tenant, mut wanted) = (None, DeadQuery { limit: PAGE, ..DeadQuery::default() });
    for (name, value) in query {
        match name.as_str() {
            "tenant" => tenant = Some(value),
            "url" => wanted.receiver = Some(bare(&value)?),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
                wanted.limit =
                    limit.ok_or_else(|| ApiError::invalid(format!("limit must be 1 to {PAGE_MAX}")))?;
            }
            "cursor" => {
                let cursor = value.parse().map_err(|_| {
                    ApiError::new(ErrorKind::Invalid, "invalid_cursor", "the cursor is not ours")
                });
                wanted.after = cursor?;
            }
            other => return Err(unknown(other)),
        }
    }
    wanted.tenant = whose(&app, &caller, tenant).await?;
    let limit = wanted.limit as usize;
    let letters = app.engine.store().outbox().dead_letters(wanted).await?;
    let next_cursor = letters.last().filter(|_| letters.len() == limit);
    let next_cursor = next_cursor.map(|letter| letter.event.cursor.to_string());
    json(StatusCode::OK, &Dead { dead: letters.into_iter().map(Into::into).collect(), next_cursor })
}

/// What to send again: exactly one of `ids`, `url` and `all`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReplayRequest)]
pub(super) struct Replay {
    #[serde(default)]
    ids: Vec<String>,
    url: Option<String>,
    #[serde(default)]
    all: bool,
    tenant: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Replayed)]
pub(super) struct Replayed {
    replayed: u64,
}

/// Send events again
///
/// Each as if it had just happened, under its old id.
#[utoipa::path(post, path = "/v1/webhooks/dead/replay", tag = "events", request_body = Replay,
    responses((status = 200, description = "How many.", body = Replayed),
        (status = 403, description = "`forbidden`: another tenant's."), (status = 404, description = "`not_found`: the tenant.")))]
pub(super) async fn replay(app: App, caller: Who, request: Request) -> Result<Response, ApiError> {
    let wanted = body::read_as(&app, request, |_, bytes| {
        serde_json::from_slice::<Replay>(bytes)
            .map_err(|error| ApiError::invalid(format!("the body is not as expected: {error}")))
    })
    .await?;
    if usize::from(!wanted.ids.is_empty()) + usize::from(wanted.url.is_some()) + usize::from(wanted.all) != 1
    {
        return Err(ApiError::invalid("name exactly one of ids, url and all"));
    }
    if wanted.ids.len() > PAGE_MAX as usize {
        return Err(ApiError::invalid(format!("at most {PAGE_MAX} ids at once")));
    }
    let mut query = DeadQuery {
        tenant: whose(&app, &caller, wanted.tenant).await?,
        receiver: wanted.url.as_deref().map(bare).transpose()?,
        events: wanted.ids.iter().map(|id| event_id(id)).collect::<Result<_, _>>()?,
        after: 0,
        limit: REPLAY_STEP,
    };
    let outbox = app.engine.store().outbox();
    let mut replayed = 0;
    loop {
        let (count, last) = outbox.replay_dead(query.clone(), app.engine.now()).await?;
        replayed += count;
        query.after = last;
        if count < u64::from(REPLAY_STEP) || !query.events.is_empty() {
            return json(StatusCode::OK, &Replayed { replayed });
        }
    }
}

/// The tenant that is meant; `None`: all of them.
async fn whose(app: &Shared, caller: &Caller, named: Option<String>) -> Result<Option<u32>, ApiError> {
    let Some(name) = named.filter(|name| *name != caller.tenant.name) else {
        return Ok(Some(caller.tenant.id));
    };
    if !caller.scope.allows(Scope::Admin) {
        return Err(ApiError::new(ErrorKind::Forbidden, "forbidden", "this key sees its own tenant only"));
    }
    if name == "*" {
        return Ok(None);
    }
    let tenants = app.engine.store().tenants().await?;
    let tenant = tenants.into_iter().find(|tenant| tenant.name == name);
    tenant.map(|tenant| Some(tenant.id)).ok_or_else(ApiError::not_found)
}

fn bare(url: &str) -> Result<String, ApiError> {
    let url = Url::parse(url).map_err(|_| ApiError::invalid("url is not a URL"))?;
    Ok(outbox::receiver(&url))
}

fn event_id(id: &str) -> Result<(Uuid, u64), ApiError> {
    let parts = id.split_once('.');
    let read = parts.and_then(|(job, revision)| Some((Uuid::try_parse(job).ok()?, revision.parse().ok()?)));
    read.ok_or_else(|| ApiError::invalid(format!("{id:?} is not the id of an event")))
}

fn unknown(name: &str) -> ApiError {
    ApiError::invalid(format!("unknown parameter {name}"))
}
