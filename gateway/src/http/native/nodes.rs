//! `/object_info`: the node classes of the whole fleet as one ComfyUI would tell them (CLIENTS §4.12). A class is there
//! when any instance has it, and lists offer what any instance lists. Inputs that take files offer the caller's own
//! uploads, and nobody else's (PROTOCOL §9).

use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Extension;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use moka::sync::Cache;
use serde_json::{Map, Value, json};

use super::super::error::ApiError;
use super::super::respond;
use super::super::state::{App, Shared};
use crate::store::{Allowed, Rules};
use crate::tenant::Caller;
use crate::workflow;

type Who = Extension<Arc<Caller>>;

/// Answers that are kept, bytes of all together.
const KEPT_BYTES: u64 = 64 << 20;
/// The flags of inputs that name a caller's file.
const UPLOAD_FLAGS: [&str; 4] = ["image_upload", "audio_upload", "video_upload", "file_upload"];

/// What is known of the fleet's node classes.
#[derive(Debug)]
pub(in super::super) struct Nodes {
    /// The newest union; it is of these catalogues.
    known: Mutex<Option<(Vec<String>, Arc<Union>)>>,
    /// Held while one is made.
    making: tokio::sync::Mutex<()>,
    answers: Cache<[u8; 32], Arc<Answer>>,
}

impl Default for Nodes {
    fn default() -> Self {
        let weigh = |_: &[u8; 32], answer: &Arc<Answer>| {
            u32::try_from(answer.plain.len() + answer.packed.len()).unwrap_or(u32::MAX)
        };
        Self {
            known: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            answers: Cache::builder().max_capacity(KEPT_BYTES).weigher(weigh).build(),
        }
    }
}

/// The node classes of the whole fleet.
#[derive(Debug, Default)]
pub(super) struct Union {
    classes: Map<String, Value>,
    hash: [u8; 32],
}

/// One answer, as it is sent.
#[derive(Debug)]
struct Answer {
    plain: Bytes,
    packed: Bytes,
    etag: String,
}

impl Nodes {
    /// The newest union, if one was made.
    pub(super) fn known(&self) -> Option<Arc<Union>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().map(|(_, union)| union.clone())
    }

    fn of(&self, hashes: &[String]) -> Option<Arc<Union>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|(of, _)| of == hashes).map(|(_, union)| union.clone())
    }

    /// The union of the fleet as it is now.
    pub(super) async fn union(&self, app: &Shared) -> Result<Arc<Union>, ApiError> {
        let mut hashes: Vec<String> =
            app.engine.fleet().catalogues.iter().map(|catalogue| catalogue.hash.clone()).collect();
        hashes.sort_unstable();
        if let Some(union) = self.of(&hashes) {
            return Ok(union);
        }
        let _turn = self.making.lock().await;
        if let Some(union) = self.of(&hashes) {
            return Ok(union);
        }
        let mut bodies = Vec::with_capacity(hashes.len());
        for hash in &hashes {
            bodies.extend(app.engine.store().catalogue(hash.clone()).await?);
        }
        let made = tokio::task::spawn_blocking(move || Union::of(&bodies)).await;
        let union = Arc::new(made.map_err(|error| ApiError::internal(&error))?);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((hashes, union.clone()));
        Ok(union)
    }
}

impl Union {
    fn of(bodies: &[String]) -> Self {
        let mut classes = Map::new();
        let mut hasher = blake3::Hasher::new();
        for body in bodies {
            hasher.update(body.as_bytes());
            let Ok(Value::Object(more)) = serde_json::from_str(&workflow::strict_json(body)) else {
                continue;
            };
            for (name, class) in more {
                match classes.get_mut(&name) {
                    None => drop(classes.insert(name, class)),
                    Some(known) if *known == class => {}
                    Some(known) => merge(known, &class),
                }
            }
        }
        Self { classes, hash: *hasher.finalize().as_bytes() }
    }

    /// How an input of a class is declared.
    pub(super) fn input(&self, class: &str, input: &str) -> Option<Value> {
        let inputs = self.classes.get(class)?.get("input")?;
        ["required", "optional"].into_iter().find_map(|section| inputs.get(section)?.get(input)).cloned()
    }

