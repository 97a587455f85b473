//! Routes of custom nodes, passed on to one instance a client (CLIENTS §3, tier C). Nothing passes but the paths that an
//! operator names (`[[native.forward]]`); bodies flow both ways as they are read, and nothing of a caller's credentials
//! goes along.

pub(crate) mod headers;
pub(super) mod hold;
pub(super) mod home;
mod rules;
mod target;

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, HeaderMap};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use self::rules::{Rule, Rules};
use super::super::error::{ApiError, AsItIs, ErrorKind};
use super::super::quota;
use super::super::reader;
use super::super::routes::{Need, Routes};
use super::super::state::{App, Shared, StreamPermit, Streams};
use crate::config;
use crate::engine::forwards::{Answer, BodyFault, ForwardError, Patience};
use crate::link::message::{ForwardFault, ForwardRequest};
use crate::metrics::Passed;
use crate::store::Scope;
use crate::tenant::Caller;

/// Told to a caller when there is no room.
const RETRY_AFTER_SECONDS: u64 = 1;

/// What is passed on, and how much of it at once.
#[derive(Debug)]
pub(in super::super) struct Forwarding {
    rules: Rules,
    all: Arc<Semaphore>,
    /// Requests of one key.
    each: Streams,
    max_each: usize,
}

impl Forwarding {
    pub(in super::super) fn new(settings: &config::Native) -> Self {
        Self {
            rules: Rules::new(&settings.forward),
            all: Arc::new(Semaphore::new(settings.max_forwards)),
            each: Streams::default(),
            max_each: settings.max_forwards_per_key,
        }
    }

    /// Whether this path is one of those that are passed on.
    pub(in super::super) fn has(&self, path: &str) -> bool {
        self.rules.has(path)
    }

    /// Room for one more request.
    ///
    /// # Errors
    /// 429 where this key, or all together, have as many as they may.
    pub(in super::super) fn enter(&self, caller: &Caller) -> Result<Permit, ApiError> {
        let busy = |message: &'static str| {
            ApiError::new(ErrorKind::Busy, "too_many_forwards", message).retry_after(RETRY_AFTER_SECONDS)
        };
        let own = self.each.enter(caller, self.max_each);
        let own = own.ok_or_else(|| busy("too many requests of this key are being passed on"))?;
        let all = self.all.clone().try_acquire_owned();
        let all = all.map_err(|_| busy("too many requests are being passed on"))?;
        Ok(Permit { _own: own, _all: all })
    }
}

/// The right to one request.
#[derive(Debug)]
pub(in super::super) struct Permit {
    _own: StreamPermit,
    _all: OwnedSemaphorePermit,
}

/// Adds the routes that are configured, each bare and under `/api`.
pub(super) fn add(routes: &mut Routes) {
    let app = routes.app();
    for rule in app.forwarding.rules.iter() {
        for path in rule.routes() {
            // The table is made once and lives as long as the process.
            let path: &'static str = Box::leak(path.into_boxed_str());
            for method in &rule.methods {
                let need = if *method == Method::GET { Scope::Read } else { Scope::Submit };
                let rule = rule.clone();
                routes.add_slow(method.clone(), path, Need::Scope(need), move |app, caller, request| {
                    carry(rule.clone(), app, caller, request)
                });
            }
        }
    }
}

/// Passes a request on and its answer back.
async fn carry(
    rule: Arc<Rule>,
    app: App,
    Extension(caller): Extension<Arc<Caller>>,
    request: Request,
) -> Result<Response, ApiError> {
    if !rule.serves(&caller.tenant.name) {
        return Err(ApiError::of_status(StatusCode::NOT_FOUND));
    }
    let (head, body) = request.into_parts();
    headers::refuse_upgrade(&head.headers)?;
    let target = target::checked(&head.uri)?;
    let length = length(&head.headers, &head.method, &body);
    if length.is_some_and(|length| length > rule.max_body_bytes) {
        return Err(ApiError::too_large(rule.max_body_bytes));
    }
    let permit = app.forwarding.enter(&caller)?;
    if !matches!(head.method, Method::GET | Method::HEAD) {
        quota::rate(&app, &caller, NonZeroU32::MIN)?;
    }
    let who = home::Who::of(&caller, &head.uri);
    let instance = home::choose(&app, &rule, who).ok_or_else(no_instance)?;
    let request = ForwardRequest {
        id: Uuid::new_v4(),
        instance,
        method: head.method.to_string(),
        target,
        headers: headers::to_instance(&head.headers, &rule.headers),
        length,
    };
    let patience = Patience { answer: rule.timeout, body: app.limits.upload_idle_timeout };
    let body = counted(&app, body, rule.max_body_bytes);
    let sent = app.engine.forwards().send(request, body, patience).await;
    match sent {
        Ok(answer) => respond(&app, &rule, answer, permit, &head.method),
        Err(error) => {
            app.metrics.forwarded(passed(&error));
            Err(refusal(error, rule.max_body_bytes))
        }
    }
}

fn no_instance() -> ApiError {
    ApiError::new(ErrorKind::Unavailable, "no_instance", "no instance that has this route answers now")
        .retry_after(RETRY_AFTER_SECONDS)
}

