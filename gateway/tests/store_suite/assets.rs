//! Records, bytes, references, pins.

use std::sync::Arc;

use gateway::store::{AssetAnswer, AssetCall, Inserted, JobRecord, Named, NewRecord, Store};
use uuid::Uuid;

use super::builders::*;

pub async fn the_same_upload_twice_is_one_record_and_lives_longer(store: Arc<dyn Store>) {
    let short = NewRecord { expires_at: Some(T0 + HOUR), ..record("a.png") };
    let first = new_asset(short.clone(), hash('a'));
    let (row, fresh, keep) = mint(&*store, first.clone()).await;
    assert_eq!((row.id, fresh, keep), (short.id, true, true));
    assert_eq!((row.object_key, row.size_bytes, row.expires_at), (first.object_key, 7, Some(T0 + HOUR)));
    for (asked, expected) in [
        (Some(T0 + 2 * HOUR), Some(T0 + 2 * HOUR)),
        (Some(T0 + HOUR), Some(T0 + 2 * HOUR)),
        (None, None),
        (Some(T0 + HOUR), None),
    ] {
        let again = new_asset(NewRecord { expires_at: asked, ..record("a.png") }, hash('a'));
        let (row, fresh, keep) = mint(&*store, again).await;
        assert_eq!((row.id, fresh, keep, row.expires_at), (short.id, false, false, expected));
    }
}

pub async fn another_name_for_the_same_bytes_shares_them(store: Arc<dyn Store>) {
    let first = new_asset(record("a.png"), hash('a'));
    let kept = first.object_key.clone();
    mint(&*store, first).await;
    let (row, fresh, keep) = mint(&*store, new_asset(record("b.png"), hash('a'))).await;
    assert_eq!((row.object_key, fresh, keep), (kept, true, false));
    let foreign = NewRecord { tenant: 2, ..record("a.png") };
    let (_, fresh, keep) = mint(&*store, new_asset(foreign, hash('a'))).await;
    assert_eq!((fresh, keep), (true, true), "bytes are never shared between tenants");
}

pub async fn a_record_is_made_from_a_hash_the_tenant_holds(store: Arc<dyn Store>) {
    mint(&*store, new_asset(record("a.png"), hash('a'))).await;
    let from = |asset, letter| AssetCall::FromHash { asset, hash: hash(letter) };
    let (row, fresh, _) = minted(call(&*store, from(record("b.png"), 'a')).await);
    assert_eq!((row.file_path.as_str(), row.hash, fresh), ("b.png", hash('a'), true));
    let (again, fresh, _) = minted(call(&*store, from(record("b.png"), 'a')).await);
    assert_eq!((again.id, fresh), (row.id, false));
    assert!(matches!(call(&*store, from(record("b.png"), 'b')).await, AssetAnswer::BlobNotFound));
    let foreign = NewRecord { tenant: 2, ..record("b.png") };
    assert!(matches!(call(&*store, from(foreign, 'a')).await, AssetAnswer::BlobNotFound));
    assert!(store.holds(1, hash('a')).await.unwrap());
    assert!(!store.holds(2, hash('a')).await.unwrap());
    assert!(!store.holds(1, hash('b')).await.unwrap());
}

pub async fn bytes_said_to_be_held_stay_mintable_for_a_while(store: Arc<dyn Store>) {
    let short = NewRecord { expires_at: Some(T0 + 1000), ..record("a.png") };
    mint(&*store, new_asset(short, hash('a'))).await;
    assert!(store.holds(1, hash('a')).await.unwrap());
    store.sweep(T0 + 2000, 10).await.unwrap();
    let late = NewRecord { created_at: T0 + 2000, ..record("b.png") };
    let (_, fresh, _) = minted(call(&*store, AssetCall::FromHash { asset: late, hash: hash('a') }).await);
    assert!(fresh);
}

pub async fn asking_for_a_hash_waits_for_the_open_turn(store: Arc<dyn Store>) {
    let short = NewRecord { expires_at: Some(T0 + 1000), ..record("a.png") };
    mint(&*store, new_asset(short, hash('a'))).await;
    let mut turn = store.begin().await.unwrap();
    turn.insert(vec![new_job()]).await.unwrap();
    let asked = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.holds(1, hash('a')).await }
    });
    turn.commit().await.unwrap();
    assert!(asked.await.unwrap().unwrap());
}

