//! The editor's files as an instance serves them. What was fetched is kept, bounded by bytes, and asked for again only
//! where it may have changed; so the page stays there while its instance is away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::header::{self, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use moka::sync::Cache;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::super::error::{ApiError, ErrorKind};
use super::super::native::ForwardPermit;
use super::super::reader;
use super::super::state::Shared;
use super::{describe, is_known, kind};
use crate::engine::forwards::{Answer, ForwardError, Patience};
use crate::link::message::{ForwardHead, ForwardRequest, InstanceName};
use crate::tenant::Caller;

/// Largest file that is kept, bytes; larger ones go by, and count as requests that are passed on for as long as they do.
const MAX_KEPT_BYTES: u64 = 8 << 20;
/// Files that are fetched at once; more wait.
const FETCHES: usize = 8;
/// How long a file is taken to be as it was. The names below `assets` change with their content.
const FRESH: Duration = Duration::from_secs(10);
const FRESH_ASSET: Duration = Duration::from_secs(24 * 3600);
/// How long the instance may be silent.
const PATIENCE: Duration = Duration::from_secs(15);

/// The files of one instance, or of any.
#[derive(Debug)]
pub(super) struct Remote {
    name: Option<InstanceName>,
    kept: Cache<Key, Arc<Kept>>,
    fetching: Semaphore,
}

/// Whose file, and its path.
type Key = (InstanceName, String);

/// A file that is kept.
#[derive(Debug, Clone)]
struct Kept {
    bytes: Bytes,
    etag: HeaderValue,
    /// By what the instance knows this state of the file.
    validator: Option<(&'static str, String)>,
    seen: Instant,
}

/// A file as it was fetched.
enum Fetched {
    Kept(Arc<Kept>),
    /// Too large to be kept; its body is still to come.
    Large(Box<Answer>),
}

/// A file that was found.
pub(super) enum Found {
    /// It is here.
    Here { bytes: Bytes, etag: HeaderValue },
    /// It is on its way, too large to be kept.
    Passing { answer: Box<Answer>, permit: ForwardPermit },
}

impl Remote {
    pub(super) fn new(name: Option<InstanceName>, kept_bytes: u64) -> Self {
        let weigh = |(_, path): &Key, kept: &Arc<Kept>| {
            u32::try_from(kept.bytes.len() + path.len() + 256).unwrap_or(u32::MAX)
        };
        Self {
            name,
            kept: Cache::builder().max_capacity(kept_bytes).weigher(weigh).build(),
            fetching: Semaphore::new(FETCHES),
        }
    }

    /// A file of the editor's.
    ///
    /// # Errors
    /// When there is none, its instance does not answer, or too many large ones go by.
    pub(super) async fn file(&self, app: &Shared, path: &str, caller: &Caller) -> Result<Found, ApiError> {
        let fresh = if path.starts_with("/assets/") { FRESH_ASSET } else { FRESH };
        self.find(app, path, fresh, Some(caller)).await?.ok_or_else(ApiError::not_found)
    }

    /// What the instance tells of itself, JSON text; `None` where it does not.
    pub(super) async fn fact(&self, app: &Shared, path: &str) -> Option<Bytes> {
        match self.find(app, path, FRESH, None).await {
            Ok(Some(Found::Here { bytes, .. })) => Some(bytes),
            Ok(Some(Found::Passing { .. }) | None) => None,
            Err(error) => {
                tracing::debug!(path, code = error.code(), "the editor's instance does not tell");
                None
            }
        }
    }

    /// A file; one that is too large to be kept is found for a caller only.
    async fn find(
        &self,
        app: &Shared,
        path: &str,
        fresh: Duration,
        caller: Option<&Caller>,
    ) -> Result<Option<Found>, ApiError> {
        let (instance, is_up) = self.instance(app).ok_or_else(no_instance)?;
        let key = (instance, path.to_owned());
        let is_fresh = |kept: &Arc<Kept>| !is_up || kept.seen.elapsed() < fresh;
        if let Some(kept) = self.kept.get(&key).filter(is_fresh) {
            return Ok(Some(kept.found()));
        }
        let _turn = self.fetching.acquire().await.map_err(|error| ApiError::internal(&error))?;
        // Somebody else may have fetched it meanwhile.
        let kept = self.kept.get(&key);
        if let Some(kept) = kept.as_ref().filter(|kept| is_fresh(kept)) {
            return Ok(Some(kept.found()));
        }
        match self.fetch(app, &key, kept.as_deref()).await {
            Ok(None) => Ok(None),
            Ok(Some(Fetched::Kept(kept))) => Ok(Some(kept.found())),
            Ok(Some(Fetched::Large(answer))) => {
                let permit = caller.map(|caller| app.forwarding.enter(caller)).transpose()?;
                Ok(permit.map(|permit| Found::Passing { answer, permit }))
            }
            // It went away just now: what was there an instant ago is better than nothing.
            Err(_) if kept.is_some() => Ok(kept.map(|kept| kept.found())),
            Err(error) => {
                tracing::debug!(path, %error, "a file of the editor could not be fetched");
                Err(no_instance())
            }
        }
    }

