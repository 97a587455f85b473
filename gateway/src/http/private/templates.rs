//! Templates: stored workflows with typed parameters, by name and version. Administrators store them for their own
//! tenant or for everybody; a tenant sees its own and everybody's, and its own wins.

use std::sync::Arc;

use axum::extract::{Path, Query, Request};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::super::error::{ApiError, ErrorKind};
use super::super::respond::json as answer;
use super::super::state::{App, Shared};
use super::super::time::at;
use super::super::{body, submit};
use super::availability::{self, Availability};
use super::jobs::Who;
use super::submission::malformed;
use crate::store::{EVERYBODY, NewTemplate, PutTemplate, StoreError, TemplateRow, TemplateUse};
use crate::template::{Definition, Fault, Parameter, Template, Wrong};
use crate::tenant::Caller;
use crate::workflow::Graph;

/// Longest name, bytes.
const MAX_NAME_BYTES: usize = 64;
/// Templates of one page, where the caller does not say, and at most.
const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 100;

/// A template to be run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TemplateCall {
    name: String,
    /// The newest that is enabled where it is left out.
    version: Option<u32>,
    /// Values by name.
    #[serde(default)]
    parameters: Map<String, Value>,
}

/// A template to be stored.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "plain",
    "workflow": {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "plain"}},
    },
    "parameters": [
        {"name": "color", "type": "int", "targets": ["/1/inputs/color"], "min": 0, "max": 16777215, "default": 255},
        {"name": "size", "type": "size", "targets": ["/1/inputs"], "sizes": [[64, 64], [128, 64]]},
    ],
    "meta": {"title": "A plain picture", "credits": 1},
}))]
pub(super) struct TemplateSubmission {
    /// 1 to 64 letters, digits, `_`, `-` or `.`.
    #[schema(example = "portrait", pattern = "^[A-Za-z0-9_.-]{1,64}$")]
    name: String,
    /// The graph in ComfyUI's API format.
    workflow: Map<String, Value>,
    #[serde(default)]
    #[schema(max_items = 64)]
    parameters: Vec<Parameter>,
    /// Title, description, price and whatever else callers show people.
    #[serde(default)]
    meta: Map<String, Value>,
    /// Everybody's rather than the tenant's own.
    #[serde(default)]
    global: bool,
}

/// How to store it.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Strictness {
    /// Refuse it when the fleet lacks something that it needs.
    #[serde(default)]
    strict: bool,
}

/// Whose template is meant.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Ownership {
    /// Everybody's rather than the tenant's own.
    #[serde(default)]
    global: bool,
}

/// Which version.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// The newest that is enabled where it is left out.
    version: Option<u32>,
}

/// Which page.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageOf {
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A version of a template.
#[derive(Serialize, ToSchema)]
#[schema(as = Template)]
struct Shown<'a> {
    name: &'a str,
    version: u32,
    /// Everybody's rather than the tenant's own.
    global: bool,
    created_at: Timestamp,
    /// It cannot be used for new jobs.
    disabled_at: Option<Timestamp>,
    parameters: &'a [Parameter],
    #[schema(value_type = Object)]
    meta: &'a RawValue,
    #[serde(flatten)]
    availability: &'a Availability,
}

/// A version of a template with its graph and its siblings.
#[derive(Serialize, ToSchema)]
#[schema(as = TemplateInFull)]
struct InFull<'a> {
    #[serde(flatten)]
    template: Shown<'a>,
    #[schema(value_type = Object)]
    workflow: &'a Map<String, Value>,
    versions: Vec<Version>,
}

/// One of a template's versions.
#[derive(Serialize, ToSchema)]
#[schema(as = TemplateVersion)]
struct Version {
    version: u32,
    created_at: Timestamp,
    disabled_at: Option<Timestamp>,
}

/// One page of templates.
#[derive(Serialize, ToSchema)]
#[schema(as = TemplateList)]
struct List<'a> {
    templates: Vec<Shown<'a>>,
    next_cursor: Option<String>,
}

