//! Two tenants, one hostile: each thing that one may try against the other (docs/SECURITY.md), over real sockets and a
//! simulated server that they share.

use gateway::store::{Scope, TenantDraft, TenantLimits, TenantSettings};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{World, picture, slow_picture, until};

struct Feud {
    world: World,
    good: String,
    evil: String,
}

impl Feud {
    async fn start(evil_limits: TenantLimits, toml: &str) -> Self {
        let world = World::with(vec![comfyui_sim::Config::default()], toml).await;
        for (name, limits) in [("good", TenantLimits::default()), ("evil", evil_limits)] {
            let settings = TenantSettings { limits, ..TenantSettings::default() };
            let draft = TenantDraft { name: name.into(), weight: 1, concurrency: u32::MAX, settings };
            world.app.tenants().admin("test").add_tenant(draft).await.unwrap();
        }
        let (good, evil) = (world.key("good", Scope::Submit).await, world.key("evil", Scope::Submit).await);
        world.usable().await;
        Self { world, good, evil }
    }

    fn as_evil(&self, method: Method, path: &str) -> RequestBuilder {
        self.world.request(method, path).bearer_auth(&self.evil)
    }

    async fn evil_submits(&self, workflow: &Value) -> (StatusCode, Value) {
        let body = json!({"workflow": workflow});
        let response = self.as_evil(Method::POST, "/v1/jobs").json(&body).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    async fn good_submits(&self, workflow: &Value) -> Value {
        let body = json!({"workflow": workflow});
        let request = self.world.request(Method::POST, "/v1/jobs").bearer_auth(&self.good).json(&body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        response.json().await.unwrap()
    }

    async fn good_job(&self, id: &Value) -> Value {
        let path = format!("/v1/jobs/{}", id.as_str().unwrap());
        let request = self.world.request(Method::GET, &path).bearer_auth(&self.good);
        request.send().await.unwrap().json().await.unwrap()
    }

    /// The good tenant's job comes through, whatever else is going on.
    async fn good_is_served(&self, color: u32) -> Value {
        let job = self.good_submits(&picture(color)).await;
        until("the other tenant's job is done", async || {
            let job = self.good_job(&job["id"]).await;
            (job["status"] == "succeeded").then_some(job)
        })
        .await
    }

    async fn good_uploads(&self, name: &str, bytes: &[u8]) -> Value {
        let form = reqwest::multipart::Form::new()
            .text("content_type", "image/png")
            .text("file_path", name.to_owned())
            .part("file", reqwest::multipart::Part::bytes(bytes.to_vec()));
        let request =
            self.world.request(Method::POST, "/api/v2/assets").bearer_auth(&self.good).multipart(form);
        request.send().await.unwrap().json().await.unwrap()
    }
}

/// A workflow that loads a file by some name and saves what is in it.
fn loading(name: Value) -> Value {
    json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": name}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "stolen"}},
    })
}

#[tokio::test]
async fn the_hostile_one_reads_lists_and_cancels_nothing_of_the_other() {
    let feud = Feud::start(TenantLimits::default(), "").await;
    let asset = feud.good_uploads("secret.png", b"secret bytes").await;
    let done = feud.good_is_served(1).await;
    let running = feud.good_submits(&slow_picture(60.0)).await;
    let (done_id, running_id) = (done["id"].as_str().unwrap(), running["id"].as_str().unwrap());
    let output = done["outputs"][0]["id"].as_str().unwrap();
    let (asset_id, hash) = (asset["id"].as_str().unwrap(), asset["hash"].as_str().unwrap());
    for (method, path) in [
        (Method::GET, format!("/v1/jobs/{done_id}")),
        (Method::GET, format!("/v1/jobs/{done_id}/explain")),
        (Method::GET, format!("/api/v2/jobs/{done_id}/workflow")),
        (Method::GET, format!("/api/v2/jobs/{running_id}/events")),
        (Method::POST, format!("/v1/jobs/{running_id}/cancel")),
        (Method::POST, format!("/api/v2/jobs/{running_id}/cancel")),
        (Method::GET, format!("/api/v2/assets/{output}/content")),
        (Method::GET, format!("/api/v2/assets/{asset_id}")),
        (Method::GET, format!("/api/v2/assets/{asset_id}/content")),
        (Method::DELETE, format!("/api/v2/assets/{asset_id}")),
        (Method::HEAD, format!("/api/v2/assets/by-hash/{hash}")),
    ] {
        let asked = feud.as_evil(method.clone(), &path).send().await.unwrap();
        assert_eq!(asked.status(), StatusCode::NOT_FOUND, "{method} {path}");
    }
    let mint = feud.as_evil(Method::POST, "/api/v2/assets/from-hash").json(&json!({"hash": hash}));
    assert_eq!(mint.send().await.unwrap().status(), StatusCode::NOT_FOUND, "a hash is no claim");
    for path in ["/v1/jobs", "/api/v2/jobs", "/v1/jobs?labels[a]=b"] {
        let list: Value = feud.as_evil(Method::GET, path).send().await.unwrap().json().await.unwrap();
        assert_eq!(list["jobs"], json!([]), "{path}");
    }
    for path in ["/v1/fleet", "/v1/tenants", "/v1/keys", "/v1/audit", "/v1/tenants/good/export", "/metrics"] {
        let asked = feud.as_evil(Method::GET, path).send().await.unwrap();
        assert_eq!(asked.status(), StatusCode::FORBIDDEN, "{path}");
    }
    let drain = feud.as_evil(Method::POST, "/v1/drain").send().await.unwrap();
    assert_eq!(drain.status(), StatusCode::FORBIDDEN);
    assert_ne!(feud.good_job(&running["id"]).await["status"], "canceled");
}

