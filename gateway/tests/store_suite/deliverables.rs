//! Outputs of several files in several stores.

use std::sync::Arc;

use gateway::delivery::{Delivery, Place};
use gateway::link::message::{Receipt, Secret};
use gateway::pictures::{Metadata, Policy};
use gateway::store::{
    AssetAnswer, AssetCall, Left, Named, NewMade, NewOriginal, NewOutput, NewVariant, Store, StoredObject,
};
use uuid::Uuid;

use super::builders::*;

/// A labelled WebP that stands for a PNG, with a thumbnail.
fn labelled(name: &str, place: Place) -> NewOutput {
    let original = NewOriginal {
        blob: Uuid::new_v4(),
        name: format!("{name}.png"),
        content_type: "image/png".into(),
        size_bytes: 99,
        hash: hash('e'),
        object_key: format!("outputs/{name}-original"),
    };
    let variant = NewVariant {
        id: Uuid::new_v4(),
        blob: Uuid::new_v4(),
        name: "thumb".into(),
        content_type: "image/webp".into(),
        size_bytes: 3,
        hash: hash('f'),
        size: Some((64, 32)),
        place: place.clone(),
        object_key: format!("outputs/{name}-thumb"),
        receipt: None,
    };
    let receipt = Receipt { key: Some("theirs".into()), meta: Some(r#"{"fileid":"1"}"#.into()) };
    let made = NewMade {
        receipt: (place == Place::Caller).then_some(receipt),
        place,
        size: Some((640, 320)),
        placeholder: Some("LKO2".into()),
        original: Some(original),
        variants: vec![variant],
    };
    NewOutput {
        content_type: "image/webp".into(),
        made: Some(Box::new(made)),
        ..output(&format!("{name}.webp"), hash('d'))
    }
}

async fn succeeded_with(store: &dyn Store, output: NewOutput) -> Uuid {
    let job = insert_fresh(store, new_job()).await;
    write(store, vec![succeeded(job, T0 + 1, vec![output])]).await.unwrap();
    job
}

pub async fn a_delivery_is_kept_with_its_job(store: Arc<dyn Store>) {
    let mut job = new_job();
    let delivery = Delivery {
        pictures: Policy::default().or_metadata(Metadata::Strip),
        sink: None,
        ticket_url: Some(Secret("https://backend.example/tickets?sig=1".into())),
    };
    job.body.delivery = delivery.settled();
    let kept = job.body.delivery.clone();
    let id = insert_fresh(&*store, job).await;
    assert_eq!(store.body(id).await.unwrap().unwrap().delivery, kept);
    let plain = insert_fresh(&*store, new_job()).await;
    assert_eq!(store.body(plain).await.unwrap().unwrap().delivery, None);
}

pub async fn an_output_is_its_primary_deliverable_with_its_variants(store: Arc<dyn Store>) {
    let made = labelled("x_00009_", Place::Sink("cn".into()));
    let job = succeeded_with(&*store, made.clone()).await;
    let output = store.outputs(job).await.unwrap().remove(0);
    assert_eq!((output.name.as_str(), output.content_type.as_str()), ("x_00001_.webp", "image/webp"));
    assert_eq!((&output.hash, output.size_bytes), (&hash('d'), 11));
    assert_eq!((&output.place, output.size), (&Place::Sink("cn".into()), Some((640, 320))));
    assert_eq!((output.placeholder.as_deref(), output.receipt), (Some("LKO2"), None));
    let variant = &output.variants[0];
    assert_eq!((variant.name.as_str(), variant.size, &variant.hash), ("thumb", Some((64, 32)), &hash('f')));
    let by_id = store.asset(1, variant.id).await.unwrap().unwrap();
    assert_eq!((&by_id.object_key, &by_id.place), (&variant.object_key, &variant.place));
    assert!(store.asset(2, variant.id).await.unwrap().is_none());
    assert!(
        matches!(delete(&*store, variant.id, T0 + 2).await, AssetAnswer::NotFound),
        "it goes with its output"
    );
    let plain = succeeded_with(&*store, super::builders::output("y.png", hash('a'))).await;
    let plain = store.outputs(plain).await.unwrap().remove(0);
    assert_eq!((plain.place, plain.size, plain.variants.len()), (Place::Own, None, 0));
}

pub async fn chaining_reads_the_original(store: Arc<dyn Store>) {
    let made = labelled("x_00009_", Place::Sink("cn".into()));
    succeeded_with(&*store, made.clone()).await;
    let job = reading(new_job(), Named::Asset(made.id));
    let job = reading(job, Named::Output("x_00001_.webp".into()));
    let id = insert_fresh(&*store, job).await;
    for input in store.body(id).await.unwrap().unwrap().inputs {
        assert_eq!((input.name.as_str(), input.content_type.as_str()), ("x_00001_.png", "image/png"));
        assert_eq!((input.hash, input.object_key.as_str()), (hash('e'), "outputs/x_00009_-original"));
        assert_eq!((input.sink, input.size_bytes), (None, 99));
    }
    assert!(matches!(delete(&*store, made.id, T0 + 2).await, AssetAnswer::InUse));
    write(&*store, vec![succeeded(id, T0 + 3, Vec::new())]).await.unwrap();
    assert!(matches!(delete(&*store, made.id, T0 + 4).await, AssetAnswer::Deleted));
}

pub async fn deleting_an_output_frees_all_its_files_wherever_they_are(store: Arc<dyn Store>) {
    let cn = Place::Sink("cn".into());
    let made = labelled("x", cn.clone());
    succeeded_with(&*store, made.clone()).await;
    assert!(matches!(delete(&*store, made.id, T0 + 2).await, AssetAnswer::Deleted));
    let swept = store.sweep(T0 + 3 + HOUR, 10).await.unwrap();
    let mut objects: Vec<_> = swept
        .residue
        .iter()
        .filter_map(|residue| match &residue.what {
            Left::Object(StoredObject { place, key }) => Some((key.clone(), place.clone())),
            Left::Attempt { .. } => None,
        })
        .collect();
    objects.sort();
    let mut expected = vec![
        (made.object_key.clone(), cn.clone()),
        ("outputs/x-original".to_owned(), Place::Own),
        ("outputs/x-thumb".to_owned(), cn),
    ];
    expected.sort();
    assert_eq!(objects, expected);
}

pub async fn bytes_to_be_removed_come_again_until_they_are_gone(store: Arc<dyn Store>) {
    let made = output("x.png", hash('a'));
    succeeded_with(&*store, made.clone()).await;
    assert!(matches!(delete(&*store, made.id, T0 + 2).await, AssetAnswer::Deleted));
    let at = T0 + 2 + HOUR;
    let swept = store.sweep(at, 10).await.unwrap();
    assert_eq!(objects(&swept), std::slice::from_ref(&made.object_key));
    assert!(objects(&store.sweep(at + 1, 10).await.unwrap()).is_empty(), "somebody is at it");
    let again = store.sweep(at + HOUR, 10).await.unwrap();
    assert_eq!(objects(&again), [made.object_key]);
    store.cleared(again.residue.iter().map(|residue| residue.id).collect()).await.unwrap();
    assert!(objects(&store.sweep(at + DAY, 10).await.unwrap()).is_empty());
}

pub async fn attempts_that_did_not_win_are_swept_once_their_job_has_ended(store: Arc<dyn Store>) {
    let job = insert_fresh(&*store, new_job()).await;
    let lost = |attempt| gateway::store::JobRecord::AttemptEnded {
        job,
        attempt,
        end: scheduler::AttemptEnd::HostFault,
        message: None,
        faults: 0,
        losses: attempt,
        at: T0 + 2,
    };
    write(&*store, vec![placed(job, 1, T0), lost(1), placed(job, 2, T0)]).await.unwrap();
    let attempts = async |at| -> Vec<u32> {
        let swept = store.sweep(at, 10).await.unwrap();
        let numbers = swept.residue.iter().filter_map(|residue| match residue.what {
            Left::Attempt { job: of, number } => (of == job).then_some(number),
            Left::Object(_) => None,
        });
        numbers.collect()
    };
    assert!(attempts(T0 + 3 * HOUR).await.is_empty(), "the first may still win");
    let mut end = succeeded(job, T0 + 4 * HOUR, Vec::new());
    if let gateway::store::JobRecord::Ended { attempt, .. } = &mut end {
        *attempt = Some(1);
    }
    write(&*store, vec![end]).await.unwrap();
    assert!(attempts(T0 + 5 * HOUR).await.is_empty(), "it may hold a ticket");
    assert_eq!(attempts(T0 + 6 * HOUR).await, [2]);
}

pub async fn bytes_in_a_callers_bucket_cannot_be_named_again(store: Arc<dyn Store>) {
    let made = labelled("x", Place::Caller);
    let job = succeeded_with(&*store, made.clone()).await;
    let output = store.outputs(job).await.unwrap().remove(0);
    assert_eq!(output.receipt.unwrap().key.as_deref(), Some("theirs"));
    assert!(!store.holds(1, hash('d')).await.unwrap());
    assert!(store.holds(1, hash('e')).await.unwrap(), "the original is here");
    let from = AssetCall::FromHash { asset: record("copy.webp"), hash: hash('d') };
    assert!(matches!(call(&*store, from).await, AssetAnswer::BlobNotFound));
    let sunk = labelled("y", Place::Sink("cn".into()));
    succeeded_with(&*store, NewOutput { hash: hash('b'), ..sunk.clone() }).await;
    let from = AssetCall::FromHash { asset: record("copy.webp"), hash: hash('b') };
    let (copy, ..) = minted(call(&*store, from).await);
    assert_eq!((copy.place, copy.object_key), (Place::Sink("cn".into()), sunk.object_key));
    let upload = new_asset(record("same.webp"), hash('b'));
    let (own, _, keep) = mint(&*store, upload).await;
    assert_eq!((own.place, keep), (Place::Own, true), "an upload never leads to another store");
    assert!(matches!(delete(&*store, made.id, T0 + 2).await, AssetAnswer::Deleted));
    let swept = objects(&store.sweep(T0 + 3 + HOUR, 10).await.unwrap());
    assert_eq!(swept, ["outputs/x-original"], "nothing can be taken back from a caller");
}
