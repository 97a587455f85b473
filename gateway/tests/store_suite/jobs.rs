//! Submissions, records, reads.

use std::sync::Arc;

use gateway::store::{
    Face, FleetFact, Inserted, JobError, JobRecord, KnownInstance, ListQuery, NewJob, Store, StoreError,
    StoredResponse, StoredState,
};
use scheduler::{
    AttemptEnd, Class, DeviceClassId, Failure, FamilyId, Learned, ModelId, Outcome, Shape, ShapeId,
};
use uuid::Uuid;

use super::builders::*;

pub async fn a_submission_is_read_back_as_it_was(store: Arc<dyn Store>) {
    let mut job = new_job();
    job.labels.insert("team".into(), "coach 教练".into());
    let expected = job.clone();
    let id = insert_fresh(&*store, job).await;
    let row = store.job_by_public_id(1, expected.public_id.clone()).await.unwrap().unwrap();
    assert_eq!((row.id, row.state, row.revision, row.attempt), (id, StoredState::Queued, 1, 0));
    assert_eq!((row.face, row.class, &row.labels), (Face::V2, Class::Interactive, &expected.labels));
    assert_eq!((row.accepted_at, row.deadline, row.expires_at), (T0, T0 + DAY, T0 + 2 * DAY));
    assert_eq!(store.body(id).await.unwrap(), Some(expected.body));
    assert!(store.job_by_public_id(2, expected.public_id).await.unwrap().is_none(), "another tenant's");
    let open = store.open_jobs().await.unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!((&open[0].plan, open[0].accepted_at, open[0].open_on), (&expected.plan, T0, None));
}

pub async fn a_dropped_turn_leaves_nothing(store: Arc<dyn Store>) {
    let job = new_job();
    let id = job.id;
    let mut turn = store.begin().await.unwrap();
    assert_eq!(turn.insert(vec![job]).await.unwrap(), [Inserted::Fresh]);
    assert!(store.job(id).await.unwrap().is_none(), "readers see committed data only");
    drop(turn);
    insert_fresh(&*store, new_job()).await;
    assert!(store.job(id).await.unwrap().is_none());
}

pub async fn a_second_turn_waits_for_the_first(store: Arc<dyn Store>) {
    let mut first = store.begin().await.unwrap();
    let job = new_job();
    let again = job.clone();
    first.insert(vec![job]).await.unwrap();
    let second = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.begin().await.unwrap().insert(vec![again]).await.unwrap() }
    });
    first.commit().await.unwrap();
    assert_eq!(second.await.unwrap(), [Inserted::DuplicateId], "it sees what the first committed");
}

pub async fn a_key_is_claimed_once_per_tenant_and_face(store: Arc<dyn Store>) {
    let first = with_key(new_job(), "k", 1);
    let mut native = with_key(new_job(), "k", 1);
    native.face = Face::Native;
    let mut foreign = with_key(new_job(), "k", 1);
    foreign.tenant = 2;
    let batch =
        vec![first.clone(), with_key(new_job(), "k", 1), with_key(new_job(), "k", 2), native, foreign];
    let duplicate = |same_body| Inserted::DuplicateKey { job: first.id, same_body, response: None };
    let expected = [Inserted::Fresh, duplicate(true), duplicate(false), Inserted::Fresh, Inserted::Fresh];
    assert_eq!(insert(&*store, batch).await, expected);
    assert_eq!(insert(&*store, vec![with_key(new_job(), "k", 1)]).await, [duplicate(true)]);
    assert_eq!(store.open_jobs().await.unwrap().len(), 3);
}

pub async fn an_expired_key_may_be_claimed_again(store: Arc<dyn Store>) {
    insert_fresh(&*store, with_key(new_job(), "k", 1)).await;
    let mut later = new_job();
    later.accepted_at = T0 + DAY;
    let later = with_key(later, "k", 2);
    let id = insert_fresh(&*store, later).await;
    let replay = store.replay(1, Face::V2, "k".into()).await.unwrap().unwrap();
    assert_eq!((replay.job, replay.body_hash), (id, [2; 32]));
}

