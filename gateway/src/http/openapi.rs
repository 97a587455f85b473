//! The OpenAPI document of `/v1` and operations, made from the handlers: each says its method, path, parameters and
//! answers in `#[utoipa::path(…)]`, and what all of them share is added here. A handler names only the refusals of
//! its own, by status and words; those that the door, the body or an overload bring come by themselves, and each gets
//! the shape of a problem document.

use axum::http::Method;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem, Paths};
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApiBuilder, Ref, RefOr,
    ResponseBuilder, Schema, ServerBuilder,
};
use utoipa::{PartialSchema, ToSchema};

use super::routes::Need;
use super::state::App;
use crate::store::Scope;

/// Name of the one security scheme.
const KEY: &str = "key";

const ABOUT: &str = "The private API of a Darkroom gateway: jobs, templates and usage for one's own backend, and \
    operations. Failures are problem documents (RFC 9457) with a stable `code`; `docs/ERRORS.md` lists them, \
    `docs/PRIVATE_API.md` is a guide by example. Times are RFC 3339 in UTC, durations are in the unit that their name \
    ends in, ids are opaque strings, and prices are integers in millionths of a currency unit.";

/// A failure, as every route shows it (RFC 9457).
#[derive(ToSchema)]
#[expect(dead_code, reason = "its shape is documented; `error::problem` writes it")]
pub(super) struct Problem {
    /// Always `about:blank`.
    #[schema(example = "about:blank")]
    r#type: String,
    /// The words of the status.
    #[schema(example = "Unprocessable Entity")]
    title: String,
    /// The HTTP status.
    #[schema(example = 422, minimum = 400, maximum = 599)]
    status: u16,
    /// Stable, for programs.
    #[schema(example = "invalid_workflow")]
    code: String,
    /// For people.
    #[schema(example = "node 4 (CheckpointLoaderSimple): Value not in list: ckpt_name: 'x' not in []")]
    detail: String,
    /// Particulars of this code.
    #[schema(required = false)]
    details: Option<serde_json::Map<String, Value>>,
}

/// The document in the making.
#[derive(Default)]
pub(super) struct Document {
    paths: Paths,
    schemas: Vec<(String, RefOr<Schema>)>,
}

impl Document {
    /// Takes in documented routes; returns their paths and methods.
    pub(super) fn add(
        &mut self,
        need: Need,
        schemas: Vec<(String, RefOr<Schema>)>,
        mut paths: Paths,
    ) -> Vec<(String, Vec<Method>)> {
        self.schemas.extend(schemas);
        for (path, item) in &mut paths.paths {
            for (method, operation) in operations(item) {
                operation.operation_id = Some(operation_id(&method, path));
                complete(operation, need);
            }
        }
        let found = paths.paths.iter_mut().map(|(path, item)| {
            (path.clone(), operations(item).into_iter().map(|(method, _)| method).collect())
        });
        let found = found.collect();
        self.paths.merge(paths);
        found
    }

    /// The document as JSON text.
    pub(super) fn text(mut self) -> String {
        let mut shared = Vec::new();
        Problem::schemas(&mut shared);
        let key = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A key made by `gateway key create`. Each operation tells the scope it needs."))
            .build();
        let components = ComponentsBuilder::new()
            .schemas_from_iter(shared)
            .schema("Problem", Problem::schema())
            .schemas_from_iter(std::mem::take(&mut self.schemas))
            .security_scheme(KEY, SecurityScheme::Http(key))
            .build();
        let info = InfoBuilder::new()
            .title("Darkroom gateway")
            .version(env!("CARGO_PKG_VERSION"))
            .description(Some(ABOUT))
            .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
            .build();
        let document = OpenApiBuilder::new()
            .info(info)
            .servers(Some([ServerBuilder::new().url("/").build()]))
            .paths(self.paths)
            .components(Some(components))
            .security(Some([SecurityRequirement::new(KEY, Vec::<String>::new())]))
            .build();
        // A value made of maps and strings has a JSON text.
        document.to_json().unwrap_or_default()
    }
}

/// The operations of a path that we use.
fn operations(item: &mut PathItem) -> Vec<(Method, &mut Operation)> {
    let all = [
        (Method::GET, item.get.as_mut()),
        (Method::PUT, item.put.as_mut()),
        (Method::POST, item.post.as_mut()),
        (Method::DELETE, item.delete.as_mut()),
        (Method::PATCH, item.patch.as_mut()),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation?))).collect()
}

