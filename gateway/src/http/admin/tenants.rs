//! Tenants: list, make, get, change, remove. Secrets of webhooks are taken and never shown.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::super::error::ApiError;
use super::super::respond::json;
use super::super::state::{App, Shared};
use super::super::{body, time};
use super::{admin, find, merge, read};
use crate::store::{TenantDraft, TenantRow, TenantSettings};
use crate::tenant::Caller;

type Who = Extension<Arc<Caller>>;

/// A tenant.
#[derive(Serialize, ToSchema)]
struct Tenant<'a> {
    name: &'a str,
    weight: u32,
    /// `null`: no bound.
    concurrency: Option<u32>,
    /// As `tenants` in the configuration has them, without secrets.
    #[schema(value_type = Object)]
    settings: Value,
    /// `file` or `api`: where it is changed.
    defined_in: &'static str,
    removed_at: Option<Timestamp>,
    held_bytes: u64,
}

async fn render<'a>(app: &Shared, tenant: &'a TenantRow) -> Result<Tenant<'a>, ApiError> {
    Ok(Tenant {
        name: &tenant.name,
        weight: tenant.weight,
        concurrency: (tenant.concurrency != u32::MAX).then_some(tenant.concurrency),
        settings: tenant.settings.shown(),
        defined_in: if tenant.in_file { "file" } else { "api" },
        removed_at: tenant.retired_at.map(time::at),
        held_bytes: app.engine.store().held_bytes(tenant.id).await?,
    })
}

async fn show(app: &Shared, status: StatusCode, tenant: &TenantRow) -> Result<Response, ApiError> {
    json(status, &render(app, tenant).await?)
}

/// All tenants.
#[derive(Serialize, ToSchema)]
#[schema(as = Tenants)]
struct List<'a> {
    tenants: Vec<Tenant<'a>>,
}

/// The tenants, removed ones too.
#[utoipa::path(get, path = "/v1/tenants", tag = "tenants", responses(
    (status = 200, description = "All of them.", body = List<'static>)))]
pub(super) async fn list(app: App) -> Result<Response, ApiError> {
    let tenants = app.tenants.tenants().await?;
    let mut shown = Vec::with_capacity(tenants.len());
    for tenant in &tenants {
        shown.push(render(&app, tenant).await?);
    }
    json(StatusCode::OK, &List { tenants: shown })
}

/// One tenant.
#[utoipa::path(get, path = "/v1/tenants/{name}", tag = "tenants",
    params(("name" = String, Path, description = "The tenant's name.")), responses(
        (status = 200, description = "The tenant.", body = Tenant<'static>),
        (status = 404, description = "`not_found`.")))]
pub(super) async fn get(app: App, Path(name): Path<String>) -> Result<Response, ApiError> {
    show(&app, StatusCode::OK, &find(&app.tenants, &name).await?).await
}

/// A tenant to be made.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewTenant)]
#[serde(deny_unknown_fields)]
struct New {
    /// Letters, digits, `_`, `-` and `.`.
    name: String,
    /// Its share of the fleet against others.
    #[serde(default = "one")]
    #[schema(value_type = u64, minimum = 1, maximum = 4_294_967_295_u64)]
    weight: u32,
    /// Its attempts that run at once; left out: no bound.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 4_294_967_295_u64)]
    concurrency: Option<u32>,
    /// As `tenants` in the configuration has them.
    #[serde(default)]
    #[schema(value_type = Object)]
    settings: TenantSettings,
}

fn one() -> u32 {
    1
}

/// Make a tenant. One that was removed comes back with these values.
#[utoipa::path(post, path = "/v1/tenants", tag = "tenants", request_body = New, responses(
    (status = 201, description = "It is there.", body = Tenant<'static>),
    (status = 409, description = "`tenant_exists`, `tenant_in_file`."),
    (status = 422, description = "`invalid_request`.")))]
