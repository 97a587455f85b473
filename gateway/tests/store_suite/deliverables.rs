//! Outputs of several files in several stores.

use std::sync::Arc;

use gateway::delivery::{Delivery, Place};
use gateway::link::message::{Receipt, Secret};
use gateway::pictures::{Metadata, Policy};
use gateway::store::{
    AssetAnswer, AssetCall, KeepFor, Left, Named, NewJob, NewMade, NewOriginal, NewOutput, NewVariant, Store,
    StoredObject,
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

pub async fn originals_and_deliverables_go_each_at_their_time(store: Arc<dyn Store>) {
    let cn = Place::Sink("cn".into());
    let ended = async |originals_ms, deliverables_ms, output: NewOutput| {
        let keep_for = KeepFor { body_ms: None, originals_ms, deliverables_ms };
        let id = insert_fresh(&*store, NewJob { keep_for, ..new_job() }).await;
        write(&*store, vec![succeeded(id, T0, vec![output])]).await.unwrap();
        id
    };
    let shown = async |job| store.outputs(job).await.unwrap().len();
    let chained = async |output: Uuid| {
        let reading = reading(new_job(), Named::Asset(output));
        store.missing(1, reading.references, T0 + 1).await.unwrap().is_empty()
    };
    let (early, late, both, plain) =
        (labelled("a", cn.clone()), labelled("b", cn.clone()), labelled("c", cn), output("d.png", hash('9')));
    let first = ended(Some(10), None, early.clone()).await;
    let last = ended(None, Some(10), late.clone()).await;
    let all = ended(Some(10), Some(20), both.clone()).await;
    let one_file = ended(Some(20), Some(10), plain.clone()).await;

    store.sweep(T0 + 9, 9).await.unwrap();
    for (job, output) in [(first, &early), (last, &late), (all, &both), (one_file, &plain)] {
        assert_eq!((shown(job).await, chained(output.id).await), (1, true));
    }
    store.sweep(T0 + 10, 9).await.unwrap();
    assert_eq!((shown(first).await, chained(early.id).await), (1, false), "no label burns into the next");
    assert_eq!((shown(last).await, chained(late.id).await), (0, true), "an original is not shown instead");
    let deliverable = store.asset(1, late.id).await.unwrap();
    let variant = late.made.as_ref().unwrap().variants[0].id;
    assert!(deliverable.is_none() && store.asset(1, variant).await.unwrap().is_none());
    assert!(matches!(delete(&*store, late.id, T0 + 10).await, AssetAnswer::NotFound));
    assert_eq!((shown(all).await, chained(both.id).await), (1, false));
    assert_eq!((shown(one_file).await, chained(plain.id).await), (0, true), "it is the original as well");
    store.sweep(T0 + 20, 9).await.unwrap();
    assert_eq!((shown(all).await, chained(both.id).await), (0, false));
    assert_eq!((shown(one_file).await, chained(plain.id).await), (0, false));

    // an hour later the bytes are to be removed, wherever they are, and those that are kept are not
    let mut gone = objects(&store.sweep(T0 + 20 + HOUR, 99).await.unwrap());
    gone.sort();
    let made = |output: &NewOutput| output.object_key.clone();
    let mut expected = vec![
        "outputs/a-original".to_owned(),
        made(&late),
        "outputs/b-thumb".to_owned(),
        "outputs/c-original".to_owned(),
        made(&both),
        "outputs/c-thumb".to_owned(),
        made(&plain),
    ];
    expected.sort();
    assert_eq!(gone, expected);
    assert_eq!(store.sweep(T0 + 21, 9).await.unwrap().jobs, 0, "each goes once");
}

pub async fn originals_and_deliverables_are_held_and_what_lies_at_the_callers_is_not(store: Arc<dyn Store>) {
    let held = async || store.held_bytes(1).await.unwrap();
    let kept = labelled("a", Place::Sink("cn".into()));
    succeeded_with(&*store, kept.clone()).await;
    assert_eq!(held().await, 99 + 11 + 3);
    let theirs = labelled("b", Place::Caller);
    succeeded_with(&*store, theirs.clone()).await;
    assert_eq!(held().await, 99 + 11 + 3 + 99, "its original alone");
    for id in [kept.id, theirs.id] {
        delete(&*store, id, T0 + 2).await;
    }
    store.sweep(T0 + 2 + HOUR, 99).await.unwrap();
    assert_eq!(held().await, 0);
}
