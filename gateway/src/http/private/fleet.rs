//! The fleet as operators see it, and the few orders it takes.

use std::sync::Arc;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use scheduler::{ClassSummary, InstanceSummary, Summary};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::error::ApiError;
use super::super::respond::json;
use super::super::state::{App, Shared};
use super::super::time::at;
use crate::fleet::{FleetView, HostView, InstanceView};
use crate::link::message::DeviceReading;

/// The fleet as operators see it.
#[derive(Serialize, ToSchema)]
struct Fleet<'a> {
    hosts: Vec<Host<'a>>,
    instances: Vec<Instance<'a>>,
    classes: Vec<DeviceClass<'a>>,
    backlog: Backlog,
    attempts: Attempts,
}

/// One machine.
#[derive(Serialize, ToSchema)]
struct Host<'a> {
    name: &'a str,
    read_at: Option<Timestamp>,
    problem: Option<&'a str>,
    driver: Option<&'a str>,
    spool_full: bool,
    spool_bytes: u64,
    devices: &'a [DeviceReading],
}

/// One ComfyUI process.
#[derive(Serialize, ToSchema)]
struct Instance<'a> {
    name: &'a str,
    host: &'a str,
    state: &'static str,
    reason: Option<&'a str>,
    url: Option<&'a str>,
    comfyui_version: Option<&'a str>,
    device_name: Option<&'a str>,
    device_class: Option<&'a str>,
    device_uuid: Option<&'a str>,
    vram_mib: Option<u32>,
    holds: u32,
    free_at: Option<Timestamp>,
    warm_models: usize,
    reconnects: u64,
}

/// Advice for whoever sizes the fleet.
#[derive(Serialize, ToSchema)]
struct DeviceClass<'a> {
    device_class: &'a str,
    usable: u32,
    open: u32,
    /// What one more device would be worth, thousandths of the mean device.
    worth_milli: u32,
}

/// Jobs that wait, by class.
#[derive(Serialize, ToSchema)]
struct Backlog {
    batch: u64,
    normal: u64,
    interactive: u64,
    work_ms: u64,
    /// How long the fleet would take for all of it.
    drain_ms: i64,
}

/// Attempts on instances, by phase.
#[derive(Serialize, ToSchema)]
struct Attempts {
    dispatching: u64,
    running: u64,
    in_doubt: u64,
    collecting: u64,
    canceling: u64,
}

/// Whether an instance is kept from new work.
#[derive(Serialize, ToSchema)]
struct Cordon<'a> {
    instance: &'a str,
    cordoned: bool,
}

/// The order that was given.
#[derive(Serialize, ToSchema)]
struct Draining {
    draining: bool,
}

/// The fleet: hosts, instances, device classes, backlog.
#[utoipa::path(get, path = "/v1/fleet", tag = "operations", responses(
    (status = 200, description = "As of the last change.", body = Fleet<'static>)))]
pub(super) async fn fleet(app: App) -> Result<Response, ApiError> {
    json(StatusCode::OK, &render(&app.engine.fleet()))
}

fn render(fleet: &FleetView) -> Fleet<'_> {
    let Summary { queued: [batch, normal, interactive], .. } = fleet.summary;
    let instance = |view| instance(view, &fleet.summary);
    Fleet {
        hosts: fleet.hosts.iter().map(host).collect(),
        instances: fleet.instances.iter().map(instance).collect(),
        classes: fleet.classes().map(device_class).collect(),
        backlog: Backlog {
            batch,
            normal,
            interactive,
            work_ms: fleet.summary.backlog_ms,
            drain_ms: fleet.summary.drain.0,
        },
        attempts: Attempts {
            dispatching: fleet.summary.dispatching,
            running: fleet.summary.running,
            in_doubt: fleet.summary.in_doubt,
            collecting: fleet.summary.collecting,
            canceling: fleet.summary.canceling,
        },
    }
}

fn device_class<'a>((name, summary): (&'a str, &ClassSummary)) -> DeviceClass<'a> {
    let ClassSummary { usable, open, worth_milli, .. } = *summary;
    DeviceClass { device_class: name, usable, open, worth_milli }
}

