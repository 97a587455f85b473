//! What the web editor keeps for its user: files by path, and settings, which are one of the files. A tenant is one user.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, Request};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::super::error::{ApiError, AsItIs, ErrorKind};
use super::super::routes::{Need, Routes};
use super::super::state::{App, Shared};
use super::super::{body, respond};
use super::view::inside;
use crate::store::{NewUserFile, UserFile, UserFileChange};
use crate::tenant::Caller;

type Who = Extension<Arc<Caller>>;
type Asked = Query<BTreeMap<String, String>>;

/// Where settings are kept, as in ComfyUI.
const SETTINGS: &str = "comfy.settings.json";
/// Longest path, bytes.
const MAX_PATH_BYTES: usize = 512;

/// Adds the routes.
pub(super) fn add(routes: &mut Routes, read: Need, submit: Need) {
    for (list, v2, file, moved, settings, setting) in [
        (
            "/userdata",
            "/v2/userdata",
            "/userdata/{file}",
            "/userdata/{file}/move/{dest}",
            "/settings",
            "/settings/{id}",
        ),
        (
            "/api/userdata",
            "/api/v2/userdata",
            "/api/userdata/{file}",
            "/api/userdata/{file}/move/{dest}",
            "/api/settings",
            "/api/settings/{id}",
        ),
    ] {
        routes.add(Method::GET, list, read, self::list);
        routes.add(Method::GET, v2, read, list_v2);
        routes.add(Method::GET, file, read, get);
        routes.add(Method::POST, file, submit, put);
        routes.add(Method::DELETE, file, submit, delete);
        routes.add(Method::POST, moved, submit, rename);
        routes.add(Method::GET, settings, read, all_settings);
        routes.add(Method::POST, settings, submit, change_settings);
        routes.add(Method::GET, setting, read, one_setting);
        routes.add(Method::POST, setting, submit, change_setting);
    }
}

/// A path in its plain form.
fn path(given: &str) -> Result<String, ApiError> {
    let plain = inside(given).filter(|path| !path.is_empty() && path.len() <= MAX_PATH_BYTES);
    let plain = plain.filter(|path| !path.chars().any(char::is_control));
    plain.ok_or_else(|| ApiError::new(ErrorKind::Forbidden, "forbidden", "the path leads nowhere"))
}

fn is_set(query: &BTreeMap<String, String>, name: &str) -> bool {
    query.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
}

fn told(file: &UserFile, path: &str) -> Value {
    json!({"path": path, "size": file.size_bytes, "modified": file.modified_at, "created": file.created_at})
}

/// Answers in ComfyUI's plain way, whatever the status.
fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = (status, text).into_response();
    response.extensions_mut().insert(AsItIs);
    response
}

/// `GET /userdata?dir=…`: names relative to the folder.
async fn list(app: App, caller: Who, Query(query): Asked) -> Result<Response, ApiError> {
    let Some(given) = query.get("dir").filter(|dir| !dir.is_empty()) else {
        return Ok(plain(StatusCode::BAD_REQUEST, "Directory not provided"));
    };
    let folder = inside(given).ok_or_else(ApiError::not_found)?;
    let files = files_in(&app, &caller, &folder).await?;
    if files.is_empty() && !folder.is_empty() {
        return Ok(plain(StatusCode::NOT_FOUND, "Requested directory not found"));
    }
    let below = if folder.is_empty() { 0 } else { folder.len() + 1 };
    let mut listed = Vec::new();
    for file in &files {
        let name = file.path.get(below..).unwrap_or_default();
        if !is_set(&query, "recurse") && name.contains('/') {
            continue;
        }
        listed.push(if is_set(&query, "full_info") {
            told(file, name)
        } else if is_set(&query, "split") {
            std::iter::once(name).chain(name.split('/')).collect()
        } else {
            json!(name)
        });
    }
    respond::json(StatusCode::OK, &listed)
}

async fn files_in(app: &Shared, caller: &Caller, folder: &str) -> Result<Vec<UserFile>, ApiError> {
    let most = app.native.settings().max_userdata_files;
    Ok(app.engine.store().native().user_files(caller.tenant.id, folder.to_owned(), most).await?)
}

/// `GET /v2/userdata?path=…`: files and folders right below a folder.
async fn list_v2(app: App, caller: Who, Query(query): Asked) -> Result<Response, ApiError> {
    let given = query.get("path").map(String::as_str).unwrap_or_default();
    let folder = inside(given).ok_or_else(ApiError::not_found)?;
    let below = if folder.is_empty() { 0 } else { folder.len() + 1 };
    let mut folders = BTreeSet::new();
    let mut listed = Vec::new();
    for file in files_in(&app, &caller, &folder).await? {
        let rest = file.path.get(below..).unwrap_or_default();
        match rest.split_once('/') {
            Some((name, _)) if folders.insert(name.to_owned()) => {
                let path = file.path.get(..below + name.len()).unwrap_or_default();
                listed.push(json!({"name": name, "path": path, "type": "directory"}));
            }
            Some(_) => {}
            None => {
                #[expect(clippy::cast_precision_loss, reason = "milliseconds of any year are exact")]
                let seconds = file.modified_at as f64 / 1_000.0; // elsewhere these routes tell milliseconds
                listed.push(json!({"name": rest, "path": file.path, "type": "file", "size": file.size_bytes, "modified": seconds}));
            }
        }
    }
    respond::json(StatusCode::OK, &listed)
}

