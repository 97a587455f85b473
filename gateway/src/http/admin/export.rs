//! `GET /v1/tenants/{name}/export`: all that a tenant has, or all that was done for one of its people, a line of JSON
//! each (NDJSON): the tenant, its uploads and templates (not for a person, whose they do not tell), its jobs with all
//! that belongs to them, newest first, usage by day, and a last line by which a reader knows that it is complete. Read
//! page by page as fast as it is taken, so memory follows neither.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query};
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::response::Response;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::error::ApiError;
use super::super::state::{App, Shared};
use super::super::{time, view};
use super::erase::Whose;
use super::{find, lines, private};
use crate::delivery::Place;
use crate::store::{JobRow, ListQuery, OutputRow, Result, TenantRow, UsageKey, UsageQuery};

/// Rows of one page.
const PAGE: u32 = 100;
/// How long a signed URL works.
const SIGNED_FOR: Duration = Duration::from_secs(24 * 3600);

/// All that a tenant has, a line of JSON each.
#[utoipa::path(get, path = "/v1/tenants/{name}/export", tag = "tenants",
    params(("name" = String, Path, description = "The tenant's name."), Whose), responses(
        (status = 200, description = "Lines; the last one has the `type` `end`.",
            content_type = "application/x-ndjson", body = String),
        (status = 404, description = "`not_found`."),
        (status = 422, description = "`unsupported`.")))]
pub(super) async fn export(
    app: App,
    Path(name): Path<String>,
    Query(whose): Query<Whose>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let user = whose.person()?;
    let tenant = find(&app.tenants, &name).await?;
    let base = view::base_url(&app, &headers);
    let lines = Lines::new(app.0.clone(), &tenant, user, base);
    let stream = futures_util::stream::unfold(lines, |mut lines| async move {
        let line = lines.next().await.transpose()?;
        Some((line.map_err(std::io::Error::other), lines))
    });
    let mut response = Response::new(Body::from_stream(stream));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(private(response))
}

/// What comes next.
enum Stage {
    Assets { after: i64 },
    Templates { after: String },
    Jobs { before: Option<Uuid> },
    Usage { after: Option<String> },
    End,
    Done,
}

struct Lines {
    app: Arc<Shared>,
    tenant: u32,
    user: Option<String>,
    base: String,
    stage: Stage,
    ready: VecDeque<Value>,
    /// Uploads and jobs.
    counts: (u64, u64),
}

impl Lines {
    fn new(app: Arc<Shared>, tenant: &TenantRow, user: Option<String>, base: String) -> Self {
        let head = json!({
            "type": "tenant",
            "name": tenant.name,
            "weight": tenant.weight,
            "settings": tenant.settings.shown(),
            "user": user,
            "exported_at": time::at(app.engine.now()),
        });
        let stage = match user {
            None => Stage::Assets { after: 0 },
            Some(_) => Stage::Jobs { before: None },
        };
        Self { app, tenant: tenant.id, user, base, stage, ready: [head].into(), counts: (0, 0) }
    }

    async fn next(&mut self) -> Result<Option<String>> {
        while self.ready.is_empty() {
            self.stage = match std::mem::replace(&mut self.stage, Stage::Done) {
                Stage::Assets { after } => self.assets(after).await?,
                Stage::Templates { after } => self.templates(after).await?,
                Stage::Jobs { before } => self.jobs(before).await?,
                Stage::Usage { after } => self.usage(after).await?,
                Stage::End => {
                    let (assets, jobs) = self.counts;
                    self.ready.push_back(json!({"type": "end", "assets": assets, "jobs": jobs}));
                    Stage::Done
                }
                Stage::Done => return Ok(None),
            }
        }
        Ok(self.ready.pop_front().map(|line| format!("{line}\n")))
    }

