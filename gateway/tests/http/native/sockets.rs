//! Sockets: who hears what, and in which order.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{Heard, Socket, World, kinds, paced, remaining};
use crate::world::{PATIENCE, picture, slow_picture, until};

#[tokio::test]
async fn frames_come_in_comfyuis_order_and_results_when_they_can_be_fetched() {
    let world = World::start().await;
    let mut socket = Socket::open(&world, "me").await;
    let greeting = socket.next().await;
    let expected = json!({"status": {"exec_info": {"queue_remaining": 0}}, "sid": "me"});
    assert_eq!((greeting.kind(), greeting.data()), ("status", &expected));
    let id = world.prompt(picture(1), Some("me")).await;
    let heard = socket.until_left(&id).await;
    let history = world.get_json(&format!("/history/{id}")).await;
    assert!(history.get(&id).is_some(), "the history has it by then");
    assert_eq!(world.queued().await, (Vec::new(), Vec::new()), "and the queue has not");
    let course: Vec<&str> =
        kinds(&heard).into_iter().filter(|kind| !matches!(*kind, "progress_state" | "progress")).collect();
    assert_eq!(
        course,
        [
            "status",
            "status",
            "execution_start",
            "execution_cached",
            "executing",
            "executing",
            "executed",
            "execution_success",
            "status",
            "executing"
        ]
    );
    assert_eq!(remaining(&heard), [1, 1, 0]);
    for frame in heard.iter().filter(|frame| frame.kind() != "status") {
        assert_eq!(frame.data()["prompt_id"], id, "{frame:?}");
    }
    let executed = heard.iter().find(|frame| frame.kind() == "executed").unwrap().data();
    assert_eq!(executed["output"], history[&id]["outputs"]["2"], "the very names of the history");
    assert_eq!((&executed["node"], &executed["display_node"]), (&json!("2"), &json!("2")));
}

#[tokio::test]
async fn a_socket_hears_of_its_own_clients_jobs_only() {
    let world = World::start().await;
    let mut mine = Socket::open(&world, "mine").await;
    let mut other = Socket::open(&world, "other").await;
    mine.next().await;
    other.next().await;
    let theirs = world.prompt(slow_picture(600.0), Some("other")).await;
    world.runs(&theirs).await;
    let id = world.prompt(picture(1), Some("mine")).await;
    world.post("/interrupt", &json!({"client_id": "other"})).await;
    let heard = mine.until_left(&id).await;
    assert!(remaining(&heard).iter().all(|left| *left <= 1), "their jobs are not counted: {heard:?}");
    let heard = other.until_left(&theirs).await;
    assert!(heard.iter().all(|frame| frame.data()["prompt_id"] != id));
    let interrupted = heard.iter().find(|frame| frame.kind() == "execution_interrupted").unwrap();
    assert_eq!(interrupted.data()["node_id"], "2", "the node that ran");
    assert_eq!(interrupted.data()["node_type"], "TestSleep");
}

#[tokio::test]
async fn a_late_socket_learns_what_runs_and_one_that_is_too_late_that_nothing_is_left() {
    let world = World::start().await;
    let id = world.prompt(slow_picture(0.8), Some("late")).await;
    world.runs(&id).await;
    until("its second node runs", || async {
        let mut socket = Socket::open(&world, "late").await;
        assert_eq!(remaining(&[socket.next().await]), [1]);
        let second = socket.next().await;
        (second.kind() == "executing" && *second.data() == json!({"node": "2"})).then_some(())
    })
    .await;
    let mut socket = Socket::open(&world, "late").await;
    let heard = socket.until_left(&id).await;
    assert_eq!(heard.iter().filter(|frame| frame.kind() == "executed").count(), 1);
    let mut socket = Socket::open(&world, "late").await;
    assert_eq!(remaining(&[socket.next().await]), [0]);
}

#[tokio::test]
async fn a_socket_that_comes_again_takes_over_and_the_end_of_the_old_one_does_no_harm() {
    let world = World::start().await;
    let mut old = Socket::open(&world, "me").await;
    old.next().await;
    let mut new = Socket::open(&world, "me").await;
    new.next().await;
    drop(old);
    let id = world.prompt(picture(1), Some("me")).await;
    assert!(kinds(&new.until_left(&id).await).contains(&"execution_success"));
}

#[tokio::test]
async fn a_silent_socket_is_told_now_and_then_that_we_are_there() {
    let world = World::with(vec![], "[native]\nheartbeat_seconds = 1\n").await;
    let mut socket = Socket::open(&world, "me").await;
    socket.next().await;
    let beat = socket.next().await;
    assert_eq!((beat.kind(), remaining(std::slice::from_ref(&beat))), ("status", vec![0]));
    assert!(beat.data().get("sid").is_none(), "only the greeting has it");
}

#[tokio::test]
async fn a_client_without_an_id_is_given_one() {
    let world = World::with(vec![], "").await;
    let mut socket = Socket::open(&world, "").await;
    let sid = socket.next().await.data()["sid"].as_str().unwrap().to_owned();
    assert_eq!(sid.len(), 32);
}