/// A row, read and judged.
struct Known {
    row: TemplateRow,
    definition: Definition,
    meta: Box<RawValue>,
    availability: Arc<Availability>,
}

impl Known {
    async fn of(app: &Arc<Shared>, row: TemplateRow) -> Result<Self, ApiError> {
        let definition = definition(&row)?;
        let template = Arc::new(checked(&row, definition.clone())?);
        let availability = availability::of(app, &row.definition, &template).await?;
        let meta = RawValue::from_string(row.meta.clone()).map_err(|error| damaged(&error))?;
        Ok(Self { row, definition, meta, availability })
    }

    fn shown(&self) -> Shown<'_> {
        Shown {
            name: &self.row.name,
            version: self.row.version,
            global: self.row.tenant == EVERYBODY,
            created_at: at(self.row.created_at),
            disabled_at: self.row.disabled_at.map(at),
            parameters: &self.definition.parameters,
            meta: &self.meta,
            availability: &self.availability,
        }
    }
}

fn damaged(error: &dyn std::fmt::Display) -> ApiError {
    StoreError::Damaged(format!("a stored template cannot be read: {error}")).into()
}

fn definition(row: &TemplateRow) -> Result<Definition, ApiError> {
    serde_json::from_str(&row.definition).map_err(|error| damaged(&error))
}

fn checked(row: &TemplateRow, definition: Definition) -> Result<Template, ApiError> {
    Template::check(definition).map_err(|_| damaged(&format!("{} {}", row.name, row.version)))
}

fn read(app: &Shared, bytes: &[u8]) -> Result<TemplateSubmission, ApiError> {
    let asked: TemplateSubmission = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if !(1..=MAX_NAME_BYTES).contains(&asked.name.len()) || !asked.name.bytes().all(is_fine) {
        return Err(ApiError::invalid(format!(
            "name must be 1 to {MAX_NAME_BYTES} letters, digits, '_', '-' or '.'"
        )));
    }
    let most = app.limits.max_meta_bytes;
    if serde_json::to_string(&asked.meta).is_ok_and(|meta| meta.len() > most) {
        return Err(ApiError::refused("template_invalid", format!("meta is larger than {most} bytes")));
    }
    Ok(asked)
}

/// Store a template, as a new version of its name.
///
/// Versions never change. The same contents as the newest version make no new one: 200 with that. The graph is judged
/// against the fleet; what it lacks is told in `unavailable`, or refused with `strict`.
#[utoipa::path(post, path = "/v1/templates", tag = "templates", params(Strictness),
    request_body = TemplateSubmission, responses(
        (status = 200, description = "It is the newest version already.", body = Shown<'static>),
        (status = 201, description = "Stored as a new version.", body = Shown<'static>),
        (status = 409, description = "`too_many_templates`: over `templates.max_names` or `templates.max_versions`."),
        (status = 422, description = "`template_invalid`, `invalid_workflow`; with `strict` `template_unavailable`.")))]