pub async fn references_are_resolved_and_pinned_at_acceptance(store: Arc<dyn Store>) {
    let (asset, ..) = mint(&*store, new_asset(record("in/a.png"), hash('a'))).await;
    let maker = insert_fresh(&*store, new_job()).await;
    let made = vec![output("x_00009_.png", hash('b'))];
    write(&*store, vec![succeeded(maker, T0 + 1, made)]).await.unwrap();
    let output = store.outputs(maker).await.unwrap().remove(0);
    assert_eq!(output.name, "x_00001_.png");
    let job = reading(new_job(), Named::Asset(asset.id));
    let job = reading(job, Named::Asset(output.id));
    let job = reading(job, Named::Upload("in/a.png".into()));
    let job = reading(job, Named::Output("x_00001_.png".into()));
    let id = insert_fresh(&*store, job).await;
    let inputs = store.body(id).await.unwrap().unwrap().inputs;
    let seen: Vec<_> = inputs.iter().map(|input| (input.pointer.as_str(), input.hash.clone())).collect();
    let expected = [("/1/inputs/image", 'a'), ("/2/inputs/image", 'b'), ("/3/inputs/image", 'a')];
    assert_eq!(seen[..3], expected.map(|(pointer, letter)| (pointer, hash(letter))));
    assert_eq!((&inputs[3].object_key, &inputs[3].name), (&output.object_key, &output.name));
    assert_eq!((&inputs[0].object_key, inputs[0].size_bytes), (&asset.object_key, 7));

    assert!(matches!(delete(&*store, asset.id, T0 + 2).await, AssetAnswer::InUse));
    assert!(matches!(delete(&*store, output.id, T0 + 2).await, AssetAnswer::InUse));
    write(&*store, vec![succeeded(id, T0 + 3, Vec::new())]).await.unwrap();
    assert!(matches!(delete(&*store, asset.id, T0 + 4).await, AssetAnswer::Deleted));
    assert!(matches!(delete(&*store, asset.id, T0 + 4).await, AssetAnswer::NotFound));
    assert!(matches!(delete(&*store, output.id, T0 + 4).await, AssetAnswer::Deleted));
    assert!(store.outputs(maker).await.unwrap().is_empty());
}

pub async fn the_newest_upload_under_a_name_is_meant(store: Arc<dyn Store>) {
    let hash_read_by = async |store: &dyn Store| {
        let id = insert_fresh(store, reading(new_job(), Named::Upload("a.png".into()))).await;
        store.body(id).await.unwrap().unwrap().inputs[0].hash.clone()
    };
    mint(&*store, new_asset(record("a.png"), hash('a'))).await;
    mint(&*store, new_asset(record("a.png"), hash('b'))).await;
    assert_eq!(hash_read_by(&*store).await, hash('b'));
    mint(&*store, new_asset(record("a.png"), hash('a'))).await;
    assert_eq!(hash_read_by(&*store).await, hash('a'), "uploaded again, so the newest again");
}

pub async fn missing_references_are_all_named_and_nothing_stays(store: Arc<dyn Store>) {
    let expired = NewRecord { expires_at: Some(T0), ..record("old.png") };
    let expired_id = expired.id;
    mint(&*store, new_asset(expired, hash('a'))).await;
    let foreign = NewRecord { tenant: 2, ..record("foreign.png") };
    let foreign_id = foreign.id;
    mint(&*store, new_asset(foreign, hash('b'))).await;
    let unfinished = insert_fresh(&*store, new_job()).await;
    write(&*store, vec![placed(unfinished, 1, T0)]).await.unwrap();
    let mut job = with_key(new_job(), "k", 1);
    for names in [
        Named::Asset(expired_id),
        Named::Asset(foreign_id),
        Named::Asset(foreign_id),
        Named::Upload("no.png".into()),
        Named::Output("no.png".into()),
    ] {
        job = reading(job, names);
    }
    let id = job.id;
    let missing =
        vec![expired_id.to_string(), foreign_id.to_string(), "no.png".into(), "no.png [output]".into()];
    assert_eq!(insert(&*store, vec![job]).await, [Inserted::MissingAssets(missing)]);
    assert!(store.job(id).await.unwrap().is_none());
    insert_fresh(&*store, with_key(new_job(), "k", 1)).await;
}

pub async fn a_refused_job_lets_go_of_its_pins(store: Arc<dyn Store>) {
    let (asset, ..) = mint(&*store, new_asset(record("a.png"), hash('a'))).await;
    let job = reading(new_job(), Named::Asset(asset.id));
    let id = job.id;
    let mut turn = store.begin().await.unwrap();
    assert_eq!(turn.insert(vec![job]).await.unwrap(), [Inserted::Fresh]);
    turn.write(vec![JobRecord::Refused { job: id }]).await.unwrap();
    turn.commit().await.unwrap();
    assert!(matches!(delete(&*store, asset.id, T0 + 1).await, AssetAnswer::Deleted));
}

pub async fn an_output_is_read_as_an_asset_of_its_job(store: Arc<dyn Store>) {
    let job = new_job();
    let public_id = job.public_id.clone();
    let id = insert_fresh(&*store, job).await;
    let made = output("a.png", hash('a'));
    write(&*store, vec![succeeded(id, T0 + 1, vec![made.clone()])]).await.unwrap();
    let row = store.asset(1, made.id).await.unwrap().unwrap();
    assert_eq!((row.job, row.hash, row.object_key), (Some(public_id), made.hash, made.object_key));
    assert_eq!((row.created_at, row.expires_at), (T0 + 1, Some(T0 + 1 + DAY)));
    assert!(store.asset(2, made.id).await.unwrap().is_none());
    assert!(store.asset(1, Uuid::new_v4()).await.unwrap().is_none());
    assert!(store.holds(1, hash('a')).await.unwrap());
}
