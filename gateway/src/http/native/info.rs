//! What the fleet is and has, and what is the same for everybody (CLIENTS §3).

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::super::error::ApiError;
use super::super::respond;
use super::super::state::{App, Shared};
use super::{frames, nodes};
use crate::fleet::{FleetView, InstanceView};
use crate::tenant::Caller;
use crate::workflow;

type Who = Extension<Arc<Caller>>;

/// Folders of models, and the inputs that list what is in them.
const FOLDERS: [(&str, &[(&str, &str)]); 14] = [
    ("checkpoints", &[("CheckpointLoaderSimple", "ckpt_name"), ("CheckpointLoader", "ckpt_name")]),
    ("loras", &[("LoraLoader", "lora_name"), ("LoraLoaderModelOnly", "lora_name")]),
    ("vae", &[("VAELoader", "vae_name")]),
    ("text_encoders", &[("CLIPLoader", "clip_name"), ("DualCLIPLoader", "clip_name1")]),
    ("diffusion_models", &[("UNETLoader", "unet_name")]),
    ("clip_vision", &[("CLIPVisionLoader", "clip_name")]),
    ("style_models", &[("StyleModelLoader", "style_model_name")]),
    ("embeddings", &[]),
    ("controlnet", &[("ControlNetLoader", "control_net_name")]),
    ("gligen", &[("GLIGENLoader", "gligen_name")]),
    ("upscale_models", &[("UpscaleModelLoader", "model_name")]),
    ("hypernetworks", &[("HypernetworkLoader", "hypernetwork_name")]),
    ("photomaker", &[("PhotoMakerLoader", "photomaker_model_name")]),
    ("audio_encoders", &[("AudioEncoderLoader", "audio_encoder_name")]),
];

/// `GET /system_stats`: the sum over the fleet, one entry a device.
pub(super) async fn system_stats(app: App) -> Json<Value> {
    let fleet = app.engine.fleet();
    let up: Vec<&InstanceView> = fleet.instances.iter().filter(|instance| instance.up).collect();
    let versions: BTreeSet<&str> =
        up.iter().filter_map(|instance| instance.facts.as_ref()?.comfyui_version.as_deref()).collect();
    let devices: Vec<Value> =
        up.iter().enumerate().map(|(index, instance)| device(index, instance, &fleet)).collect();
    Json(json!({
        "system": {
            "os": "linux",
            "ram_total": 0,
            "ram_free": 0,
            "comfyui_version": versions.first().copied().unwrap_or("unknown"),
            "required_frontend_version": null,
            "installed_templates_version": null,
            "required_templates_version": null,
            "comfy_package_versions": [],
            "python_version": "",
            "pytorch_version": "",
            "embedded_python": false,
            "deploy_environment": "darkroom",
            "argv": [],
        },
        "devices": devices,
    }))
}

fn device(index: usize, instance: &InstanceView, fleet: &FleetView) -> Value {
    const MIB: u64 = 1 << 20;
    let facts = instance.facts.as_ref();
    let name = facts.map_or("unknown", |facts| facts.device_name.as_str());
    let total = facts.and_then(|facts| facts.vram_mib).map_or(0, u64::from) * MIB;
    let uuid = facts.and_then(|facts| facts.device_uuid.as_deref());
    let readings = fleet.hosts.iter().flat_map(|host| &host.devices.devices);
    let reading = uuid.and_then(|uuid| readings.into_iter().find(|reading| reading.uuid == uuid));
    let used = reading.and_then(|reading| reading.used_mib).map_or(0, u64::from) * MIB;
    let kind = if total == 0 { "cpu" } else { "cuda" };
    json!({
        "name": if total == 0 { name.to_owned() } else { format!("cuda:{index} {name}") },
        "type": kind,
        "index": index,
        "vram_total": total,
        "vram_free": total.saturating_sub(used),
        "torch_vram_total": 0,
        "torch_vram_free": 0,
    })
}

/// `GET /features`.
pub(super) async fn features(app: App) -> Json<Value> {
    Json(frames::features(app.limits.max_asset_bytes))
}

/// `GET /models`.
pub(super) async fn model_folders() -> Json<Value> {
    Json(FOLDERS.iter().map(|(folder, _)| json!(folder)).collect())
}

/// `GET /models/{folder}`.
pub(super) async fn models(app: App, caller: Who, Path(folder): Path<String>) -> Result<Response, ApiError> {
    let files = files(&app, &caller, &folder).await?.ok_or_else(ApiError::not_found)?;
    respond::json(StatusCode::OK, &files)
}

/// `GET /embeddings`: their names without extension.
pub(super) async fn embeddings(app: App, caller: Who) -> Result<Response, ApiError> {
    let files = files(&app, &caller, "embeddings").await?.unwrap_or_default();
    let names: Vec<&str> =
        files.iter().map(|file| file.rsplit_once('.').map_or(file.as_str(), |(name, _)| name)).collect();
    respond::json(StatusCode::OK, &names)
}

/// The files of a folder that any instance has; `None`: there is no such folder.
async fn files(app: &Shared, caller: &Caller, folder: &str) -> Result<Option<Vec<String>>, ApiError> {
    let folder = match folder {
        "unet" => "diffusion_models",
        "clip" => "text_encoders",
        other => other,
    };
    let Some((_, inputs)) = FOLDERS.iter().find(|(known, _)| *known == folder) else { return Ok(None) };
    let allow = &caller.tenant.settings.allow;
    let union = app.nodes.union(app).await?;
    let mut files: BTreeSet<String> = nodes::models(&union, allow, inputs).into_iter().collect();
    let fleet = app.engine.fleet();
    let weighed = fleet.instances.iter().filter_map(|instance| instance.facts.as_ref());
    for path in weighed.flat_map(|facts| facts.models_mib.keys()) {
        if let Some((of, file)) = path.split_once('/')
            && of == folder
            && workflow::is_allowed(&allow.models, file)
        {
            files.insert(file.to_owned());
        }
    }
    Ok(Some(files.into_iter().collect()))
}

/// `GET /experiment/models`.
pub(super) async fn experiment_folders() -> Json<Value> {
    let folder = |name: &str| json!({"name": name, "folders": [name]});
    Json(FOLDERS.iter().map(|(name, _)| folder(name)).collect())
}

/// `GET /experiment/models/{folder}`.
pub(super) async fn experiment_models(
    app: App,
    caller: Who,
    Path(folder): Path<String>,
) -> Result<Response, ApiError> {
    let files = files(&app, &caller, &folder).await?.ok_or_else(ApiError::not_found)?;
    let file = |name: &String| json!({"name": name, "pathIndex": 0, "modified": 0, "created": 0, "size": 0});
    respond::json(StatusCode::OK, &files.iter().map(file).collect::<Vec<_>>())
}

/// `GET /users`.
pub(super) async fn users() -> Json<Value> {
    Json(json!({"storage": "server", "migrated": true}))
}

/// Logs tell of everybody's jobs: there are none here.
pub(super) async fn no_logs() -> Json<Value> {
    Json(json!(""))
}

pub(super) async fn no_raw_logs() -> Json<Value> {
    Json(json!({"entries": [], "size": {"cols": 80, "rows": 24}}))
}

/// `PATCH /internal/logs/subscribe`: taken, and nothing ever comes.
pub(super) async fn subscribe() -> StatusCode {
    StatusCode::OK
}
