//! The artifact store: what a folder and a bucket do alike, and what each does in its own way.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

#[path = "support/pieces.rs"]
mod pieces;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::error_handling::HandleError;
use axum::http::StatusCode;
use bytes::Bytes;
use futures_util::TryStreamExt;
use gateway::artifacts::{ArtifactError, Artifacts, Download, Uploaded};
use gateway::link::message::Ticket;
use tempfile::TempDir;
use wechat_sim::cos;

const MIB: usize = 1024 * 1024;

/// A store with what keeps it alive.
struct Place {
    artifacts: Artifacts,
    folder: TempDir,
}

fn folder() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file:{}", folder.path().join("artifacts").display());
    Place { artifacts: Artifacts::open(&url).unwrap(), folder }
}

fn credentials(name: &str) -> Option<String> {
    match name {
        "AWS_ACCESS_KEY_ID" => Some("key".into()),
        "AWS_SECRET_ACCESS_KEY" => Some("secret".into()),
        "COS_SECRET_ID" => Some(cos::ID.into()),
        "COS_SECRET_KEY" => Some(cos::KEY.into()),
        _ => None,
    }
}

/// A real S3 server that checks signatures, on a port of its own.
async fn serve_bucket() -> (Place, SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("shots")).unwrap();
    let mut builder = s3s::service::S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
    builder.set_auth(s3s::auth::SimpleAuth::from_single("key", "secret"));
    let service =
        HandleError::new(builder.build(), async |_: s3s::HttpError| StatusCode::INTERNAL_SERVER_ERROR);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback_service(service)).await });
    let url = format!("s3://shots/cell-1?endpoint=http://{address}&region=eu-west-1");
    (Place { artifacts: Artifacts::open_with(&url, credentials).unwrap(), folder }, address)
}

async fn bucket() -> Place {
    serve_bucket().await.0
}

async fn cos_bucket() -> Place {
    let cos = cos::Cos::start().await;
    let folder = tempfile::tempdir().unwrap();
    Place { artifacts: Artifacts::open_with(&cos.location(""), credentials).unwrap(), folder }
}

