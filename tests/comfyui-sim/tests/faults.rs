//! Each fault, seen from outside: over HTTP and sockets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use std::time::{Duration, Instant};

use comfyui_sim::{Config, PromptState, Simulator};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const DEADLINE: Duration = Duration::from_secs(10);
const ID: &str = "35958a28-96cf-4e84-925c-db2c128aff92";

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn start() -> Simulator {
    Simulator::start(Config::default()).await.unwrap()
}

/// A picture of two sampling steps.
fn graph() -> Value {
    json!({
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15.safetensors"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a hill", "clip": ["1", 1]}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "4": {"class_type": "KSampler", "inputs": {
            "model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0], "seed": 1,
            "steps": 2, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0,
        }},
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "hill"}},
    })
}

async fn post(simulator: &Simulator) -> Result<reqwest::Response, reqwest::Error> {
    let body = json!({"prompt": graph(), "client_id": "me", "prompt_id": ID}).to_string();
    reqwest::Client::new().post(format!("{}/prompt", simulator.url())).body(body).send().await
}

async fn get(simulator: &Simulator, path: &str) -> reqwest::Response {
    reqwest::get(format!("{}{path}", simulator.url())).await.unwrap()
}

async fn get_json(simulator: &Simulator, path: &str) -> Value {
    serde_json::from_slice(&get(simulator, path).await.bytes().await.unwrap()).unwrap()
}

async fn socket(simulator: &Simulator) -> Socket {
    let (mut socket, _) = connect_async(format!("ws://{}/ws?clientId=me", simulator.addr())).await.unwrap();
    assert!(next_text(&mut socket).await.contains("sid"));
    socket
}

async fn next(socket: &mut Socket) -> Option<Result<Message, Error>> {
    tokio::time::timeout(DEADLINE, socket.next()).await.expect("a frame in time")
}

async fn next_text(socket: &mut Socket) -> String {
    next(socket).await.unwrap().unwrap().into_text().unwrap().to_string()
}

/// Kinds of the frames up to the last one of a prompt.
async fn kinds(socket: &mut Socket) -> Vec<String> {
    let mut kinds = Vec::new();
    loop {
        let frame: Value = serde_json::from_str(&next_text(socket).await).unwrap();
        kinds.push(frame["type"].as_str().unwrap().to_owned());
        if frame["type"] == "executing" && frame["data"]["node"].is_null() {
            return kinds;
        }
    }
}

