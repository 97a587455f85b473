//! ComfyUI's own API (PROTOCOL, CLIENTS): what a client sees is one ComfyUI with a queue of its own, and behind it the
//! fleet. Queue, history, files and events are those of the key's tenant; where this differs from one ComfyUI stands in
//! `docs/NATIVE_API.md`.
//!
//! The life of a job is the engine's: this face submits it as the others do, and [`desk`] tells its owner's socket what
//! the engine heard of it. Every route is there bare and under `/api`.

mod desk;
mod finish;
mod forward;
mod frames;
mod history;
mod info;
mod jobs;
mod malformed;
mod node_errors;
mod nodes;
mod prompt;
mod queue;
mod relay;
mod render;
mod socket;
mod upload;
mod userdata;
mod view;

use axum::http::Method;

use super::editor;
use super::routes::{Need, Routes};
use super::state::App;
use crate::store::Scope;

pub use desk::Desk;
pub(crate) use forward::headers::may_pass;
pub(super) use forward::{Forwarding, Permit as ForwardPermit};
pub(super) use nodes::Nodes;

/// First parts of the paths of this face, bare and under `/api`.
const SEGMENTS: [&str; 22] = [
    "prompt",
    "queue",
    "history",
    "interrupt",
    "free",
    "view",
    "view_metadata",
    "upload",
    "object_info",
    "system_stats",
    "embeddings",
    "extensions",
    "models",
    "features",
    "ws",
    "users",
    "settings",
    "userdata",
    "i18n",
    "workflow_templates",
    "global_subgraphs",
    "node_replacements",
];

/// First parts of paths, beside [`SEGMENTS`], that are the gateway's own or the web editor's.
const TAKEN: [&str; 23] = [
    "api",
    "assets",
    "console",
    "docs",
    "experiment",
    "fonts",
    "internal",
    "jobs",
    "k",
    "lib",
    "livez",
    "login",
    "logout",
    "metrics",
    "openapi.json",
    "readyz",
    "scripts",
    "tags",
    "templates",
    "v1",
    "v2",
    "index.html",
    "user.css",
];

/// Whether a path without `/api` may be passed on to custom nodes: nothing of ours begins as it does.
pub(crate) fn is_free(bare: &str) -> bool {
    let first = bare.split('/').find(|part| !part.is_empty()).unwrap_or("api");
    !SEGMENTS.contains(&first) && !TAKEN.contains(&first)
}

/// Whether a path belongs to this face.
pub(super) fn is_path(path: &str) -> bool {
    let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
    let below_api = parts.next_if_eq(&"api").is_some();
    match parts.next() {
        Some("jobs") => below_api,
        Some("experiment" | "internal") => true,
        Some("v2") => parts.next() == Some("userdata"),
        Some(first) => SEGMENTS.contains(&first),
        None => false,
    }
}

/// Adds a route bare and under `/api`.
macro_rules! both {
    ($routes:ident.$add:ident($method:expr, $path:literal, $need:expr, $handler:expr)) => {
        $routes.$add($method, $path, $need, $handler);
        $routes.$add($method, concat!("/api", $path), $need, $handler);
    };
}

/// Adds a route, bare and under `/api`, of what is installed where the web editor comes from; a constant where it comes
/// from a folder.
macro_rules! told {
    ($routes:ident, $path:literal, $otherwise:literal) => {
        both!($routes.add(Method::GET, $path, Need::Scope(Scope::Read), |app: App| async move {
            editor::fact(&app, $path, $otherwise).await
        }));
    };
}

/// Adds the routes.
pub(super) fn add(routes: &mut Routes) {
    let read = Need::Scope(Scope::Read);
    let submit = Need::Scope(Scope::Submit);
    both!(routes.add(Method::GET, "/prompt", read, prompt::remaining));
    both!(routes.add(Method::POST, "/prompt", submit, prompt::submit));
    both!(routes.add_slow(Method::GET, "/ws", read, socket::open));
    both!(routes.add(Method::GET, "/queue", read, queue::list));
    both!(routes.add(Method::POST, "/queue", submit, queue::change));
    both!(routes.add(Method::POST, "/interrupt", submit, queue::interrupt));
    both!(routes.add(Method::POST, "/free", submit, queue::free));
    both!(routes.add(Method::GET, "/history", read, history::page));
    both!(routes.add(Method::POST, "/history", submit, history::change));
    both!(routes.add(Method::GET, "/history/{id}", read, history::one));
    both!(routes.add_slow(Method::GET, "/view", read, view::view));
    both!(routes.add_slow(Method::POST, "/upload/image", submit, upload::image));
    both!(routes.add_slow(Method::POST, "/upload/mask", submit, upload::mask));
    both!(routes.add(Method::GET, "/object_info", read, nodes::all));
    both!(routes.add(Method::GET, "/object_info/{class}", read, nodes::one));
    routes.add(Method::GET, "/api/jobs", read, jobs::list);
    routes.add(Method::POST, "/api/jobs/cancel", submit, jobs::cancel_many);
    routes.add(Method::GET, "/api/jobs/{id}", read, jobs::one);
    routes.add(Method::POST, "/api/jobs/{id}/cancel", submit, jobs::cancel);
    add_facts(routes, read, submit);
    userdata::add(routes, read, submit);
    forward::add(routes);
}

/// What the fleet is and has, and what is the same for everybody.
fn add_facts(routes: &mut Routes, read: Need, submit: Need) {
    both!(routes.add(Method::GET, "/system_stats", read, info::system_stats));
    both!(routes.add(Method::GET, "/features", read, info::features));
    both!(routes.add(Method::GET, "/embeddings", read, info::embeddings));
    told!(routes, "/extensions", "[]");
    both!(routes.add(Method::GET, "/models", read, info::model_folders));
    both!(routes.add(Method::GET, "/models/{folder}", read, info::models));
    both!(routes.add(Method::GET, "/experiment/models", read, info::experiment_folders));
    both!(routes.add(Method::GET, "/experiment/models/{folder}", read, info::experiment_models));
    both!(routes.add(Method::GET, "/users", read, info::users));
    told!(routes, "/i18n", "{}");
    told!(routes, "/workflow_templates", "{}");
    told!(routes, "/global_subgraphs", "{}");
    both!(routes.add(Method::GET, "/global_subgraphs/{id}", read, editor::subgraph));
    told!(routes, "/node_replacements", "{}");
    routes.add(Method::GET, "/internal/logs", read, info::no_logs);
    routes.add(Method::GET, "/internal/logs/raw", read, info::no_raw_logs);
    routes.add(Method::PATCH, "/internal/logs/subscribe", submit, info::subscribe);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_this_face_is_known_bare_and_under_api() {
        for path in
            ["/prompt", "/api/prompt", "/history/x", "/api/jobs", "/api/jobs/x/cancel", "/v2/userdata"]
        {
            assert!(is_path(path), "{path}");
        }
        for path in ["/", "/api", "/jobs", "/v1/jobs", "/nope", "/api/nope", "/v2/jobs"] {
            assert!(!is_path(path), "{path}");
        }
    }
}
