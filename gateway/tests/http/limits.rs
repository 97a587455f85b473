//! What a tenant may have and ask for: each bound with its answer, on both faces.

use gateway::store::{Allowed, Rules, Scope, TenantDraft, TenantLimits, TenantRetention, TenantSettings};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::world::{World, picture, problem_code, slow_picture, until, v2_code};

struct Bounded {
    world: World,
    key: String,
}

impl Bounded {
    async fn by(settings: TenantSettings, toml: &str) -> Self {
        let world = World::with(vec![comfyui_sim::Config::default()], toml).await;
        let draft = TenantDraft { name: "club".into(), weight: 1, concurrency: u32::MAX, settings };
        world.app.tenants().admin("test").add_tenant(draft).await.unwrap();
        let key = world.key("club", Scope::Submit).await;
        world.usable().await;
        Self { world, key }
    }

    async fn by_limits(limits: TenantLimits) -> Self {
        Self::by(TenantSettings { limits, ..TenantSettings::default() }, "").await
    }

    async fn post(&self, path: &str, workflow: &Value) -> Response {
        let body = json!({"workflow": workflow});
        self.world.request(Method::POST, path).bearer_auth(&self.key).json(&body).send().await.unwrap()
    }

    async fn takes(&self, workflow: &Value) {
        let response = self.post("/v1/jobs", workflow).await;
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, StatusCode::CREATED, "{workflow}: {text}");
    }

    /// Both faces refuse, with this code; the problem document of `/v1`.
    async fn refuses(&self, workflow: &Value, code: &str) -> Value {
        let v2 = self.post("/api/v2/jobs", workflow).await;
        assert_eq!(v2_code(v2, StatusCode::UNPROCESSABLE_ENTITY).await, code, "{workflow}");
        let response = self.post("/v1/jobs", workflow).await;
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["code"], code, "{body}");
        body
    }

    async fn upload(&self, bytes: usize) -> Response {
        let form = reqwest::multipart::Form::new()
            .text("content_type", "application/octet-stream")
            .text("file_path", format!("{bytes}.bin"))
            .part("file", reqwest::multipart::Part::bytes(vec![7; bytes]));
        self.world
            .request(Method::POST, "/api/v2/assets")
            .bearer_auth(&self.key)
            .multipart(form)
            .send()
            .await
            .unwrap()
    }
}

fn image(width: impl Into<Value>, height: impl Into<Value>, batch: impl Into<Value>) -> Value {
    let inputs =
        json!({"width": width.into(), "height": height.into(), "batch_size": batch.into(), "color": 1});
    json!({
        "1": {"class_type": "EmptyImage", "inputs": inputs},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "pic"}},
    })
}

#[tokio::test]
async fn submissions_over_the_rate_are_told_when_to_come_back() {
    let rate = |n| std::num::NonZeroU32::new(n);
    let limits = TenantLimits {
        submissions_per_minute: rate(2),
        submissions_burst: rate(2),
        ..TenantLimits::default()
    };
    let bounded = Bounded::by_limits(limits).await;
    bounded.takes(&picture(1)).await;
    bounded.takes(&picture(2)).await;
    let refused = bounded.post("/v1/jobs", &picture(3)).await;
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    assert_eq!(problem_code(refused, StatusCode::TOO_MANY_REQUESTS).await, "rate_limited");
    let refused = bounded.post("/api/v2/jobs", &picture(3)).await;
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(v2_code(refused, StatusCode::TOO_MANY_REQUESTS).await, "rate_limited");
    let other = bounded.world.key("other", Scope::Submit).await;
    let body = json!({"workflow": picture(4)});
    let other =
        bounded.world.request(Method::POST, "/v1/jobs").bearer_auth(other).json(&body).send().await.unwrap();
    assert_eq!(other.status(), StatusCode::CREATED, "its own rate is not touched");
}

#[tokio::test]
async fn a_repeat_gets_its_first_answer_over_the_rate_too() {
    let one = std::num::NonZeroU32::new(1);
    let limits = TenantLimits { submissions_per_minute: one, ..TenantLimits::default() };
    let bounded = Bounded::by_limits(limits).await;
    let body = json!({"workflow": picture(1)});
    let send = async |key: &str| {
        let request = bounded.world.request(Method::POST, "/v1/jobs").bearer_auth(&bounded.key);
        request.header("idempotency-key", key).json(&body).send().await.unwrap()
    };
    let first = send("a").await;
    assert_eq!(first.status(), StatusCode::CREATED);
    let again = send("a").await;
    assert_eq!(again.status(), StatusCode::CREATED);
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(again.text().await.unwrap(), first.text().await.unwrap());
    assert_eq!(problem_code(send("b").await, StatusCode::TOO_MANY_REQUESTS).await, "rate_limited");
}