pub async fn the_first_answer_is_kept_for_repeats(store: Arc<dyn Store>) {
    let answer = StoredResponse { status: 201, body: r#"{"id":"x"}"#.into() };
    let mut job = with_key(new_job(), "k", 1);
    if let Some(key) = &mut job.idempotency {
        key.response = Some(answer.clone());
    }
    let id = insert_fresh(&*store, job).await;
    let replay = store.replay(1, Face::V2, "k".into()).await.unwrap().unwrap();
    assert_eq!((replay.job, replay.response.as_ref()), (id, Some(&answer)));
    let repeated = insert(&*store, vec![with_key(new_job(), "k", 1)]).await;
    assert_eq!(repeated, [Inserted::DuplicateKey { job: id, same_body: true, response: Some(answer) }]);
    assert!(store.replay(1, Face::Private, "k".into()).await.unwrap().is_none());
}

pub async fn a_refused_job_takes_its_key_and_id_with_it(store: Arc<dyn Store>) {
    let mut job = with_key(new_job(), "k", 1);
    job.labels.insert("a".into(), "b".into());
    let again = NewJob { id: Uuid::now_v7(), ..job.clone() };
    let mut turn = store.begin().await.unwrap();
    let id = job.id;
    turn.insert(vec![job]).await.unwrap();
    turn.write(vec![JobRecord::Refused { job: id }]).await.unwrap();
    turn.commit().await.unwrap();
    assert!(store.job(id).await.unwrap().is_none());
    assert!(store.body(id).await.unwrap().is_none());
    assert!(store.replay(1, Face::V2, "k".into()).await.unwrap().is_none());
    insert_fresh(&*store, again).await;
}

pub async fn an_acknowledged_job_cannot_be_refused(store: Arc<dyn Store>) {
    let id = insert_fresh(&*store, new_job()).await;
    let refused = write(&*store, vec![JobRecord::Refused { job: id }]).await;
    assert!(matches!(refused, Err(StoreError::Damaged(_))), "{refused:?}");
    assert!(store.job(id).await.unwrap().is_some());
}

pub async fn a_public_id_is_unique_among_open_jobs_only(store: Arc<dyn Store>) {
    let mut first = new_job();
    first.public_id = "mine".into();
    let mut second = new_job();
    second.public_id = "mine".into();
    let ended = insert_fresh(&*store, first).await;
    assert_eq!(insert(&*store, vec![second.clone()]).await, [Inserted::DuplicateId]);
    write(&*store, vec![succeeded(ended, T0 + 10, Vec::new())]).await.unwrap();
    let newer = insert_fresh(&*store, second).await;
    assert_eq!(store.job_by_public_id(1, "mine".into()).await.unwrap().unwrap().id, newer);
}

pub async fn a_job_goes_through_its_life(store: Arc<dyn Store>) {
    let id = insert_fresh(&*store, new_job()).await;
    write(&*store, vec![placed(id, 1, T0 + 10)]).await.unwrap();
    let row = store.job(id).await.unwrap().unwrap();
    assert_eq!((row.state, row.revision, row.attempt, row.instance), (StoredState::Placed, 2, 1, Some(71)));
    let open = store.open_jobs().await.unwrap();
    assert_eq!((open[0].open_on, open[0].placed_at, open[0].attempt), (Some(71), T0 + 10, 1));

    let lost = JobRecord::AttemptEnded {
        job: id,
        attempt: 1,
        end: AttemptEnd::InstanceDied,
        message: Some("gone".into()),
        faults: 1,
        losses: 2,
        at: T0 + 20,
    };
    write(&*store, vec![lost]).await.unwrap();
    let open = store.open_jobs().await.unwrap();
    assert_eq!((open[0].open_on, open[0].faults, open[0].losses, open[0].attempt), (None, 1, 2, 1));

    let shape = Shape { id: ShapeId(5), family: FamilyId(0), prior_run_ms: 1, prior_vram_mib: 2 };
    let respecified = JobRecord::Respecified { job: id, requirement: requirement(&[9]), shape };
    let class = JobRecord::ClassChanged { job: id, class: Class::Batch };
    write(&*store, vec![respecified, class]).await.unwrap();
    let plan = store.open_jobs().await.unwrap()[0].plan.clone();
    assert_eq!((plan.shape, plan.class, plan.provisional), (shape, Class::Batch, false));
    assert_eq!(plan.requirement, requirement(&[9]));

    write(&*store, vec![placed(id, 2, T0 + 30), JobRecord::CancelIntended { job: id }]).await.unwrap();
    let row = store.job(id).await.unwrap().unwrap();
    assert_eq!((row.state, row.revision), (StoredState::Canceling, 7));
    assert!(store.open_jobs().await.unwrap()[0].cancel_requested);

    let error = JobError { code: "node_error".into(), message: "no".into(), ..JobError::default() };
    let ended = JobRecord::Ended {
        job: id,
        attempt: Some(2),
        outcome: Outcome::Failed(Failure::NodeError),
        error: Some(error.clone()),
        outputs: Vec::new(),
        used: None,
        started_at: Some(T0 + 35),
        at: T0 + 40,
    };
    write(&*store, vec![ended]).await.unwrap();
    let row = store.job(id).await.unwrap().unwrap();
    assert_eq!((row.state, row.error, row.revision), (StoredState::Failed, Some(error), 8));
    assert_eq!((row.started_at, row.ended_at, row.expires_at), (Some(T0 + 35), Some(T0 + 40), T0 + 40 + DAY));
    assert!(store.open_jobs().await.unwrap().is_empty());
    assert_eq!(store.latest_time().await.unwrap(), T0 + 40);
}

pub async fn a_job_ends_once_and_the_turn_that_says_otherwise_fails_whole(store: Arc<dyn Store>) {
    let id = insert_fresh(&*store, new_job()).await;
    let other = insert_fresh(&*store, new_job()).await;
    write(&*store, vec![succeeded(id, T0 + 10, vec![output("a.png", hash('a'))])]).await.unwrap();
    let twice = vec![placed(other, 1, T0 + 20), succeeded(id, T0 + 20, vec![output("b.png", hash('b'))])];
    assert!(matches!(write(&*store, twice).await, Err(StoreError::Damaged(_))));
    assert_eq!(store.outputs(id).await.unwrap().len(), 1);
    assert_eq!(store.job(other).await.unwrap().unwrap().state, StoredState::Queued, "nothing of it is kept");
}

pub async fn after_a_failed_statement_the_rest_of_the_turn_fails_too(store: Arc<dyn Store>) {
    let mut turn = store.begin().await.unwrap();
    turn.write(vec![JobRecord::CancelIntended { job: Uuid::new_v4() }]).await.unwrap();
    assert!(turn.insert(vec![new_job()]).await.is_err());
    assert!(turn.commit().await.is_err());
    assert!(store.open_jobs().await.unwrap().is_empty());
    insert_fresh(&*store, new_job()).await;
}

pub async fn outputs_get_the_tenants_own_running_numbers(store: Arc<dyn Store>) {
    let first = insert_fresh(&*store, new_job()).await;
    let second = insert_fresh(&*store, new_job()).await;
    let mut foreign = new_job();
    foreign.tenant = 2;
    let foreign = insert_fresh(&*store, foreign).await;
    let names = ["p/x_00012_.png", "p/x_00007_.png", "p/x_00007_.json", "x_00001_.png", "photo.png"];
    let outputs = names.map(|name| output(name, hash('a'))).to_vec();
    write(&*store, vec![succeeded(first, T0 + 10, outputs)]).await.unwrap();
    write(&*store, vec![succeeded(second, T0 + 11, vec![output("p/x_00001_.png", hash('a'))])])
        .await
        .unwrap();
    write(&*store, vec![succeeded(foreign, T0 + 12, vec![output("p/x_00001_.png", hash('a'))])])
        .await
        .unwrap();
    let own = ["p/x_00002_.png", "p/x_00001_.png", "p/x_00001_.json", "x_00001_.png", "photo.png"];
    assert_eq!(names_of(&*store, first).await, own);
    assert_eq!(names_of(&*store, second).await, ["p/x_00003_.png"]);
    assert_eq!(names_of(&*store, foreign).await, ["p/x_00001_.png"]);
}

async fn names_of(store: &dyn Store, job: Uuid) -> Vec<String> {
    store.outputs(job).await.unwrap().into_iter().map(|output| output.name).collect()
}

pub async fn jobs_are_listed_newest_first_by_state_and_label(store: Arc<dyn Store>) {
    let mut ids = Vec::new();
    for number in 0..6 {
        let mut job = new_job();
        job.labels.insert("parity".into(), if number % 2 == 0 { "even" } else { "odd" }.into());
        job.labels.insert("all".into(), "yes".into());
        ids.push(insert_fresh(&*store, job).await);
    }
    write(&*store, vec![succeeded(ids[4], T0 + 10, Vec::new())]).await.unwrap();
    let listed = |query: ListQuery| {
        let store = Arc::clone(&store);
        async move { store.list(query).await.unwrap().rows.into_iter().map(|row| row.id).collect::<Vec<_>>() }
    };
    let all = ListQuery { tenant: 1, limit: 4, ..ListQuery::default() };
    assert_eq!(listed(all.clone()).await, [ids[5], ids[4], ids[3], ids[2]]);
    assert_eq!(listed(ListQuery { before: Some(ids[2]), ..all.clone() }).await, [ids[1], ids[0]]);
    assert_eq!(listed(ListQuery { states: vec![StoredState::Succeeded], ..all.clone() }).await, [ids[4]]);
    let mut even = ListQuery { limit: 2, ..all };
    even.labels.insert("parity".into(), "even".into());
    even.labels.insert("all".into(), "yes".into());
    assert_eq!(listed(even.clone()).await, [ids[4], ids[2]]);
    assert!(listed(ListQuery { tenant: 2, ..even }).await.is_empty());
}

pub async fn equal_requirements_are_one_value_after_a_restart(store: Arc<dyn Store>) {
    let mut other = new_job();
    other.plan.requirement = requirement(&[2]);
    let accepted = [new_job(), other, new_job()];
    let ids = accepted.each_ref().map(|job| job.id);
    insert(&*store, accepted.to_vec()).await;
    let open = store.open_jobs().await.unwrap();
    assert_eq!(open.iter().map(|job| job.id).collect::<Vec<_>>(), ids, "in the order of acceptance");
    assert!(Arc::ptr_eq(&open[0].plan.requirement, &open[2].plan.requirement));
    assert_eq!(open[1].plan.requirement, requirement(&[2]));
}

pub async fn what_the_fleet_taught_is_remembered(store: Arc<dyn Store>) {
    let class = DeviceClassId(u64::MAX);
    let run = |mean_ms| Learned::Run { shape: ShapeId(1), class, mean_ms, runs: 2 };
    let load = Learned::Load { model: ModelId(u64::MAX), class, mean_ms: 3, loads: 4 };
    let room = Learned::Room { shape: ShapeId(1), above_mib: 5, at_most_mib: u32::MAX };
    let mut instance = KnownInstance {
        id: 7,
        name: "gpu-0".into(),
        host: "vm".into(),
        catalogue: Some("c".into()),
        facts: None,
        seen_at: T0,
    };
    let mut turn = store.begin().await.unwrap();
    turn.write([run(1), load, room, run(9)].map(JobRecord::Learned).to_vec()).await.unwrap();
    let body = FleetFact::Catalogue { hash: "c".into(), body: "{}".into() };
    turn.remember(vec![FleetFact::Instance(instance.clone()), body.clone(), body]).await.unwrap();
    instance.facts = Some("{}".into());
    turn.remember(vec![FleetFact::Instance(instance.clone())]).await.unwrap();
    turn.commit().await.unwrap();
    assert_eq!(store.learned().await.unwrap(), [run(9), load, room]);
    assert_eq!(store.instances().await.unwrap(), [instance]);
    assert_eq!(store.catalogue("c".into()).await.unwrap().as_deref(), Some("{}"));
    assert_eq!(store.catalogue("d".into()).await.unwrap(), None);
}

pub async fn an_empty_turn_commits(store: Arc<dyn Store>) {
    let mut turn = store.begin().await.unwrap();
    turn.write(Vec::new()).await.unwrap();
    turn.commit().await.unwrap();
    store.ping().await.unwrap();
}
