#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use std::convert::Infallible;

use axum::body::BodyDataStream;
use futures_util::{FutureExt as _, StreamExt as _, stream};

use super::*;

const PATIENCE: Patience = Patience { reader: Duration::from_secs(10), source: Duration::from_secs(60) };

/// A body of these pieces, one after each pause, and what it holds: whether it is still held.
fn paused(pieces: usize, pause: Duration) -> (BodyDataStream, Arc<()>) {
    let held = Arc::new(());
    let holds = held.clone();
    let pieces = stream::unfold((pieces, holds), move |(left, holds)| async move {
        tokio::time::sleep(pause).await;
        (left > 0).then(|| (Ok::<_, Infallible>(Bytes::from_static(b"piece")), (left - 1, holds)))
    });
    (body(pieces, PATIENCE).into_data_stream(), held)
}

fn is_held(held: &Arc<()>) -> bool {
    Arc::strong_count(held) > 1
}

#[tokio::test(start_paused = true)]
async fn what_nobody_takes_is_given_back_though_nobody_asks_and_then_is_no_whole_answer() {
    let (mut body, held) = paused(9, Duration::ZERO);
    assert!(body.next().await.unwrap().is_ok());
    tokio::time::sleep(PATIENCE.reader / 2).await;
    assert!(body.next().await.unwrap().is_ok());
    tokio::time::sleep(PATIENCE.reader - Duration::from_secs(1)).await;
    assert!(is_held(&held), "the reader may still come");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!is_held(&held));
    assert!(body.next().await.unwrap().is_err(), "it does not look complete");
    assert!(body.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_waited_for_its_source_has_no_more_time_than_others_afterwards() {
    for pause in [Duration::from_secs(1), PATIENCE.reader, PATIENCE.source - Duration::from_secs(1)] {
        let (mut body, held) = paused(9, pause);
        assert!(body.next().await.unwrap().is_ok());
        tokio::time::sleep(PATIENCE.reader - Duration::from_secs(1)).await;
        assert!(is_held(&held), "{pause:?}");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!is_held(&held), "{pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_was_never_asked_is_given_back() {
    let (_body, held) = paused(9, Duration::ZERO);
    tokio::time::sleep(PATIENCE.reader + Duration::from_secs(1)).await;
    assert!(!is_held(&held));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_for_its_source_is_not_blamed() {
    let (mut body, held) = paused(3, PATIENCE.source - Duration::from_secs(1));
    for _ in 0..3 {
        assert!(body.next().await.unwrap().is_ok());
    }
    assert!(body.next().await.is_none(), "all of it came");
    assert!(!is_held(&held), "and nothing is held past its end");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_asked_once_and_never_again_is_given_up() {
    let (mut body, held) = paused(3, PATIENCE.source - Duration::from_secs(1));
    assert!(body.next().now_or_never().is_none());
    tokio::time::sleep(PATIENCE.source).await;
    assert!(is_held(&held), "the source had its time, the reader has its own");
    tokio::time::sleep(PATIENCE.reader + Duration::from_secs(1)).await;
    assert!(!is_held(&held));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_dropped_gives_back_at_once() {
    let (body, held) = paused(9, Duration::ZERO);
    drop(body);
    assert!(!is_held(&held));
}
