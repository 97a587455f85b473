//! Bytes from outside are hostile: each is refused with its node and a reason, and no instance ever sees it.

use anyhow::{Context as _, ensure};
use comfyui_sim::Device;
use e2e::api::{Answer, Api, id_of};
use e2e::sandbox::Sandbox;
use e2e::wait::{self, SOON};
use e2e::workflows;
use reqwest::Method;
use serde_json::{Value, json};

/// As set below.
const MAX_BODY_BYTES: usize = 200_000;
const BOUNDS: &str = "[http]\nmax_body_bytes = 200000\nmax_asset_bytes = 100000\n\
     [workflow]\nmax_bytes = 150000\nmax_nodes = 50\nmax_chain = 20\n";

/// Refusals need a catalogue; before the first one is read everything well-formed is taken and judged later.
async fn sandbox() -> anyhow::Result<Sandbox> {
    let plan = Sandbox::plan().settings(BOUNDS).gpu(Device::t4()).gpu(Device::a100());
    let sandbox = plan.start().await?;
    let api = sandbox.api();
    wait::until("a catalogue", SOON, async || {
        let probe = json!({"workflow": with_node("5", json!({"class_type": "NobodyHasThis", "inputs": {}}))});
        let answer = api.post("/api/v2/jobs", &probe).await?;
        if answer.status == 201 {
            let id = id_of(&answer.json()?)?.to_owned();
            api.post(&format!("/api/v2/jobs/{id}/cancel"), &json!({})).await?.expect(200)?;
        }
        Ok((answer.status == 422).then_some(()))
    })
    .await?;
    Ok(sandbox)
}

/// Posts a body as it is, on a connection of its own. Who is refused before the body was read may find that connection
/// closed while writing (RFC 9112 §9.6) and asks again.
async fn post_text(api: &Api, path: &str, text: String) -> anyhow::Result<Answer> {
    wait::until("an answer", SOON, async || {
        let api = Api::new(api.base())?;
        let request = api.request(Method::POST, path).header("content-type", "application/json");
        match api.send(request.body(text.clone())).await {
            Ok(answer) => Ok(Some(answer)),
            Err(_) if text.len() > MAX_BODY_BYTES => Ok(None),
            Err(error) => Err(error),
        }
    })
    .await
}

/// A good workflow with one node replaced.
fn with_node(id: &str, node: Value) -> Value {
    let mut workflow = workflows::plain(1, 8);
    workflow[id] = node;
    workflow
}

fn chain(length: usize) -> Value {
    let mut workflow = workflows::plain(1, 8);
    for n in 0..length {
        let from = if n == 0 { "1".to_owned() } else { format!("c{}", n - 1) };
        workflow[format!("c{n}")] = json!({"class_type": "ImageInvert", "inputs": {"image": [from, 0]}});
    }
    workflow["9"]["inputs"]["images"] = json!([format!("c{}", length - 1), 0]);
    workflow
}