/// A name that no other operation has: `post_jobs_by_id_cancel`.
fn operation_id(method: &Method, path: &str) -> String {
    let path = path.strip_prefix("/v1").unwrap_or(path).replace(".json", "");
    let steps = path.split('/').filter(|step| !step.is_empty()).map(|step| {
        let parameter = step.strip_prefix('{').and_then(|step| step.strip_suffix('}'));
        parameter.map_or_else(|| format!("_{step}"), |name| format!("_by_{name}"))
    });
    steps.fold(method.as_str().to_lowercase(), |id, step| id + &step)
}

/// Adds what follows from where the operation stands.
fn complete(operation: &mut Operation, need: Need) {
    let scope = match need {
        Need::Nothing | Need::Door | Need::Ticket => None,
        Need::Scope(scope) => Some(scope),
    };
    match scope {
        None => operation.security = Some(vec![SecurityRequirement::default()]),
        Some(scope) => {
            let told = operation.description.take().unwrap_or_default();
            let told = format!("{told}\n\nNeeds a key of scope `{}` or wider.", word(scope));
            operation.description = Some(told.trim_start().to_owned());
            refusal(operation, 401, "No key, or not a valid one.");
        }
    }
    if need != Need::Nothing {
        refusal(operation, 403, "The key's scope does not reach, or a foreign web page called.");
    }
    let takes_query = operation.parameters.iter().flatten().any(|parameter| match parameter {
        RefOr::T(parameter) => parameter.parameter_in == ParameterIn::Query,
        RefOr::Ref(_) => false,
    });
    let takes_body = operation.request_body.is_some();
    if takes_query || takes_body {
        refusal(operation, 400, "The body, a header or a query is malformed.");
    }
    if takes_body {
        refusal(operation, 413, "The body is over its bound.");
        refusal(operation, 415, "The body is not JSON.");
    }
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter {
            parameter.schema = parameter.schema.take().map(never_null);
        }
    }
    for (status, what) in [
        (500, "Our own fault; the log has the cause under the request id."),
        (503, "Not now: come again after `Retry-After`."),
        (504, "It took too long."),
    ] {
        refusal(operation, status, what);
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && status.as_str() >= "400"
            && response.content.is_empty()
        {
            *response = problem(&response.description);
        }
    }
}

/// What is left out of a query or a header is left out: it is never null.
fn never_null(schema: RefOr<Schema>) -> RefOr<Schema> {
    let is_null = |schema: &RefOr<Schema>| match schema {
        RefOr::T(Schema::Object(object)) => object.schema_type == SchemaType::Type(Type::Null),
        _ => false,
    };
    match schema {
        RefOr::T(Schema::Object(mut object)) => {
            if let SchemaType::Array(types) = &object.schema_type
                && let Some(one) = types.iter().find(|one| **one != Type::Null)
            {
                object.schema_type = SchemaType::Type(one.clone());
            }
            RefOr::T(Schema::Object(object))
        }
        RefOr::T(Schema::OneOf(mut several)) => {
            several.items.retain(|item| !is_null(item));
            match several.items.len() {
                1 => several.items.remove(0),
                _ => RefOr::T(Schema::OneOf(several)),
            }
        }
        other => other,
    }
}

fn word(scope: Scope) -> &'static str {
    match scope {
        Scope::Metrics => "metrics",
        Scope::Read => "read",
        Scope::Submit => "submit",
        Scope::Admin => "admin",
        Scope::Runner => "runner",
    }
}

/// Documents a refusal, unless the handler does.
fn refusal(operation: &mut Operation, status: u16, what: &str) {
    let responses = &mut operation.responses.responses;
    responses.entry(status.to_string()).or_insert_with(|| RefOr::T(problem(what)));
}

/// A failure is a problem document, unless the handler says otherwise.
fn problem(what: &str) -> utoipa::openapi::Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(what).content("application/problem+json", content).build()
}

/// The OpenAPI document of this API.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", responses(
    (status = 200, description = "This document.", content_type = "application/json", body = Object)))]
pub(super) async fn serve(app: App) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], app.documented()).into_response()
}