    async fn assets(&mut self, after: i64) -> Result<Stage> {
        let page = self.app.engine.store().assets_of(self.tenant, after, PAGE).await?;
        let next = match page.last() {
            Some((last, _)) => Stage::Assets { after: *last },
            None => Stage::Templates { after: String::new() },
        };
        for (_, asset) in page {
            self.counts.0 += 1;
            let url = self.url(asset.id, &asset.place, &asset.object_key).await;
            self.ready.push_back(lines::upload(&asset, url.as_deref()));
        }
        Ok(next)
    }

    /// The tenant's own; those of everybody are not its data.
    async fn templates(&mut self, after: String) -> Result<Stage> {
        let store = self.app.engine.store().clone();
        let Some(name) = store.template_names(self.tenant, after, 1).await?.pop() else {
            return Ok(Stage::Jobs { before: None });
        };
        for version in store.template_versions(self.tenant, name.clone()).await? {
            let row = store.template(self.tenant, name.clone(), Some(version.version)).await?;
            self.ready.extend(row.map(|row| lines::template(&row)));
        }
        Ok(Stage::Templates { after: name })
    }

    async fn jobs(&mut self, before: Option<Uuid>) -> Result<Stage> {
        let store = self.app.engine.store().clone();
        let query = ListQuery {
            tenant: self.tenant,
            user: self.user.clone(),
            before,
            limit: PAGE,
            ..ListQuery::default()
        };
        let page = store.list(query).await?;
        let last = page.rows.last().map(|last| last.id);
        for row in page.rows {
            self.counts.1 += 1;
            let line = self.job(&row).await?;
            self.ready.push_back(line);
        }
        Ok(match last.or(page.more_before) {
            Some(before) => Stage::Jobs { before: Some(before) },
            None => Stage::Usage { after: None },
        })
    }

    async fn job(&self, row: &JobRow) -> Result<Value> {
        let store = self.app.engine.store();
        let mut outputs = Vec::new();
        for output in store.outputs(row.id).await? {
            outputs.push(self.output(&output).await);
        }
        let mut originals = Vec::new();
        for original in store.originals(row.id).await? {
            let signed = self.app.sinks.own().signed_url(&original.object_key, SIGNED_FOR).await;
            let url = signed.ok().flatten().map(|(url, _)| url);
            originals.push(lines::original(&original, url.as_deref()));
        }
        let belongings = lines::Belongings {
            body: store.body(row.id).await?,
            outputs,
            originals,
            webhook: store.outbox().webhook_of(row.id).await?,
            events: store.outbox().events_of(row.id).await?,
            undelivered: store.outbox().undelivered_of(row.id).await?,
        };
        Ok(lines::job(row, belongings))
    }

    async fn output(&self, output: &OutputRow) -> Value {
        let mut variants = Vec::new();
        for variant in &output.variants {
            let url = self.url(variant.id, &variant.place, &variant.object_key).await;
            variants.push(lines::variant(variant, url.as_deref()));
        }
        let url = self.url(output.id, &output.place, &output.object_key).await;
        lines::output(output, url.as_deref(), variants)
    }

    async fn usage(&mut self, after: Option<String>) -> Result<Stage> {
        let query = UsageQuery {
            tenant: self.tenant,
            from_day: 0,
            to_day: i64::MAX,
            user: self.user.clone(),
            by: Some(UsageKey::Day),
            after,
            limit: PAGE,
        };
        let page = self.app.engine.store().usage(query).await?;
        let last = page.last().map(|row| row.key.clone());
        self.ready.extend(page.iter().map(lines::usage));
        Ok(last.map_or(Stage::End, |last| Stage::Usage { after: Some(last) }))
    }

    /// Signed by the store that has the bytes, else the gateway's own, which wants a key of the tenant; `None` for bytes
    /// in a bucket of the caller's.
    async fn url(&self, id: Uuid, place: &Place, key: &str) -> Option<String> {
        let sink = self.app.sinks.get(place)?;
        Some(match sink.artifacts.signed_url(key, SIGNED_FOR).await {
            Ok(Some((url, _))) => url,
            Ok(None) | Err(_) => format!("{}/api/v2/assets/{id}/content", self.base),
        })
    }
}
