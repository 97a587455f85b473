//! What is past its time, and when its bytes may go.

use std::sync::Arc;

use gateway::store::{AssetAnswer, Face, ListQuery, Named, NewRecord, Store, StoredState};

use super::builders::*;

pub async fn a_job_past_its_retention_is_a_tombstone_for_a_day(store: Arc<dyn Store>) {
    let mut job = new_job();
    job.labels.insert("a".into(), "b".into());
    let public_id = job.public_id.clone();
    let id = insert_fresh(&*store, job).await;
    let made = output("a.png", hash('a'));
    write(&*store, vec![placed(id, 1, T0), succeeded(id, T0 + 1, vec![made.clone()])]).await.unwrap();
    assert_eq!(store.sweep(T0 + DAY, 10).await.unwrap().jobs, 0, "not yet");

    let past = T0 + DAY + 1;
    let swept = store.sweep(past, 10).await.unwrap();
    assert_eq!((swept.jobs, objects(&swept).len()), (1, 0));
    let row = store.job_by_public_id(1, public_id.clone()).await.unwrap().unwrap();
    assert_eq!((row.state, row.labels.len()), (StoredState::Expired, 0));
    assert!(store.body(id).await.unwrap().is_none());
    assert!(store.outputs(id).await.unwrap().is_empty());
    assert!(store.asset(1, made.id).await.unwrap().is_none());
    let query = ListQuery { tenant: 1, limit: 9, ..ListQuery::default() };
    assert!(store.list(query).await.unwrap().rows.is_empty());

    let swept = store.sweep(past + HOUR, 10).await.unwrap();
    assert_eq!((swept.jobs, objects(&swept)), (0, vec![made.object_key]));
    assert!(store.job(id).await.unwrap().is_some());
    store.sweep(past + DAY, 10).await.unwrap();
    assert!(store.job_by_public_id(1, public_id).await.unwrap().is_none());
}

pub async fn a_tombstone_does_not_hide_a_newer_job_of_its_id(store: Arc<dyn Store>) {
    let old = new_job();
    let mut newer = new_job();
    newer.public_id = old.public_id.clone();
    newer.accepted_at = T0 + DAY;
    let public_id = old.public_id.clone();
    let old = insert_fresh(&*store, old).await;
    write(&*store, vec![succeeded(old, T0 + 1, Vec::new())]).await.unwrap();
    let newer = insert_fresh(&*store, newer).await;
    store.sweep(T0 + DAY + 1, 10).await.unwrap();
    let row = store.job_by_public_id(1, public_id).await.unwrap().unwrap();
    assert_eq!((row.id, row.state), (newer, StoredState::Queued));
}

pub async fn open_jobs_are_never_swept(store: Arc<dyn Store>) {
    let id = insert_fresh(&*store, new_job()).await;
    assert_eq!(store.sweep(T0 + 1000 * DAY, 10).await.unwrap().jobs, 0);
    assert_eq!(store.job(id).await.unwrap().unwrap().state, StoredState::Queued);
}

pub async fn bytes_go_an_hour_after_the_last_record(store: Arc<dyn Store>) {
    let expiring = NewRecord { expires_at: Some(T0 + 10), ..record("a.png") };
    let upload = new_asset(expiring, hash('a'));
    let key = upload.object_key.clone();
    mint(&*store, upload).await;
    let (kept, ..) = mint(&*store, new_asset(record("b.png"), hash('a'))).await;
    let swept = store.sweep(T0 + 10, 10).await.unwrap();
    assert_eq!((swept.assets, objects(&swept).len()), (1, 0));
    assert!(objects(&store.sweep(T0 + 10 + HOUR, 10).await.unwrap()).is_empty(), "b.png holds them");

    let deleted_at = T0 + 20 + HOUR;
    assert!(matches!(delete(&*store, kept.id, deleted_at).await, AssetAnswer::Deleted));
    assert!(objects(&store.sweep(deleted_at + HOUR - 1, 10).await.unwrap()).is_empty());
    assert_eq!(objects(&store.sweep(deleted_at + HOUR, 10).await.unwrap()), [key]);
    assert!(!store.holds(1, hash('a')).await.unwrap());
}

pub async fn any_use_saves_bytes_that_were_to_go(store: Arc<dyn Store>) {
    let upload = new_asset(record("a.png"), hash('a'));
    let key = upload.object_key.clone();
    let (row, ..) = mint(&*store, upload).await;
    assert!(matches!(delete(&*store, row.id, T0 + 1).await, AssetAnswer::Deleted));
    let again = NewRecord { created_at: T0 + 2, ..record("a.png") };
    let (row, fresh, keep) = mint(&*store, new_asset(again, hash('a'))).await;
    assert_eq!((row.object_key, fresh, keep), (key, true, false));
    assert!(objects(&store.sweep(T0 + DAY, 10).await.unwrap()).is_empty());
}

pub async fn pinned_bytes_outlive_their_record(store: Arc<dyn Store>) {
    let expiring = NewRecord { expires_at: Some(T0 + 60_000), ..record("a.png") };
    let upload = new_asset(expiring, hash('a'));
    let key = upload.object_key.clone();
    mint(&*store, upload).await;
    let id = insert_fresh(&*store, reading(new_job(), Named::Upload("a.png".into()))).await;
    let swept = store.sweep(T0 + DAY, 10).await.unwrap();
    assert_eq!((swept.assets, objects(&swept).len()), (1, 0));
    assert!(objects(&store.sweep(T0 + DAY + HOUR, 10).await.unwrap()).is_empty());
    let ended_at = T0 + DAY + 2 * HOUR;
    write(&*store, vec![succeeded(id, ended_at, Vec::new())]).await.unwrap();
    assert_eq!(objects(&store.sweep(ended_at + HOUR, 10).await.unwrap()), [key]);
}

pub async fn dead_keys_are_forgotten(store: Arc<dyn Store>) {
    insert_fresh(&*store, with_key(new_job(), "k", 1)).await;
    assert_eq!(store.sweep(T0 + DAY - 1, 10).await.unwrap().keys, 0);
    assert!(store.replay(1, Face::V2, "k".into()).await.unwrap().is_some());
    assert_eq!(store.sweep(T0 + DAY, 10).await.unwrap().keys, 1);
    assert!(store.replay(1, Face::V2, "k".into()).await.unwrap().is_none());
}

pub async fn a_sweep_is_bounded(store: Arc<dyn Store>) {
    for _ in 0..3 {
        let id = insert_fresh(&*store, new_job()).await;
        write(&*store, vec![succeeded(id, T0 + 1, Vec::new())]).await.unwrap();
    }
    assert_eq!(store.sweep(T0 + 2 * DAY, 2).await.unwrap().jobs, 2);
    assert_eq!(store.sweep(T0 + 2 * DAY, 2).await.unwrap().jobs, 1);
    assert_eq!(store.sweep(T0 + 2 * DAY, 2).await.unwrap().jobs, 0);
}
