//! Events and deliveries.

use std::sync::Arc;

use gateway::store::{
    DeadQuery, Delivery, DeliveryOutcome, Event, EventKind, EventKinds, EventPage, EventQuery, JobRecord,
    NewJob, Outbox, Store, Webhook,
};
use scheduler::{AttemptEnd, Failure, Outcome};
use uuid::Uuid;

use super::builders::*;

const ALL: EventQuery = EventQuery { tenant: 1, after: None, kinds: EventKinds::ALL, limit: 100 };

async fn page(outbox: &dyn Outbox, query: EventQuery) -> (Vec<Event>, i64, bool) {
    match outbox.events(query).await.unwrap() {
        EventPage::Events { events, next, at_head } => (events, next, at_head),
        expired => panic!("{expired:?}"),
    }
}

fn told(events: &[Event]) -> Vec<(Uuid, u64, EventKind)> {
    events.iter().map(|event| (event.job, event.revision, event.kind)).collect()
}

fn ended(job: Uuid, outcome: Outcome, at: i64) -> JobRecord {
    JobRecord::Ended {
        job,
        attempt: None,
        outcome,
        error: None,
        outputs: vec![],
        started_at: None,
        used: None,
        at,
    }
}

fn attempt_ended(job: Uuid, attempt: u32, at: i64) -> JobRecord {
    let end = AttemptEnd::NoTrace;
    JobRecord::AttemptEnded { job, attempt, end, message: None, faults: 0, losses: 1, at }
}

/// A job of tenant 1 whose events go to a path of `receiver.example`.
fn hooked(path: &str, events: &[EventKind]) -> NewJob {
    let receiver = format!("https://receiver.example/{path}");
    let webhook = Webhook {
        url: format!("{receiver}?q=1").into(),
        receiver: receiver.into(),
        events: events.iter().copied().collect(),
    };
    NewJob { webhook: Some(webhook), ..new_job() }
}

/// Everything that is due at `now`.
async fn due(outbox: &dyn Outbox, now: i64) -> Vec<Delivery> {
    let mut all = Vec::new();
    for receiver in outbox.due_receivers().await.unwrap() {
        assert!(receiver.next_at <= now || outbox.due(receiver.receiver, now, 100).await.unwrap().is_empty());
        all.extend(outbox.due(receiver.receiver, now, 100).await.unwrap());
    }
    all
}

fn due_revisions(due: &[Delivery]) -> Vec<u64> {
    due.iter().map(|delivery| delivery.event.revision).collect()
}

pub async fn every_committed_change_is_an_event_in_order(store: Arc<dyn Store>) {
    let (one, two) = (insert_fresh(&*store, new_job()).await, insert_fresh(&*store, new_job()).await);
    write(&*store, vec![placed(one, 1, T0 + 1), attempt_ended(one, 1, T0 + 2), placed(one, 2, T0 + 3)])
        .await
        .unwrap();
    write(&*store, vec![JobRecord::CancelIntended { job: two }, ended(two, Outcome::Canceled, T0 + 4)])
        .await
        .unwrap();
    write(&*store, vec![succeeded(one, T0 + 5, vec![])]).await.unwrap();
    let (events, next, at_head) = page(store.outbox(), ALL).await;
    let expected = [
        (one, 1, EventKind::Accepted),
        (two, 1, EventKind::Accepted),
        (one, 2, EventKind::Placed),
        (one, 3, EventKind::Requeued),
        (one, 4, EventKind::Placed),
        (two, 3, EventKind::Canceled),
        (one, 5, EventKind::Succeeded),
    ];
    assert_eq!(told(&events), expected);
    assert!(at_head && next == events[6].cursor);
    assert!(events.windows(2).all(|pair| pair[0].cursor < pair[1].cursor));
    let ends: Vec<_> = events.iter().filter(|event| event.kind.is_end()).map(|event| event.at).collect();
    assert_eq!(ends, [T0 + 4, T0 + 5]);
    assert_eq!(events[0].id(), format!("{one}.1"));
    let row = store.job(one).await.unwrap().unwrap();
    assert_eq!(row.revision, 5, "an event has its job's revision");
}

