//! Slow, silent and too many connections.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{PATIENCE, World, until};

const SHORT: &str = "[http]\nrequest_timeout_seconds = 1\nidle_seconds = 2\n";

async fn connect(world: &World) -> TcpStream {
    TcpStream::connect(world.app.address()).await.unwrap()
}

/// Sends this and reads until the peer closes.
async fn sent(mut stream: TcpStream, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.unwrap();
    let mut said = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await;
    let _ = read.expect("the peer closes the connection in time");
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_closes_its_connection() {
    let world = World::with(vec![], SHORT).await;
    let silent = sent(connect(&world).await, b"");
    let preface = sent(connect(&world).await, b"PRI * HT");
    let half = sent(connect(&world).await, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
    let idle = sent(connect(&world).await, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (silent, preface, half, idle) = tokio::join!(silent, preface, half, idle);
    assert_eq!((silent.as_str(), preface.as_str()), ("", ""));
    assert!(!half.contains("200 OK"), "{half}");
    assert!(idle.starts_with("HTTP/1.1 200 OK"), "{idle}");
}

#[tokio::test]
async fn a_head_over_its_bound_is_refused() {
    let world = World::with(vec![], "").await;
    let long = format!(
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Long: {}\r\n\r\n",
        "x".repeat(64 << 10)
    );
    let many: String = (0..200).map(|at| format!("X-{at}: 1\r\n")).collect();
    let many = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{many}\r\n");
    for head in [long, many] {
        let answer = sent(connect(&world).await, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431 ") || answer.is_empty(), "{answer}");
    }
}

#[tokio::test]
async fn a_connection_too_many_is_closed_and_room_comes_back() {
    let world = World::with(vec![], "[http]\nmax_connections = 1\n").await;
    let mut first = connect(&world).await;
    first.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    assert_eq!(sent(connect(&world).await, b"").await, "", "closed as it came");
    drop(first);
    until("there is room again", async || {
        world.client.get(format!("{}/livez", world.base)).send().await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_slow_body_ends_with_its_request() {
    let world = World::with(vec![], SHORT).await;
    let slow = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n";
    let answer = sent(connect(&world).await, slow).await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
}
