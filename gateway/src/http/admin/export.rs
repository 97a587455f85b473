//! `GET /v1/tenants/{name}/export`: all that a tenant has, a line of JSON each (NDJSON): the tenant, its uploads, its
//! jobs with workflow and outputs, newest first, and a last line by which a reader knows that it is complete. Read page
//! by page as fast as it is taken, so memory follows neither.

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
use super::{find, private};
use crate::store::{AssetRow, JobRow, ListQuery, OutputRow, Result, TenantRow};

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
    whose.check()?;
    let tenant = find(&app.tenants, &name).await?;
    let base = view::base_url(&app, &headers);
    let lines = Lines::new(app.0.clone(), &tenant, base);
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
    Jobs { before: Option<Uuid> },
    End,
    Done,
}

struct Lines {
    app: Arc<Shared>,
    tenant: u32,
    base: String,
    stage: Stage,
    ready: VecDeque<Value>,
    counts: (u64, u64),
}

impl Lines {
    fn new(app: Arc<Shared>, tenant: &TenantRow, base: String) -> Self {
        let head = json!({
            "type": "tenant",
            "name": tenant.name,
            "weight": tenant.weight,
            "settings": tenant.settings.shown(),
            "exported_at": time::at(app.engine.now()),
        });
        let stage = Stage::Assets { after: 0 };
        Self { app, tenant: tenant.id, base, stage, ready: [head].into(), counts: (0, 0) }
    }

    async fn next(&mut self) -> Result<Option<String>> {
        while self.ready.is_empty() {
            match self.stage {
                Stage::Assets { after } => self.assets(after).await?,
                Stage::Jobs { before } => self.jobs(before).await?,
                Stage::End => {
                    let (assets, jobs) = self.counts;
                    self.ready.push_back(json!({"type": "end", "assets": assets, "jobs": jobs}));
                    self.stage = Stage::Done;
                }
                Stage::Done => return Ok(None),
            }
        }
        Ok(self.ready.pop_front().map(|line| format!("{line}\n")))
    }

    async fn assets(&mut self, after: i64) -> Result<()> {
        let page = self.app.engine.store().assets_of(self.tenant, after, PAGE).await?;
        self.stage = match page.last() {
            Some((last, _)) => Stage::Assets { after: *last },
            None => Stage::Jobs { before: None },
        };
        for (_, asset) in page {
            self.counts.0 += 1;
            let url = self.url(asset.id, &asset.object_key).await;
            self.ready.push_back(upload(&asset, &url));
        }
        Ok(())
    }

    async fn jobs(&mut self, before: Option<Uuid>) -> Result<()> {
        let store = self.app.engine.store().clone();
        let query = ListQuery { tenant: self.tenant, before, limit: PAGE, ..ListQuery::default() };
        let page = store.list(query).await?;
        let last = page.rows.last().map(|last| last.id);
        self.stage = match last.or(page.more_before) {
            Some(before) => Stage::Jobs { before: Some(before) },
            None => Stage::End,
        };
        for row in page.rows {
            self.counts.1 += 1;
            let body = store.body(row.id).await?;
            let mut outputs = Vec::new();
            for output in store.outputs(row.id).await? {
                let url = self.url(output.id, &output.object_key).await;
                outputs.push(file(&output, &url));
            }
            let workflow = body.map(|body| serde_json::from_str(&body.workflow).unwrap_or(Value::Null));
            self.ready.push_back(job(&row, workflow, outputs));
        }
        Ok(())
    }

    /// Signed by the store that has the bytes, else the gateway's own, which wants a key of the tenant.
    async fn url(&self, id: Uuid, key: &str) -> String {
        match self.app.artifacts.signed_url(key, SIGNED_FOR).await {
            Ok(Some((url, _))) => url,
            Ok(None) | Err(_) => format!("{}/api/v2/assets/{id}/content", self.base),
        }
    }
}

fn upload(asset: &AssetRow, url: &str) -> Value {
    json!({
        "type": "asset",
        "id": asset.id,
        "name": asset.file_path,
        "content_type": asset.content_type,
        "size_bytes": asset.size_bytes,
        "hash": format!("blake3:{}", asset.hash),
        "created_at": time::at(asset.created_at),
        "expires_at": asset.expires_at.map(time::at),
        "url": url,
    })
}

fn file(output: &OutputRow, url: &str) -> Value {
    json!({
        "id": output.id,
        "node_id": output.node_id,
        "name": output.name,
        "content_type": output.content_type,
        "size_bytes": output.size_bytes,
        "hash": format!("blake3:{}", output.hash),
        "url": url,
    })
}

fn job(row: &JobRow, workflow: Option<Value>, outputs: Vec<Value>) -> Value {
    json!({
        "type": "job",
        "id": row.public_id,
        "state": row.state,
        "class": row.class,
        "labels": row.labels,
        "accepted_at": time::at(row.accepted_at),
        "started_at": row.started_at.map(time::at),
        "ended_at": row.ended_at.map(time::at),
        "error": row.error,
        "workflow": workflow,
        "outputs": outputs,
    })
}
