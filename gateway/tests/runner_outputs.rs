//! What an attempt made reaches the places that its tickets name, whole, once, and with the caller's own words.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

#[path = "support/runner.rs"]
mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use gateway::link::message::{Attempt, Command, Input, OutputKind, Report, Secret, Signal, Ticket};
use scheduler::AttemptEnd;
use serde_json::json;
use support::{World, dispatch, picture, socket_pictures};

/// A bucket that answers as it is told.
#[derive(Clone, Default)]
struct Bucket {
    objects: Arc<Mutex<HashMap<String, Bytes>>>,
    /// Answers for the next requests; then 200.
    answers: Arc<Mutex<Vec<StatusCode>>>,
    requests: Arc<Mutex<u32>>,
}

impl Bucket {
    async fn start(answers: &[StatusCode]) -> (Self, String) {
        let bucket = Self::default();
        bucket.answers.lock().unwrap().extend(answers.iter().rev());
        let app = axum::Router::new()
            .route("/{key}", axum::routing::put(put).get(get))
            .layer(DefaultBodyLimit::disable())
            .with_state(bucket.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (bucket, url)
    }

    fn object(&self, key: &str) -> Option<Bytes> {
        self.objects.lock().unwrap().get(key).cloned()
    }
}

async fn put(
    State(bucket): State<Bucket>,
    Path(key): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    *bucket.requests.lock().unwrap() += 1;
    let answer = bucket.answers.lock().unwrap().pop().unwrap_or(StatusCode::OK);
    if answer.is_success() {
        assert_eq!(headers["content-length"], body.len().to_string().as_str());
        assert_eq!(headers["x-signed"], "yes");
        bucket.objects.lock().unwrap().insert(key, body);
    }
    answer
}

async fn get(State(bucket): State<Bucket>, Path(key): Path<String>) -> Result<Bytes, StatusCode> {
    bucket.object(&key).ok_or(StatusCode::NOT_FOUND)
}

fn ticket(method: &str, url: &str, key: &str, expires_in_ms: i64) -> Ticket {
    Ticket::Http {
        method: method.into(),
        url: Secret(format!("{url}/{key}")),
        headers: vec![("x-signed".into(), "yes".into())],
        expires_at: jiff::Timestamp::now().as_millisecond() + expires_in_ms,
    }
}

async fn grant(world: &World, attempt: Attempt, tickets: Vec<Ticket>) {
    world.command(Command::Grant { attempt, tickets, receipts: Vec::new() }).await;
}

/// The chunks of a PNG, each with its checksum right, from the header to the end.
fn chunks(png: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut chunks = Vec::new();
    let mut at = 8;
    while at < png.len() {
        let length = u32::from_be_bytes(png[at..at + 4].try_into().unwrap()) as usize;
        let crc = crc32fast::hash(&png[at + 4..at + 8 + length]);
        assert_eq!(png[at + 8 + length..at + 12 + length], crc.to_be_bytes());
        let kind = String::from_utf8(png[at + 4..at + 8].to_vec()).unwrap();
        chunks.push((kind, png[at + 8..at + 8 + length].to_vec()));
        at += 12 + length;
    }
    assert_eq!((chunks[0].0.as_str(), chunks[chunks.len() - 1].0.as_str()), ("IHDR", "IEND"));
    chunks
}

/// The graph in a PNG's `prompt` chunk.
fn embedded_prompt(png: &[u8]) -> serde_json::Value {
    let chunks = chunks(png);
    let text =
        chunks.iter().find_map(|(kind, data)| (kind == "tEXt").then(|| data.strip_prefix(b"prompt\0"))?);
    serde_json::from_slice(text.unwrap()).unwrap()
}

#[tokio::test]
async fn a_png_carries_the_callers_own_graph() {
    let mut world = World::start().await;
    let graph = picture(5);
    let sent = world.dispatch(&graph).await;
    world.finish(sent.attempt).await;
    let png = std::fs::read(world.place(sent.attempt, 0)).unwrap();
    assert_eq!(embedded_prompt(&png), graph);
    assert!(!String::from_utf8_lossy(&png).contains(&sent.attempt.job.to_string()));
}

#[tokio::test]
async fn a_bucket_that_fails_is_tried_until_it_takes_the_file_while_the_instance_goes_on() {
    let mut world = World::with(comfyui_sim::Config::default(), |config| {
        config.times.upload_backoff = (Duration::from_millis(10), Duration::from_millis(50));
    })
    .await;
    let (bucket, url) = Bucket::start(&[
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::NOT_FOUND,
    ])
    .await;
    let graph = picture(6);
    let sent = world.dispatch(&graph).await;
    world.executed(sent.attempt).await;
    grant(&world, sent.attempt, vec![ticket("PUT", &url, "a.png", 60_000)]).await;
    let other = world.dispatch(&picture(7)).await;
    world.finish(other.attempt).await;
    let stored = world.stored(sent.attempt).await;
    let object = bucket.object("a.png").unwrap();
    assert_eq!(blake3::hash(&object).to_hex().to_string(), stored[0].hash);
    assert_eq!(embedded_prompt(&object), graph);
    assert_eq!(*bucket.requests.lock().unwrap(), 4);
    world.command(Command::Settle { attempt: sent.attempt }).await;
    let spool = world.dir.path().join("spool");
    world.eventually("the spool is empty", |_| std::fs::read_dir(&spool).unwrap().next().is_none()).await;
}

#[tokio::test]
async fn expired_tickets_are_asked_for_again() {
    let mut world = World::start().await;
    let (bucket, url) = Bucket::start(&[StatusCode::FORBIDDEN]).await;
    let sent = world.dispatch(&picture(8)).await;
    world.executed(sent.attempt).await;
    for (asked, expires_in_ms) in [(0, -1), (1, 60_000), (2, 60_000)] {
        world
            .until("request for tickets", |seen| {
                let asks = seen
                    .iter()
                    .filter(|report| matches!(report, Report::Attempt { signal: Signal::NeedTickets, .. }));
                (asks.count() == asked).then_some(())
            })
            .await;
        grant(&world, sent.attempt, vec![ticket("PUT", &url, "b.png", expires_in_ms)]).await;
    }
    world.stored(sent.attempt).await;
    assert!(bucket.object("b.png").is_some());
}

#[tokio::test]
async fn the_spool_outlives_the_runner_and_its_instance() {
    let mut world = World::with(comfyui_sim::Config::default(), |config| {
        config.times.spool_after = Duration::from_millis(50);
    })
    .await;
    let sent = world.dispatch(&picture(9)).await;
    world
        .signal(sent.attempt, "request for tickets", |s| matches!(s, Signal::NeedTickets).then_some(()))
        .await;
    world.sim.restart().await.unwrap();
    world.restart_runner().await;
    world.look_up(&sent).await;
    world.finish(sent.attempt).await;
}

#[tokio::test]
async fn pictures_over_the_socket_are_outputs() {
    let mut world = World::start().await;
    let sent = world.dispatch(&socket_pictures(3)).await;
    let (listed, stored) = world.finish(sent.attempt).await;
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|file| file.node_id == "2" && file.kind == OutputKind::Image));
    assert!(stored.iter().all(|file| file.content_type == "image/png"));
    chunks(&std::fs::read(world.place(sent.attempt, 2)).unwrap());
}