#[tokio::test]
async fn waiting_jobs_of_a_tenant_are_bounded_and_room_comes_back() {
    let bounded = Bounded::by_limits(TenantLimits { queued: Some(1), ..TenantLimits::default() }).await;
    let sleepy = slow_picture(60.0);
    // One runs, one is prefetched behind it, one waits.
    let taken = std::cell::RefCell::new(Vec::new());
    let refused = until("the queue is full", async || {
        let response = bounded.post("/v1/jobs", &sleepy).await;
        if response.status() == StatusCode::CREATED {
            let id = response.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
            taken.borrow_mut().push(id);
            assert!(taken.borrow().len() <= 3, "{taken:?}");
            return None;
        }
        Some(response)
    })
    .await;
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(problem_code(refused, StatusCode::TOO_MANY_REQUESTS).await, "queue_full");
    for id in taken.take() {
        let path = format!("/v1/jobs/{id}/cancel");
        bounded.world.request(Method::POST, &path).bearer_auth(&bounded.key).send().await.unwrap();
    }
    until("there is room again", async || {
        (bounded.post("/v1/jobs", &picture(1)).await.status() == StatusCode::CREATED).then_some(())
    })
    .await;
}

#[tokio::test]
async fn pictures_frames_and_steps_are_bounded_by_what_the_numbers_say() {
    let limits =
        TenantLimits { steps: Some(30), megapixels: Some(1), frames: Some(4), ..TenantLimits::default() };
    let bounded = Bounded::by_limits(limits).await;
    bounded.takes(&image(1024, 1024, 4)).await;
    let refusal = bounded.refuses(&image(1025, 1024, 1), "limit_exceeded").await;
    assert_eq!(refusal["details"]["limit"], "megapixels");
    assert_eq!(refusal["details"]["node"], "1");
    bounded.refuses(&image("2048", 1024, 1), "limit_exceeded").await;
    let refusal = bounded.refuses(&image(64, 64, 5), "limit_exceeded").await;
    assert_eq!(refusal["details"], json!({"limit": "frames", "allowed": 4, "asked": 5, "node": "1"}));

    let repeated = |amount: u32| {
        let mut graph = image(64, 64, 2);
        graph["2"]["inputs"]["images"] = json!(["3", 0]);
        graph["3"] =
            json!({"class_type": "RepeatImageBatch", "inputs": {"image": ["1", 0], "amount": amount}});
        graph
    };
    bounded.refuses(&repeated(2), "invalid_workflow").await; // Within the bound; the simulator lacks the class.
    bounded.refuses(&repeated(3), "limit_exceeded").await;
    let linked = |node: Value| {
        let mut graph = image(json!(["3", 0]), 64, 1);
        graph["3"] = node;
        graph
    };
    bounded.takes(&linked(json!({"class_type": "PrimitiveInt", "inputs": {"value": 64}}))).await;
    bounded
        .refuses(&linked(json!({"class_type": "PrimitiveInt", "inputs": {"value": 16400}})), "limit_exceeded")
        .await;
    let hidden = linked(json!({"class_type": "StringLength", "inputs": {"string": "a"}}));
    let refusal = bounded.refuses(&hidden, "limit_exceeded").await;
    assert_eq!(refusal["details"]["input"], "width");

    let mut steps = image(64, 64, 1);
    steps["3"] = json!({"class_type": "BasicScheduler", "inputs": {"scheduler": "normal", "steps": 31, "denoise": 1.0}});
    let refusal = bounded.refuses(&steps, "limit_exceeded").await;
    assert_eq!(refusal["details"]["limit"], "steps", "of a node that nothing depends on, too");
}

#[tokio::test]
async fn nobody_may_exhaust_a_servers_memory() {
    let bounded = Bounded::by(TenantSettings::default(), "").await;
    let refusal = bounded.refuses(&image(16384, 16384, 4096), "limit_exceeded").await;
    assert_eq!(refusal["details"]["limit"], "megapixels");
    bounded.takes(&image(64, 64, 4096)).await;
}

