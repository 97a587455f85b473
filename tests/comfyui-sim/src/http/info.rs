//! What a server tells about itself (PROTOCOL §6), and constants for the rest.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde_json::{Value, json};

use super::{App, json};
use crate::files::Kind;
use crate::frames;
use crate::process::Process;

const MIB: u64 = 1 << 20;
const RAM_BYTES: u64 = 25_276_510_208;

/// Model folders, as `/models` lists them.
const FOLDERS: [&str; 14] = [
    "checkpoints",
    "configs",
    "loras",
    "vae",
    "text_encoders",
    "diffusion_models",
    "clip_vision",
    "style_models",
    "embeddings",
    "diffusers",
    "vae_approx",
    "controlnet",
    "gligen",
    "upscale_models",
];

/// Routes with an `/api` alias.
pub(super) fn routes() -> Router<Arc<Process>> {
    let constant = |value: Value| get(move || async move { json(StatusCode::OK, &value) });
    Router::new()
        .route("/", get(|| async { axum::response::Html("<!doctype html><title>ComfyUI</title>") }))
        .route("/object_info", get(object_info))
        .route("/object_info/{node_class}", get(one_class))
        .route("/system_stats", get(system_stats))
        .route("/features", constant(frames::features()))
        .route("/models", constant(json!(FOLDERS)))
        .route("/models/{folder}", get(models))
        .route("/embeddings", constant(json!([])))
        .route("/extensions", get(extensions))
        .route("/experiment/models", constant(json!([])))
        .route("/experiment/models/{folder}", constant(json!([])))
        .route("/view_metadata/{folder}", get(|| async { StatusCode::NOT_FOUND }))
        .route("/settings", constant(json!({})))
        .route("/users", constant(json!({"storage": "server", "migrated": true})))
        .route("/userdata", get(userdata))
        .route("/v2/userdata", constant(json!([])))
        .route("/userdata/{file}", get(|| async { StatusCode::NOT_FOUND }))
        .route("/i18n", constant(json!({})))
        .route("/workflow_templates", constant(json!({})))
        .route("/global_subgraphs", constant(json!({})))
        .route("/node_replacements", constant(json!({})))
}

/// Routes without one.
pub(super) fn unaliased() -> Router<Arc<Process>> {
    Router::new()
        .route("/assets/{file}", get(asset))
        .route("/extensions/{*script}", get(script))
        .route("/internal/files/{directory}", get(files))
        .route("/internal/logs", get(|| async { json(StatusCode::OK, &json!("")) }))
        .route("/internal/logs/raw", get(|| async { json(StatusCode::OK, &json!({"entries": []})) }))
        .route("/internal/folder_paths", get(|| async { json(StatusCode::OK, &json!({})) }))
        .route("/api/assets", any(assets_disabled))
        .route("/api/assets/{*rest}", any(assets_disabled))
        .route("/api/tags", any(assets_disabled))
}

/// Nothing is stored, but a directory must be named.
async fn userdata(Query(query): Query<HashMap<String, String>>) -> Response {
    if query.get("dir").is_none_or(String::is_empty) {
        return (StatusCode::BAD_REQUEST, "Directory not provided").into_response();
    }
    json(StatusCode::OK, &json!([]))
}

/// Scripts of custom nodes.
async fn extensions(State(process): App) -> Response {
    let paths: Vec<String> =
        process.config.extensions.iter().map(|path| format!("/extensions/{path}")).collect();
    json(StatusCode::OK, &json!(paths))
}

async fn script(State(process): App, Path(script): Path<String>, headers: HeaderMap) -> Response {
    if !process.config.extensions.contains(&script) {
        return StatusCode::NOT_FOUND.into_response();
    }
    file(&process, &headers, format!("// {script}"))
}

/// A script of the frontend; one that is called `large` has 9 MiB.
async fn asset(State(process): App, Path(name): Path<String>, headers: HeaderMap) -> Response {
    match name.as_str() {
        "app.js" => file(&process, &headers, "void 0".to_owned()),
        "large.js" => file(&process, &headers, " ".repeat(9 << 20)),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A file as it is, or that it has not changed.
fn file(process: &Process, headers: &HeaderMap, text: String) -> Response {
    let etag = format!("\"{:x}\"", text.len());
    if headers.get(header::IF_NONE_MATCH).is_some_and(|given| *given == *etag) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response();
    }
    process.record.count(|seen| seen.files += 1);
    let kind = "text/javascript".to_owned();
    ([(header::CONTENT_TYPE, kind), (header::ETAG, etag)], text).into_response()
}

async fn assets_disabled() -> Response {
    let message = "Assets system is disabled. Start the server with --enable-assets to use this feature.";
    let error = json!({"code": "SERVICE_DISABLED", "message": message, "details": {}});
    json(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": error}))
}

async fn object_info(State(process): App) -> Response {
    let body = process.classes.render(&process.folders());
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response()
}

/// One class; `{}` for an unknown one.
async fn one_class(State(process): App, Path(class): Path<String>) -> Response {
    let info = process.classes.filled(&class, &process.folders());
    json(StatusCode::OK, &info.map_or_else(|| json!({}), |info| json!({class: info})))
}

async fn models(State(process): App, Path(folder): Path<String>) -> Response {
    let files = match folder.as_str() {
        "checkpoints" | "diffusion_models" => process.config.checkpoints.clone(),
        "loras" => process.config.loras.clone(),
        known if FOLDERS.contains(&known) => Vec::new(),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    json(StatusCode::OK, &json!(files))
}

async fn files(State(process): App, Path(directory): Path<String>) -> Response {
    let Some(kind) = Kind::parse(&directory) else {
        return json(StatusCode::BAD_REQUEST, &json!({"error": "Invalid directory type"}));
    };
    let names = process.files().names(kind);
    let annotated: Vec<String> = names.iter().map(|name| format!("{name} [{directory}]")).collect();
    json(StatusCode::OK, &json!(annotated))
}

async fn system_stats(State(process): App) -> Response {
    let config = &process.config;
    let (total, free) = (config.device.vram_mib * MIB, process.vram().free_mib() * MIB);
    let stats = json!({
        "system": {
            "os": "linux",
            "ram_total": RAM_BYTES,
            "ram_free": RAM_BYTES / 10 * 9,
            "comfyui_version": config.version,
            "required_frontend_version": "1.49.6",
            "installed_templates_version": null,
            "required_templates_version": "0.11.44",
            "comfy_package_versions": [],
            "python_version": "3.11.7 (main, May  9 2026, 07:35:25) [GCC 12.2.0]",
            "pytorch_version": "2.9.1+cu128",
            "embedded_python": false,
            "deploy_environment": "local-git",
            "argv": ["main.py", "--listen", "127.0.0.1"],
        },
        "devices": [{
            "name": format!("cuda:0 {} : cudaMallocAsync", config.device.name),
            "type": "cuda",
            "index": 0,
            "vram_total": total,
            "vram_free": free,
            "torch_vram_total": total - free,
            "torch_vram_free": 0,
        }],
    });
    json(StatusCode::OK, &stats)
}
