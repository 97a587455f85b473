//! Tenants, keys and the log of their changes at run time, and all that a tenant has. For keys of scope `admin`, over
//! all tenants.

mod audit;
mod erase;
mod export;
mod keys;
mod lines;
mod merge;
mod tenants;

use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde::de::DeserializeOwned;
use utoipa_axum::routes;

use super::error::{ApiError, ErrorKind};
use super::routes::{Need, Routes};
use crate::store::{Scope, TenantRow};
use crate::tenant::{Admin, AdminError, Caller, Tenants};

/// Adds the routes. Method and path stand in the documentation of each handler.
pub(super) fn add(table: &mut Routes) {
    let admin = Need::Scope(Scope::Admin);
    table.api(admin, routes!(tenants::list));
    table.api(admin, routes!(tenants::create));
    table.api(admin, routes!(tenants::get));
    table.api(admin, routes!(tenants::change));
    table.api(admin, routes!(tenants::remove));
    table.api_slow(admin, routes!(export::export));
    table.api(admin, routes!(erase::erase));
    table.api(admin, routes!(keys::list));
    table.api(admin, routes!(keys::create));
    table.api(admin, routes!(keys::rotate));
    table.api(admin, routes!(keys::revoke));
    table.api(admin, routes!(audit::list));
}

/// Changes in the name of a caller.
fn admin(tenants: &Tenants, caller: &Caller) -> Admin {
    tenants.admin(caller.key_id.as_deref().unwrap_or("open door"))
}

/// A tenant by its name, a removed one too: its data may still be there.
async fn find(tenants: &Tenants, name: &str) -> Result<TenantRow, ApiError> {
    let all = tenants.tenants().await?;
    all.into_iter().find(|tenant| tenant.name == name).ok_or_else(ApiError::not_found)
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ApiError::invalid(format!("the body is not as expected: {error}")))
}

/// An answer that no cache may keep.
fn private(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl From<AdminError> for ApiError {
    fn from(error: AdminError) -> Self {
        let conflict = |code| Self::new(ErrorKind::Conflict, code, error.to_string());
        match error {
            AdminError::Invalid(what) => Self::refused("invalid_request", what),
            AdminError::NotFound => Self::not_found(),
            AdminError::Exists => conflict("tenant_exists"),
            AdminError::InFile => conflict("tenant_in_file"),
            AdminError::Retired => conflict("tenant_removed"),
            AdminError::Default => conflict("tenant_is_default"),
            AdminError::Random => Self::internal(&error),
            AdminError::Store(error) => error.into(),
        }
    }
}
