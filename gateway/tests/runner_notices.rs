//! What a runner tells of its host and its instances beyond attempts: new processes, sizes of models, notices.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

#[path = "support/runner.rs"]
mod support;

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use gateway::link::message::Report;
use support::{World, picture};
use tokio::sync::watch;

#[tokio::test]
async fn a_new_process_is_told_before_it_is_up_again() {
    let mut world = World::start().await;
    let sent = world.dispatch(&picture(1)).await;
    world.finish(sent.attempt).await;
    assert!(!world.seen.iter().any(|report| matches!(report, Report::InstanceRestarted { .. })));
    world.seen.clear();
    world.sim.kill().await;
    let down = |seen: &[Report]| seen.iter().any(|r| matches!(r, Report::InstanceDown { .. })).then_some(());
    world.until("down", down).await;
    world.sim.restart().await.unwrap();
    world.up().await;
    let place = |wanted: fn(&Report) -> bool| world.seen.iter().position(wanted);
    let restarted = place(|report| matches!(report, Report::InstanceRestarted { .. }));
    let up = place(|report| matches!(report, Report::InstanceUp { .. }));
    assert!(restarted.is_some() && restarted < up, "{restarted:?} {up:?}");
}

#[tokio::test]
async fn a_broken_socket_alone_is_no_new_process() {
    let mut world = World::start().await;
    let sent = world.dispatch(&picture(1)).await;
    world.finish(sent.attempt).await;
    world.sim.faults().drop_sockets();
    let again = world.dispatch(&picture(2)).await;
    world.finish(again.attempt).await;
    assert!(!world.seen.iter().any(|report| matches!(report, Report::InstanceRestarted { .. })));
}

#[tokio::test]
async fn sizes_of_models_are_read_from_the_folder_that_is_named() {
    let models = tempfile::tempdir().unwrap();
    std::fs::create_dir(models.path().join("checkpoints")).unwrap();
    std::fs::write(models.path().join("checkpoints/sd15.safetensors"), vec![0; 3 << 20]).unwrap();
    let folder = models.path().to_owned();
    let named = |config: &mut gateway::runner::Config| config.instances[0].models_dir = Some(folder);
    let mut world = World::with(comfyui_sim::Config::default(), named).await;
    weighed(&mut world).await;
    assert_eq!(told_sizes(&world), [None, Some(3)], "it is up before its models are weighed");

    // It comes back with what is known of it.
    world.seen.clear();
    world.sim.kill().await;
    let down = |seen: &[Report]| seen.iter().any(|r| matches!(r, Report::InstanceDown { .. })).then_some(());
    world.until("down", down).await;
    world.sim.restart().await.unwrap();
    weighed(&mut world).await;
    assert_eq!(told_sizes(&world), [Some(3)]);
}

const MODEL: &str = "checkpoints/sd15.safetensors";

/// The sizes of a model, as they were told with each word that its instance is up.
fn told_sizes(world: &World) -> Vec<Option<u32>> {
    let sizes = world.seen.iter().filter_map(|report| match report {
        Report::InstanceUp { facts, .. } => Some(facts.models_mib.get(MODEL).copied()),
        _ => None,
    });
    sizes.collect()
}

async fn weighed(world: &mut World) {
    let told = |report: &Report| matches!(report, Report::InstanceUp { facts, .. } if facts.models_mib.contains_key(MODEL));
    world.until("sizes", |seen| seen.iter().any(told).then_some(())).await;
}

/// A stand-in for the metadata server of Compute Engine.
#[derive(Clone)]
struct Metadata {
    preempted: Arc<watch::Sender<bool>>,
}

#[derive(serde::Deserialize)]
struct Hold {
    wait_for_change: Option<bool>,
    last_etag: Option<String>,
}

async fn preempted(
    State(server): State<Metadata>,
    Query(hold): Query<Hold>,
    headers: HeaderMap,
) -> impl IntoResponse {
    if headers.get("Metadata-Flavor").is_none_or(|flavor| flavor != "Google") {
        return (
            StatusCode::FORBIDDEN,
            [("Metadata-Flavor", "Google".to_owned()), ("ETag", String::new())],
            "",
        );
    }
    let mut value = server.preempted.subscribe();
    if hold.wait_for_change == Some(true) {
        let known = hold.last_etag;
        let _ = value.wait_for(|now| known.as_deref() != Some(tag(*now))).await;
    }
    let now = *value.borrow();
    let body = if now { "TRUE" } else { "FALSE" };
    (StatusCode::OK, [("Metadata-Flavor", "Google".to_owned()), ("ETag", tag(now).to_owned())], body)
}

fn tag(preempted: bool) -> &'static str {
    if preempted { "b" } else { "a" }
}

#[tokio::test]
async fn the_notice_of_a_spot_machine_is_passed_on() {
    let server = Metadata { preempted: Arc::new(watch::Sender::new(false)) };
    let routes = axum::Router::new()
        .route("/computeMetadata/v1/instance/preempted", axum::routing::get(preempted))
        .with_state(server.clone());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum_server::from_tcp(listener).unwrap().serve(routes.into_make_service()));

    let mut world =
        World::with(comfyui_sim::Config::default(), |config| config.spot_notice = Some(url)).await;
    server.preempted.send_replace(true);
    let leaving = |seen: &[Report]| {
        seen.iter().find_map(|report| match report {
            Report::HostLeaving { within_ms } => Some(*within_ms),
            _ => None,
        })
    };
    assert_eq!(world.until("notice", leaving).await, Some(30_000));
}