#[tokio::test]
async fn a_socket_gap_voids_pictures_that_came_over_it() {
    let mut world = World::start().await;
    let mut graph = socket_pictures(2);
    graph["3"] = json!({"class_type": "TestSleep", "inputs": {"value": ["1", 0], "seconds": 5.0}});
    graph["2"]["inputs"]["images"] = json!(["3", 0]);
    let sent = world.dispatch(&graph).await;
    world.started(sent.attempt).await;
    world.sim.faults().drop_sockets();
    assert_eq!(world.lost(sent.attempt).await, AttemptEnd::OutputsGone);
    let again = world.dispatch(&socket_pictures(2)).await;
    assert_eq!(world.finish(again.attempt).await.0.len(), 2);
}

#[tokio::test]
async fn a_picture_over_the_frame_bound_is_too_large() {
    let mut world = World::with(comfyui_sim::Config::default(), |config| config.max_frame_bytes = 4096).await;
    world.sim.faults().pad_outputs(100_000);
    let sent = world.dispatch(&socket_pictures(1)).await;
    world.signal(sent.attempt, "refusal", |s| matches!(s, Signal::OutputTooLarge { .. }).then_some(())).await;
    // others only lose their socket over it
    world.sim.faults().pad_outputs(0);
    let plain = world.dispatch(&support::slow_picture(0.5)).await;
    world.started(plain.attempt).await;
    world.sim.faults().oversize_frame(10_000);
    world.finish(plain.attempt).await;
}

