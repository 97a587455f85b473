//! The OpenAPI document, held to by tools that are not ours: a validator reads it, and schemathesis sends a gateway
//! what the document allows and what it forbids, and holds the answers against it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use comfyui_sim::Device;
use e2e::api::id_of;
use e2e::sandbox::Sandbox;
use e2e::workflows;
use serde_json::{Value, json};
use tokio::process::Command;

/// Longest run of one tool.
const PATIENCE: Duration = Duration::from_secs(400);

/// The same requests in every run.
const SEED: &str = "1";

/// Requests of each kind to each operation.
const EXAMPLES: &str = "12";

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_schema_conformance,negative_data_rejection,missing_required_header,ignored_auth";

fn tool(name: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv-api/bin").join(name);
    ensure!(
        path.is_file(),
        "{name} is not installed: run `tests/setup-python` (it needs `apt-get install python3-venv`)"
    );
    Ok(path)
}

async fn run(command: &mut Command) -> anyhow::Result<String> {
    let run = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, run).await.context("the tool hangs")??;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(told)
}

/// Something of each kind, so that there is more to be answered than "not found".
struct Things {
    job: String,
    batch: String,
    key: String,
}

impl Things {
    async fn make(sandbox: &Sandbox) -> anyhow::Result<Self> {
        let api = sandbox.api();
        let workflow = workflows::plain(1, 8);
        let template = json!({"name": "plain", "workflow": workflow, "parameters": [], "global": true});
        api.post("/v1/templates", &template).await?.expect(201)?;
        api.post("/v1/tenants", &json!({"name": "plain"})).await?.expect(201)?;
        let key = json!({"tenant": "plain", "scope": "read"});
        let key = api.post("/v1/keys", &key).await?.expect(201)?.json()?;
        let one = json!({"workflow": workflow, "user": "somebody", "labels": {"a": "b"}});
        let batch = api.post("/v1/batches", &json!({"jobs": [one]})).await?.expect(201)?.json()?;
        let job = id_of(&batch["jobs"][0])?.to_owned();
        e2e::wait::until("the job to end", e2e::wait::SOON, async || {
            let job: Value = api.get(&format!("/v1/jobs/{job}")).await?.expect(200)?.json()?;
            Ok((job["status"] == "succeeded").then_some(()))
        })
        .await?;
        Ok(Self { job, batch: id_of(&batch)?.to_owned(), key: id_of(&key)?.to_owned() })
    }

    /// Settings of schemathesis: these ids wherever an operation asks for one.
    fn settings(&self) -> String {
        let Self { job, batch, key } = self;
        format!(
            "[parameters]\n\"path.id\" = \"{job}\"\n\"path.name\" = \"plain\"\n\
             [[operations]]\ninclude-path = \"/v1/batches/{{id}}\"\nparameters = {{ \"path.id\" = \"{batch}\" }}\n\
             [[operations]]\ninclude-path = \"/v1/keys/{{id}}/rotate\"\nparameters = {{ \"path.id\" = \"{key}\" }}\n"
        )
    }
}

/// Waits until the gateway knows a key that another process made.
async fn taken(sandbox: &Sandbox, key: String) -> anyhow::Result<String> {
    let api = sandbox.api().with_key(&key);
    e2e::wait::until("the new key to be taken", e2e::wait::SOON, async || {
        Ok((api.get("/v1/jobs").await?.status == 200).then_some(()))
    })
    .await?;
    Ok(key)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_valid_and_the_gateway_keeps_to_it() -> anyhow::Result<()> {
    let (validator, schemathesis) = (tool("openapi-spec-validator")?, tool("schemathesis")?);
    let sandbox = Sandbox::plan().keyed().gpu(Device::t4()).start().await?;
    let folder = tempfile::tempdir()?;
    let document = folder.path().join("openapi.json");
    let text: Value = sandbox.api().get("/openapi.json").await?.expect(200)?.json()?;
    std::fs::write(&document, text.to_string())?;
    run(Command::new(validator).arg(&document)).await?;

    let key = taken(&sandbox, sandbox.new_key("admin", "admin").await?).await?;
    let ours = Things::make(&sandbox).await?;
    let settings = folder.path().join("schemathesis.toml");
    std::fs::write(&settings, ours.settings())?;
    let told = run(Command::new(schemathesis)
        .current_dir(folder.path())
        .args(["--no-color", "--config-file", "schemathesis.toml", "run"])
        .arg(&document)
        .args(["--url", sandbox.api().base(), "--header", &format!("Authorization: Bearer {key}")])
        .args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", EXAMPLES, "--seed", SEED, "--workers", "1", "--request-timeout", "60"])
        .args(["--exclude-path", "/v1/drain"])
        // Without a token of theirs all is 410, whatever the body.
        .args(["--exclude-path", "/v1/tickets/{token}"])
        .args(["--continue-on-failure", "--warnings", "off"]))
    .await?;
    println!("{told}");
    Ok(())
}
