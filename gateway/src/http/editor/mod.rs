//! The web editor: files of a folder that the operator names, or those that an instance serves. What the page asks for
//! goes through ComfyUI's own API and its doors.

mod folder;
mod instance;
mod kind;

use std::path::Path;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};

use self::folder::Folder;
use self::instance::Remote;
use super::error::{ApiError, ErrorKind};
use super::state::{App, Shared};
use super::{credentials, door, observe};
use crate::link::message::InstanceName;
use crate::store::Scope;
use crate::tenant::Caller;

const INDEX: &str = "/index.html";

/// Where the web editor comes from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Editor(Source);

#[derive(Debug, Clone)]
enum Source {
    Folder(Arc<Folder>),
    Instance(Arc<Remote>),
}

impl Editor {
    /// The files of a folder, learned at once; symbolic links are left out.
    ///
    /// # Errors
    /// When it cannot be read, has too many files or no `index.html`.
    pub fn open(folder: &Path) -> std::io::Result<Self> {
        Ok(Self(Source::Folder(Arc::new(Folder::open(folder)?))))
    }

    /// The files that an instance serves, of which so many bytes are kept here; `None`: any instance that answers.
    #[must_use]
    pub fn of_instance(name: Option<InstanceName>, kept_bytes: u64) -> Self {
        Self(Source::Instance(Arc::new(Remote::new(name, kept_bytes))))
    }
}

/// `GET /` where there is an editor. Where it takes a key, people without one are led to the login page.
pub(super) async fn home(app: &Shared, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let Some(Editor(source)) = &app.editor else { return observe::unknown_route().await.into_response() };
    match source {
        Source::Folder(folder) => {
            let is_open = app.doors.loopback && !app.tenants.is_closed();
            let key = credentials::find(&head.headers, &head.extensions);
            if !is_open && key.is_none_or(|(key, _)| app.tenants.caller(&key.0).is_none()) {
                return to_login();
            }
            folder.serve(INDEX, &head).await
        }
        Source::Instance(remote) => {
            match door::admit(app, Scope::Read, &head.headers, &head.extensions).await {
                Ok(caller) => from_instance(app, remote, "/", &head, &caller).await,
                Err(refusal) if refusal.kind() == ErrorKind::Unauthorized => to_login(),
                Err(refusal) => refusal.into_response(),
            }
        }
    }
}

fn to_login() -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/login"));
    response
}

/// Any path without a route: a file of the editor's, or nothing. Those of an instance tell what is installed there, and
/// want a key that may read.
pub(super) async fn file(app: App, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let Some(Editor(source)) = app.editor.as_ref().filter(|_| is_read(&head.method)) else {
        return observe::unknown_route().await.into_response();
    };
    let path = head.uri.path();
    match source {
        Source::Folder(folder) => match door::let_see(&app, &head.headers) {
            Ok(()) => folder.serve(path, &head).await,
            Err(refusal) => refusal.into_response(),
        },
        Source::Instance(remote) => {
            if !kind::is_editors(path) {
                return observe::unknown_route().await.into_response();
            }
            match door::admit(&app, Scope::Read, &head.headers, &head.extensions).await {
                Ok(caller) => from_instance(&app, remote, path, &head, &caller).await,
                Err(refusal) => refusal.into_response(),
            }
        }
    }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

async fn from_instance(app: &Shared, remote: &Remote, path: &str, head: &Parts, caller: &Caller) -> Response {
    let found = tokio::time::timeout(app.limits.request_timeout, remote.file(app, path, caller)).await;
    let found = found.unwrap_or_else(|_| Err(ApiError::timed_out()));
    found.and_then(|file| file.answer(app, path, head)).unwrap_or_else(IntoResponse::into_response)
}

/// What the instance that the editor comes from tells of what is installed there (JSON); `otherwise`, where the editor
/// comes from elsewhere or the instance does not say.
pub(super) async fn fact(
    app: &Shared,
    path: &'static str,
    otherwise: &'static str,
) -> Result<Response, ApiError> {
    let told = match &app.editor {
        Some(Editor(Source::Instance(remote))) => remote.fact(app, path).await,
        _ => None,
    };
    let body = told.map_or_else(|| otherwise.into(), axum::body::Body::from);
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// `GET /global_subgraphs/{id}`: one of those that the instance told of.
pub(super) async fn subgraph(
    app: App,
    axum::extract::Path(id): axum::extract::Path<String>,
) -> Result<Response, ApiError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let told = match &app.editor {
        Some(Editor(Source::Instance(remote))) if !id.is_empty() && id.bytes().all(is_plain) => {
            remote.fact(&app, &format!("/global_subgraphs/{id}")).await
        }
        _ => None,
    };
    let body = told.ok_or_else(ApiError::not_found)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// How every file of the editor is sent. Names below `assets` change with their content.
fn describe(headers: &mut HeaderMap, path: &str, content_type: &'static str, etag: Option<&HeaderValue>) {
    let kept = if path.starts_with("/assets/") { "private, max-age=86400" } else { "no-cache" };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("frame-ancestors 'self'; object-src 'none'; base-uri 'self'"),
    );
    if let Some(etag) = etag {
        headers.insert(header::ETAG, etag.clone());
    }
}

/// Whether the caller has this already.
fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers.get(header::IF_NONE_MATCH).is_some_and(|given| given == etag)
}