/// How long the body says it is; 0 where there is none.
fn length(headers: &HeaderMap, method: &Method, body: &Body) -> Option<u64> {
    let declared = headers.get(CONTENT_LENGTH).and_then(|given| given.to_str().ok()?.parse().ok());
    match declared {
        None if matches!(*method, Method::GET | Method::HEAD) || body.is_end_stream() => Some(0),
        declared => declared,
    }
}

/// A body that ends with a fault where it is longer than it may be.
fn counted(
    app: &Shared,
    body: Body,
    most: u64,
) -> impl Stream<Item = Result<Bytes, BodyFault>> + Send + 'static {
    let metrics = app.metrics.clone();
    let mut length = 0_u64;
    body.into_data_stream().map(move |bytes| {
        let bytes = bytes.map_err(|_| BodyFault::BrokeOff)?;
        length = length.saturating_add(bytes.len() as u64);
        metrics.forward_bytes("request", bytes.len());
        if length > most { Err(BodyFault::TooLarge) } else { Ok(bytes) }
    })
}

fn respond(
    app: &Shared,
    rule: &Rule,
    answer: Answer,
    permit: Permit,
    method: &Method,
) -> Result<Response, ApiError> {
    let status = StatusCode::from_u16(answer.head.status).ok().filter(|status| status.as_u16() >= 200);
    let status = status.ok_or_else(|| broke_off("it answered without a usable status"))?;
    let headers = headers::from_instance(&answer.head.headers, &rule.headers);
    let mut told = Told::new(app);
    let mut response = Response::new(match *method {
        Method::HEAD => {
            told.outcome = Passed::Answered;
            Body::empty()
        }
        _ => {
            let patience = reader::Patience { reader: app.limits.answer_idle_timeout, source: rule.timeout };
            reader::body(flow(answer, told, permit), patience)
        }
    });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    // An unsuccessful answer of the instance's own is meant as it is.
    response.extensions_mut().insert(AsItIs);
    Ok(response)
}

/// The body of an answer; it holds the request's permit as long as it flows.
fn flow(
    answer: Answer,
    told: Told,
    permit: Permit,
) -> impl Stream<Item = Result<Bytes, ForwardError>> + Send + 'static {
    stream::unfold(Some((answer, told, permit)), |state| async {
        let (mut answer, mut told, permit) = state?;
        match answer.next().await {
            Ok(Some(bytes)) => {
                told.metrics.forward_bytes("answer", bytes.len());
                Some((Ok(bytes), Some((answer, told, permit))))
            }
            Ok(None) => {
                told.outcome = Passed::Answered;
                None
            }
            Err(error) => {
                tracing::debug!(%error, "an answer that was passed on broke off");
                told.outcome = passed(&error);
                Some((Err(error), None))
            }
        }
    })
}

/// Counts what became of an answer: whoever drops it before its end has abandoned it.
struct Told {
    metrics: crate::metrics::Metrics,
    outcome: Passed,
}

impl Told {
    fn new(app: &Shared) -> Self {
        Self { metrics: app.metrics.clone(), outcome: Passed::Abandoned }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.metrics.forwarded(self.outcome);
    }
}

fn passed(error: &ForwardError) -> Passed {
    match error {
        ForwardError::Body(_) => Passed::Abandoned,
        ForwardError::Silent => Passed::Silent,
        ForwardError::NoInstance | ForwardError::Fault(_) | ForwardError::Lost => Passed::Failed,
    }
}

fn broke_off(why: &str) -> ApiError {
    ApiError::new(ErrorKind::Upstream, "instance_failed", format!("the instance gave no answer: {why}"))
}

/// What a caller is told: nothing of addresses.
fn refusal(error: ForwardError, max_body_bytes: u64) -> ApiError {
    tracing::debug!(%error, "a request could not be passed on");
    match error {
        ForwardError::NoInstance | ForwardError::Fault(ForwardFault::Unreachable(_)) => no_instance(),
        ForwardError::Fault(ForwardFault::Busy) => {
            ApiError::new(ErrorKind::Busy, "too_many_forwards", "the instance's host is passing on too many")
                .retry_after(RETRY_AFTER_SECONDS)
        }
        ForwardError::Fault(ForwardFault::Unsendable(what)) => {
            ApiError::invalid(format!("this request cannot be passed on: {what}"))
        }
        ForwardError::Fault(ForwardFault::BrokeOff(_)) => broke_off("the connection broke off"),
        ForwardError::Lost => broke_off("its host is gone"),
        ForwardError::Silent => {
            ApiError::new(ErrorKind::TimedOut, "instance_silent", "the instance did not answer in time")
        }
        ForwardError::Body(BodyFault::TooLarge) => ApiError::too_large(max_body_bytes),
        ForwardError::Body(BodyFault::Slow) => {
            ApiError::new(ErrorKind::TimedOut, "timeout", "the body came too slowly")
        }
        ForwardError::Body(BodyFault::BrokeOff) => ApiError::invalid("the body broke off"),
    }
}