pub async fn a_feed_is_read_page_by_page_without_gaps(store: Arc<dyn Store>) {
    let foreign = NewJob { tenant: 2, ..new_job() };
    let mut ours = Vec::new();
    for _ in 0..7 {
        ours.push(insert_fresh(&*store, new_job()).await);
        insert_fresh(
            &*store,
            NewJob { id: Uuid::now_v7(), public_id: Uuid::new_v4().to_string(), ..foreign.clone() },
        )
        .await;
    }
    let (mut read, mut after) = (Vec::new(), None);
    loop {
        let (events, next, at_head) = page(store.outbox(), EventQuery { after, limit: 3, ..ALL }).await;
        assert!(events.len() <= 3 && events.iter().all(|event| event.tenant == 1));
        read.extend(events.iter().map(|event| event.job));
        after = Some(next);
        if at_head {
            break;
        }
    }
    assert_eq!(read, ours);
    let kinds = [EventKind::Succeeded].into_iter().collect();
    let (none, next, at_head) = page(store.outbox(), EventQuery { kinds, ..ALL }).await;
    assert!(none.is_empty() && at_head && Some(next) == after, "the cursor moves over what is not asked for");
    assert_eq!(store.outbox().newest_event().await.unwrap(), next);
}

pub async fn a_refused_job_leaves_no_event(store: Arc<dyn Store>) {
    let (kept, refused) = (new_job(), hooked("a", &EventKind::ALL));
    let (kept_id, refused_id) = (kept.id, refused.id);
    let mut turn = store.begin().await.unwrap();
    turn.insert(vec![refused, kept]).await.unwrap();
    turn.write(vec![JobRecord::Refused { job: refused_id }]).await.unwrap();
    turn.commit().await.unwrap();
    assert_eq!(told(&page(store.outbox(), ALL).await.0), [(kept_id, 1, EventKind::Accepted)]);
    assert!(due(store.outbox(), T0 + DAY).await.is_empty());
    let mut dropped = store.begin().await.unwrap();
    dropped.insert(vec![new_job()]).await.unwrap();
    drop(dropped);
    insert_fresh(&*store, new_job()).await;
    assert_eq!(page(store.outbox(), ALL).await.0.len(), 2, "nor does a turn that was not kept");
}

pub async fn listeners_hear_of_their_tenants_commits_only(store: Arc<dyn Store>) {
    let (mut ours, mut theirs) = (store.outbox().bells().listen(1), store.outbox().bells().listen(2));
    let mut turn = store.begin().await.unwrap();
    turn.insert(vec![new_job()]).await.unwrap();
    assert!(!ours.has_changed().unwrap(), "not before the commit");
    turn.commit().await.unwrap();
    assert!(ours.has_changed().unwrap());
    assert_eq!(*ours.borrow_and_update(), store.outbox().newest_event().await.unwrap());
    assert!(!theirs.has_changed().unwrap());
    insert_fresh(&*store, NewJob { tenant: 2, ..new_job() }).await;
    assert!(theirs.has_changed().unwrap() && !ours.has_changed().unwrap());
    theirs.mark_unchanged();
}

pub async fn forgotten_events_expire_cursors_and_none_is_used_twice(store: Arc<dyn Store>) {
    assert_eq!(page(store.outbox(), EventQuery { after: Some(0), ..ALL }).await, (vec![], 0, true));
    for at in 0..5 {
        insert_fresh(&*store, NewJob { accepted_at: T0 + at, ..new_job() }).await;
    }
    let newest = store.outbox().newest_event().await.unwrap();
    assert_eq!(store.outbox().sweep_events(T0 + 3, 2).await.unwrap(), 2, "bounded");
    assert_eq!(store.outbox().sweep_events(T0 + 3, 10).await.unwrap(), 1);
    let expired = EventPage::Expired { oldest: 3 };
    for after in [0, 2, newest + 1] {
        assert_eq!(
            store.outbox().events(EventQuery { after: Some(after), ..ALL }).await.unwrap(),
            expired,
            "{after}"
        );
    }
    assert_eq!(page(store.outbox(), EventQuery { after: Some(3), ..ALL }).await.0.len(), 2);
    assert_eq!(page(store.outbox(), ALL).await.0.len(), 2, "whoever names none begins with the oldest");
    assert_eq!(store.outbox().sweep_events(T0 + DAY, 10).await.unwrap(), 1, "the newest stays");
    insert_fresh(&*store, new_job()).await;
    assert_eq!(store.outbox().newest_event().await.unwrap(), newest + 1);
}

