#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use super::*;
use crate::link::local::{self, RunnerEnd};
use crate::link::message::PIECE_BYTES;

const PATIENCE: Patience = Patience { answer: Duration::from_secs(60), body: Duration::from_secs(60) };

fn request(length: Option<u64>) -> ForwardRequest {
    ForwardRequest {
        id: Uuid::from_u128(1),
        instance: "gpu-0".into(),
        method: "POST".to_owned(),
        target: "/my_node".to_owned(),
        headers: Vec::new(),
        length,
    }
}

/// A host with one instance; the test plays its runner.
fn host() -> (Forwards, RunnerEnd) {
    let (engine, runner) = local::pair(true);
    let forwards = Forwards::default();
    forwards.add_host("host", &["gpu-0".into()], &engine.commands);
    (forwards, runner)
}

/// What the runner hears next about bodies: whether it is a piece.
async fn is_piece(runner: &mut RunnerEnd) -> bool {
    match runner.commands.recv().await.unwrap() {
        Command::ForwardMore { more, .. } => matches!(more, ForwardMore::Body(_)),
        Command::Forward(_) => false,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_host_ends_what_goes_through_it_though_the_body_waits_for_room() {
    let (forwards, mut runner) = host();
    let endless = stream::repeat_with(|| Ok(Bytes::from_static(b"more")));
    let sending = {
        let forwards = forwards.clone();
        tokio::spawn(async move { forwards.send(request(None), endless, PATIENCE).await.map(drop) })
    };
    assert!(!is_piece(&mut runner).await, "the head comes first");
    for _ in 0..WINDOW {
        assert!(is_piece(&mut runner).await);
    }
    forwards.lose_host("host");
    assert_eq!(sending.await.unwrap(), Err(ForwardError::Lost));
    assert_eq!(forwards.count(), 0);
    assert_eq!(
        forwards.send(request(Some(0)), stream::empty(), PATIENCE).await.map(drop),
        Err(ForwardError::NoInstance)
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_faster_than_there_is_room_for_is_cut() {
    let (forwards, _runner) = host();
    let id = request(None).id;
    let sending = {
        let forwards = forwards.clone();
        tokio::spawn(async move { forwards.send(request(Some(0)), stream::empty(), PATIENCE).await })
    };
    while forwards.count() == 0 {
        tokio::task::yield_now().await;
    }
    forwards.hear(id, ForwardWord::Head(ForwardHead { status: 200, headers: Vec::new() }));
    let mut answer = sending.await.unwrap().unwrap();
    let piece = || ForwardWord::Body(Piece(Bytes::from(vec![0; PIECE_BYTES])));
    for _ in 0..WINDOW + 3 {
        forwards.hear(id, piece());
    }
    let mut taken = 0;
    let end = loop {
        match answer.next().await {
            Ok(Some(_)) => taken += 1,
            end => break end,
        }
    };
    assert_eq!(end, Err(ForwardError::Lost), "it does not look complete");
    assert!(taken <= WINDOW + 2, "and no more than that was ever held: {taken}");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_says_nothing_is_given_up_and_its_host_told() {
    let (forwards, mut runner) = host();
    let silent = forwards.send(request(Some(0)), stream::empty(), PATIENCE).await.map(drop);
    assert_eq!(silent, Err(ForwardError::Silent));
    assert!(matches!(runner.commands.recv().await, Some(Command::Forward(_))));
    let last = runner.commands.recv().await;
    assert!(matches!(last, Some(Command::ForwardMore { more: ForwardMore::Over, .. })), "{last:?}");
}