async fn put(artifacts: &Artifacts, key: &str, chunks: &[&[u8]]) -> Uploaded {
    let mut upload = artifacts.upload(key, u64::MAX).await.unwrap();
    for chunk in chunks {
        upload.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    upload.finish().await.unwrap()
}

async fn read(download: Download) -> Vec<u8> {
    download
        .stream
        .try_fold(Vec::new(), async |mut all, bytes| {
            all.extend(bytes);
            Ok(all)
        })
        .await
        .unwrap()
}

async fn is_missing(artifacts: &Artifacts, key: &str) -> bool {
    matches!(artifacts.download(key, None).await, Err(ArtifactError::NotFound))
}

async fn an_upload_is_hashed_unseen_until_finished_and_read_by_range(place: Place) {
    let artifacts = &place.artifacts;
    let mut upload = artifacts.upload("outputs/a/1-0.png", 100).await.unwrap();
    upload.write(Bytes::from_static(b"hello ")).await.unwrap();
    assert!(is_missing(artifacts, "outputs/a/1-0.png").await);
    upload.write(Bytes::from_static(b"world")).await.unwrap();
    let uploaded = upload.finish().await.unwrap();
    let hash = blake3::hash(b"hello world").to_hex().to_string();
    let expected = Uploaded { object_key: "outputs/a/1-0.png".into(), hash, size_bytes: 11 };
    assert_eq!(uploaded, expected);

    for (asked, given, bytes) in [
        (None, 0..11, "hello world"),
        (Some(0..1), 0..1, "h"),
        (Some(6..11), 6..11, "world"),
        (Some(9..999), 9..11, "ld"),
    ] {
        let download = artifacts.download("outputs/a/1-0.png", asked).await.unwrap();
        assert_eq!((download.size_bytes, &download.range), (11, &given));
        assert_eq!(read(download).await, bytes.as_bytes());
    }
    for nothing in [11..12, 99..100, 3..3] {
        let download = artifacts.download("outputs/a/1-0.png", Some(nothing)).await;
        assert!(matches!(download, Err(ArtifactError::NotFound)));
    }
}

async fn a_large_upload_in_odd_chunks_arrives_whole(place: Place) {
    let bytes: Vec<u8> = (0..13 * MIB + 77).map(|at| (at * 31 / 7) as u8).collect();
    let chunks: Vec<&[u8]> = bytes.chunks(777_777).collect();
    let uploaded = put(&place.artifacts, "blobs/large", &chunks).await;
    assert_eq!(uploaded.size_bytes, bytes.len() as u64);
    assert_eq!(uploaded.hash, blake3::hash(&bytes).to_hex().to_string());
    let download = place.artifacts.download("blobs/large", None).await.unwrap();
    assert!(read(download).await == bytes);
    let end = bytes.len() as u64;
    let tail = place.artifacts.download("blobs/large", Some(end - 3..end)).await.unwrap();
    assert_eq!(read(tail).await, bytes[bytes.len() - 3..]);
}

async fn an_empty_object_is_an_object(place: Place) {
    assert_eq!(put(&place.artifacts, "blobs/empty", &[]).await.size_bytes, 0);
    let download = place.artifacts.download("blobs/empty", None).await.unwrap();
    assert_eq!((download.size_bytes, read(download).await.len()), (0, 0));
}

async fn an_upload_over_its_bound_or_given_up_leaves_nothing(place: Place) {
    let mut upload = place.artifacts.upload("blobs/a", 3).await.unwrap();
    upload.write(Bytes::from_static(b"abc")).await.unwrap();
    assert!(matches!(upload.write(Bytes::from_static(b"d")).await, Err(ArtifactError::TooLarge(3))));
    assert!(upload.finish().await.is_err());
    let mut upload = place.artifacts.upload("blobs/a", u64::MAX).await.unwrap();
    upload.write(Bytes::from(vec![7; 6 * MIB])).await.unwrap();
    upload.abort().await;
    let mut upload = place.artifacts.upload("blobs/a", u64::MAX).await.unwrap();
    upload.write(Bytes::from_static(b"abc")).await.unwrap();
    drop(upload);
    assert!(is_missing(&place.artifacts, "blobs/a").await);
}

async fn a_second_upload_replaces_and_a_delete_may_be_repeated(place: Place) {
    put(&place.artifacts, "blobs/b/a", &[b"one"]).await;
    put(&place.artifacts, "blobs/b/a", &[b"two"]).await;
    assert_eq!(read(place.artifacts.download("blobs/b/a", None).await.unwrap()).await, b"two");
    place.artifacts.delete("blobs/b/a").await.unwrap();
    place.artifacts.delete("blobs/b/a").await.unwrap();
    assert!(is_missing(&place.artifacts, "blobs/b/a").await);
    put(&place.artifacts, "blobs/b/a", &[b"three"]).await;
    assert!(!is_missing(&place.artifacts, "blobs/b/a").await);
    place.artifacts.probe().await.unwrap();
}

async fn keys_that_we_do_not_build_name_nothing(place: Place) {
    for key in
        ["", "/", "/etc/passwd", "a//b", "a/", "../a", "a/../b", "a/./b", ".parts/a", "A", "a b", "ä", "a\0"]
    {
        let artifacts = &place.artifacts;
        assert!(is_missing(artifacts, key).await, "{key}");
        assert!(matches!(artifacts.upload(key, 9).await, Err(ArtifactError::NotFound)), "{key}");
        assert!(matches!(artifacts.delete(key).await, Err(ArtifactError::NotFound)), "{key}");
        assert!(matches!(artifacts.put_ticket(key, "a/b").await, Err(ArtifactError::NotFound)), "{key}");
        assert!(matches!(artifacts.get_ticket(key).await, Err(ArtifactError::NotFound)), "{key}");
        let url = artifacts.signed_url(key, Duration::from_secs(9)).await;
        assert!(matches!(url, Err(ArtifactError::NotFound)), "{key}");
    }
}

async fn a_large_file_is_joined_of_its_parts(place: Place) {
    pieces::a_large_file_is_joined_of_its_parts(&place.artifacts, 8 << 20).await;
}

macro_rules! alike {
    ($($test:ident)*) => {
        mod in_a_folder { $(#[tokio::test] async fn $test() { super::$test(super::folder()).await; })* }
        mod in_a_bucket { $(#[tokio::test] async fn $test() { super::$test(super::bucket().await).await; })* }
        mod in_cos { $(#[tokio::test] async fn $test() { super::$test(super::cos_bucket().await).await; })* }
    };
}

alike! {
    an_upload_is_hashed_unseen_until_finished_and_read_by_range a_large_upload_in_odd_chunks_arrives_whole
    an_empty_object_is_an_object an_upload_over_its_bound_or_given_up_leaves_nothing
    a_second_upload_replaces_and_a_delete_may_be_repeated keys_that_we_do_not_build_name_nothing
}

mod of_parts {
    #[tokio::test]
    async fn a_large_file_is_joined_of_its_parts_in_a_bucket() {
        super::a_large_file_is_joined_of_its_parts(super::bucket().await).await;
    }

    #[tokio::test]
    async fn a_large_file_is_joined_of_its_parts_in_cos() {
        super::a_large_file_is_joined_of_its_parts(super::cos_bucket().await).await;
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_folder_is_private_and_keeps_no_parts() {
    let place = folder();
    put(&place.artifacts, "outputs/job/1/a.png", &[b"a"]).await;
    let mut dropped = place.artifacts.upload("outputs/job/1/b.png", 9).await.unwrap();
    dropped.write(Bytes::from_static(b"b")).await.unwrap();
    drop(dropped);
    let root = place.folder.path().join("artifacts");
    for inside in ["", ".parts", "outputs", "outputs/job", "outputs/job/1"] {
        assert_eq!(mode(&root.join(inside)), 0o700, "{inside}");
    }
    assert_eq!(mode(&root.join("outputs/job/1/a.png")), 0o600);
    assert_eq!(std::fs::read_dir(root.join(".parts")).unwrap().count(), 0);
    place.artifacts.delete("outputs/job/1/a.png").await.unwrap();
    assert_eq!(std::fs::read_dir(root.join("outputs")).unwrap().count(), 0, "empty folders go");
}

#[tokio::test]
async fn a_folders_tickets_are_absolute_paths_into_folders_that_exist() {
    let place = folder();
    let ticket = place.artifacts.put_ticket("outputs/job/1/a.png", "image/png").await.unwrap();
    let Ticket::File { path } = ticket else { panic!("{ticket:?}") };
    assert!(path.is_absolute());
    std::fs::write(&path, "bytes").unwrap();
    assert_eq!(
        place.artifacts.get_ticket("outputs/job/1/a.png").await.unwrap(),
        Ticket::File { path: path.clone() }
    );
    assert_eq!(place.artifacts.public_path("outputs/job/1/a.png"), Some(path));
    assert_eq!(place.artifacts.public_path("../a"), None);
    let download = place.artifacts.download("outputs/job/1/a.png", None).await.unwrap();
    assert_eq!(read(download).await, b"bytes");
    assert_eq!(
        place.artifacts.signed_url("outputs/job/1/a.png", Duration::from_secs(9)).await.unwrap(),
        None
    );
    assert!(is_missing(&place.artifacts, "outputs/job").await, "a folder is no object");
}

#[tokio::test]
async fn files_that_a_crash_left_unnamed_go_when_they_are_old_and_nothing_else_does() {
    let place = folder();
    put(&place.artifacts, "outputs/job/1/a.png", &[b"a"]).await;
    let within = place.folder.path().join("artifacts/outputs/job/1");
    let id = "0123456789abcdef0123456789abcdef";
    let (old, young) = (format!(".a.png.{id}"), format!(".b.png.{id}"));
    for (name, is_old) in [(old.as_str(), true), (&young, false), (".hidden", true), ("c.png", true)] {
        let file = std::fs::File::create(within.join(name)).unwrap();
        let age = Duration::from_secs(if is_old { 7200 } else { 0 });
        file.set_modified(std::time::SystemTime::now() - age).unwrap();
    }
    assert_eq!(place.artifacts.sweep_left_overs(Duration::from_secs(3600)).await.unwrap(), 1);
    let mut left: Vec<_> =
        std::fs::read_dir(&within).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [&*young, ".hidden", "a.png", "c.png"]);
}

#[tokio::test]
async fn a_folder_that_is_gone_is_unavailable_for_writing() {
    let place = folder();
    std::fs::remove_dir_all(place.folder.path()).unwrap();
    assert!(matches!(place.artifacts.probe().await, Err(ArtifactError::Unavailable(_))));
    assert!(matches!(place.artifacts.upload("a", 9).await, Err(ArtifactError::Unavailable(_))));
}

fn http(ticket: Ticket) -> (String, String, Vec<(String, String)>, i64) {
    match ticket {
        Ticket::Http { method, url, headers, expires_at } => (method, url.0, headers, expires_at),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_buckets_tickets_move_bytes_without_credentials() {
    let place = bucket().await;
    let client = reqwest::Client::new();
    let key = "outputs/job/1/a.png";
    let before = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let (method, url, headers, expires_at) =
        http(place.artifacts.put_ticket(key, "image/png").await.unwrap());
    assert_eq!(method, "PUT");
    assert_eq!(headers, [("content-type".to_owned(), "image/png".to_owned())]);
    assert!((before + 3_600_000..before + 3_660_000).contains(&expires_at));

    let refused = client.put(&url).header("content-type", "text/html").body("bytes").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN, "the ticket fixes the media type");
    let mut request = client.put(&url).body("bytes");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    assert!(request.send().await.unwrap().status().is_success());
    assert_eq!(read(place.artifacts.download(key, None).await.unwrap()).await, b"bytes");

    let (method, url, ..) = http(place.artifacts.get_ticket(key).await.unwrap());
    assert_eq!(method, "GET");
    let answer = client.get(&url).header("range", "bytes=1-2").send().await.unwrap();
    assert_eq!((answer.status(), answer.text().await.unwrap()), (StatusCode::PARTIAL_CONTENT, "yt".into()));
    let (signed, until) = place.artifacts.signed_url(key, Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(until < expires_at);
    let answer = client.get(signed).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "image/png");
    assert_eq!(answer.text().await.unwrap(), "bytes");
    let elsewhere = url.replace("/1/a.png", "/1/b.png");
    assert_eq!(client.get(elsewhere).send().await.unwrap().status(), StatusCode::FORBIDDEN);
    assert!(place.folder.path().join("shots/cell-1").join(key).exists(), "under the prefix");
    assert_eq!(place.artifacts.public_path(key), None);
}

#[tokio::test]
async fn a_bucket_that_does_not_answer_or_refuses_us_is_unavailable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("s3://shots?endpoint=http://{closed}");
    let down = Artifacts::open_with(&url, credentials).unwrap();
    assert!(matches!(down.probe().await, Err(ArtifactError::Unavailable(_))));
    assert!(matches!(down.download("a", None).await, Err(ArtifactError::Unavailable(_))));
    assert!(matches!(down.delete("a").await, Err(ArtifactError::Unavailable(_))));
    let mut upload = down.upload("a", 99).await.unwrap();
    upload.write(Bytes::from_static(b"a")).await.unwrap();
    assert!(matches!(upload.finish().await, Err(ArtifactError::Unavailable(_))));

    let (place, address) = serve_bucket().await;
    let wrong = |name: &str| credentials(name).map(|value| format!("{value}x"));
    let refused = Artifacts::open_with(&format!("s3://shots?endpoint=http://{address}"), wrong).unwrap();
    assert!(matches!(refused.probe().await, Err(ArtifactError::Unavailable(_))));
    place.artifacts.probe().await.unwrap();
}

#[test]
fn all_problems_of_a_configured_place_are_named() {
    let problems = |url: &str| match Artifacts::open_with(url, credentials) {
        Ok(_) => panic!("{url} opened"),
        Err(error) => error.problems,
    };
    let url = "s3://user:hunter2@B_/a//b?endpoint=ftp://x&virtual_hosted=maybe&colour=red";
    let found = problems(url);
    assert_eq!(found.len(), 6, "{found:#?}");
    assert!(!found.concat().contains("hunter2"));
    for (url, expected) in [
        ("cos://shots?region=ap-shanghai", "APPID"),
        ("cos://shots-1250000000", "region=ap-shanghai"),
        ("cos://shots-1250000000?region=ap.shanghai", "spelt like"),
        ("cos://shots-1250000000?endpoint=https://a&accelerate=true", "exclude"),
        ("cos://id:key@shots-1250000000?region=ap-shanghai", "COS_SECRET_ID"),
        ("cos://shots-1250000000?region=ap-shanghai&acl=x", "known: region"),
        ("gs://s", "3 to 63"),
        ("ftp://shots", "unknown scheme"),
        ("/var/lib", "not a URL"),
        ("file:artifacts", "absolute path"),
        ("file://host/artifacts", "absolute path"),
        ("file:/a?b=c", "no parameters"),
        ("s3://shots?endpoint=http://a/b", "endpoint"),
        ("file:/dev/null/artifacts", "/dev/null"),
    ] {
        let found = problems(url);
        assert!(found.len() == 1 && found[0].contains(expected), "{url}: {found:?}");
    }
}