pub(super) async fn put(
    app: App,
    caller: Who,
    Query(how): Query<Strictness>,
    request: Request,
) -> Result<Response, ApiError> {
    let asked = body::read_as(&app, request, read).await?;
    let meta = serde_json::to_string(&asked.meta).map_err(|error| ApiError::internal(&error))?;
    let definition = Definition { workflow: asked.workflow, parameters: asked.parameters };
    let text: Arc<str> =
        serde_json::to_string(&definition).map_err(|error| ApiError::internal(&error))?.into();
    let template = Arc::new(Template::check(definition).map_err(|faults| invalid(&faults))?);
    let graph = Graph::parse(&template.sample(), &app.limits.workflow);
    graph.map_err(|malformed| submit::of_malformed(&malformed))?;
    let availability = availability::of(&app, &text, &template).await?;
    if how.strict && availability.available == Some(false) {
        return Err(unavailable(&availability));
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(blake3::hash(text.as_bytes()).as_bytes()).update(meta.as_bytes());
    let (max_names, max_versions) = app.limits.max_templates;
    let tenant = owner(&caller, asked.global);
    let kept = app.engine.store().put_template(NewTemplate {
        tenant,
        name: asked.name.clone(),
        definition: text,
        meta,
        hash: *hasher.finalize().as_bytes(),
        created_at: app.engine.now(),
        max_names,
        max_versions,
    });
    let (version, status) = match kept.await? {
        PutTemplate::Kept { version, fresh: true } => (version, StatusCode::CREATED),
        PutTemplate::Kept { version, fresh: false } => (version, StatusCode::OK),
        PutTemplate::TooManyNames => return Err(too_many("the tenant has too many templates")),
        PutTemplate::TooManyVersions => return Err(too_many("the template has too many versions")),
    };
    let row = find(&app, tenant, &asked.name, Some(version)).await?;
    answer(status, &Known::of(&app, row).await?.shown())
}

fn owner(caller: &Caller, global: bool) -> u32 {
    if global { EVERYBODY } else { caller.tenant.id }
}

fn too_many(message: &'static str) -> ApiError {
    ApiError::new(ErrorKind::Conflict, "too_many_templates", message)
}

fn invalid(faults: &[Fault]) -> ApiError {
    let first = faults.first().map_or("", |fault| fault.reason.as_str());
    let told: Vec<Value> =
        faults.iter().map(|fault| json!({"parameter": fault.parameter, "reason": fault.reason})).collect();
    ApiError::refused("template_invalid", format!("the template is not well formed: {first}"))
        .details(json!({"faults": told}))
}

fn unavailable(availability: &Availability) -> ApiError {
    let reasons = serde_json::to_value(&availability.unavailable).unwrap_or_default();
    ApiError::refused("template_unavailable", "no instance of the fleet offers all that the template needs")
        .details(json!({"unavailable": reasons}))
}

async fn find(app: &Shared, tenant: u32, name: &str, version: Option<u32>) -> Result<TemplateRow, ApiError> {
    let found = app.engine.store().template(tenant, name.to_owned(), version).await?;
    found.ok_or_else(ApiError::not_found)
}

/// List templates: the newest enabled version of each that the caller may use, by name.
#[utoipa::path(get, path = "/v1/templates", tag = "templates", params(PageOf), responses(
    (status = 200, description = "One page.", body = List<'static>)))]
pub(super) async fn list(app: App, caller: Who, Query(page): Query<PageOf>) -> Result<Response, ApiError> {
    let limit = page.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::invalid(format!("limit must be 1 to {MAX_LIMIT}")));
    }
    let after = page.cursor.unwrap_or_default();
    let mut rows = app.engine.store().templates(caller.tenant.id, after, limit + 1).await?;
    let is_last = rows.len() <= limit as usize;
    rows.truncate(limit as usize);
    let mut known = Vec::with_capacity(rows.len());
    for row in rows {
        known.push(Known::of(&app, row).await?);
    }
    let next_cursor = known.last().filter(|_| !is_last).map(|last| last.row.name.clone());
    answer(StatusCode::OK, &List { templates: known.iter().map(Known::shown).collect(), next_cursor })
}

/// Get a template with its graph and all its versions.
#[utoipa::path(get, path = "/v1/templates/{name}", tag = "templates", params(Which), responses(
    (status = 200, description = "The template.", body = InFull<'static>),
    (status = 404, description = "`not_found`.")))]
pub(super) async fn get(
    app: App,
    caller: Who,
    Path(name): Path<String>,
    Query(which): Query<Which>,
) -> Result<Response, ApiError> {
    let row = find(&app, caller.tenant.id, &name, which.version).await?;
    let versions = app.engine.store().template_versions(row.tenant, name).await?;
    let known = Known::of(&app, row).await?;
    let version = |version: &crate::store::TemplateVersion| Version {
        version: version.version,
        created_at: at(version.created_at),
        disabled_at: version.disabled_at.map(at),
    };
    let in_full = InFull {
        template: known.shown(),
        workflow: &known.definition.workflow,
        versions: versions.iter().map(version).collect(),
    };
    answer(StatusCode::OK, &in_full)
}