#[tokio::test]
async fn the_hostile_one_names_the_files_of_the_other_in_vain() {
    let feud = Feud::start(TenantLimits::default(), "").await;
    let asset = feud.good_uploads("secret.png", b"secret bytes").await;
    let done = feud.good_is_served(1).await;
    let output = &done["outputs"][0];
    let name = output["name"].as_str().unwrap();
    let folder = format!("{}/1", done["id"].as_str().unwrap());
    let tagged = |id: &Value| json!({"__type": "core/ASSET", "info": {"id": id}});
    let names = [
        json!("secret.png"),
        json!("secret.png [input]"),
        json!(format!("{name} [output]")),
        json!(format!("{folder}/{name} [output]")),
        json!(format!("{folder}/{name}")),
        json!("x.png [temp]"),
        json!("../input/secret.png"),
        json!("..\\input\\secret.png"),
        json!("/etc/passwd"),
        json!("C:\\secret.png"),
        json!("./darkroom/secret.png"),
        json!("DARKROOM/secret.png"),
        json!("sub/../../secret.png"),
        json!("secret.png\u{0}.png"),
        json!("\u{ff0e}\u{ff0e}/secret.png"),
        json!("secret\u{200b}.png"),
        json!({"__value__": "secret.png"}),
        tagged(&asset["id"]),
        tagged(&output["id"]),
        tagged(&json!("../secret.png")),
    ];
    for name in names {
        let (status, refusal) = feud.evil_submits(&loading(name.clone())).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{name}: {refusal}");
        let code = refusal["code"].as_str().unwrap();
        assert!(["missing_asset", "invalid_workflow"].contains(&code), "{name}: {refusal}");
        assert!(!refusal.to_string().contains("secret bytes"));
    }
    // Inputs of other kinds: none of them is the name of an upload.
    for (input, value) in [
        ("filename_prefix", "../good/x"),
        ("filename_prefix", "/tmp/x"),
        ("filename_prefix", "a\\..\\..\\x"),
        ("path", "/etc/passwd"),
        ("folder", "../output"),
        ("anything", "darkroom/secret.png"),
        ("anything", "secret.png [output]"),
    ] {
        let mut graph = picture(1);
        graph["2"]["inputs"][input] = json!(value);
        let (status, refusal) = feud.evil_submits(&graph).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{input} = {value}: {refusal}");
    }
    // The same graph as the other's, which ComfyUI has cached: the outputs are its own all the same.
    let mine = async |workflow: &Value| {
        let (status, job) = feud.evil_submits(workflow).await;
        assert_eq!(status, StatusCode::CREATED);
        let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
        until("it is done", async || {
            let job: Value = feud.as_evil(Method::GET, &path).send().await.unwrap().json().await.unwrap();
            (job["status"] == "succeeded").then_some(job)
        })
        .await
    };
    let copy = mine(&picture(1)).await;
    assert_ne!(copy["outputs"][0]["id"], output["id"]);
    assert_eq!(copy["outputs"][0]["name"], "pic_00001_.png", "numbered as its own first one");
}

