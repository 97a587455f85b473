//! The program itself: its commands, its exit codes, its life between start and SIGTERM.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::engines::Engine;
use crate::people::World;
use crate::support::eventually;

fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_backend-api"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BACKEND_")) {
        program.env_remove(name);
    }
    program
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn config_check_tells_all_problems_and_fails_or_none_and_succeeds() {
    let output = program()
        .args(["config", "check"])
        .env("BACKEND_LISTEN", "x")
        .env("BACKEND_GATEWAY_URL", "y")
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(
        stderr(&output).contains("BACKEND_LISTEN") && stderr(&output).contains("BACKEND_GATEWAY_URL"),
        "{}",
        stderr(&output)
    );

    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/backend.example.toml");
    let output = program().args(["config", "check", "--config", example]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));

    let output =
        program().args(["config", "check"]).env("BACKEND_CONFIG", "/no/such/file.toml").output().unwrap();
    assert!(
        stderr(&output).contains("cannot read the settings file /no/such/file.toml"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test]
async fn an_operator_makes_a_person_an_admin_while_the_service_runs() {
    let world = World::on(Engine::Sqlite).await;
    let person = world.login("oA").await;
    let set = |id: &str, role: &str| {
        let url = format!("sqlite:{}", world.backend.database().display());
        program().args(["user", "role", id, role]).env("BACKEND_DATABASE_URL", url).output().unwrap()
    };
    let output = set(&person.id, "admin");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(world.get_as(&person, "/me").await.1["role"], "admin");
    assert!(!set(&person.id, "root").status.success());
    let stranger = set("00000000-0000-7000-8000-000000000000", "admin");
    assert!(stderr(&stranger).contains("there is no such person"), "{}", stderr(&stranger));
}

/// Ends the program when a test fails half-way.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_environment_alone_starts_it_and_sigterm_ends_it_cleanly() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut running = Running(
        program()
            .arg("serve")
            .env("BACKEND_LISTEN", "127.0.0.1:0")
            .env("BACKEND_DATA_DIR", folder.path())
            .env("BACKEND_GATEWAY_URL", "http://127.0.0.1:9")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let listening = lines
        .by_ref()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap())
        .find(|line| line["message"] == "listening")
        .unwrap();
    let address = listening["address"].as_str().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for _ in 0..3 {
        let ready = client.get(format!("http://{address}/readyz")).send().await.unwrap();
        assert_eq!(ready.status(), 200);
    }

    let signalled = Command::new("kill").args(["-TERM", &running.0.id().to_string()]).status().unwrap();
    assert!(signalled.success());
    let mut exit = None;
    eventually("the program ends after SIGTERM", || {
        exit = running.0.try_wait().unwrap();
        exit.is_some()
    })
    .await;
    assert!(exit.unwrap().success());
    let rest: Vec<String> = lines.map(|line| line.unwrap()).collect();
    assert!(rest.iter().any(|line| line.contains("\"stopped\"")));
    let told = rest.iter().filter(|line| line.contains("gateway takes nothing now"));
    assert_eq!(told.count(), 1, "a state is told of when it begins, not each time that somebody asks");
}

#[tokio::test]
async fn it_serves_whatever_is_logged() {
    for filter in ["off", "error", "warn"] {
        let folder = tempfile::TempDir::new().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let mut running = Running(
            program()
                .arg("serve")
                .env("BACKEND_LISTEN", &address)
                .env("BACKEND_DATA_DIR", folder.path())
                .env("BACKEND_LOG", filter)
                .stdout(Stdio::null())
                .spawn()
                .unwrap(),
        );
        let is_up = || std::net::TcpStream::connect(&address).is_ok();
        eventually("it listens", is_up).await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        for _ in 0..20 {
            let live = client.get(format!("http://{address}/livez")).send().await.unwrap();
            assert_eq!(live.status(), 200, "{filter}");
        }
        assert!(running.0.try_wait().unwrap().is_none(), "{filter}");
    }
}