/// Forget a template with all its versions. Jobs that were made of it stay.
#[utoipa::path(delete, path = "/v1/templates/{name}", tag = "templates", params(Ownership), responses(
    (status = 204, description = "It is gone."),
    (status = 404, description = "`not_found`.")))]
pub(super) async fn delete(
    app: App,
    caller: Who,
    Path(name): Path<String>,
    Query(whose): Query<Ownership>,
) -> Result<StatusCode, ApiError> {
    let found = app.engine.store().delete_template(owner(&caller, whose.global), name).await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::not_found()) }
}

/// Disable a version: no new job can be made of it.
#[utoipa::path(post, path = "/v1/templates/{name}/versions/{version}/disable", tag = "templates",
    params(Ownership), responses(
        (status = 204, description = "It is disabled."),
        (status = 400, description = "The version is not a number."),
        (status = 404, description = "`not_found`.")))]
pub(super) async fn disable(
    app: App,
    caller: Who,
    Path((name, version)): Path<(String, u32)>,
    Query(whose): Query<Ownership>,
) -> Result<StatusCode, ApiError> {
    let now = app.engine.now();
    set_disabled(&app, owner(&caller, whose.global), name, version, Some(now)).await
}

/// Enable a version again.
#[utoipa::path(post, path = "/v1/templates/{name}/versions/{version}/enable", tag = "templates",
    params(Ownership), responses(
        (status = 204, description = "It is enabled."),
        (status = 400, description = "The version is not a number."),
        (status = 404, description = "`not_found`.")))]
pub(super) async fn enable(
    app: App,
    caller: Who,
    Path((name, version)): Path<(String, u32)>,
    Query(whose): Query<Ownership>,
) -> Result<StatusCode, ApiError> {
    set_disabled(&app, owner(&caller, whose.global), name, version, None).await
}

async fn set_disabled(
    app: &Shared,
    tenant: u32,
    name: String,
    version: u32,
    disabled_at: Option<i64>,
) -> Result<StatusCode, ApiError> {
    let found = app.engine.store().disable_template(tenant, name, version, disabled_at).await?;
    if found { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::not_found()) }
}

/// The graph of a template with these values, and what is remembered of it.
pub(super) async fn expand(
    app: &Shared,
    caller: &Caller,
    call: TemplateCall,
) -> Result<(Arc<str>, TemplateUse), ApiError> {
    let found = app.engine.store().template(caller.tenant.id, call.name, call.version).await?;
    let row = found.ok_or_else(|| ApiError::refused("template_not_found", "there is no such template"))?;
    if row.disabled_at.is_some() {
        return Err(ApiError::refused("template_disabled", "this version of the template is disabled"));
    }
    let template = checked(&row, definition(&row)?)?;
    let filled = template.fill(&call.parameters, draw).map_err(|wrong| of_wrong(&wrong))?;
    let used = TemplateUse { name: row.name.into(), version: row.version, seeds: filled.seeds };
    Ok((filled.workflow.into(), used))
}

/// 64 random bits; of a UUIDv4 all but the highest two of its lower half are.
fn draw() -> u64 {
    let (high, low) = Uuid::new_v4().as_u64_pair();
    (low << 2) ^ high
}

fn of_wrong(wrong: &[Wrong]) -> ApiError {
    let first = wrong.first().map(|wrong| match &wrong.given {
        Some(given) => {
            format!("{}: {}: {given}; allowed is {}", wrong.parameter, wrong.reason, wrong.allowed)
        }
        None => format!("{}: {}; allowed is {}", wrong.parameter, wrong.reason, wrong.allowed),
    });
    let told: Vec<Value> = wrong
        .iter()
        .map(|wrong| {
            json!({"parameter": wrong.parameter, "reason": wrong.reason, "given": wrong.given,
                "allowed": wrong.allowed})
        })
        .collect();
    ApiError::refused("template_parameters_invalid", first.unwrap_or_default())
        .details(json!({"parameters": told}))
}
