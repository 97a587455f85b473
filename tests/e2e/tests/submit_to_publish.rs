//! The main road: a workflow in, events on the way, a stored picture out.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use comfyui_sim::{Config, Device, Simulator};
use e2e::api::{Api, id_of};
use e2e::sandbox::Sandbox;
use e2e::wait::{self, SOON};
use e2e::workflows::{self, Painting};
use e2e::{pictures, sse};
use serde_json::{Value, json};

/// Three cards of different classes.
async fn three_gpus() -> anyhow::Result<Sandbox> {
    let plan = Sandbox::plan().settings("");
    plan.gpu(Device::t4()).gpu(Device::v100()).gpu(Device::a100()).start().await
}

/// What a ComfyUI makes of a workflow when nobody stands before it.
async fn without_gateway(workflow: &Value) -> anyhow::Result<Vec<u8>> {
    let alone = Simulator::start(Config::default()).await?;
    let comfyui = Api::new(alone.url())?;
    let answer = comfyui.post("/prompt", &json!({"prompt": workflow})).await?.expect(200)?.json()?;
    let id = answer["prompt_id"].as_str().context("no prompt_id")?.to_owned();
    let file = wait::until("the picture", SOON, async || {
        let history = comfyui.get(&format!("/history/{id}")).await?.json()?;
        Ok(history[&id]["outputs"]["9"]["images"].get(0).cloned())
    })
    .await?;
    let name = file["filename"].as_str().context("no file name")?;
    Ok(comfyui.get(&format!("/view?filename={name}&type=output")).await?.expect(200)?.bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_class_of_gpu_gives_the_very_bytes_that_comfyui_would_have_given() -> anyhow::Result<()> {
    let sandbox = three_gpus().await?;
    let api = sandbox.api();
    for chosen in 0..3 {
        for other in 0..3 {
            let order = if other == chosen { "uncordon" } else { "cordon" };
            let path = format!("/v1/instances/gpu-{other}/{order}");
            let answer = api.post(&path, &json!({})).await?;
            ensure!(answer.status < 300, "{answer:?}");
        }
        let workflow = Painting { seed: 40 + chosen as u64, ..Painting::default() }.workflow();
        let id = api.submit(&workflow).await?;
        let job = api.succeeded(&id).await?;
        let bytes = api.only_output(&job).await?;
        ensure!(bytes == without_gateway(&workflow).await?, "gpu-{chosen} gave other bytes");
        let ran = sandbox.gpus()[chosen].observed().prompts;
        ensure!(ran.len() == 1, "gpu-{chosen} ran {} prompts", ran.len());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_tell_the_whole_story_and_outputs_come_before_the_end() -> anyhow::Result<()> {
    let sandbox = Sandbox::plan().paced(Device::t4(), Duration::from_millis(20)).start().await?;
    let api = sandbox.api();
    let workflow = Painting { steps: 40, ..Painting::default() }.workflow();
    let id = api.submit(&workflow).await?;
    let events = api.events(&id).await?.rest().await?;

    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    let statuses: Vec<&Value> = of(&events, "status").map(|event| &event.data["status"]).collect();
    ensure!(names.first() == Some(&"status"), "{names:?}");
    ensure!(names.last() == Some(&"status"), "{names:?}");
    ensure!(statuses.last() == Some(&&json!("succeeded")), "{statuses:?}");
    ensure!(statuses.contains(&&json!("running")), "{statuses:?}");
    let values: Vec<f64> = of(&events, "progress").filter_map(|event| event.data["value"].as_f64()).collect();
    ensure!(!values.is_empty() && values.iter().all(|value| (0.0..=1.0).contains(value)), "{values:?}");
    let outputs: Vec<&sse::Event> = of(&events, "output").collect();
    let job = api.job(&id).await?;
    ensure!(outputs.len() == 1 && outputs[0].data["id"] == job["outputs"][0]["id"], "{outputs:?} {job}");
    ensure!(outputs[0].data["hash"] == job["outputs"][0]["hash"], "{outputs:?} {job}");
    for moment in ["created_at", "started_at", "completed_at", "expires_at"] {
        ensure!(job[moment].is_string(), "{moment} in {job}");
    }
    Ok(())
}

fn of<'a>(events: &'a [sse::Event], name: &'a str) -> impl Iterator<Item = &'a sse::Event> {
    events.iter().filter(move |event| event.name == name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_opened_after_the_end_tells_the_outputs_and_the_end() -> anyhow::Result<()> {
    let sandbox = Sandbox::plan().gpu(Device::t4()).start().await?;
    let api = sandbox.api();
    let id = api.submit(&workflows::plain(0x10_20_30, 8)).await?;
    api.succeeded(&id).await?;
    let events = api.events(&id).await?.rest().await?;
    ensure!(of(&events, "output").count() == 1, "{events:?}");
    let last = events.last().context("an empty stream")?;
    ensure!(last.name == "status" && last.data["status"] == "succeeded", "{events:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_is_an_input_on_whichever_instance_runs_the_next_job() -> anyhow::Result<()> {
    let sandbox = three_gpus().await?;
    let api = sandbox.api();
    let first = api.succeeded(&api.submit(&workflows::plain(0x10_20_30, 8)).await?).await?;
    let output = id_of(&first["outputs"][0])?;
    for gpu in 0..3 {
        let rest = (0..3).filter(|other| *other != gpu);
        api.post(&format!("/v1/instances/gpu-{gpu}/uncordon"), &json!({})).await?;
        for other in rest {
            api.post(&format!("/v1/instances/gpu-{other}/cordon"), &json!({})).await?;
        }
        let next = api.submit(&workflows::negative(&workflows::asset(output))).await?;
        let bytes = api.only_output(&api.succeeded(&next).await?).await?;
        ensure!(pictures::only_color(&bytes)? == 0xef_df_cf, "gpu-{gpu} made another picture");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_picture_is_an_input_and_is_kept_once() -> anyhow::Result<()> {
    let sandbox = three_gpus().await?;
    let api = sandbox.api();
    let made = api.succeeded(&api.submit(&workflows::plain(0x01_02_03, 8)).await?).await?;
    let photo = api.only_output(&made).await?;
    let asset = api.upload("folder/photo.png", "image/png", &photo).await?;
    ensure!(asset["hash"] == json!(pictures::hash(&photo)), "{asset}");
    let again = api.upload("folder/photo.png", "image/png", &photo).await?;
    ensure!(again["hash"] == asset["hash"], "{again}");
    let head = format!("/api/v2/assets/by-hash/{}", pictures::hash(&photo));
    api.send(api.request(reqwest::Method::HEAD, &head)).await?.expect(200)?;

    let id = id_of(&asset)?;
    ensure!(api.content(id).await? == photo, "other bytes came back");
    let part = api.request(reqwest::Method::GET, &format!("/api/v2/assets/{id}/content"));
    let part = api.send(part.header("range", "bytes=2-5")).await?.expect(206)?;
    ensure!(part.bytes == photo[2..=5], "another part came: {part:?}");

    let mut jobs = Vec::new();
    for _ in 0..6 {
        jobs.push(api.submit(&workflows::negative(&workflows::asset(id))).await?);
    }
    for job in jobs {
        let bytes = api.only_output(&api.succeeded(&job).await?).await?;
        ensure!(pictures::only_color(&bytes)? == 0xfe_fd_fc, "another picture");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_private_face_replays_explains_and_shows_the_fleet() -> anyhow::Result<()> {
    let sandbox = Sandbox::plan().gpu(Device::v100()).start().await?;
    let api = sandbox.api();
    let fleet = api.get("/v1/fleet").await?.expect(200)?.json()?;
    ensure!(fleet["instances"][0]["device_class"] == "v100", "{fleet}");
    ensure!(fleet["instances"][0]["url"] == json!(sandbox.gpus()[0].url()), "{fleet}");

    let running = api.submit(&workflows::slow(1, 3.0)).await?;
    api.reaches(&running, "running").await?;
    let body = json!({
        "workflow": workflows::slow(2, 0.1), "class": "interactive", "finish_within_seconds": 600,
        "labels": {"user": "u1"},
    });
    let first = api.post_once("/v1/jobs", &body, "only-once").await?.expect(201)?;
    let again = api.post_once("/v1/jobs", &body, "only-once").await?.expect(201)?;
    ensure!(first.bytes == again.bytes, "the replay differs");
    ensure!(again.header("idempotency-replayed") == "true", "{again:?}");
    let other = json!({"workflow": workflows::slow(3, 0.1)});
    let conflict = api.post_once("/v1/jobs", &other, "only-once").await?.expect(409)?;
    ensure!(conflict.code() == "idempotency_conflict", "{conflict:?}");
    let hook = json!({"workflow": workflows::slow(4, 0.1), "webhook": {"url": "https://a.example"}});
    api.post("/v1/jobs", &hook).await?.expect(422)?;

    let job = first.json()?;
    let id = id_of(&job)?;
    let explain = async || api.get(&format!("/v1/jobs/{id}/explain")).await?.expect(200)?.json();
    let why = explain().await?;
    ensure!(why["message"].as_str().is_some_and(|message| !message.is_empty()), "{why}");
    ensure!(why["instances"].as_array().is_some_and(|verdicts| verdicts.len() == 1), "{why}");
    let ended = api.succeeded(id).await?;
    ensure!(pictures::only_color(&api.only_output(&ended).await?)? == 2, "another picture");
    ensure!(explain().await?["message"] == "The job succeeded.", "{}", explain().await?);
    ensure!(api.job_v1(id).await?["class"] == "interactive", "the class was lost");
    ensure!(sandbox.posts() == 2, "{} prompts for two jobs", sandbox.posts());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed_newest_first_by_label_and_by_page() -> anyhow::Result<()> {
    let sandbox = Sandbox::plan().gpu(Device::t4()).start().await?;
    let api = sandbox.api();
    let mut ids = Vec::new();
    for n in 0..7 {
        let run = if n % 2 == 0 { "even" } else { "odd" };
        let body = json!({"workflow": workflows::plain(n, 8), "metadata": {"run": run}});
        ids.push(id_of(&api.post("/api/v2/jobs", &body).await?.expect(201)?.json()?)?.to_owned());
    }
    ids.reverse();
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = api.get(&format!("/api/v2/jobs?limit=3&cursor={cursor}")).await?.expect(200)?.json()?;
        seen.extend(listed(&page));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    ensure!(seen == ids, "{seen:?} instead of {ids:?}");
    let odd = api.get("/api/v2/jobs?metadata[run]=odd").await?.expect(200)?.json()?;
    ensure!(listed(&odd).len() == 3, "{odd}");
    ensure!(odd["jobs"][0]["metadata"] == json!({"run": "odd"}), "{odd}");
    for id in &ids {
        api.succeeded(id).await?;
    }
    let ended = api.get("/api/v2/jobs?status=succeeded").await?.expect(200)?.json()?;
    ensure!(listed(&ended) == ids, "{ended}");
    ensure!(listed(&api.get("/api/v2/jobs?status=queued").await?.json()?).is_empty(), "none waits");
    Ok(())
}

fn listed(page: &Value) -> Vec<String> {
    let jobs = page["jobs"].as_array().into_iter().flatten();
    jobs.filter_map(|job| job["id"].as_str().map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_a_waiting_job_at_once_and_stops_a_running_one() -> anyhow::Result<()> {
    let sandbox = Sandbox::plan().gpu(Device::t4()).start().await?;
    let api = sandbox.api();
    let running = api.submit(&workflows::slow(1, 600.0)).await?;
    api.reaches(&running, "running").await?;
    let behind = api.submit(&workflows::slow(2, 600.0)).await?;
    let waiting = api.submit(&workflows::slow(3, 600.0)).await?;
    for id in [&waiting, &behind, &running] {
        let answer = api.post(&format!("/api/v2/jobs/{id}/cancel"), &json!({})).await?.expect(200)?.json()?;
        let status = answer["status"].as_str().unwrap_or_default();
        ensure!(matches!(status, "canceling" | "canceled"), "{answer}");
        api.reaches(id, "canceled").await?;
    }
    let free = api.submit(&workflows::plain(4, 8)).await?;
    api.succeeded(&free).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_own_workflow_comes_back_word_for_word() -> anyhow::Result<()> {
    let sandbox = Sandbox::plan().gpu(Device::t4()).start().await?;
    let api = sandbox.api();
    let workflow = workflows::plain(7, 8);
    let id = api.submit(&workflow).await?;
    let kept = api.get(&format!("/api/v2/jobs/{id}/workflow")).await?.expect(200)?.json()?;
    ensure!(kept == json!({"workflow": workflow, "format": "api"}), "{kept}");
    api.get("/api/v2/jobs/00000000-0000-0000-0000-000000000000").await?.expect(404)?;
    Ok(())
}