async fn until(simulator: &Simulator, state: PromptState) {
    let deadline = Instant::now() + DEADLINE;
    while simulator.observed().prompts.last().map(|prompt| prompt.state) != Some(state) {
        assert!(Instant::now() < deadline, "{:?}", simulator.observed().prompts.last());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn until_dead(simulator: &Simulator) {
    let deadline = Instant::now() + DEADLINE;
    while simulator.is_running() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Runs one prompt to its end and tells its history entry.
async fn run(simulator: &Simulator, state: PromptState) -> Value {
    post(simulator).await.unwrap();
    until(simulator, state).await;
    let deadline = Instant::now() + DEADLINE;
    loop {
        let history = get_json(simulator, &format!("/history/{ID}")).await;
        if history.get(ID).is_some() {
            return history[ID].clone();
        }
        assert!(Instant::now() < deadline, "no history entry");
    }
}

#[tokio::test]
async fn a_saved_picture_is_a_png_with_its_graph() {
    let simulator = start().await;
    let entry = run(&simulator, PromptState::Succeeded).await;
    let file = &entry["outputs"]["6"]["images"][0];
    let bytes = get(&simulator, &format!("/view?filename={}", file["filename"].as_str().unwrap())).await;
    let bytes = bytes.bytes().await.unwrap();
    assert_eq!(image::load_from_memory(&bytes).unwrap().width(), 64);
    assert!(bytes.windows(8).any(|window| window == b"KSampler"));
}

#[tokio::test]
async fn a_kill_resets_sockets_and_forgets_everything() {
    let simulator = start().await;
    let mut socket = socket(&simulator).await;
    run(&simulator, PromptState::Succeeded).await;
    simulator.kill().await;
    assert!(reqwest::get(simulator.url()).await.is_err());
    while let Some(Ok(message)) = next(&mut socket).await {
        assert!(!message.is_close(), "a killed process sends no close frame");
    }
    simulator.restart().await.unwrap();
    assert_eq!(get_json(&simulator, "/history").await, json!({}));
    assert_eq!(get(&simulator, "/view?filename=hill_00001_.png").await.status(), 404);
    assert_eq!(simulator.observed().deaths, 1);
}

#[tokio::test]
async fn a_lost_reply_leaves_the_prompt_queued() {
    let simulator = start().await;
    simulator.faults().lose_next_reply();
    assert!(post(&simulator).await.is_err());
    until(&simulator, PromptState::Succeeded).await;
    assert_eq!(post(&simulator).await.unwrap().status(), 200, "only the next one");
}

#[tokio::test]
async fn a_failed_post_queues_nothing() {
    let simulator = start().await;
    simulator.faults().fail_next_post(1);
    assert_eq!(post(&simulator).await.unwrap().status(), 500);
    assert!(simulator.observed().prompts.is_empty());
}

#[tokio::test]
async fn dropped_sockets_end_without_a_close_frame() {
    let simulator = start().await;
    let mut socket = socket(&simulator).await;
    simulator.faults().drop_sockets();
    assert!(!matches!(next(&mut socket).await, Some(Ok(_))));
}

#[tokio::test]
async fn sockets_drop_after_the_ordered_number_of_frames() {
    let simulator = start().await;
    let mut socket = socket(&simulator).await;
    simulator.faults().drop_sockets_after(3);
    post(&simulator).await.unwrap();
    let mut frames = 0;
    while let Some(Ok(_)) = next(&mut socket).await {
        frames += 1;
    }
    assert!(frames <= 3, "{frames}");
    until(&simulator, PromptState::Succeeded).await;
}

#[tokio::test]
async fn a_deaf_socket_hears_nothing_until_it_is_cured() {
    let simulator = start().await;
    let mut socket = socket(&simulator).await;
    simulator.faults().deaf(true);
    run(&simulator, PromptState::Succeeded).await;
    simulator.faults().deaf(false);
    simulator.faults().broadcast_text("1", "cured");
    assert!(next(&mut socket).await.unwrap().unwrap().is_binary(), "the first frame after all");
}

#[tokio::test]
async fn a_hung_prompt_ignores_interrupts_until_released() {
    let simulator = start().await;
    simulator.faults().hang(true);
    post(&simulator).await.unwrap();
    until(&simulator, PromptState::Running).await;
    let interrupt = format!("{}/interrupt", simulator.url());
    reqwest::Client::new().post(interrupt).body("{}").send().await.unwrap();
    assert_eq!(simulator.observed().prompts[0].state, PromptState::Running);
    simulator.faults().hang(false);
    until(&simulator, PromptState::Interrupted).await;
}

#[tokio::test]
async fn a_prompt_that_never_finishes_can_be_interrupted() {
    let simulator = start().await;
    let mut socket = socket(&simulator).await;
    simulator.faults().never_finish_next();
    post(&simulator).await.unwrap();
    while !next_text(&mut socket).await.contains("\"executed\"") {}
    assert_eq!(simulator.observed().prompts[0].state, PromptState::Running);
    let interrupt = format!("{}/interrupt", simulator.url());
    reqwest::Client::new().post(interrupt).body("{}").send().await.unwrap();
    until(&simulator, PromptState::Interrupted).await;
}

#[tokio::test]
async fn a_prompt_out_of_memory_fails_at_the_sampler() {
    let simulator = start().await;
    simulator.faults().out_of_memory(1);
    let entry = run(&simulator, PromptState::Failed).await;
    let error = &entry["status"]["messages"][2];
    assert_eq!(error[0], "execution_error");
    assert_eq!(error[1]["exception_type"], "torch.OutOfMemoryError");
    assert_eq!(error[1]["node_type"], "KSampler");
    run(&simulator, PromptState::Succeeded).await;
}

#[tokio::test]
async fn a_picture_too_large_for_the_card_is_out_of_memory() {
    let simulator = start().await;
    let mut graph = graph();
    graph["3"]["inputs"] = json!({"width": 8192, "height": 8192, "batch_size": 4});
    let body = json!({"prompt": graph}).to_string();
    let prompt = format!("{}/prompt", simulator.url());
    assert_eq!(reqwest::Client::new().post(prompt).body(body).send().await.unwrap().status(), 200);
    until(&simulator, PromptState::Failed).await;
}

#[tokio::test]
async fn a_cuda_fault_is_an_execution_error() {
    let simulator = start().await;
    simulator.faults().cuda_fault(1);
    let entry = run(&simulator, PromptState::Failed).await;
    let message = entry["status"]["messages"][2][1]["exception_message"].as_str().unwrap().to_owned();
    assert!(message.contains("CUDA error"), "{message}");
}

#[tokio::test]
async fn the_process_dies_at_the_ordered_step() {
    let simulator = start().await;
    simulator.faults().die_at_step(2);
    post(&simulator).await.unwrap();
    until_dead(&simulator).await;
    assert_eq!(simulator.observed().prompts[0].state, PromptState::Lost);
    simulator.restart().await.unwrap();
    run(&simulator, PromptState::Succeeded).await;
}

#[tokio::test]
async fn late_history_comes_after_success() {
    let simulator = start().await;
    let mut socket = socket(&simulator).await;
    simulator.faults().delay_history(Duration::from_secs(3600));
    post(&simulator).await.unwrap();
    while !next_text(&mut socket).await.contains("execution_success") {}
    assert_eq!(get_json(&simulator, &format!("/history/{ID}")).await, json!({}));
}

#[tokio::test]
async fn lost_history_stays_lost() {
    let simulator = start().await;
    simulator.faults().lose_history(true);
    post(&simulator).await.unwrap();
    until(&simulator, PromptState::Succeeded).await;
    assert_eq!(get_json(&simulator, "/history").await, json!({}));
}

#[tokio::test]
async fn a_blocked_branch_sends_an_error_and_goes_on_to_success() {
    let simulator = start().await;
    let mut socket = socket(&simulator).await;
    simulator.faults().blocked_branch(1);
    post(&simulator).await.unwrap();
    let kinds = kinds(&mut socket).await;
    assert!(kinds.contains(&"execution_error".to_owned()));
    assert!(kinds.contains(&"execution_success".to_owned()));
}

#[tokio::test]
async fn a_lying_success_has_an_error_among_its_messages() {
    let simulator = start().await;
    simulator.faults().lying_success(1);
    let entry = run(&simulator, PromptState::Succeeded).await;
    assert_eq!(entry["status"]["status_str"], "success");
    assert_eq!(entry["status"]["completed"], true);
    assert_eq!(entry["status"]["messages"][2][0], "execution_error");
}

#[tokio::test]
async fn a_cached_saver_lists_a_file_that_is_gone() {
    let simulator = start().await;
    run(&simulator, PromptState::Succeeded).await;
    simulator.faults().lose_files();
    let entry = run(&simulator, PromptState::Succeeded).await;
    assert_eq!(entry["outputs"]["6"]["images"][0]["filename"], "hill_00001_.png");
    assert_eq!(get(&simulator, "/view?filename=hill_00001_.png").await.status(), 404);
}

#[tokio::test]
async fn an_older_server_answers_its_own_id_and_has_no_jobs() {
    let simulator = start().await;
    simulator.faults().ignore_prompt_id(true);
    simulator.faults().no_jobs_api(true);
    let reply = post(&simulator).await.unwrap().bytes().await.unwrap();
    assert_ne!(serde_json::from_slice::<Value>(&reply).unwrap()["prompt_id"], ID);
    assert_eq!(get(&simulator, "/api/jobs").await.status(), 404);
    assert_eq!(get(&simulator, "/api/queue").await.status(), 200);
}

#[tokio::test]
async fn foreign_nan_and_oversize_frames_reach_everyone() {
    let simulator = start().await;
    let mut socket = socket(&simulator).await;
    simulator.faults().nan_frame();
    assert!(next_text(&mut socket).await.contains("\"value\":NaN"));
    simulator.faults().oversize_frame(100_000);
    assert!(next_text(&mut socket).await.len() > 100_000);
    simulator.faults().foreign_frames("another");
    assert_eq!(kinds(&mut socket).await.len(), 7);
}

#[tokio::test]
async fn a_stuck_queue_starts_nothing() {
    let simulator = start().await;
    simulator.faults().stick_queue(true);
    post(&simulator).await.unwrap();
    let queue = get_json(&simulator, "/queue").await;
    assert_eq!(queue["queue_pending"].as_array().unwrap().len(), 1);
    assert_eq!(queue["queue_running"].as_array().unwrap().len(), 0);
    simulator.faults().stick_queue(false);
    until(&simulator, PromptState::Succeeded).await;
}

#[tokio::test]
async fn a_truncated_view_breaks_off_and_the_next_one_does_not() {
    let simulator = start().await;
    run(&simulator, PromptState::Succeeded).await;
    simulator.faults().truncate_view(1);
    let path = "/view?filename=hill_00001_.png";
    assert!(get(&simulator, path).await.bytes().await.is_err());
    assert!(get(&simulator, path).await.bytes().await.is_ok());
}

#[tokio::test]
async fn a_file_can_be_asked_for_again_by_its_tag() {
    let simulator = start().await;
    let path = format!("{}/view?filename=example.png&type=input", simulator.url());
    let tag = reqwest::get(&path).await.unwrap().headers()["etag"].clone();
    let request = reqwest::Client::new().get(path).header("if-none-match", tag);
    assert_eq!(request.send().await.unwrap().status(), 304);
}

#[tokio::test]
async fn padding_makes_pictures_large() {
    let simulator = start().await;
    simulator.faults().pad_outputs(200_000);
    run(&simulator, PromptState::Succeeded).await;
    let bytes = get(&simulator, "/view?filename=hill_00001_.png").await.bytes().await.unwrap();
    assert!(bytes.len() >= 199_000, "{}", bytes.len());
}

#[tokio::test]
async fn faults_are_set_over_http_and_die_can_come_back_by_itself() {
    let simulator = start().await;
    let url = format!("{}/_sim/faults", simulator.url());
    let client = reqwest::Client::new();
    let set = |body: &'static str| client.post(&url).body(body).send();
    assert_eq!(set(r#"{"fault":"no_such_fault"}"#).await.unwrap().status(), 400);
    assert_eq!(set(r#"{"fault":"out_of_memory","prompts":2}"#).await.unwrap().status(), 200);
    assert_eq!(get_json(&simulator, "/_sim/faults").await["out_of_memory"], 2);
    // the reply may be lost with the process
    let _ = set(r#"{"fault":"die","restart_after_ms":1}"#).await;
    let deadline = Instant::now() + DEADLINE;
    while simulator.observed().deaths == 0 || !simulator.is_running() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_message_over_four_mebibytes_closes_the_socket_with_1009() {
    let simulator = start().await;
    let mut socket = socket(&simulator).await;
    socket.send(Message::text("x".repeat((4 << 20) + 1))).await.unwrap();
    let closed = next(&mut socket).await;
    let code = match &closed {
        Some(Ok(Message::Close(Some(close)))) => Some(u16::from(close.code)),
        _ => None,
    };
    assert_eq!(code, Some(1009), "{closed:?}");
}