#[tokio::test]
async fn features_are_answered_once_and_other_words_are_ignored() {
    let world = World::with(vec![], "").await;
    let mut socket = Socket::open(&world, "me").await;
    socket.next().await;
    let flags = json!({"type": "feature_flags", "data": {"supports_preview_metadata": true}});
    socket.say(&json!("no object")).await;
    socket.say(&flags).await;
    let answer = socket.next().await;
    assert_eq!((answer.kind(), answer.data()), ("feature_flags", &world.get_json("/features").await));
    let mut second = Socket::open(&world, "you").await;
    second.next().await;
    second.say(&json!({"type": "something"})).await;
    second.say(&flags).await;
    assert_eq!(second.next().await.kind(), "status", "only the first JSON object counts");
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_its_socket_and_no_other() {
    let world = World::with(vec![], "[native]\nheartbeat_seconds = 1\n").await;
    let mut long = Socket::open(&world, "long").await;
    let mut other = Socket::open(&world, "other").await;
    long.next().await;
    other.next().await;
    long.say(&json!("x".repeat(60_000))).await;
    assert_eq!(long.next().await.kind(), "status", "one of a fair length is not understood, and no more");
    // It may be closed before all of it is sent.
    let _ = long.0.send(Message::text("x".repeat(200_000))).await;
    let closed = async { while let Some(Ok(_)) = long.0.next().await {} };
    tokio::time::timeout(PATIENCE, closed).await.expect("it is closed");
    assert_eq!(other.next().await.kind(), "status");
}

fn sampled(seed: u32) -> Value {
    json!({
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15.safetensors"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a tree", "clip": ["1", 1]}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "4": {"class_type": "KSampler", "inputs": {"seed": seed, "steps": 20, "cfg": 7.0,
            "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0, "model": ["1", 0],
            "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0]}},
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "tree"}},
    })
}

async fn sample(world: &World, client: &str, seed: u32, method: Option<&str>) -> String {
    let mut body = json!({"prompt": sampled(seed), "client_id": client});
    if let Some(method) = method {
        body["extra_data"] = json!({"preview_method": method});
    }
    world.post_prompt(&body).await.1["prompt_id"].as_str().unwrap().to_owned()
}

fn pictures(heard: &[Heard]) -> Vec<&[u8]> {
    let pictures = heard.iter().filter_map(|frame| match frame {
        Heard::Picture(bytes) => Some(bytes.as_slice()),
        Heard::Text(_) => None,
    });
    pictures.collect()
}

#[tokio::test]
async fn previews_come_to_those_who_asked_and_to_nobody_else() {
    let world = World::with(vec![comfyui_sim::Config { preview: true, ..paced() }], "").await;
    world.usable().await;
    let mut plain = Socket::open(&world, "plain").await;
    let mut flagged = Socket::open(&world, "flagged").await;
    flagged.say(&json!({"type": "feature_flags", "data": {"supports_preview_metadata": true}})).await;
    plain.next().await;
    flagged.next().await;
    flagged.next().await;
    let id = sample(&world, "plain", 1, None).await;
    assert_eq!(pictures(&plain.until_left(&id).await), Vec::<&[u8]>::new(), "nobody asked for them");
    let id = sample(&world, "plain", 2, Some("latent2rgb")).await;
    let heard = plain.until_left(&id).await;
    assert!(!pictures(&heard).is_empty());
    assert!(pictures(&heard).iter().all(|picture| picture.starts_with(b"\0\0\0\x01\0\0\0\x01\xff\xd8")));
    let id = sample(&world, "flagged", 3, None).await;
    let heard = flagged.until_left(&id).await;
    let picture = pictures(&heard)[0];
    assert!(picture.starts_with(b"\0\0\0\x04"));
    let length = usize::try_from(u32::from_be_bytes(picture[4..8].try_into().unwrap())).unwrap();
    let about: Value = serde_json::from_slice(&picture[8..8 + length]).unwrap();
    assert_eq!((&about["prompt_id"], &about["node_id"]), (&json!(id), &json!("4")));
    assert!(picture[8 + length..].starts_with(b"\xff\xd8"));
}

#[tokio::test]
async fn pictures_made_for_the_socket_come_whole_before_the_job_ends() {
    let world = World::start().await;
    let mut socket = Socket::open(&world, "me").await;
    socket.next().await;
    let workflow = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 5, "color": 7}},
        "2": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
    });
    let id = world.prompt(workflow, Some("me")).await;
    let heard = socket.until_left(&id).await;
    let pictures = pictures(&heard);
    assert_eq!(pictures.len(), 5);
    assert!(pictures.iter().all(|picture| picture.starts_with(b"\0\0\0\x01\0\0\0\x02\x89PNG")));
    let kinds = kinds(&heard);
    let last_picture = kinds.iter().rposition(|kind| *kind == "(picture)").unwrap();
    assert!(last_picture < kinds.iter().position(|kind| *kind == "execution_success").unwrap());
    assert_eq!(world.entry(&id).await["outputs"], json!({}), "as in ComfyUI");
}

#[tokio::test]
async fn a_socket_that_does_not_read_is_closed_and_holds_up_nobody() {
    let world = World::with(vec![Default::default()], "[native]\nsocket_frames = 8\n").await;
    world.usable().await;
    let mut lazy = Socket::open(&world, "lazy").await;
    lazy.next().await;
    let mut eager = Socket::open(&world, "eager").await;
    eager.next().await;
    // Far more than any buffer between us takes.
    let picture = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 1}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x".repeat(100)}},
    });
    for _ in 0..3 {
        world.prompt(picture.clone(), Some("lazy")).await;
    }
    let id = world.prompt(picture, Some("eager")).await;
    assert!(kinds(&eager.until_left(&id).await).contains(&"execution_success"));
}