/// Workflows that are never right, with the node to blame and the code of the refusal.
fn never_right() -> Vec<(&'static str, Value, Option<&'static str>, &'static str)> {
    let invert = |from: Value| json!({"class_type": "ImageInvert", "inputs": {"image": from}});
    let mut cyclic = workflows::plain(1, 8);
    cyclic["2"] = invert(json!(["3", 0]));
    cyclic["3"] = invert(json!(["2", 0]));
    cyclic["9"]["inputs"]["images"] = json!(["2", 0]);
    let mut selfish = workflows::plain(1, 8);
    selfish["2"] = invert(json!(["2", 0]));
    selfish["9"]["inputs"]["images"] = json!(["2", 0]);
    let save = |inputs: Value| json!({"class_type": "SaveImage", "inputs": inputs});
    let wide: serde_json::Map<String, Value> =
        (0..60).map(|n| (n.to_string(), workflows::plain(n, 8)["1"].clone())).collect();
    let ui =
        json!({"nodes": [{"id": 1, "type": "SaveImage"}], "links": [], "last_node_id": 1, "version": 0.4});
    let bad = "invalid_workflow";
    vec![
        ("an empty graph", json!({}), None, bad),
        ("a graph without outputs", json!({"1": workflows::plain(1, 8)["1"]}), None, bad),
        ("a node that is a number", with_node("5", json!(7)), Some("5"), bad),
        ("a node without class", with_node("5", json!({"inputs": {}})), Some("5"), bad),
        ("a class that is a number", with_node("5", json!({"class_type": 7, "inputs": {}})), Some("5"), bad),
        (
            "a link to nowhere",
            with_node("9", save(json!({"images": ["77", 0], "filename_prefix": "x"}))),
            Some("9"),
            bad,
        ),
        (
            "a link to a slot that is not there",
            with_node("9", save(json!({"images": ["1", 9], "filename_prefix": "x"}))),
            Some("9"),
            bad,
        ),
        ("a missing input", with_node("9", save(json!({"filename_prefix": "x"}))), Some("9"), bad),
        (
            "a number out of range",
            with_node(
                "1",
                json!({"class_type": "EmptyImage", "inputs": {"width": 0, "height": 8, "batch_size": 1, "color": 0}}),
            ),
            Some("1"),
            bad,
        ),
        (
            "a word for a number",
            with_node(
                "1",
                json!({"class_type": "EmptyImage", "inputs": {"width": "wide", "height": 8, "batch_size": 1, "color": 0}}),
            ),
            Some("1"),
            bad,
        ),
        ("a cycle", cyclic, None, bad),
        ("a node that feeds itself", selfish, None, bad),
        (
            "a prefix that leaves its folder",
            with_node("9", save(json!({"images": ["1", 0], "filename_prefix": "../../etc/cron.d/x"}))),
            Some("9"),
            bad,
        ),
        (
            "an absolute prefix",
            with_node("9", save(json!({"images": ["1", 0], "filename_prefix": "/etc/x"}))),
            Some("9"),
            bad,
        ),
        ("a file outside the inputs", workflows::negative(&json!("../../../etc/passwd")), Some("1"), bad),
        (
            "an input nobody uploaded",
            workflows::negative(&json!("somebody-elses.png")),
            None,
            "missing_asset",
        ),
        ("too many nodes", Value::Object(wide), None, bad),
        ("too long a chain", chain(30), None, bad),
        ("the format of the editor", ui, None, "workflow_format_ui"),
        (
            "an asset that is not there",
            workflows::negative(&workflows::asset("no-such-asset")),
            None,
            "missing_asset",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn workflows_that_are_never_right_are_refused_by_node_and_reach_no_instance() -> anyhow::Result<()> {
    let sandbox = sandbox().await?;
    for (what, workflow, node, code) in never_right() {
        for path in ["/api/v2/jobs", "/v1/jobs"] {
            let answer = sandbox.api().post(path, &json!({"workflow": workflow})).await?;
            let told =
                format!("{what} to {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.bytes));
            ensure!(answer.status == 422 && answer.code() == code, "{told}");
            let body = answer.json()?;
            let (message, details) = match path {
                "/v1/jobs" => (&body["detail"], &body["details"]),
                _ => (&body["error"]["message"], &body["error"]["details"]),
            };
            ensure!(message.as_str().is_some_and(|message| !message.is_empty()), "{told}");
            if let Some(node) = node {
                let reason = &details["node_errors"][node][0]["reason"];
                ensure!(reason.as_str().is_some_and(|reason| !reason.is_empty()), "{told}");
            }
        }
    }
    nothing_happened(&sandbox).await
}

/// No instance got anything, and the gateway works as before.
async fn nothing_happened(sandbox: &Sandbox) -> anyhow::Result<()> {
    ensure!(sandbox.posts() == 0, "{} prompts reached an instance", sandbox.posts());
    let open = "/api/v2/jobs?status=queued,running,succeeded";
    let list = sandbox.api().get(open).await?.expect(200)?.json()?;
    ensure!(list["jobs"] == json!([]), "{list}");
    let id = sandbox.api().submit(&workflows::plain(3, 8)).await?;
    sandbox.api().succeeded(&id).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_submission_are_refused_and_reach_no_instance() -> anyhow::Result<()> {
    let sandbox = sandbox().await?;
    let good = workflows::plain(1, 8).to_string();
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let deep_workflow = format!(r#"{{"1":{{"class_type":"SaveImage","inputs":{{"x":{deep}}}}}}}"#);
    let cases = [
        ("no JSON", "{".to_owned(), 400..=400),
        ("an empty body", String::new(), 400..=400),
        ("a list", "[]".to_owned(), 400..=400),
        ("no workflow", "{}".to_owned(), 400..=400),
        ("a workflow that is a list", r#"{"workflow":[]}"#.to_owned(), 400..=422),
        ("a workflow that is null", r#"{"workflow":null}"#.to_owned(), 400..=422),
        ("a bare NaN", r#"{"workflow":{"1":{"class_type":"X","inputs":{"v":NaN}}}}"#.to_owned(), 400..=400),
        (
            "half a surrogate",
            r#"{"workflow":{"\ud800":{"class_type":"X","inputs":{}}}}"#.to_owned(),
            400..=422,
        ),
        ("deep nesting", format!(r#"{{"workflow":{deep_workflow}}}"#), 400..=422),
        (
            "a body over the limit",
            format!(r#"{{"workflow":{good},"more":"{}"}}"#, "x".repeat(300_000)),
            413..=413,
        ),
        (
            "a workflow over its limit",
            format!(
                r#"{{"workflow":{{"1":{{"class_type":"X","inputs":{{"t":"{}"}}}}}}}}"#,
                "x".repeat(160_000)
            ),
            413..=422,
        ),
        ("labels that are numbers", format!(r#"{{"workflow":{good},"metadata":{{"a":1}}}}"#), 422..=422),
        (
            "a secret nobody asked for",
            format!(r#"{{"workflow":{good},"extra_data":{{"client_id":{{}}}}}}"#),
            400..=400,
        ),
    ];
    for (what, body, statuses) in cases {
        let answer = post_text(sandbox.api(), "/api/v2/jobs", body).await?;
        let told = format!("{what}: {} {}", answer.status, String::from_utf8_lossy(&answer.bytes));
        ensure!(statuses.contains(&answer.status), "{told}");
        ensure!(!answer.code().is_empty(), "{told}");
        let message = answer.json()?["error"]["message"].clone();
        ensure!(message.as_str().is_some_and(|message| !message.is_empty()), "{told}");
    }
    for key in ["", &"x".repeat(256)] {
        let body = json!({"workflow": workflows::plain(1, 8)});
        let answer = sandbox.api().post_once("/api/v2/jobs", &body, key).await?.expect(400)?;
        ensure!(answer.code() == "invalid_request", "{answer:?}");
    }
    nothing_happened(&sandbox).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_class_or_model_is_named() -> anyhow::Result<()> {
    let sandbox = sandbox().await?;
    let painting = workflows::Painting { checkpoint: "nowhere.safetensors".to_owned(), ..Default::default() };
    let nobody = with_node("5", json!({"class_type": "NobodyHasThis", "inputs": {}}));
    for (workflow, name, node) in
        [(nobody, "NobodyHasThis", "5"), (painting.workflow(), "nowhere.safetensors", "4")]
    {
        let answer = sandbox.api().post("/api/v2/jobs", &json!({"workflow": workflow})).await?.expect(422)?;
        let details = &answer.json()?["error"]["details"];
        let missing = details["missing"].as_array().context("nothing is named")?;
        ensure!(missing.iter().any(|missing| missing.to_string().contains(name)), "{details}");
        ensure!(details["node_errors"][node].is_array(), "{details}");
    }
    nothing_happened(&sandbox).await
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_lie_or_are_too_large_leave_nothing_behind() -> anyhow::Result<()> {
    let sandbox = sandbox().await?;
    let api = sandbox.api();
    let upload = async |fields: &[(&str, &str)], bytes: Vec<u8>| {
        let mut form = reqwest::multipart::Form::new();
        for (name, value) in fields {
            form = form.text((*name).to_owned(), (*value).to_owned());
        }
        let file = reqwest::multipart::Part::bytes(bytes).file_name("a.png");
        let request = api.request(Method::POST, "/api/v2/assets").multipart(form.part("file", file));
        api.send(request).await
    };
    let plain = [("content_type", "image/png"), ("file_path", "a.png")];
    let wrong = format!("blake3:{}", "0".repeat(64));
    let lying = [plain[0], plain[1], ("expected_hash", wrong.as_str())];
    let answer = upload(&lying, b"bytes".to_vec()).await?.expect(409)?;
    ensure!(answer.code() == "hash_mismatch", "{answer:?}");
    let answer = upload(&plain, vec![7; 150_000]).await?.expect(413)?;
    ensure!(answer.code() == "payload_too_large", "{answer:?}");
    for path in ["../../etc/passwd", "models/checkpoints/x.safetensors"] {
        let answer = upload(&[plain[0], ("file_path", path)], b"bytes".to_vec()).await?;
        ensure!(matches!(answer.status, 400 | 422), "{path}: {answer:?}");
    }
    for bytes in [b"bytes".to_vec(), vec![7; 150_000]] {
        let path = format!("/api/v2/assets/by-hash/{}", e2e::pictures::hash(&bytes));
        api.send(api.request(Method::HEAD, &path)).await?.expect(404)?;
    }
    Ok(())
}
