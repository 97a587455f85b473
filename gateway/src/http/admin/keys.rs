//! Keys: list, make, rotate, revoke. A key is shown once, in the answer that made it.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, Query, Request};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::error::ApiError;
use super::super::respond::json;
use super::super::state::App;
use super::super::{body, time};
use super::{admin, private, read};
use crate::network::Network;
use crate::store::{KeyRow, Scope};
use crate::tenant::{Caller, CreatedKey, KeyDraft};

type Who = Extension<Arc<Caller>>;

/// How long a rotated key goes on where nothing is said.
const OVERLAP_SECONDS: u64 = 24 * 3600;
/// Longest life of a key that may be asked for.
const MAX_LIFE_SECONDS: u64 = 10 * 366 * 24 * 3600;

/// A key; what it opens with is shown only by the answer that made it.
#[derive(Serialize, ToSchema)]
struct Key<'a> {
    id: &'a str,
    /// Its first characters.
    prefix: &'a str,
    tenant: &'a str,
    scope: Scope,
    /// Where it may be used from; empty: from anywhere.
    #[schema(value_type = Vec<String>)]
    networks: &'a [Network],
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    /// The key itself, in the answer that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

fn render<'a>(row: &'a KeyRow, secret: Option<&'a str>) -> Key<'a> {
    Key {
        id: &row.id,
        prefix: &row.prefix,
        tenant: &row.tenant.name,
        scope: row.scope,
        networks: &row.networks,
        created_at: time::at(row.created_at),
        expires_at: row.expires_at.map(time::at),
        revoked_at: row.revoked_at.map(time::at),
        key: secret,
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Only keys of this tenant.
    tenant: Option<String>,
}

/// All keys, dead ones too.
#[derive(Serialize, ToSchema)]
#[schema(as = Keys)]
struct List<'a> {
    keys: Vec<Key<'a>>,
}

/// The keys.
#[utoipa::path(get, path = "/v1/keys", tag = "tenants", params(Which), responses(
    (status = 200, description = "Without the keys themselves.", body = List<'static>)))]
pub(super) async fn list(app: App, Query(which): Query<Which>) -> Result<Response, ApiError> {
    let keys = app.tenants.list().await?;
    let of_tenant = |key: &&KeyRow| which.tenant.as_ref().is_none_or(|tenant| *tenant == key.tenant.name);
    json(StatusCode::OK, &List { keys: keys.iter().filter(of_tenant).map(|key| render(key, None)).collect() })
}

/// A key to be made.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewKey)]
#[serde(deny_unknown_fields)]
struct New {
    /// Whose; it must be there.
    tenant: String,
    scope: Scope,
    /// Where it may be used from, such as `10.0.0.0/8`; empty: from anywhere.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    networks: Vec<Network>,
    #[schema(minimum = 1, maximum = 316224000)]
    expires_in_seconds: Option<u64>,
}

/// Make a key.
#[utoipa::path(post, path = "/v1/keys", tag = "tenants", request_body = New, responses(
    (status = 201, description = "The only answer that shows it.", body = Key<'static>),
    (status = 404, description = "`not_found`: the tenant."),
    (status = 409, description = "`tenant_removed`."),
    (status = 422, description = "`invalid_request`.")))]
pub(super) async fn create(app: App, caller: Who, request: Request) -> Result<Response, ApiError> {
    let new: New = body::read_as(&app, request, |_, bytes| read(bytes)).await?;
    if new.expires_in_seconds.is_some_and(|seconds| !(1..=MAX_LIFE_SECONDS).contains(&seconds)) {
        return Err(ApiError::invalid(format!("expires_in_seconds must be 1 to {MAX_LIFE_SECONDS}")));
    }
    let from_now = |seconds| app.engine.now().saturating_add(time::millis(Duration::from_secs(seconds)));
    let draft = KeyDraft {
        tenant: new.tenant,
        scope: new.scope,
        networks: new.networks,
        expires_at: new.expires_in_seconds.map(from_now),
    };
    created(&admin(&app.tenants, &caller).add_key(draft).await?)
}

fn created(key: &CreatedKey) -> Result<Response, ApiError> {
    Ok(private(json(StatusCode::CREATED, &render(&key.row, Some(&key.secret.0)))?))
}

/// How a key is replaced.
#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// How long the old key goes on; a day where nothing is said.
    #[schema(maximum = 2_592_000)]
    overlap_seconds: Option<u64>,
}

/// Make a new key in place of this one, which goes on for a while.
#[utoipa::path(post, path = "/v1/keys/{id}/rotate", tag = "tenants", request_body = Option<Rotation>,
    params(("id" = String, Path, description = "The key's id.")), responses(
        (status = 201, description = "The only answer that shows it.", body = Key<'static>),
        (status = 404, description = "`not_found`."),
        (status = 422, description = "`invalid_request`.")))]
pub(super) async fn rotate(
    app: App,
    caller: Who,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let rotation: Rotation =
        body::read_as(
            &app,
            request,
            |_, bytes| {
                if bytes.is_empty() { Ok(Rotation::default()) } else { read(bytes) }
            },
        )
        .await?;
    let overlap = Duration::from_secs(rotation.overlap_seconds.unwrap_or(OVERLAP_SECONDS));
    created(&admin(&app.tenants, &caller).rotate_key(&id, overlap).await?)
}

/// Revoke a key: it stops working at once.
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "tenants",
    params(("id" = String, Path, description = "The key's id.")), responses(
        (status = 204, description = "It is revoked."),
        (status = 404, description = "`not_found`.")))]
pub(super) async fn revoke(app: App, caller: Who, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    admin(&app.tenants, &caller).revoke_key(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}