#[tokio::test]
async fn a_workflow_that_would_kill_a_server_is_not_sent_to_one() {
    let feud = Feud::start(TenantLimits::default(), "").await;
    let post = async |path: &str, body: Value| {
        feud.as_evil(Method::POST, path).json(&body).send().await.unwrap().status()
    };
    // PROTOCOL §8.1: ids, numbers and extra data of callers never reach ComfyUI.
    for body in [
        json!({"workflow": picture(1), "client_id": ["x"]}),
        json!({"workflow": picture(1), "prompt_id": "x"}),
        json!({"workflow": picture(1), "number": -1}),
        json!({"workflow": picture(1), "extra_data": {}}),
        json!({"workflow": picture(1), "extra_pnginfo": []}),
        json!({"workflow": picture(1), "extra_pnginfo": {"workflow": null}}),
    ] {
        assert_eq!(post("/v1/jobs", body.clone()).await, StatusCode::BAD_REQUEST, "{body}");
    }
    for body in [
        json!({"workflow": picture(2), "client_id": ["x"], "prompt_id": 7, "number": -1, "front": true}),
        json!({"workflow": picture(2), "extra_data": {"extra_pnginfo": []}}),
    ] {
        let status = post("/api/v2/jobs", body.clone()).await;
        assert!(status == StatusCode::CREATED || status.is_client_error(), "{body}: {status}");
    }
    let text = format!(r#"{{"workflow": {}, "order": NaN}}"#, picture(1));
    let raw = feud.as_evil(Method::POST, "/v1/jobs").header("content-type", "application/json").body(text);
    assert_eq!(raw.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    let mut chain = picture(1);
    for at in 10..600 {
        let before = if at == 10 { "1".to_owned() } else { (at - 1).to_string() };
        chain[at.to_string()] = json!({"class_type": "ImageInvert", "inputs": {"image": [before, 0]}});
    }
    chain["2"]["inputs"]["images"] = json!(["599", 0]);
    assert_eq!(feud.evil_submits(&chain).await.0, StatusCode::UNPROCESSABLE_ENTITY, "a long chain");
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let deep = format!(r#"{{"workflow": {{"1": {{"class_type": "X", "inputs": {{"a": {deep}}}}}}}}}"#);
    let deep = feud.as_evil(Method::POST, "/v1/jobs").header("content-type", "application/json").body(deep);
    assert!(deep.send().await.unwrap().status().is_client_error());
    feud.good_is_served(3).await;
}

#[tokio::test]
async fn a_flood_of_jobs_does_not_starve_the_other() {
    let feud = Feud::start(TenantLimits { queued: Some(50), ..TenantLimits::default() }, "").await;
    let mut refused = 0;
    for color in 0..100 {
        let (status, _) = feud.evil_submits(&slow_picture(0.3 + f64::from(color) / 1e6)).await;
        refused += u32::from(status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(refused > 0, "its queue is bounded");
    feud.good_is_served(1).await;
    let waiting: Value =
        feud.as_evil(Method::GET, "/v1/jobs?status=queued").send().await.unwrap().json().await.unwrap();
    assert!(!waiting["jobs"].as_array().unwrap().is_empty(), "the other did not wait for the whole flood");
}

#[tokio::test]
async fn slow_bodies_and_compressed_ones_hold_up_nobody() {
    let feud = Feud::start(TenantLimits::default(), "").await;
    let host = feud.world.app.address();
    let mut slow = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(host).await.unwrap();
        let head = format!(
            "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
            feud.evil
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(format!("11000\r\n{}\r\n", " ".repeat(0x11000)).as_bytes()).await.unwrap();
        slow.push(stream);
    }
    // As large as the bound allows: it finds memory although 64 others began.
    let mut large = picture(1);
    large["2"]["_meta"] = json!({"title": "x".repeat(3 << 20)});
    feud.good_submits(&large).await;
    feud.good_is_served(2).await;
    let mut byte = [0; 12];
    tokio::time::timeout(crate::world::PATIENCE, slow[0].read_exact(&mut byte)).await.unwrap().unwrap();
    assert_eq!(&byte, b"HTTP/1.1 504", "a body that does not come on is given up");

    for (encoding, path) in [("gzip", "/v1/jobs"), ("br", "/api/v2/jobs"), ("deflate", "/api/v2/assets")] {
        let request = feud.as_evil(Method::POST, path).header("content-encoding", encoding);
        let request = request.header("content-type", "application/json").body("{}");
        let status = request.send().await.unwrap().status();
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path}");
    }
}

#[tokio::test]
async fn the_disk_is_not_filled_by_one() {
    let limits = TenantLimits { stored_bytes: Some(100_000), ..TenantLimits::default() };
    let feud = Feud::start(limits, "[http]\nmax_uploads_per_key = 4\n").await;
    let upload = async |number: usize| {
        let bytes: Vec<u8> =
            (0..30_000).map(|at| u8::try_from((at * 7 + number * 13) % 251).unwrap()).collect();
        let form = reqwest::multipart::Form::new()
            .text("content_type", "image/png")
            .text("file_path", format!("{number}.png"))
            .part("file", reqwest::multipart::Part::bytes(bytes));
        feud.as_evil(Method::POST, "/api/v2/assets").multipart(form).send().await.unwrap().status()
    };
    let taken = futures_util::future::join_all((0..12).map(upload)).await;
    let taken = taken.iter().filter(|status| **status == StatusCode::CREATED).count();
    assert!(taken <= 3, "{taken} of 30 kB each");
    let held = feud
        .world
        .app
        .tenants()
        .tenants()
        .await
        .unwrap()
        .into_iter()
        .find(|it| it.name == "evil")
        .unwrap()
        .id;
    assert!(feud.world.app.engine().store().held_bytes(held).await.unwrap() <= 100_000);
    assert!(feud.good_uploads("mine.png", b"x").await["id"].is_string());
}