#[tokio::test]
async fn a_listed_file_that_is_gone_voids_the_set() {
    let mut world = World::start().await;
    let sent = world.dispatch(&picture(10)).await;
    world.executed(sent.attempt).await;
    world.sim.faults().lose_files();
    world.grant(sent.attempt, 1).await;
    assert_eq!(world.lost(sent.attempt).await, AttemptEnd::OutputsGone);
}

#[tokio::test]
async fn a_truncated_file_is_fetched_again() {
    let mut world = World::start().await;
    world.sim.faults().truncate_view(2);
    let sent = world.dispatch(&picture(11)).await;
    world.finish(sent.attempt).await;
    let folder = world.place(sent.attempt, 0);
    let files = std::fs::read_dir(folder.parent().unwrap()).unwrap().count();
    assert_eq!(files, 1, "no temporary file is left");
    world.sim.faults().truncate_view(100);
    let broken = world.dispatch(&picture(12)).await;
    world.executed(broken.attempt).await;
    world.grant(broken.attempt, 1).await;
    assert_eq!(world.lost(broken.attempt).await, AttemptEnd::OutputsGone);
}

#[tokio::test]
async fn a_file_over_the_jobs_bound_is_too_large() {
    let mut world = World::start().await;
    world.sim.faults().pad_outputs(100_000);
    let mut sent = dispatch(&picture(13));
    sent.max_output_bytes = 50_000;
    world.command(Command::Dispatch(Box::new(sent.clone()))).await;
    world.executed(sent.attempt).await;
    world.grant(sent.attempt, 1).await;
    world.signal(sent.attempt, "refusal", |s| matches!(s, Signal::OutputTooLarge { .. }).then_some(())).await;
}

#[tokio::test]
async fn a_full_spool_is_reported_and_waits_for_room() {
    let mut world = World::with(comfyui_sim::Config::default(), |config| {
        config.spool_max_bytes = 150_000;
        config.times.spool_after = Duration::from_millis(50);
        config.times.poll_after = Duration::from_millis(100);
    })
    .await;
    world.sim.faults().pad_outputs(100_000);
    let (bucket, url) = Bucket::start(&[]).await;
    let first = world.dispatch(&picture(14)).await;
    world
        .signal(first.attempt, "request for tickets", |s| matches!(s, Signal::NeedTickets).then_some(()))
        .await;
    let second = world.dispatch(&picture(15)).await;
    world.executed(second.attempt).await;
    grant(&world, second.attempt, vec![ticket("PUT", &url, "second", 60_000)]).await;
    world
        .until("full", |seen| {
            seen.iter().any(|r| matches!(r, Report::Spool { full: true, .. })).then_some(())
        })
        .await;
    grant(&world, first.attempt, vec![ticket("PUT", &url, "first", 60_000)]).await;
    world.stored(second.attempt).await;
    assert!(bucket.object("second").is_some());
}

#[tokio::test]
async fn files_that_exceed_the_spool_together_are_uploaded_one_by_one() {
    let mut world = World::with(comfyui_sim::Config::default(), |config| {
        config.spool_max_bytes = 150_000;
        config.times.poll_after = Duration::from_millis(20);
    })
    .await;
    world.sim.faults().pad_outputs(100_000);
    let (bucket, url) = Bucket::start(&[]).await;
    let mut graph = picture(18);
    graph["1"]["inputs"]["batch_size"] = json!(3);
    let (one, two) = (world.dispatch(&graph).await, world.dispatch(&graph).await);
    for sent in [&one, &two] {
        assert_eq!(world.executed(sent.attempt).await.len(), 3);
        let key = |index| format!("{}-{index}", sent.attempt.job);
        let tickets = (0..3).map(|index| ticket("PUT", &url, &key(index), 60_000)).collect();
        grant(&world, sent.attempt, tickets).await;
    }
    for sent in [&one, &two] {
        for (index, stored) in world.stored(sent.attempt).await.iter().enumerate() {
            let object = bucket.object(&format!("{}-{index}", sent.attempt.job)).unwrap();
            assert_eq!(blake3::hash(&object).to_hex().to_string(), stored.hash);
        }
    }
}

