//! A load of submissions that costs little itself: prebuilt bytes over plain sockets that are kept open, one thread.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::stats::Samples;

/// An answer longer than this is none that we expect.
const ANSWER_BYTES: usize = 64 << 10;

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(30);

/// What is submitted, where, and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub address: SocketAddr,
    /// The path.
    pub path: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// Whether each carries an idempotency key of its own, as those of the SDKs do.
    pub keys: bool,
    /// Connections; each has one submission under way.
    pub connections: usize,
    /// How long.
    pub time: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Times from request to `201`.
    pub accepted: Samples,
    /// Answers other than `201`.
    pub refused: usize,
    /// How long it took.
    pub took: Duration,
}

/// Submits.
///
/// # Errors
/// When a connection breaks or an answer does not come.
pub async fn submit(plan: Plan) -> anyhow::Result<Outcome> {
    // A runtime of one thread: the generator must not take part in the contest for the processors by its own width.
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(all(plan))
    })
    .await?
}

async fn all(plan: Plan) -> anyhow::Result<Outcome> {
    let (began, until) = (Instant::now(), Instant::now() + plan.time);
    let mut connections = tokio::task::JoinSet::new();
    for _ in 0..plan.connections {
        connections.spawn(Connection::open(plan.clone()).await?.submit(until));
    }
    let (mut times, mut refused) = (Vec::new(), 0);
    while let Some(done) = connections.join_next().await {
        let (accepted, others) = done??;
        times.extend(accepted);
        refused += others;
    }
    Ok(Outcome { accepted: times.into_iter().collect(), refused, took: began.elapsed() })
}

struct Connection {
    plan: Plan,
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    async fn open(plan: Plan) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(plan.address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { plan, stream, answer: Vec::with_capacity(4 << 10) })
    }

    async fn submit(mut self, until: Instant) -> anyhow::Result<(Vec<Duration>, usize)> {
        let (mut accepted, mut refused) = (Vec::new(), 0);
        let plain = self.request("");
        while Instant::now() < until {
            let keyed = self
                .plan
                .keys
                .then(|| self.request(&format!("idempotency-key: {}\r\n", uuid::Uuid::new_v4().simple())));
            let began = Instant::now();
            self.stream.write_all(keyed.as_ref().unwrap_or(&plain)).await?;
            let status = tokio::time::timeout(ANSWER, self.read()).await.context("no answer")??;
            if status == 201 {
                accepted.push(began.elapsed());
            } else {
                refused += 1;
            }
        }
        Ok((accepted, refused))
    }

    fn request(&self, header: &str) -> Vec<u8> {
        let Plan { address, path, body, .. } = &self.plan;
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n{header}content-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        request
    }

    /// Reads one answer and tells its status.
    async fn read(&mut self) -> anyhow::Result<u16> {
        self.answer.clear();
        let (status, end) = loop {
            self.more().await?;
            if let Some(head) = head(&self.answer)? {
                break head;
            }
        };
        while self.answer.len() < end {
            self.more().await?;
        }
        Ok(status)
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        ensure!(self.answer.len() < ANSWER_BYTES, "an answer that is too long");
        let read = self.stream.read_buf(&mut self.answer).await?;
        ensure!(read > 0, "the server closed the connection");
        Ok(())
    }
}

/// The status of an answer and its whole length, once its head is complete.
fn head(answer: &[u8]) -> anyhow::Result<Option<(u16, usize)>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&answer[..end])?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    Ok(Some((status, end + 4 + length.context("an answer without length")?)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::head;

    #[test]
    fn an_answer_is_known_by_its_head_once_that_is_complete() {
        let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(head(&answer[..30]).unwrap(), None);
        assert_eq!(head(answer).unwrap(), Some((201, answer.len())));
        assert!(head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
