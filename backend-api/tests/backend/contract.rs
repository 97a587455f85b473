//! The OpenAPI document, held to by tools that are not ours: a validator reads it, and schemathesis sends backend-api what
//! the document allows and what it forbids, and holds the answers against it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use backend_api::http::{Access, Endpoint, endpoints};
use reqwest::Method;
use tempfile::TempDir;
use tokio::process::Command;

use crate::engines::Engine;
use crate::generation::Studio;
use crate::people::World;
use crate::support::Backend;

/// Longest run of one tool.
const PATIENCE: Duration = Duration::from_secs(400);

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_schema_conformance,negative_data_rejection,ignored_auth";

fn tool(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../venv-api/bin").join(name);
    assert!(path.is_file(), "{name} is missing: run tests/setup-python (apt-get install python3-venv)");
    path
}

async fn run(command: &mut Command) {
    let run = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output =
        tokio::time::timeout(PATIENCE, run).await.unwrap_or_else(|_| panic!("the tool hangs")).unwrap();
    let (told, erred) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}\n{erred}");
    println!("{told}");
}

/// Has the tools look at the document, and at how the server keeps to its parts.
async fn hold_to_it(backend: &Backend, access: &str, parts: &[&str]) {
    let folder = TempDir::new().unwrap();
    let document = folder.path().join("openapi.json");
    let text = backend.bare(Method::GET, "/openapi.json").send().await.unwrap().text().await.unwrap();
    std::fs::write(&document, text).unwrap();
    run(Command::new(tool("openapi-spec-validator")).arg(&document)).await;

    let base = backend.bare(Method::GET, "").build().unwrap().url().to_string();
    let mut schemathesis = Command::new(tool("schemathesis"));
    schemathesis
        .current_dir(folder.path())
        .args(["--no-color", "run"])
        .arg(&document)
        .args(["--url", &base, "--header", &format!("Authorization: Bearer {access}")])
        .args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", "12", "--seed", "1", "--workers", "1", "--request-timeout", "60"])
        .args(["--continue-on-failure", "--warnings", "off"])
        // The person stays logged in and does not leave.
        .args(["--exclude-path", "/auth/logout", "--exclude-operation-id", "delete_me"]);
    for part in parts {
        schemathesis.args(["--include-tag", part]);
    }
    // A person's token is what it carries: doors for others only say so.
    let is_for_others = |endpoint: &Endpoint| !matches!(endpoint.door.access, Access::Open | Access::User);
    let others: BTreeSet<_> = endpoints().into_iter().filter(is_for_others).map(|door| door.path).collect();
    for path in others {
        schemathesis.args(["--exclude-path", &path]);
    }
    run(&mut schemathesis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_valid_and_the_server_keeps_to_it() {
    let generous =
        "[http]\nlogins_per_minute = 1000000\nreads_per_minute = 1000000\nwrites_per_minute = 1000000";
    let world = World::with(Engine::Sqlite, generous).await;
    let person = world.login("oA").await;
    hold_to_it(&world.backend, &person.access, &["identity", "operations", "money"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_pictures_are_made_the_server_keeps_to_the_document_too() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(1_000).await;
    hold_to_it(&studio.market.backend, &customer.login.access, &["generation"]).await;
}