#[tokio::test]
async fn a_file_larger_than_the_whole_spool_passes_it_by() {
    let mut world = World::with(comfyui_sim::Config::default(), |config| config.spool_max_bytes = 20).await;
    let (bucket, url) = Bucket::start(&[]).await;
    let sent = world
        .dispatch(&json!({
            "1": {"class_type": "EmptyAudio", "inputs": {"duration": 1.0, "sample_rate": 44100, "channels": 2}},
            "2": {"class_type": "SaveAudio", "inputs": {"audio": ["1", 0], "filename_prefix": "long"}},
        }))
        .await;
    world.executed(sent.attempt).await;
    grant(&world, sent.attempt, vec![ticket("PUT", &url, "long.flac", 60_000)]).await;
    let stored = world.stored(sent.attempt).await.remove(0);
    let object = bucket.object("long.flac").unwrap();
    assert_eq!((stored.size_bytes, stored.content_type.as_str()), (object.len() as u64, "audio/flac"));
    assert_eq!(blake3::hash(&object).to_hex().to_string(), stored.hash);
}

#[tokio::test]
async fn a_bucket_that_refuses_good_tickets_is_not_asked_again_at_once() {
    let mut world = World::with(comfyui_sim::Config::default(), |config| {
        config.times.upload_backoff = (Duration::from_hours(1), Duration::from_hours(1));
    })
    .await;
    let (bucket, url) = Bucket::start(&[StatusCode::FORBIDDEN]).await;
    let sent = world.dispatch(&picture(19)).await;
    world.executed(sent.attempt).await;
    grant(&world, sent.attempt, vec![ticket("PUT", &url, "c.png", 60_000)]).await;
    world.eventually("a refusal", |_| *bucket.requests.lock().unwrap() == 1).await;
    let other = world.dispatch(&picture(20)).await;
    world.finish(other.attempt).await;
    assert!(!world.signals(sent.attempt).contains(&Signal::NeedTickets));
    // whoever asks meanwhile is answered
    world.seen.clear();
    world.look_up(&sent).await;
    world.executed(sent.attempt).await;
    assert!(!world.signals(sent.attempt).contains(&Signal::NeedTickets));
    assert_eq!(*bucket.requests.lock().unwrap(), 1);
}

#[tokio::test]
async fn inputs_are_staged_once_per_life_of_the_instance() {
    let mut world = World::start().await;
    let (bucket, url) = Bucket::start(&[]).await;
    let maker = world.dispatch(&picture(16)).await;
    world.finish(maker.attempt).await;
    let png = std::fs::read(world.place(maker.attempt, 0)).unwrap();
    bucket.objects.lock().unwrap().insert("in.png".into(), png.clone().into());
    let local = world.dir.path().join("in.png");
    std::fs::write(&local, &png).unwrap();
    let hash = blake3::hash(&png).to_hex().to_string();
    let graph = json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "mine.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "copy"}},
    });
    let sources = [
        Ticket::File { path: local.clone() },
        Ticket::File { path: local.clone() },
        ticket("GET", &url, "in.png", 60_000),
    ];
    for (round, source) in sources.into_iter().enumerate() {
        match round {
            // staged already: nobody reads it
            1 => std::fs::remove_file(&local).unwrap(),
            // the input folder is empty again
            2 => {
                world.sim.restart().await.unwrap();
                world.eventually("a new socket", |world| world.sim.observed().open_sockets > 0).await;
            }
            _ => {}
        }
        let mut sent = dispatch(&graph);
        sent.inputs.push(Input {
            pointer: "/1/inputs/image".into(),
            hash: hash.clone(),
            size_bytes: png.len() as u64,
            extension: "png".into(),
            content_type: "image/png".into(),
            source,
        });
        world.command(Command::Dispatch(Box::new(sent.clone()))).await;
        world.finish(sent.attempt).await;
        let observed = world.sim.observed();
        let prompt = observed.prompts.last().unwrap();
        assert_eq!(prompt.graph["1"]["inputs"]["image"], format!("darkroom/{hash}.png"));
        let stored = std::fs::read(world.place(sent.attempt, 0)).unwrap();
        assert_eq!(embedded_prompt(&stored), graph, "the caller's own name is put back");
    }
}

