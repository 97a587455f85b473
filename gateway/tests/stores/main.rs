//! The artifact stores against what others made: the official SDK of Tencent COS, another server of S3, an emulator of
//! Google Cloud Storage. `tests/setup-python` brings them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod google;
mod moto;
#[path = "../support/pieces.rs"]
mod pieces;
mod sdk;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use gateway::artifacts::{ArtifactError, Artifacts};
use tokio::process::{Child, Command};

const DEADLINE: Duration = Duration::from_secs(60);

/// Where `tests/setup-python` puts things.
fn installed(path: &str) -> PathBuf {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/venv-stores");
    let path = venv.join(path);
    assert!(path.exists(), "{} is missing: run `tests/setup-python`", path.display());
    path
}

/// A port that is free now.
fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts a server and waits until it answers.
async fn serve(mut command: Command, base: &str) -> Child {
    let quiet = std::process::Stdio::null;
    let child = command.stdin(quiet()).stdout(quiet()).stderr(quiet()).kill_on_drop(true).spawn().unwrap();
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while reqwest::get(base).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "{command:?} does not answer");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    child
}

async fn read(artifacts: &Artifacts, key: &str, range: Option<std::ops::Range<u64>>) -> Vec<u8> {
    let download = artifacts.download(key, range).await.unwrap();
    let bytes: Vec<Bytes> = download.stream.try_collect().await.unwrap();
    bytes.concat()
}

/// What every store does.
async fn it_stores(artifacts: &Artifacts) {
    artifacts.probe().await.unwrap();
    for length in [0, 1, 17 << 20, 16 << 20] {
        let bytes: Vec<u8> = (0..length).map(|at: usize| (at * 31 / 7) as u8).collect();
        let mut upload = artifacts.upload("blobs/a", u64::MAX).await.unwrap();
        for chunk in bytes.chunks(777_777) {
            upload.write(Bytes::copy_from_slice(chunk)).await.unwrap();
        }
        upload.finish().await.unwrap();
        assert!(read(artifacts, "blobs/a", None).await == bytes, "{length}");
    }
    assert_eq!(read(artifacts, "blobs/a", Some(7..9)).await, [31, 35]);
    let beyond = artifacts.download("blobs/a", Some(16 << 20..17 << 20)).await;
    assert!(matches!(beyond, Err(ArtifactError::NotFound)), "{:?}", beyond.err());
    artifacts.delete("blobs/a").await.unwrap();
    artifacts.delete("blobs/a").await.unwrap();
    let gone = artifacts.download("blobs/a", None).await;
    assert!(matches!(gone, Err(ArtifactError::NotFound)), "{:?}", gone.err());
}
