//! The simulator against recordings of a real server: the client side is replayed, frames and replies compared.
//!
//! Compared are, per socket, kinds of frames, their nodes and outputs, in order; runs of progress ticks count as one, and
//! ids, times, counters and random letters are taken out. Replies are compared by status, error types and shape.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod replay;

use std::collections::BTreeSet;

use comfyui_sim::{Config, Simulator};
use replay::{Frames, Outcome};
use tokio::task::JoinSet;

/// How exactly frames must agree.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frame {
    /// Every frame in its place.
    Exact,
    /// `status` frames aside: their place depends on how fast the client posts.
    NoStatus,
    /// Which of several outputs runs first differs between starts of the real server, and so does the order of nodes that
    /// run at once: the same frames in any order.
    AnyOrder,
    /// It starts from a cache nobody recorded: replayed for what comes after it, not compared.
    WarmUp,
}
use Frame::{AnyOrder, Exact, NoStatus, WarmUp};

/// Recorded one after the other on one server: later ones find earlier results in the cache.
const RUNS: &[(&str, Frame)] = &[
    ("run_empty_save", Exact),
    ("run_empty_save_cached", Exact),
    ("run_load_scale_invert_save", Exact),
    ("run_multi_output", AnyOrder),
    ("run_preview_temp", Exact),
    ("run_batch4", Exact),
    ("run_error_node", Exact),
    ("run_error_two_branches", Exact),
    ("run_lazy_mix", Exact),
    ("run_animated_webp", Exact),
    ("run_video", Exact),
    ("run_audio", Exact),
    ("run_preview_any_text", Exact),
    ("run_blocker", Exact),
    ("run_parallel_sleep_expand", AnyOrder),
    ("run_sleep_progress", Exact),
    ("run_websocket_image", Exact),
    ("run_websocket_image_metadata", Exact),
    ("run_extra_data", Exact),
    ("run_no_client_id", NoStatus),
    ("validation_errors", Exact),
    ("http_api", Exact),
    ("upload", Exact),
    ("view", Exact),
];

/// Likewise, on a server with previews switched on.
const SAMPLING: &[(&str, Frame)] = &[
    ("ksampler_preview_metadata", Exact),
    ("ksampler_preview_legacy", Exact),
    ("ksampler_preview_override", WarmUp),
    ("model_residency", Exact),
];

/// Each on a server of its own.
const ALONE: &[(&str, Frame)] = &[
    ("blocker_verbose_error_not_terminal", Exact),
    ("cached_file_deleted", Exact),
    ("cross_tenant_cache", Exact),
    ("duplicate_client_id_old_closes", Exact),
    ("duplicate_prompt_id", NoStatus),
    ("half_open_reconnect", Exact),
    ("history_paging", Exact),
    ("interrupt", NoStatus),
    ("kill9_and_restart", NoStatus),
    ("late_connect", Exact),
    ("many_prompts_one_socket", NoStatus),
    ("poison_client_id_dict", NoStatus),
    ("poison_client_id_empty", NoStatus),
    ("poison_client_id_list", NoStatus),
    ("poison_client_id_number", NoStatus),
    ("poison_extra_pnginfo_list", NoStatus),
    ("poison_extra_pnginfo_workflow_null", NoStatus),
    ("poison_number_nan", NoStatus),
    ("poison_preview_method_bad", NoStatus),
    ("poison_preview_method_obj", NoStatus),
    ("progress_text_broadcast", NoStatus),
    ("queue_ops", NoStatus),
    ("queue_tie", NoStatus),
    ("reconnect_after_finish", Exact),
    ("reconnect_same_client_id", Exact),
    ("sigterm", NoStatus),
    ("two_clients", NoStatus),
    ("ui_nan", Exact),
    ("ui_unserialisable", NoStatus),
    ("variant_cache_classic", Exact),
    ("variant_cache_default", Exact),
    ("ws_no_client_id", Exact),
];