pub(super) async fn create(app: App, caller: Who, request: Request) -> Result<Response, ApiError> {
    let new: New = body::read_as(&app, request, |_, bytes| read(bytes)).await?;
    let draft = TenantDraft {
        name: new.name,
        weight: new.weight,
        concurrency: new.concurrency.unwrap_or(u32::MAX),
        settings: new.settings,
    };
    let made = admin(&app.tenants, &caller).add_tenant(draft).await?;
    show(&app, StatusCode::CREATED, &made).await
}

/// Change a tenant: a merge patch (RFC 7396).
///
/// Of `weight`, `concurrency` and `settings`. A webhook key that comes without its secret keeps the one it has.
#[utoipa::path(patch, path = "/v1/tenants/{name}", tag = "tenants", request_body = Patch,
    params(("name" = String, Path, description = "The tenant's name.")), responses(
        (status = 200, description = "As it is now.", body = Tenant<'static>),
        (status = 404, description = "`not_found`."),
        (status = 409, description = "`tenant_in_file`, `tenant_removed`."),
        (status = 422, description = "`invalid_request`.")))]
pub(super) async fn change(
    app: App,
    caller: Who,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let patch: Value = body::read_as(&app, request, |_, bytes| read(bytes)).await?;
    let changed =
        admin(&app.tenants, &caller).change_tenant(&name, |present| patched(present, patch)).await?;
    show(&app, StatusCode::OK, &changed).await
}

/// What changes.
#[derive(ToSchema)]
#[schema(as = TenantPatch)]
#[expect(dead_code, reason = "its shape is documented; the patch is applied to the tenant's JSON")]
struct Patch {
    /// Its share of the fleet against others.
    #[schema(required = false, value_type = u64, minimum = 1, maximum = 4_294_967_295_u64)]
    weight: u32,
    /// Its attempts that run at once; `null`: no bound.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 4_294_967_295_u64)]
    concurrency: Option<u32>,
    /// A merge patch of the settings; `null`: the default.
    #[schema(value_type = Option<Object>)]
    settings: Option<TenantSettings>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changed {
    weight: u32,
    concurrency: Option<u32>,
    #[serde(default)]
    settings: TenantSettings,
}

fn patched(present: &TenantRow, patch: Value) -> Result<TenantDraft, ApiError> {
    if !patch.is_object() {
        return Err(ApiError::invalid("the body must be an object"));
    }
    let settings = serde_json::to_value(&*present.settings).map_err(|error| ApiError::internal(&error))?;
    let mut value = json!({"weight": present.weight, "settings": settings});
    if present.concurrency != u32::MAX {
        value["concurrency"] = present.concurrency.into();
    }
    merge::apply(&mut value, patch);
    keep_secrets(present, &mut value);
    let changed: Changed = serde_json::from_value(value)
        .map_err(|error| ApiError::invalid(format!("the tenant would not be as expected: {error}")))?;
    Ok(TenantDraft {
        name: present.name.clone(),
        weight: changed.weight,
        concurrency: changed.concurrency.unwrap_or(u32::MAX),
        settings: changed.settings,
    })
}

fn keep_secrets(present: &TenantRow, value: &mut Value) {
    let Some(webhook) = &present.settings.webhook else { return };
    let keys = value.pointer_mut("/settings/webhook/keys").and_then(Value::as_array_mut);
    for key in keys.into_iter().flatten().filter_map(Value::as_object_mut) {
        let known =
            webhook.keys.iter().find(|known| key.get("id").and_then(Value::as_str) == Some(&known.id));
        if let (Some(known), false) = (known, key.contains_key("secret")) {
            key.insert("secret".to_owned(), known.secret.0.clone().into());
        }
    }
}

/// Remove a tenant: its keys stop working, its data stays.
#[utoipa::path(delete, path = "/v1/tenants/{name}", tag = "tenants",
    params(("name" = String, Path, description = "The tenant's name.")), responses(
        (status = 204, description = "It is removed."),
        (status = 404, description = "`not_found`."),
        (status = 409, description = "`tenant_is_default`, `tenant_in_file`.")))]
pub(super) async fn remove(app: App, caller: Who, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    admin(&app.tenants, &caller).retire_tenant(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
