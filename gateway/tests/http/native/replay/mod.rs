//! The client side of recordings of a real ComfyUI, replayed against the gateway: what it answers and tells is what
//! that server answered and told, but for the differences that are listed (`lists.rs`, and in words in
//! `docs/NATIVE_API.md`).

mod course;
#[path = "../../../../../tests/comfyui-sim/tests/replay/frame.rs"]
#[allow(dead_code, reason = "the simulator's own test needs more of it")]
mod frame;
mod lists;
mod player;
#[path = "../../../../../tests/comfyui-sim/tests/replay/recording.rs"]
mod recording;
#[path = "../../../../../tests/comfyui-sim/tests/replay/reply.rs"]
mod reply;

use std::collections::BTreeSet;
use std::time::Duration;

use comfyui_sim::{Config, Pace};
use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use reqwest::multipart::{Form, Part};

use crate::world::World;
use lists::{ALONE, ANY_ORDER, LEFT_OUT, MEANT, RUNS, SAMPLING};

/// Worlds that are up at once.
const AT_ONCE: usize = 4;

async fn over(config: Config) -> World {
    let world = World::with(vec![config], "").await;
    world.usable().await;
    world
}

async fn replayed(world: &World, names: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for name in names {
        found.extend(player::replay(world, name, ANY_ORDER.contains(name)).await);
    }
    found
}

/// Every difference is meant, and every one that is meant is there.
fn assert_meant(names: &[&str], mut found: Vec<String>) {
    let is_meant = |difference: &str, (capture, part, _): &(&str, &str, &str)| {
        difference.starts_with(&format!("{capture}: ")) && difference.contains(part)
    };
    let gone: Vec<_> = MEANT
        .iter()
        .filter(|meant| {
            names.contains(&meant.0) && !found.iter().any(|difference| is_meant(difference, meant))
        })
        .collect();
    found.retain(|difference| !MEANT.iter().any(|meant| is_meant(difference, meant)));
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
    assert!(gone.is_empty(), "no longer differ: {gone:#?}");
}

#[tokio::test]
async fn plain_runs_and_the_http_surface_are_as_recorded() {
    let world = over(Config { checkpoints: Vec::new(), ..Config::default() }).await;
    let example = Part::bytes(recording::picture(4096, 64)).file_name("example.png"); // every ComfyUI comes with it
    let upload = world.request(Method::POST, "/upload/image").multipart(Form::new().part("image", example));
    assert!(upload.send().await.unwrap().status().is_success());
    assert_meant(RUNS, replayed(&world, RUNS).await);
}

#[tokio::test]
async fn sampling_with_previews_is_as_recorded() {
    let pace = Pace { step: Duration::from_millis(20), ..Pace::instant() };
    let world = over(Config { preview: true, pace, ..Config::default() }).await;
    assert_meant(SAMPLING, replayed(&world, SAMPLING).await);
}

#[tokio::test]
async fn sockets_queue_and_hostile_input_are_as_recorded() {
    let replays = stream::iter(ALONE).map(|name| async move {
        let world = over(Config::default()).await;
        replayed(&world, std::slice::from_ref(name)).await
    });
    let found: Vec<Vec<String>> = replays.buffer_unordered(AT_ONCE).collect().await;
    assert_meant(ALONE, found.concat());
}

#[test]
fn every_recording_is_replayed_or_left_out_for_a_reason() {
    let recorded: BTreeSet<String> = std::fs::read_dir(recording::folder())
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let left_out = LEFT_OUT.iter().map(|(name, _)| *name);
    let named: Vec<String> =
        [RUNS, SAMPLING, ALONE].concat().into_iter().chain(left_out).map(str::to_owned).collect();
    let unique: BTreeSet<String> = named.iter().cloned().collect();
    assert_eq!(unique.len(), named.len(), "a recording is listed twice");
    assert_eq!(unique, recorded);
    for (capture, part, reason) in MEANT {
        assert!(unique.contains(*capture) && !reason.is_empty(), "{capture}: {part}");
    }
}
