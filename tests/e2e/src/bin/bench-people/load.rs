//! A closed loop: so many connections, each with one request under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::measure::stats::Samples;
use reqwest::{RequestBuilder, Response, StatusCode};

/// What came of a load.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Times of good answers.
    pub times: Samples,
    /// Other answers, and none.
    pub bad: usize,
    /// How long all of it took.
    pub took: Duration,
}

/// Sends `count` requests, `request(n)` the nth, and gives each good answer to `take`.
///
/// # Errors
/// When a connection's task dies.
pub async fn drive<T: Send + 'static>(
    connections: usize,
    count: usize,
    expected: StatusCode,
    request: impl Fn(usize) -> RequestBuilder + Send + Sync + 'static,
    take: impl AsyncTake<T>,
) -> anyhow::Result<(Outcome, Vec<(usize, T)>)> {
    let (next, request) = (Arc::new(AtomicUsize::new(0)), Arc::new(request));
    let began = Instant::now();
    let lanes: Vec<_> = (0..connections)
        .map(|_| {
            let (next, request, take) = (Arc::clone(&next), Arc::clone(&request), take.clone());
            tokio::spawn(async move {
                let (mut times, mut taken, mut bad) = (Vec::new(), Vec::new(), 0);
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return (times, taken, bad);
                    }
                    let sent = Instant::now();
                    match request(n).send().await {
                        Ok(response) if response.status() == expected => {
                            let told = take.take(response).await;
                            times.push(sent.elapsed());
                            taken.extend(told.map(|told| (n, told)));
                        }
                        _ => bad += 1,
                    }
                }
            })
        })
        .collect();
    let (mut times, mut taken, mut bad) = (Vec::new(), Vec::new(), 0);
    for lane in lanes {
        let (its_times, its_taken, its_bad) = lane.await?;
        times.extend(its_times);
        taken.extend(its_taken);
        bad += its_bad;
    }
    let took = began.elapsed();
    taken.sort_by_key(|(n, _)| *n);
    Ok((Outcome { times: times.into_iter().collect(), bad, took }, taken))
}

/// What is kept of an answer.
pub trait AsyncTake<T>: Clone + Send + Sync + 'static {
    /// Reads the answer whole; `None` when it is not what was expected.
    fn take(&self, response: Response) -> impl Future<Output = Option<T>> + Send;
}

/// Keeps the JSON of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Json;

impl AsyncTake<serde_json::Value> for Json {
    async fn take(&self, response: Response) -> Option<serde_json::Value> {
        serde_json::from_slice(&response.bytes().await.ok()?).ok()
    }
}

/// Reads an answer and keeps nothing.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

impl AsyncTake<()> for Nothing {
    async fn take(&self, response: Response) -> Option<()> {
        response.bytes().await.ok().map(drop)
    }
}
