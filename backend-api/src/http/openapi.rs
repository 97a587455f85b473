//! The OpenAPI document, made from the table of doors: each handler says its method, path, parameters and good answers
//! in `#[utoipa::path(…)]`, and what follows from its door is added here: who may use it, and the refusals that any
//! request can meet.

use axum::extract::State;
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::{Operation, PathItem, Paths};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApiBuilder, Ref, RefOr,
    ResponseBuilder, Schema, ServerBuilder,
};
use utoipa::{PartialSchema, ToSchema};

use super::AppState;
use super::door::{Access, Door, Rate};

const ABOUT: &str = "Darkroom's business side: people, money and pictures. Every refusal is \
    `{\"error\": {\"code\", \"message\"}}` with a stable code; `docs/ERRORS.md` tells cause and remedy of each.";

/// A refusal, as every route shows it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "its shape is documented; `ApiError` writes it")]
pub(super) struct Refusal {
    error: RefusalWords,
}

/// What a refusal says.
#[derive(ToSchema)]
#[expect(dead_code, reason = "its shape is documented; `ApiError` writes it")]
pub(super) struct RefusalWords {
    /// Stable, for programs.
    #[schema(example = "unauthorized")]
    code: String,
    /// For people.
    #[schema(example = "valid credentials are needed")]
    message: String,
}

/// The document in the making.
#[derive(Default)]
pub(super) struct Document {
    paths: Paths,
    schemas: Vec<(String, RefOr<Schema>)>,
}

impl Document {
    /// Takes in a documented route; returns its paths and methods.
    pub(super) fn add(
        &mut self,
        door: Door,
        schemas: Vec<(String, RefOr<Schema>)>,
        mut paths: Paths,
    ) -> Vec<(String, Vec<Method>)> {
        self.schemas.extend(schemas);
        let mut found = Vec::new();
        for (path, item) in &mut paths.paths {
            let mut methods = Vec::new();
            for (method, operation) in operations(item) {
                operation.operation_id = Some(operation_id(&method, path));
                complete(operation, door);
                methods.push(method);
            }
            found.push((path.clone(), methods));
        }
        self.paths.merge(paths);
        found
    }

    /// The document as JSON text.
    pub(super) fn text(&self) -> String {
        let mut shared = Vec::new();
        Refusal::schemas(&mut shared);
        let bearer = |what: &str| {
            SecurityScheme::Http(
                HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(what)).build(),
            )
        };
        let signature = ApiKeyValue::with_description(
            "X-Darkroom-Signature",
            "HMAC-SHA256 over method, path, time, nonce and body; docs/BACKEND.md tells how.",
        );
        let components = ComponentsBuilder::new()
            .schemas_from_iter(shared)
            .schema("Refusal", Refusal::schema())
            .schemas_from_iter(self.schemas.clone())
            .security_scheme(PERSON, bearer("An access token, as `POST /auth/login` gives it."))
            .security_scheme(MACHINE, bearer("A token that the operator configured for this machine."))
            .security_scheme(PARTNER, SecurityScheme::ApiKey(ApiKey::Header(signature)))
            .build();
        let info = InfoBuilder::new()
            .title("Darkroom backend-api")
            .version(env!("CARGO_PKG_VERSION"))
            .description(Some(ABOUT))
            .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
            .build();
        let document = OpenApiBuilder::new()
            .info(info)
            .servers(Some([ServerBuilder::new().url("/").build()]))
            .paths(self.paths.clone())
            .components(Some(components))
            .build();
        // A value made of maps and strings has a JSON text.
        document.to_json().unwrap_or_default()
    }
}

const PERSON: &str = "person";
const MACHINE: &str = "machine";
const PARTNER: &str = "partner";

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

/// A name that no other operation has: `post_orders_by_id_cancel`.
fn operation_id(method: &Method, path: &str) -> String {
    let path = path.replace(['.', '-'], "_");
    let steps = path.split('/').filter(|step| !step.is_empty()).map(|step| {
        let parameter = step.strip_prefix('{').and_then(|step| step.strip_suffix('}'));
        parameter.map_or_else(|| format!("_{step}"), |name| format!("_by_{name}"))
    });
    let id = steps.fold(method.as_str().to_lowercase(), |id, step| id + &step);
    if id == "get" { "get_root".to_owned() } else { id }
}

/// Adds what follows from its door.
fn complete(operation: &mut Operation, door: Door) {
    let scheme = match door.access {
        Access::Open | Access::Signed => None,
        Access::User | Access::Admin => Some(PERSON),
        Access::Partner => Some(PARTNER),
        Access::Trigger | Access::Metrics => Some(MACHINE),
    };
    operation.security = Some(vec![match scheme {
        None => SecurityRequirement::default(),
        Some(scheme) => SecurityRequirement::new(scheme, Vec::<String>::new()),
    }]);
    if scheme.is_some() {
        refusal(operation, 401, "No credentials, or none that are good.");
    }
    if door.access == Access::Admin {
        refusal(operation, 403, "The person is no admin.");
    }
    if door.rate != Rate::Unlimited {
        refusal(operation, 429, "Too many requests of this kind: come again after `Retry-After`.");
    }
    if operation.request_body.is_some() {
        refusal(operation, 400, "The body is malformed.");
        refusal(operation, 413, "The body is over its bound.");
        refusal(operation, 415, "The body is not JSON.");
    } else if operation.parameters.is_some() {
        refusal(operation, 400, "A parameter is malformed.");
    }
    for (status, what) in [
        (500, "Our own fault; the log has the cause under the request id."),
        (503, "Not now, or not set up here."),
        (504, "It took too long."),
    ] {
        refusal(operation, status, what);
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && status.as_str() >= "400"
            && response.content.is_empty()
        {
            *response = refused(&response.description);
        }
    }
}

/// Documents a refusal, unless the handler does.
fn refusal(operation: &mut Operation, status: u16, what: &str) {
    let responses = &mut operation.responses.responses;
    responses.entry(status.to_string()).or_insert_with(|| RefOr::T(refused(what)));
}

fn refused(what: &str) -> utoipa::openapi::Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Refusal"))).build();
    ResponseBuilder::new().description(what).content("application/json", content).build()
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", responses(
    (status = 200, description = "The OpenAPI document.", content_type = "application/json", body = Object)))]
pub(super) async fn serve(State(state): State<AppState>) -> Response {
    ([(CONTENT_TYPE, "application/json")], state.document.clone()).into_response()
}