fn host(view: &HostView) -> Host<'_> {
    Host {
        name: &view.name,
        read_at: view.read_at.map(at),
        problem: view.devices.problem.as_deref(),
        driver: view.devices.driver.as_deref(),
        spool_full: view.spool_full,
        spool_bytes: view.spool_bytes,
        devices: &view.devices.devices,
    }
}

fn instance<'a>(view: &'a InstanceView, summary: &Summary) -> Instance<'a> {
    let known = summary.instances.iter().find(|known| known.instance == view.id);
    let facts = view.facts.as_ref();
    Instance {
        name: &view.name,
        host: &view.host,
        state: state(view, known),
        reason: view.reason.as_deref(),
        url: facts.map(|facts| facts.url.as_str()),
        comfyui_version: facts.and_then(|facts| facts.comfyui_version.as_deref()),
        device_name: facts.map(|facts| facts.device_name.as_str()),
        device_class: facts.map(|facts| facts.device_class.as_str()),
        device_uuid: facts.and_then(|facts| facts.device_uuid.as_deref()),
        vram_mib: facts.and_then(|facts| facts.vram_mib),
        holds: known.map_or(0, |known| known.holds),
        free_at: known.and_then(|known| known.free_at).map(|free| at(free.0)),
        warm_models: known.map_or(0, |known| known.warm.len()),
        reconnects: view.reconnects,
    }
}

/// The one word that matters most.
fn state(view: &InstanceView, known: Option<&InstanceSummary>) -> &'static str {
    match known {
        _ if !view.up => "down",
        Some(known) if known.faulty => "faulty",
        Some(known) if known.cordoned => "cordoned",
        Some(known) if known.holds > 0 => "busy",
        _ => "idle",
    }
}

/// Keep an instance from new work; what runs there goes on.
#[utoipa::path(post, path = "/v1/instances/{name}/cordon", tag = "operations", responses(
    (status = 200, description = "It takes no new work.", body = Cordon<'static>),
    (status = 404, description = "`not_found`.")))]
pub(super) async fn cordon(app: App, Path(name): Path<String>) -> Result<Response, ApiError> {
    set_cordon(&app, name, true).await
}

/// Let an instance take new work again.
#[utoipa::path(post, path = "/v1/instances/{name}/uncordon", tag = "operations", responses(
    (status = 200, description = "It takes new work.", body = Cordon<'static>),
    (status = 404, description = "`not_found`.")))]
pub(super) async fn uncordon(app: App, Path(name): Path<String>) -> Result<Response, ApiError> {
    set_cordon(&app, name, false).await
}

async fn set_cordon(app: &Shared, name: String, on: bool) -> Result<Response, ApiError> {
    let name: Arc<str> = name.into();
    if !app.engine.cordon(name.clone(), on).await? {
        return Err(ApiError::not_found());
    }
    json(StatusCode::OK, &Cordon { instance: &name, cordoned: on })
}

/// Drain the gateway: no new jobs, nothing more is placed, what runs may finish.
#[utoipa::path(post, path = "/v1/drain", tag = "operations", responses(
    (status = 202, description = "It drains.", body = Draining)))]
pub(super) async fn drain(app: App) -> Result<Response, ApiError> {
    app.engine.drain().await;
    json(StatusCode::ACCEPTED, &Draining { draining: true })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use scheduler::InstanceId;

    use super::*;

    fn view(up: bool) -> InstanceView {
        InstanceView {
            id: InstanceId(1),
            name: "gpu-0".into(),
            host: "host".into(),
            up,
            reason: None,
            facts: None,
            reconnects: 0,
        }
    }

    fn known(cordoned: bool, faulty: bool, holds: u32) -> InstanceSummary {
        InstanceSummary {
            instance: InstanceId(1),
            up: true,
            cordoned,
            faulty,
            holds,
            free_at: None,
            warm: Vec::new(),
        }
    }

    #[test]
    fn the_state_of_an_instance_is_its_most_pressing_trouble() {
        assert_eq!(state(&view(false), Some(&known(true, true, 1))), "down");
        assert_eq!(state(&view(true), Some(&known(true, true, 1))), "faulty");
        assert_eq!(state(&view(true), Some(&known(true, false, 1))), "cordoned");
        assert_eq!(state(&view(true), Some(&known(false, false, 1))), "busy");
        assert_eq!(state(&view(true), Some(&known(false, false, 0))), "idle");
        assert_eq!(state(&view(true), None), "idle");
    }
}