/// Captures that are not replayed, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("author_file_access", "needs the data set nodes, which the simulator does not execute"),
    (
        "boundary_is_changed_error",
        "a file vanishes between validation and start; the simulator checks it once",
    ),
    ("deep_chain", "holds measurements only, nothing to replay"),
    ("deep_chain_recursion", "holds a summary only, nothing to replay"),
    (
        "ksampler_interrupt",
        "recorded without previews on a server that was warm already; `interrupt` is replayed",
    ),
    ("logs_subscribe", "the simulator has no log to stream"),
    ("poison_extra_pnginfo_unserial_big", "only shows that a big body is harmless"),
    ("race_history", "holds measurements only, nothing to replay"),
    ("runtime_dynamic_cycle", "the expansion is not simulated; `Fault::LyingSuccess` has its ending"),
    ("sigint", "the seconds a dying interpreter takes are not simulated; `sigterm` is replayed"),
    ("slow_consumer", "needs a client that stops reading; the bounded socket backlog is all there is to it"),
    ("upload_raw_filenames", "needs malformed form headers that no client library sends"),
    ("variant_cache_lru_100", "another cache mode"),
    ("variant_cache_none", "another cache mode"),
    ("variant_enable_assets", "the assets system is not simulated"),
    ("variant_metadata_cors_gzip", "server flags that are not simulated"),
    ("variant_multi_user", "server flags that are not simulated"),
    ("ws_limits", "message sizes are covered by a test of its own in `faults.rs`"),
];

/// Differences between a recording and its replay, empty when there are none.
fn differences(name: &str, strictness: Frame, outcome: &Outcome) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, recorded: Vec<String>, replayed: Vec<String>| {
        if recorded != replayed {
            let at = recorded.iter().zip(&replayed).take_while(|(ours, theirs)| ours == theirs).count();
            let (recorded, replayed) = (recorded.get(at), replayed.get(at));
            found.push(format!(
                "{name}, {what}, item {at}:\n  recorded {recorded:?}\n  replayed {replayed:?}"
            ));
        }
    };
    let texts = |frames: &Frames| {
        let mut texts = frames.texts(strictness == Exact);
        if strictness == AnyOrder {
            texts.retain(|text| !text.starts_with("state"));
            texts.sort();
            texts.dedup();
        }
        texts
    };
    for (conn, frames) in &outcome.recorded.frames {
        let replayed = outcome.replayed.frames.get(conn).cloned().unwrap_or_default();
        compare(conn, texts(frames), texts(&replayed));
    }
    compare("replies", outcome.recorded.replies.clone(), outcome.replayed.replies.clone());
    found
}

async fn replay_session(config: Config, captures: &[(&str, Frame)]) -> Vec<String> {
    let simulator = Simulator::start(config).await.unwrap();
    let mut found = Vec::new();
    for (name, strictness) in captures {
        let outcome = replay::replay(&simulator, name).await;
        if *strictness != WarmUp {
            found.extend(differences(name, *strictness, &outcome));
        }
    }
    found
}

fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}

#[tokio::test]
async fn plain_runs_and_the_http_surface_are_as_recorded() {
    let config = Config { checkpoints: Vec::new(), ..Config::default() };
    assert_none(&replay_session(config, RUNS).await);
}

#[tokio::test]
async fn sampling_with_previews_is_as_recorded() {
    let config = Config { preview: true, ..Config::default() };
    assert_none(&replay_session(config, SAMPLING).await);
}

#[tokio::test]
async fn sockets_queue_and_hostile_input_are_as_recorded() {
    let mut replays = JoinSet::new();
    for capture in ALONE {
        replays.spawn(replay_session(Config::default(), std::slice::from_ref(capture)));
    }
    assert_none(&replays.join_all().await.concat());
}

#[test]
fn every_capture_is_replayed_or_left_out_for_a_reason() {
    let directory = std::fs::read_dir(replay::folder()).unwrap();
    let recorded: BTreeSet<String> = directory
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let replayed = [RUNS, SAMPLING, ALONE].concat().into_iter().map(|(name, _)| name);
    let named: Vec<String> =
        replayed.chain(LEFT_OUT.iter().map(|(name, _)| *name)).map(str::to_owned).collect();
    let unique: BTreeSet<String> = named.iter().cloned().collect();
    assert_eq!(unique.len(), named.len(), "a capture is listed twice");
    assert_eq!(unique, recorded);
}