    /// The choices of an input of a class.
    pub(super) fn choices(&self, class: &str, input: &str) -> Vec<String> {
        let Some(mut declared) = self.input(class, input) else { return Vec::new() };
        let listed = options(&mut declared).map(std::mem::take).unwrap_or_default();
        listed.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// A class as this caller may see it.
    fn class(&self, name: &str, sight: &Sight) -> Option<Value> {
        if !workflow::is_allowed(&sight.allow.classes, name) {
            return None;
        }
        let mut class = self.classes.get(name)?.clone();
        let sections = class.get_mut("input").and_then(Value::as_object_mut);
        for inputs in sections.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
            inputs.values_mut().for_each(|input| sight.narrow(input));
        }
        Some(class)
    }
}

/// The list of an input's choices in either of its two shapes (PROTOCOL §6).
fn options(input: &mut Value) -> Option<&mut Vec<Value>> {
    if input.get(0).is_some_and(Value::is_array) {
        return input.get_mut(0)?.as_array_mut();
    }
    input.get_mut(1)?.get_mut("options")?.as_array_mut()
}

/// Adds the choices that another instance lists.
fn merge(known: &mut Value, other: &Value) {
    let Some(sections) = known.get_mut("input").and_then(Value::as_object_mut) else { return };
    for (section, inputs) in sections {
        let Some(theirs) = other.get("input").and_then(|input| input.get(section)) else { continue };
        for (name, input) in inputs.as_object_mut().into_iter().flatten() {
            let Some(mut more) = theirs.get(name).cloned() else { continue };
            let (Some(listed), Some(more)) = (options(input), options(&mut more)) else { continue };
            for choice in more {
                if !listed.contains(choice) {
                    listed.push(choice.take());
                }
            }
        }
    }
}

/// What a caller may see.
struct Sight {
    allow: Allowed,
    uploads: Vec<String>,
}

impl Sight {
    async fn of(app: &Shared, caller: &Caller) -> Result<Self, ApiError> {
        let most = app.native.settings().max_uploads_listed;
        let mut uploads = app.engine.store().native().upload_names(caller.tenant.id, most).await?;
        uploads.extend(app.shared_inputs.iter().cloned());
        uploads.sort_unstable();
        uploads.dedup();
        Ok(Self { allow: caller.tenant.settings.allow.clone(), uploads })
    }

    fn narrow(&self, input: &mut Value) {
        let takes_files = input.get(1).is_some_and(|about| {
            UPLOAD_FLAGS.into_iter().any(|flag| about.get(flag) == Some(&Value::Bool(true)))
        });
        let has_rules = self.allow.models != Rules::default();
        let Some(listed) = options(input) else { return };
        if takes_files {
            *listed = self.uploads.iter().map(|name| json!(name)).collect();
        } else if has_rules {
            listed.retain(|choice| choice.as_str().is_none_or(|name| self.may_use(name)));
        }
    }

    fn may_use(&self, name: &str) -> bool {
        !workflow::is_model_file(name) || workflow::is_allowed(&self.allow.models, &name.replace('\\', "/"))
    }

    fn key(&self, union: &Union) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&union.hash);
        hasher.update(serde_json::to_string(&self.allow).unwrap_or_default().as_bytes());
        hasher.update(serde_json::to_string(&self.uploads).unwrap_or_default().as_bytes());
        *hasher.finalize().as_bytes()
    }
}

/// `GET /object_info`.
pub(super) async fn all(app: App, caller: Who, headers: HeaderMap) -> Result<Response, ApiError> {
    let union = app.nodes.union(&app).await?;
    let sight = Sight::of(&app, &caller).await?;
    let key = sight.key(&union);
    let answer = match app.nodes.answers.get(&key) {
        Some(answer) => answer,
        None => {
            let made = tokio::task::spawn_blocking(move || answer(&union, &sight, &key)).await;
            let made = Arc::new(made.map_err(|error| ApiError::internal(&error))??);
            app.nodes.answers.insert(key, made.clone());
            made
        }
    };
    Ok(send(&answer, &headers))
}

