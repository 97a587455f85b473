//! The simulator is no fairy tale: the real engine, with its store, its links and runners that play the model's world,
//! starts the same attempts on the same devices at the same virtual milliseconds as `simulate` does.
//!
//! Nobody sleeps for real: tokio's clock is paused and goes on to the next timer once everybody is idle.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests may")]

#[macro_use]
#[path = "../support/store_calls.rs"]
mod store_calls;

mod fleet;
mod kinds;
mod names;
mod restart;
mod script;
mod starts;
mod store;

use fleet::{Fleet, Late};
use kinds::Drawn;
use starts::{Start, first_difference};

async fn play(drawn: &Drawn, late: Option<Late>) -> Vec<Start> {
    let mut fleet = Fleet::open(&drawn.scenario, late).await;
    fleet.introduce().await;
    fleet.play().await
}

async fn starts_alike(drawn: Drawn) {
    let started = play(&drawn, None).await;
    if let Some(difference) = first_difference(&drawn.script.starts, &started) {
        panic!("seed {}: {difference}", drawn.seed);
    }
}

#[tokio::test(start_paused = true)]
async fn the_engine_starts_what_simulate_starts_while_a_backlog_forms() {
    starts_alike(kinds::steady()).await;
}

#[tokio::test(start_paused = true)]
async fn the_engine_starts_what_simulate_starts_while_devices_run_out_of_memory() {
    starts_alike(kinds::out_of_memory()).await;
}

#[tokio::test(start_paused = true)]
async fn the_engine_starts_what_simulate_starts_while_devices_go_down_and_come_back() {
    starts_alike(kinds::failures()).await;
}

/// The check can fail: it takes one attempt that lasts half a second longer than the model says.
#[tokio::test(start_paused = true)]
async fn one_duration_that_differs_is_seen_in_the_starts() {
    let drawn = kinds::short();
    assert_eq!(first_difference(&drawn.script.starts, &play(&drawn, None).await), None);
    let late = Late { completion: 40, by_ms: 500 };
    let started = play(&drawn, Some(late)).await;
    let difference = first_difference(&drawn.script.starts, &started).expect("a late end moves a start");
    assert!(difference.contains("simulate: ") && difference.contains("engine:   "), "{difference}");
}