pub async fn events_of_a_job_are_due_one_after_the_other(store: Arc<dyn Store>) {
    let job = insert_fresh(&*store, hooked("a", &EventKind::ALL)).await;
    let other = insert_fresh(&*store, hooked("a", &EventKind::ALL)).await;
    write(&*store, vec![placed(job, 1, T0 + 1), succeeded(job, T0 + 2, vec![])]).await.unwrap();
    let outbox = store.outbox();
    let first = due(outbox, T0 + 10).await;
    assert_eq!(due_revisions(&first), [1, 1], "the first of each job");
    assert_eq!((first[0].event.job, first[1].event.job), (job, other));
    assert_eq!(
        (first[0].url.as_str(), first[0].tenant_name.as_str()),
        ("https://receiver.example/a?q=1", "default")
    );
    let again =
        DeliveryOutcome::Again { cursor: first[0].event.cursor, next_at: T0 + 100, reason: "503".into() };
    outbox
        .settle(vec![again, DeliveryOutcome::Delivered { cursor: first[1].event.cursor }], T0 + 10)
        .await
        .unwrap();
    assert!(due(outbox, T0 + 99).await.is_empty(), "the others of the job wait behind it");
    let tried = due(outbox, T0 + 100).await;
    assert_eq!((tried[0].tries, tried[0].event.revision), (1, 1));
    outbox
        .settle(vec![DeliveryOutcome::Delivered { cursor: tried[0].event.cursor }], T0 + 101)
        .await
        .unwrap();
    for revision in [2, 3] {
        let next = due(outbox, T0 + 101).await;
        assert_eq!(due_revisions(&next), [revision]);
        outbox
            .settle(vec![DeliveryOutcome::Delivered { cursor: next[0].event.cursor }], T0 + 101)
            .await
            .unwrap();
    }
    assert!(outbox.due_receivers().await.unwrap().is_empty());
    assert_eq!(page(outbox, ALL).await.0.len(), 4, "the feed keeps what was delivered");
}

pub async fn only_the_wanted_events_are_sent(store: Arc<dyn Store>) {
    let wanted = [EventKind::Failed, EventKind::Requeued];
    let job = insert_fresh(&*store, hooked("a", &wanted)).await;
    insert_fresh(&*store, new_job()).await;
    let failed = Outcome::Failed(Failure::NodeError);
    let records =
        vec![placed(job, 1, T0), attempt_ended(job, 1, T0), placed(job, 2, T0), ended(job, failed, T0)];
    write(&*store, records).await.unwrap();
    let mut seen = Vec::new();
    while let Some(next) = due(store.outbox(), T0).await.pop() {
        seen.push((next.event.revision, next.event.kind));
        store
            .outbox()
            .settle(vec![DeliveryOutcome::Delivered { cursor: next.event.cursor }], T0)
            .await
            .unwrap();
    }
    assert_eq!(seen, [(3, EventKind::Requeued), (5, EventKind::Failed)]);
}