fn answer(union: &Union, sight: &Sight, key: &[u8; 32]) -> Result<Answer, ApiError> {
    let broken = |error: &dyn std::fmt::Display| ApiError::internal(error);
    let classes = union.classes.keys().filter_map(|name| Some((name.clone(), union.class(name, sight)?)));
    let plain = Value::Object(classes.collect()).to_string();
    let mut packer = GzEncoder::new(Vec::with_capacity(plain.len() / 8), Compression::fast());
    packer.write_all(plain.as_bytes()).map_err(|error| broken(&error))?;
    let packed = packer.finish().map_err(|error| broken(&error))?;
    let etag = format!("\"{}\"", hex::encode(&key[..16]));
    Ok(Answer { plain: plain.into(), packed: packed.into(), etag })
}

fn send(answer: &Answer, headers: &HeaderMap) -> Response {
    let says = |name: header::HeaderName, word: &str| {
        headers.get(name).and_then(|given| given.to_str().ok()).is_some_and(|given| given.contains(word))
    };
    let is_known = says(header::IF_NONE_MATCH, &answer.etag);
    let packed = !is_known && says(header::ACCEPT_ENCODING, "gzip");
    let mut response = match (is_known, packed) {
        (true, _) => StatusCode::NOT_MODIFIED.into_response(),
        (_, true) => answer.packed.clone().into_response(),
        (_, false) => answer.plain.clone().into_response(),
    };
    let sent = response.headers_mut();
    sent.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    sent.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    sent.insert(header::VARY, HeaderValue::from_static("accept-encoding, authorization"));
    if let Ok(etag) = HeaderValue::from_str(&answer.etag) {
        sent.insert(header::ETAG, etag);
    }
    if packed {
        sent.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// `GET /object_info/{class}`: `{}` for one that there is not, as in ComfyUI.
pub(super) async fn one(app: App, caller: Who, Path(name): Path<String>) -> Result<Response, ApiError> {
    let union = app.nodes.union(&app).await?;
    let sight = Sight::of(&app, &caller).await?;
    let class = union.class(&name, &sight);
    respond::json(StatusCode::OK, &class.map_or_else(|| json!({}), |class| json!({name: class})))
}

/// Model files by the inputs that list them, as this caller may see them.
pub(super) fn models(union: &Union, allow: &Allowed, inputs: &[(&str, &str)]) -> Vec<String> {
    let sight = Sight { allow: allow.clone(), uploads: Vec::new() };
    let listed = inputs.iter().flat_map(|(class, input)| union.choices(class, input));
    listed.filter(|name| sight.may_use(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(models: &[&str]) -> String {
        json!({
            "Loader": {"input": {"required": {"name": [models, {}]}}},
            "LoadImage": {"input": {"required": {"image": [["theirs.png"], {"image_upload": true}]}}},
            "New": {"input": {"required": {"mode": ["COMBO", {"options": models}]}}},
        })
        .to_string()
    }

    fn sight(deny: &[&str]) -> Sight {
        let models = Rules { deny: deny.iter().map(|&it| it.into()).collect(), ..Rules::default() };
        Sight { allow: Allowed { models, ..Allowed::default() }, uploads: vec!["mine.png".into()] }
    }

    #[test]
    fn lists_offer_what_any_instance_lists() {
        let union = Union::of(&[body(&["a.sft"]), body(&["b.sft", "a.sft"])]);
        assert_eq!(union.choices("Loader", "name"), ["a.sft", "b.sft"]);
        assert_eq!(union.choices("New", "mode"), ["a.sft", "b.sft"]);
    }

    #[test]
    fn a_caller_sees_its_own_uploads_and_only_the_models_it_may_use() {
        let union = Union::of(&[body(&["a.sft", "b.sft"])]);
        let class = |name| union.class(name, &sight(&["b*"])).unwrap_or_default();
        assert_eq!(class("LoadImage")["input"]["required"]["image"][0], json!(["mine.png"]));
        assert_eq!(class("Loader")["input"]["required"]["name"][0], json!(["a.sft"]));
    }
}
