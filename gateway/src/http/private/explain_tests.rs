#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use std::sync::Arc;

use scheduler::{AttemptNo, InstanceId, Timestamp};

use super::*;
use crate::fleet::InstanceView;
use crate::http::view::tests::{ACCEPTED, row};
use crate::store::{JobError, StoredState};

fn fleet() -> FleetView {
    let instance = |id: u32, name: &str| InstanceView {
        id: InstanceId(id),
        name: Arc::from(name),
        host: "host".into(),
        up: id != 3,
        reason: (id == 3).then(|| "connection refused".to_owned()),
        facts: None,
        reconnects: 0,
    };
    FleetView {
        instances: vec![instance(1, "t4-0"), instance(2, "a100-0"), instance(3, "v100-0")],
        ..FleetView::default()
    }
}

fn explained(cause: Option<Cause>, obstacles: Vec<(u32, Option<Obstacle>)>) -> String {
    let fleet = fleet();
    let parts = HashMap::from([
        (Part(1), "class Upscale".to_owned()),
        (Part(2), "lora \"x\" of LoraLoader".to_owned()),
    ]);
    let words = Words { fleet: &fleet, parts, now: ACCEPTED };
    let verdict = |(id, obstacle)| InstanceVerdict {
        instance: InstanceId(id),
        obstacle,
        predicted_end: None,
        warm: id == 2,
    };
    let explanation = Explanation {
        phase: Phase::Queued,
        attempt: Some(AttemptNo(1)),
        instance: None,
        faults: 0,
        losses: 0,
        position: None,
        cause,
        instances: obstacles.into_iter().map(verdict).collect(),
        predicted_start: None,
        predicted_end: None,
    };
    let seen = Seen::new(row(StoredState::Queued), None);
    let shown = waiting(&seen, &explanation, &words);
    let instances: Vec<_> =
        shown.instances.iter().map(|one| format!("{}: {}", one.name, one.message)).collect();
    format!("{} | {}", shown.message, instances.join("; "))
}

#[test]
fn a_missing_part_is_named_on_the_instance_that_comes_nearest() {
    let obstacles = vec![
        (1, Some(Obstacle::Lacks(vec![Part(1), Part(2), Part(99)]))),
        (2, Some(Obstacle::Lacks(vec![Part(2)]))),
    ];
    assert_eq!(
        explained(Some(Cause::Catalogue), obstacles),
        "No instance offers everything the workflow needs; a100-0 comes nearest and lacks lora \"x\" of LoraLoader. | \
         t4-0: lacks class Upscale, lora \"x\" of LoraLoader and 1 more; a100-0: lacks lora \"x\" of LoraLoader"
    );
}

#[test]
fn room_tells_what_is_needed_and_what_there_is() {
    let room = |need_mib, have_mib| Some(Obstacle::Room { need_mib, have_mib });
    assert_eq!(
        explained(Some(Cause::Room), vec![(1, room(30_000, 15_000)), (2, room(30_000, 24_000))]),
        "No device has the memory: the job needs about 30000 MiB, the largest can give 24000 MiB. | \
         t4-0: the job needs about 30000 MiB, it can give 15000 MiB; a100-0: the job needs about 30000 MiB, it can give 24000 MiB"
    );
}

#[test]
fn busy_tells_the_earliest_moment_and_down_the_reason() {
    let busy = Some(Obstacle::Busy { free_at: Timestamp(ACCEPTED + 1_500) });
    assert_eq!(
        explained(Some(Cause::Busy), vec![(1, busy), (3, Some(Obstacle::Down))]),
        "All instances that could take the job are busy; one is predicted to be free in 2 s. | \
         t4-0: busy, free in 2 s; v100-0: does not answer: connection refused"
    );
}

#[test]
fn waiting_for_loaded_models_names_the_instance() {
    let text = explained(Some(Cause::Model), vec![(2, None)]);
    assert!(text.starts_with("a100-0 is busy but holds the job's models already"), "{text}");
}

#[test]
fn every_cause_makes_a_sentence() {
    for cause in [
        Cause::Device,
        Cause::Room,
        Cause::Catalogue,
        Cause::Drain,
        Cause::Busy,
        Cause::Share,
        Cause::Backoff,
        Cause::Model,
    ] {
        let text = explained(Some(cause), Vec::new());
        assert!(text.contains('.'), "{cause:?}: {text}");
    }
}

#[test]
fn a_failed_job_tells_where_and_why() {
    let mut failed = row(StoredState::Failed);
    failed.error = Some(JobError {
        code: "node_error".into(),
        message: "CUDA is on fire".into(),
        node_id: Some("7".into()),
        ..JobError::default()
    });
    assert_eq!(
        ended(&Seen::new(failed, None)).message,
        "The job failed at node 7: CUDA is on fire (node_error)."
    );
}

#[test]
fn a_fleet_that_never_answered_says_why_it_is_not_known() {
    let obstacles = vec![(1, Some(Obstacle::CatalogueUnknown)), (3, Some(Obstacle::CatalogueUnknown))];
    assert_eq!(
        explained(Some(Cause::Catalogue), obstacles),
        "What the instances offer is not known yet. v100-0 does not answer: connection refused. | \
         t4-0: what it offers is not known yet; \
         v100-0: does not answer, so what it offers is not known: connection refused"
    );
}
