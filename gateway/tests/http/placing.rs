//! Who is placed first, and whose place is taken: from a request to what ComfyUI was asked.

use std::time::Duration;

use comfyui_sim::{Config as SimConfig, Pace, PromptState};
use reqwest::Method;
use scheduler::Class;
use serde_json::{Value, json};

use crate::world::{World, picture, slow_picture};

/// Submits by `/v1`; the job.
async fn submit(world: &World, body: Value) -> Value {
    let response = world.post("/v1/jobs", &body).await;
    assert_eq!(response.status(), 201);
    response.json().await.unwrap()
}

fn url<'a>(job: &'a Value, what: &str) -> &'a str {
    job["urls"][what].as_str().unwrap()
}

#[tokio::test]
async fn a_job_that_is_due_soon_overtakes_an_earlier_one_and_explain_says_so() {
    let world = World::with(vec![SimConfig::default()], "[scheduler]\nprefetch = 0\n").await;
    world.usable().await;
    let running = submit(&world, json!({"workflow": slow_picture(60.0)})).await;
    world.reaches(url(&running, "self"), "running").await;
    let earlier = submit(&world, json!({"workflow": picture(1)})).await;
    let due = submit(&world, json!({"workflow": picture(2), "due_within_seconds": 30})).await;
    for (job, before, words) in [(&due, 0, "It is the next one."), (&earlier, 1, "One job comes before it.")]
    {
        let explained = world.get_json(url(job, "explain")).await;
        assert_eq!((&explained["status"], &explained["position"]), (&json!("queued"), &json!(before)));
        assert!(explained["message"].as_str().unwrap().contains(words), "{explained}");
    }
    world.request(Method::POST, url(&running, "cancel")).send().await.unwrap();
    for job in [&due, &earlier] {
        world.reaches(url(job, "self"), "succeeded").await;
    }
    let colors: Vec<Value> = world.sims[0].observed().prompts[1..]
        .iter()
        .map(|prompt| prompt.graph["1"]["inputs"]["color"].clone())
        .collect();
    assert_eq!(colors, [json!(2), json!(1)]);
}

/// Four seconds of sampling, believed to take more than a minute.
fn long_work() -> Value {
    json!({
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15.safetensors"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a tree", "clip": ["1", 1]}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
        "4": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 400, "cfg": 7.0,
            "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0, "model": ["1", 0],
            "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0]}},
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "tree"}},
    })
}

#[tokio::test]
async fn batch_work_gives_its_place_to_an_interactive_job_and_runs_again_without_blame() {
    let pace = Pace { step: Duration::from_millis(10), node: Duration::ZERO };
    let sim = SimConfig { pace, ..SimConfig::default() };
    let world = World::with(vec![sim], "[scheduler]\npreemption = 2\nprefetch = 0\n").await;
    world.usable().await;
    let batch = submit(&world, json!({"workflow": long_work(), "class": Class::Batch})).await;
    world.reaches(url(&batch, "self"), "running").await;
    let quick = submit(&world, json!({"workflow": picture(1), "class": Class::Interactive})).await;
    let quick = world.reaches(url(&quick, "self"), "succeeded").await;
    let batch = world.reaches(url(&batch, "self"), "succeeded").await;

    let prompts = world.sims[0].observed().prompts;
    let states: Vec<PromptState> = prompts.iter().map(|prompt| prompt.state).collect();
    assert_eq!(states, [PromptState::Interrupted, PromptState::Succeeded, PromptState::Succeeded]);
    assert!(prompts[1].graph.get("4").is_none(), "the interactive job ran in between");
    for (job, attempts) in [(&quick, 1), (&batch, 2)] {
        assert_eq!((&job["faults"], &job["losses"]), (&json!(0), &json!(0)), "{job}");
        assert_eq!(job["attempt"], attempts, "{job}");
        assert_eq!(job["outputs"].as_array().unwrap().len(), 1, "{job}");
    }
    let metrics = world.get("/metrics").await.text().await.unwrap();
    let counted = |line: &&str| line.starts_with("gateway_attempts_ended_total") && !line.ends_with(" 0");
    let ended: Vec<&str> = metrics.lines().filter(counted).collect();
    assert_eq!(ended, [r#"gateway_attempts_ended_total{end="preempted"} 1"#]);
}