/// Serves a file piece by piece, as it is told.
async fn drip() -> (tokio::sync::mpsc::UnboundedSender<Bytes>, String) {
    let (pieces, receiver) = tokio::sync::mpsc::unbounded_channel::<Bytes>();
    let receiver = Arc::new(Mutex::new(Some(receiver)));
    let serve = move || async move {
        let receiver = receiver.lock().unwrap().take().unwrap();
        Body::from_stream(futures_util::stream::unfold(receiver, async |mut receiver| {
            let piece = receiver.recv().await?;
            Some((Ok::<_, std::io::Error>(piece), receiver))
        }))
    };
    let app = axum::Router::new().route("/{key}", axum::routing::get(serve));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (pieces, url)
}

#[tokio::test]
async fn staging_shows_signs_of_life_for_as_long_as_it_takes() {
    let mut world = World::with(comfyui_sim::Config::default(), |config| {
        config.times.staging_sign = Duration::from_millis(10);
    })
    .await;
    let maker = world.dispatch(&picture(21)).await;
    world.finish(maker.attempt).await;
    let png = Bytes::from(std::fs::read(world.place(maker.attempt, 0)).unwrap());
    let (pieces, url) = drip().await;
    let mut sent = dispatch(&json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "mine.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "copy"}},
    }));
    sent.inputs.push(Input {
        pointer: "/1/inputs/image".into(),
        hash: blake3::hash(&png).to_hex().to_string(),
        size_bytes: png.len() as u64,
        extension: "png".into(),
        content_type: "image/png".into(),
        source: ticket("GET", &url, "in.png", 60_000),
    });
    world.command(Command::Dispatch(Box::new(sent.clone()))).await;
    for at in 0..3 {
        pieces.send(png.slice(at..=at)).unwrap();
        world.accepted(sent.attempt).await;
        world.seen.clear();
    }
    world.look_up(&sent).await;
    world.accepted(sent.attempt).await;
    assert_eq!(world.sim.observed().prompts.len(), 1, "only the maker was submitted");
    pieces.send(png.slice(3..)).unwrap();
    drop(pieces);
    world.finish(sent.attempt).await;
}

#[tokio::test]
async fn an_input_that_is_gone_is_unavailable() {
    let mut world = World::start().await;
    let mut sent = dispatch(&json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "mine.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "copy"}},
    }));
    sent.inputs.push(Input {
        pointer: "/1/inputs/image".into(),
        hash: "00".repeat(32),
        size_bytes: 10,
        extension: "png".into(),
        content_type: "image/png".into(),
        source: Ticket::File { path: world.dir.path().join("nowhere.png") },
    });
    world.command(Command::Dispatch(Box::new(sent.clone()))).await;
    world
        .signal(sent.attempt, "refusal", |s| matches!(s, Signal::InputUnavailable { .. }).then_some(()))
        .await;
}

#[tokio::test]
async fn text_outputs_become_files_and_temporary_pictures_count() {
    let mut world = World::start().await;
    let sent = world
        .dispatch(&json!({
            "1": {"class_type": "PrimitiveString", "inputs": {"value": "hello"}},
            "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
            "3": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 9}},
            "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
        }))
        .await;
    let (listed, stored) = world.finish(sent.attempt).await;
    assert_eq!(
        listed.iter().map(|file| file.kind).collect::<Vec<_>>(),
        [OutputKind::Text, OutputKind::Image]
    );
    assert_eq!(std::fs::read_to_string(world.place(sent.attempt, 0)).unwrap(), "hello");
    assert_eq!(stored[0].content_type, "text/plain");
}

#[tokio::test]
async fn a_prompt_without_outputs_is_stored_as_nothing() {
    let mut world = World::start().await;
    let mut graph = picture(17);
    graph["3"] = json!({"class_type": "TestExecutionBlocker",
        "inputs": {"input": ["1", 0], "block": true, "verbose": false}});
    graph["2"]["inputs"]["images"] = json!(["3", 0]);
    let sent = world.dispatch(&graph).await;
    let (listed, _) = world.finish(sent.attempt).await;
    assert!(listed.is_empty());
}