pub async fn a_dead_letter_lets_the_next_event_through_and_can_be_replayed(store: Arc<dyn Store>) {
    let job = insert_fresh(&*store, hooked("a", &EventKind::ALL)).await;
    write(&*store, vec![placed(job, 1, T0 + 1)]).await.unwrap();
    let outbox = store.outbox();
    let first = due(outbox, T0 + 1).await.remove(0);
    let dead = DeliveryOutcome::Dead { cursor: first.event.cursor, reason: "answered 410".into() };
    outbox.settle(vec![dead], T0 + 2).await.unwrap();
    assert_eq!(due_revisions(&due(outbox, T0 + 2).await), [2]);
    let of_one = DeadQuery { tenant: Some(1), limit: 10, ..DeadQuery::default() };
    let letters = outbox.dead_letters(of_one.clone()).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].event.clone(), letters[0].tries, letters[0].dead_at),
        (first.event.clone(), 1, T0 + 2)
    );
    assert_eq!(
        (letters[0].receiver.as_str(), letters[0].reason.as_str()),
        ("https://receiver.example/a", "answered 410")
    );
    let lag = outbox.lags(Some(1), 10).await.unwrap().remove(0);
    assert_eq!((lag.pending, lag.dead, lag.oldest_at), (1, 1, Some(T0 + 1)));
    let nobody = [
        DeadQuery { tenant: Some(2), ..of_one.clone() },
        DeadQuery { receiver: Some("https://receiver.example/b".into()), ..of_one.clone() },
        DeadQuery { events: vec![(job, 2)], ..of_one.clone() },
        DeadQuery { after: first.event.cursor, ..of_one.clone() },
    ];
    for query in nobody {
        assert_eq!(outbox.replay_dead(query, T0 + 3).await.unwrap().0, 0);
    }
    let exactly =
        DeadQuery { events: vec![(job, 1)], receiver: Some(letters[0].receiver.clone()), ..of_one.clone() };
    assert_eq!(outbox.replay_dead(exactly, T0 + 3).await.unwrap(), (1, first.event.cursor));
    let waiting = due(outbox, T0 + 3).await;
    assert_eq!(due_revisions(&waiting), [2], "one of a job at a time");
    outbox
        .settle(vec![DeliveryOutcome::Delivered { cursor: waiting[0].event.cursor }], T0 + 4)
        .await
        .unwrap();
    let replayed = due(outbox, T0 + 4).await.remove(0);
    assert_eq!((replayed.event.id(), replayed.tries, replayed.since), (first.event.id(), 0, T0 + 3));
    let figures = outbox.outbox_figures().await.unwrap();
    assert_eq!((figures.pending, figures.dead, figures.oldest_at), (1, 0, Some(T0)));
}

pub async fn a_failing_receiver_concerns_nobody_else(store: Arc<dyn Store>) {
    for path in ["a", "a", "b"] {
        insert_fresh(&*store, hooked(path, &EventKind::ALL)).await;
    }
    let outbox = store.outbox();
    let receivers = outbox.due_receivers().await.unwrap();
    assert_eq!(receivers.len(), 2);
    let (a, b) = (receivers[0].receiver, receivers[1].receiver);
    for delivery in outbox.due(a, T0, 10).await.unwrap() {
        let cursor = delivery.event.cursor;
        let again = DeliveryOutcome::Again { cursor, next_at: T0 + HOUR, reason: "no answer".into() };
        outbox.settle(vec![again], T0).await.unwrap();
    }
    assert_eq!(outbox.due(b, T0, 10).await.unwrap().len(), 1);
    assert_eq!(outbox.lags(None, 10).await.unwrap()[0].reason.as_deref(), Some("no answer"));
    outbox.settle(vec![DeliveryOutcome::Back { receiver: a }], T0 + 5).await.unwrap();
    assert_eq!(outbox.due(a, T0 + 5, 10).await.unwrap().len(), 2, "it is back: all is due");
    let too_old = DeliveryOutcome::TooOld { receiver: a, before: T0, reason: "no answer".into() };
    outbox.settle(vec![too_old], T0 + DAY).await.unwrap();
    let everybodys = DeadQuery { limit: 10, ..DeadQuery::default() };
    assert_eq!(outbox.dead_letters(everybodys.clone()).await.unwrap().len(), 2);
    assert_eq!(outbox.due(b, T0, 10).await.unwrap().len(), 1, "the other receiver has all its time");
    outbox.sweep_events(T0 + DAY + 1, 1).await.unwrap();
    assert_eq!(
        outbox.dead_letters(everybodys).await.unwrap().len(),
        1,
        "swept with the events, some at a time"
    );
}