    /// The instance, and whether it answers. Of any, always the same one as long as it does: files of one state of the
    /// editor belong together.
    fn instance(&self, app: &Shared) -> Option<(InstanceName, bool)> {
        let fleet = app.engine.fleet();
        let is_up = |name: &InstanceName| fleet.instances.iter().any(|one| one.up && one.name == *name);
        match &self.name {
            Some(name) => Some((name.clone(), is_up(name))),
            None => fleet.instances.iter().find(|one| one.up).map(|one| (one.name.clone(), true)),
        }
    }

    async fn fetch(
        &self,
        app: &Shared,
        key: &Key,
        kept: Option<&Kept>,
    ) -> Result<Option<Fetched>, ForwardError> {
        let (instance, path) = key;
        let validator = kept.and_then(|kept| kept.validator.clone());
        let request = ForwardRequest {
            id: Uuid::new_v4(),
            instance: instance.clone(),
            method: "GET".to_owned(),
            target: path.clone(),
            headers: validator.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            length: Some(0),
        };
        let patience = Patience { answer: PATIENCE, body: PATIENCE };
        let answer = app.engine.forwards().send(request, stream::empty(), patience).await?;
        match (answer.head.status, kept) {
            (304, Some(kept)) => {
                let kept = Arc::new(Kept { seen: Instant::now(), ..kept.clone() });
                self.kept.insert(key.clone(), kept.clone());
                Ok(Some(Fetched::Kept(kept)))
            }
            (200, _) => self.keep(key, answer).await.map(Some),
            _ => Ok(None),
        }
    }

    async fn keep(&self, key: &Key, mut answer: Answer) -> Result<Fetched, ForwardError> {
        let length = answer.head.header("content-length").and_then(|length| length.parse::<u64>().ok());
        if length.is_none_or(|length| length > MAX_KEPT_BYTES) {
            return Ok(Fetched::Large(Box::new(answer)));
        }
        let validator = validator(&answer.head);
        let mut bytes = Vec::new();
        while let Some(more) = answer.next().await? {
            bytes.extend_from_slice(&more);
        }
        // Equal files of two instances have equal tags.
        let etag = format!("\"{}\"", &blake3::hash(&bytes).to_hex()[..32]);
        let etag = HeaderValue::from_str(&etag).unwrap_or_else(|_| HeaderValue::from_static("\"\""));
        let kept = Arc::new(Kept { bytes: bytes.into(), etag, validator, seen: Instant::now() });
        self.kept.insert(key.clone(), kept.clone());
        Ok(Fetched::Kept(kept))
    }
}

/// What to ask with whether a file is still as it was.
fn validator(head: &ForwardHead) -> Option<(&'static str, String)> {
    let etag = head.header("etag").map(|etag| ("if-none-match", etag.to_owned()));
    etag.or_else(|| head.header("last-modified").map(|at| ("if-modified-since", at.to_owned())))
}

fn no_instance() -> ApiError {
    let message = "the instance that the web editor comes from does not answer now";
    ApiError::new(ErrorKind::Unavailable, "no_instance", message).retry_after(1)
}

impl Kept {
    fn found(&self) -> Found {
        Found::Here { bytes: self.bytes.clone(), etag: self.etag.clone() }
    }
}

impl Found {
    /// As it is sent.
    pub(super) fn answer(self, app: &Shared, path: &str, head: &Parts) -> Result<Response, ApiError> {
        let content_type =
            if path == "/" { Some("text/html; charset=utf-8") } else { kind::content_type(path) };
        let content_type = content_type.ok_or_else(ApiError::not_found)?;
        let is_head = head.method == Method::HEAD;
        Ok(match self {
            Self::Here { bytes, etag } => {
                let mut response = if is_known(&head.headers, &etag) {
                    StatusCode::NOT_MODIFIED.into_response()
                } else {
                    let length = [(header::CONTENT_LENGTH, bytes.len())];
                    (length, if is_head { Body::empty() } else { bytes.into() }).into_response()
                };
                describe(response.headers_mut(), path, content_type, Some(&etag));
                response
            }
            Self::Passing { answer, permit } => {
                let length =
                    answer.head.header("content-length").and_then(|length| length.parse::<u64>().ok());
                let body = if is_head { Body::empty() } else { passing(app, *answer, permit) };
                let mut response = Response::new(body);
                if let Some(length) = length {
                    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
                }
                describe(response.headers_mut(), path, content_type, None);
                response
            }
        })
    }
}

/// The body of a file that goes by; it holds its permit as long as it flows.
fn passing(app: &Shared, answer: Answer, permit: ForwardPermit) -> Body {
    let bytes = answer.into_stream().map(move |bytes| {
        let _held = &permit;
        bytes
    });
    reader::body(bytes, reader::Patience { reader: app.limits.answer_idle_timeout, source: PATIENCE })
}