#[tokio::test]
async fn what_is_stored_is_bounded_for_uploads_and_for_jobs() {
    let limits = TenantLimits { stored_bytes: Some(10_000), ..TenantLimits::default() };
    let bounded = Bounded::by_limits(limits).await;
    assert_eq!(bounded.upload(6_000).await.status(), StatusCode::CREATED);
    let refused = bounded.upload(5_000).await;
    assert_eq!(v2_code(refused, StatusCode::PAYLOAD_TOO_LARGE).await, "quota_exceeded");
    bounded.takes(&picture(1)).await;
    let (left, right) = tokio::join!(bounded.upload(2_001), bounded.upload(2_002));
    let taken = [&left, &right].into_iter().filter(|it| it.status() == StatusCode::CREATED).count();
    assert!(taken <= 1, "two at once do not slip through");

    let full = Bounded::by_limits(TenantLimits { stored_bytes: Some(0), ..TenantLimits::default() }).await;
    full.refuses(&picture(1), "quota_exceeded").await;
}

#[tokio::test]
async fn bodies_and_outputs_are_kept_as_long_as_the_tenant_wants() {
    let retention = TenantRetention {
        jobs_seconds: Some(100),
        bodies_seconds: Some(10),
        deliverables_seconds: Some(20),
        ..TenantRetention::default()
    };
    let bounded = Bounded::by_limits(TenantLimits { retention, ..TenantLimits::default() }).await;
    let job: Value = bounded.post("/v1/jobs", &picture(1)).await.json().await.unwrap();
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    let look = async || -> Value {
        bounded
            .world
            .request(Method::GET, &path)
            .bearer_auth(&bounded.key)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    };
    until("the job has ended", async || (look().await["status"] == "succeeded").then_some(())).await;
    let store = bounded.world.app.engine().store().clone();
    let id = gateway_id(&job);
    let ended = store.job(id).await.unwrap().unwrap().ended_at.unwrap();
    store.sweep(ended + 15_000, 10).await.unwrap();
    assert!(store.body(id).await.unwrap().is_none());
    assert_eq!(look().await["outputs"].as_array().unwrap().len(), 1);
    store.sweep(ended + 25_000, 10).await.unwrap();
    assert_eq!(look().await["outputs"], json!([]));
    store.sweep(ended + 101_000, 10).await.unwrap();
    assert_eq!(look().await["status"], "expired");
}

fn gateway_id(job: &Value) -> uuid::Uuid {
    job["id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn classes_and_models_that_are_not_allowed_are_named_and_nothing_else() {
    let rules = |allow: &[&str], deny: &[&str]| {
        let owned = |list: &[&str]| list.iter().map(|&it| it.to_owned()).collect();
        Rules { allow: owned(allow), deny: owned(deny) }
    };
    let allow = Allowed { classes: rules(&["@core"], &["ImageInvert"]), models: rules(&["public/*"], &[]) };
    let bounded = Bounded::by(TenantSettings { allow, ..TenantSettings::default() }, "").await;
    bounded.takes(&picture(1)).await;
    for class in ["ImageInvert", "TestSleep", "NoSuchClass"] {
        let mut graph = picture(1);
        graph["9:1"] = json!({"class_type": class, "inputs": {"value": ["1", 0]}});
        let refusal = bounded.refuses(&graph, "class_not_allowed").await;
        assert_eq!(refusal["details"], json!({"node": "9:1", "class": class}), "whether there or not");
    }
    let loading = |name: Value| {
        let mut graph = picture(1);
        graph["3"] = json!({"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": name}});
        graph["4"] = json!({"class_type": "PrimitiveString", "inputs": {"value": "x"}});
        graph
    };
    let known = bounded.world.app.engine().fleet();
    assert!(!known.catalogues.is_empty());
    bounded.refuses(&loading(json!("v1-5-pruned-emaonly.safetensors")), "model_not_allowed").await;
    bounded.refuses(&loading(json!("no-such.safetensors")), "model_not_allowed").await;
    bounded.refuses(&loading(json!(["4", 0])), "model_not_allowed").await;
    let mut needed = loading(json!("public/none.safetensors"));
    needed["5"] = json!({"class_type": "VAEDecode", "inputs": {"samples": ["6", 0], "vae": ["3", 2]}});
    needed["6"] =
        json!({"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}});
    needed["2"]["inputs"]["images"] = json!(["5", 0]);
    let refusal = bounded.refuses(&needed, "invalid_workflow").await.to_string();
    assert!(refusal.contains("public/none.safetensors"), "{refusal}");
    let listed = refusal.replace("public/none.safetensors", "");
    assert!(!listed.contains(".safetensors") && !listed.contains(".ckpt"), "names of others: {listed}");
}