/// `GET /userdata/{file}`: the bytes, never as something that acts.
async fn get(app: App, caller: Who, Path(file): Path<String>) -> Result<Response, ApiError> {
    let path = path(&file)?;
    let kind = if path.ends_with(".json") { "application/json" } else { "application/octet-stream" };
    let found = app.engine.store().native().user_file(caller.tenant.id, path).await?;
    let (_, bytes) = found.ok_or_else(ApiError::not_found)?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
        (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    ];
    Ok((headers, bytes).into_response())
}

/// `POST /userdata/{file}`.
async fn put(
    app: App,
    caller: Who,
    Path(file): Path<String>,
    Query(query): Asked,
    request: Request,
) -> Result<Response, ApiError> {
    let path = path(&file)?;
    let limit = app.native.settings().max_userdata_file_bytes;
    let read = body::read_any(&app, request, limit).await?;
    let overwrite = query.get("overwrite").is_none_or(|value| value != "false");
    let change = keep(&app, &caller, path, read.bytes.to_vec(), overwrite).await?;
    changed(change, &query)
}

async fn keep(
    app: &Shared,
    caller: &Caller,
    path: String,
    body: Vec<u8>,
    overwrite: bool,
) -> Result<UserFileChange, ApiError> {
    let settings = app.native.settings();
    let file = NewUserFile {
        tenant: caller.tenant.id,
        path,
        body,
        overwrite,
        max_files: settings.max_userdata_files,
        max_bytes: settings.max_userdata_bytes,
        now: app.engine.now(),
    };
    Ok(app.engine.store().native().put_user_file(file).await?)
}

fn changed(change: UserFileChange, query: &BTreeMap<String, String>) -> Result<Response, ApiError> {
    match change {
        UserFileChange::Done(file) if is_set(query, "full_info") => {
            respond::json(StatusCode::OK, &told(&file, &file.path))
        }
        UserFileChange::Done(file) => respond::json(StatusCode::OK, &file.path),
        UserFileChange::NotFound => Err(ApiError::not_found()),
        UserFileChange::Exists => Ok(plain(StatusCode::CONFLICT, "File already exists")),
        UserFileChange::Full => Err(ApiError::new(
            ErrorKind::TooLarge,
            "quota_exceeded",
            "no room is left for more of the editor's files",
        )),
    }
}

/// `DELETE /userdata/{file}`.
async fn delete(app: App, caller: Who, Path(file): Path<String>) -> Result<StatusCode, ApiError> {
    let path = path(&file)?;
    let deleted = app.engine.store().native().delete_user_file(caller.tenant.id, path).await?;
    if deleted { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::not_found()) }
}

/// `POST /userdata/{file}/move/{dest}`.
async fn rename(
    app: App,
    caller: Who,
    Path((file, dest)): Path<(String, String)>,
    Query(query): Asked,
) -> Result<Response, ApiError> {
    let (from, to) = (path(&file)?, path(&dest)?);
    let overwrite = query.get("overwrite").is_none_or(|value| value != "false");
    let store = app.engine.store().native();
    changed(store.move_user_file(caller.tenant.id, from, to, overwrite).await?, &query)
}

async fn settings(app: &Shared, caller: &Caller) -> Result<Map<String, Value>, ApiError> {
    let store = app.engine.store().native();
    let kept = store.user_file(caller.tenant.id, SETTINGS.to_owned()).await?;
    Ok(kept.and_then(|(_, bytes)| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
}

/// `GET /settings`.
async fn all_settings(app: App, caller: Who) -> Result<Response, ApiError> {
    respond::json(StatusCode::OK, &settings(&app, &caller).await?)
}

/// `GET /settings/{id}`: `null` for one that was never set.
async fn one_setting(app: App, caller: Who, Path(id): Path<String>) -> Result<Response, ApiError> {
    respond::json(StatusCode::OK, &settings(&app, &caller).await?.get(&id))
}

/// `POST /settings`: these, the others stay.
async fn change_settings(app: App, caller: Who, request: Request) -> Result<Response, ApiError> {
    let changes = read_value(&app, request).await?;
    let Value::Object(changes) = changes else {
        return Err(ApiError::invalid("settings must be an object"));
    };
    set(&app, &caller, changes).await
}

/// `POST /settings/{id}`.
async fn change_setting(
    app: App,
    caller: Who,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let value = read_value(&app, request).await?;
    set(&app, &caller, Map::from_iter([(id, value)])).await
}

async fn read_value(app: &Shared, request: Request) -> Result<Value, ApiError> {
    let limit = app.native.settings().max_userdata_file_bytes;
    let read = body::read_any(app, request, limit).await?;
    serde_json::from_slice(&read.bytes).map_err(|_| ApiError::invalid("the body is not JSON"))
}

async fn set(app: &Shared, caller: &Caller, changes: Map<String, Value>) -> Result<Response, ApiError> {
    let stripe = app.naming.get(caller.tenant.id as usize % app.naming.len());
    let _turn = match stripe {
        Some(lock) => Some(lock.lock().await),
        None => None,
    };
    let mut all = settings(app, caller).await?;
    all.extend(changes);
    let body = Value::Object(all).to_string().into_bytes();
    if body.len() > app.native.settings().max_userdata_file_bytes {
        return Err(ApiError::too_large(app.native.settings().max_userdata_file_bytes as u64));
    }
    match keep(app, caller, SETTINGS.to_owned(), body, true).await? {
        UserFileChange::Done(_) => Ok(StatusCode::OK.into_response()),
        other => changed(other, &BTreeMap::new()),
    }
}
