//! S3 against moto, beside the tests against s3s.

use std::time::Duration;

use gateway::artifacts::Artifacts;
use gateway::link::message::Ticket;
use tokio::process::Command;

use crate::{installed, it_stores, pieces, port, serve};

fn credentials(name: &str) -> Option<String> {
    matches!(name, "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY").then(|| "test".to_owned())
}

#[tokio::test]
async fn a_bucket_of_moto_stores_takes_tickets_and_is_swept() {
    let port = port().to_string();
    let base = format!("http://127.0.0.1:{port}");
    let mut command = Command::new(installed("bin/moto_server"));
    command.args(["-H", "127.0.0.1", "-p", &port]);
    let _server = serve(command, &base).await;
    let client = reqwest::Client::new();
    client.put(format!("{base}/shots")).send().await.unwrap().error_for_status().unwrap();
    let url = format!("s3://shots/cell-1?endpoint={base}&region=us-east-1&part_mib=5");
    let artifacts = Artifacts::open_with(&url, credentials).unwrap();
    it_stores(&artifacts).await;

    let Ticket::Http { url, headers, .. } = artifacts.put_ticket("outputs/a", "image/png").await.unwrap()
    else {
        panic!("another ticket")
    };
    let put =
        headers.iter().fold(client.put(&url.0).body("bytes"), |put, (name, value)| put.header(name, value));
    put.send().await.unwrap().error_for_status().unwrap();
    let (url, _) = artifacts.signed_url("outputs/a", Duration::from_secs(60)).await.unwrap().unwrap();
    let part = client.get(url).header("range", "bytes=1-2").send().await.unwrap();
    assert_eq!((part.status().as_u16(), part.text().await.unwrap()), (206, "yt".into()));

    pieces::a_large_file_is_joined_of_its_parts(&artifacts, 5 << 20).await;
    let left = pieces::pieces(&artifacts, "outputs/left").await;
    pieces::upload_parts(&artifacts, &left.token, &[7; 99], 5 << 20).await;
    // moto says of all uploads that they were begun in 2010
    assert_eq!(artifacts.sweep_left_overs(Duration::from_secs(3600)).await.unwrap(), 1);
    assert_eq!(artifacts.sweep_left_overs(Duration::ZERO).await.unwrap(), 0);
}
