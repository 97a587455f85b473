//! Originals and deliverables, from a prompt's end to the stores that hold them, over real sockets.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests may")]

mod backend;
mod world;

use std::sync::Arc;

use axum::http::StatusCode;
use gateway::delivery::{Delivery, Place};
use gateway::pictures::{
    self, Encoding, Facts, Format, LabelPolicy, Limits, Metadata, Policy, Unlabelled, Variant,
};
use gateway::store::{NewJob, OutputRow};
use gateway::tidy;
use serde_json::{Value, json};
use world::{World, job, until};

/// A picture large enough for a label.
fn picture(color: u32) -> Value {
    json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 512, "height": 384, "batch_size": 1, "color": color}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "pic"}},
    })
}

fn sound() -> Value {
    json!({
        "1": {"class_type": "EmptyAudio", "inputs": {"duration": 1.0, "sample_rate": 44100, "channels": 2}},
        "2": {"class_type": "SaveAudio", "inputs": {"audio": ["1", 0], "filename_prefix": "snd"}},
    })
}

/// A file of some hundred bytes.
fn film() -> Value {
    json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 1}},
        "2": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 24.0}},
        "3": {"class_type": "SaveVideo",
            "inputs": {"video": ["2", 0], "filename_prefix": "film", "format": "auto", "codec": "auto"}},
    })
}

fn with(workflow: &Value, delivery: Delivery) -> NewJob {
    let mut job = job(workflow);
    job.body.delivery = delivery.settled();
    job
}

fn stripped() -> Policy {
    Policy::default().or_metadata(Metadata::Strip)
}

fn label() -> LabelPolicy {
    serde_json::from_value(json!({"content_producer": "001191310000MA1FL4B51700000"})).unwrap()
}

/// Everything at once: WebP, a thumbnail, a placeholder, the label.
fn full() -> Policy {
    Policy {
        format: Encoding::of(Format::Webp),
        variants: vec![Variant {
            name: "thumb".into(),
            max_width: None,
            max_height: None,
            max_edge: Some(256),
            format: Encoding::of(Format::Jpeg),
        }],
        placeholder: true,
        label: Some(label()),
        ..stripped()
    }
}

/// The content number of the one label in a file.
fn labelled_as(bytes: &[u8]) -> String {
    let mut labels = pictures::labels_in(bytes).unwrap();
    assert_eq!(labels.len(), 1, "exactly one");
    labels.remove(0).label.unwrap().produce_id
}

fn size(bytes: &[u8]) -> (u32, u32) {
    let facts = Facts::read(bytes, "application/octet-stream", &Limits::default()).unwrap();
    (facts.width, facts.height)
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn originals_alone_are_one_object_each() {
    let world = World::start().await;
    let id = world.submit(job(&picture(1))).await;
    let outputs = world.outputs(id).await;
    assert_eq!((&outputs[0].place, outputs[0].variants.len()), (&Place::Own, 0));
    assert_eq!(outputs[0].size, Some((512, 384)), "its first bytes tell");
    assert_eq!(world.own_keys(), [format!("{id}-1-0000.png")]);
    let bytes = world.read(&Place::Own, &outputs[0].object_key).await;
    assert!(contains(&bytes, "filename_prefix"), "the graph is in it");
    assert_eq!(world.original(&outputs[0]).await, bytes);
}

/// Labelled, converted, thumbnailed, in whichever store; the original untouched at home.
async fn assert_full(world: &World, output: &OutputRow, place: &Place) {
    assert_eq!((&output.place, output.content_type.as_str()), (place, "image/webp"));
    assert!(output.name.starts_with("pic_0000") && output.name.ends_with("_.webp"), "{}", output.name);
    assert_eq!((output.size, output.placeholder.is_some()), (Some((512, 384)), true));
    let primary = world.read(place, &output.object_key).await;
    assert_eq!(blake3::hash(&primary).to_hex().as_str(), output.hash);
    assert_eq!((labelled_as(&primary), size(&primary)), (output.id.to_string(), (512, 384)));
    let thumb = &output.variants[0];
    assert_eq!((thumb.name.as_str(), thumb.content_type.as_str()), ("thumb", "image/jpeg"));
    assert_eq!((&thumb.place, thumb.size), (place, Some((256, 192))));
    let bytes = world.read(place, &thumb.object_key).await;
    assert_eq!((labelled_as(&bytes), size(&bytes)), (output.id.to_string(), (256, 192)));
    for made in [&primary, &bytes] {
        assert!(!contains(made, "filename_prefix"), "nothing of the graph leaves");
    }
    let original = world.original(output).await;
    assert!(original.starts_with(b"\x89PNG") && contains(&original, "filename_prefix"));
    assert!(pictures::labels_in(&original).unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_labelled_picture_has_its_original_beside_it_and_chaining_reads_that() {
    let world = World::start().await;
    let id = world.submit(with(&picture(2), Delivery { pictures: full(), ..Delivery::default() })).await;
    let outputs = world.outputs(id).await;
    assert_full(&world, &outputs[0], &Place::Own).await;
    assert_eq!(world.own_keys().len(), 3);
    let metrics = world.metrics.render(&world.engine.fleet()).unwrap();
    for line in [
        "gateway_deliverables_total{type=\"webp\"} 1",
        "gateway_deliverables_total{type=\"jpeg\"} 1",
        "gateway_picture_seconds_count{step=\"make\"} 1",
    ] {
        assert!(metrics.lines().any(|shown| shown == line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deliverables_go_to_the_jobs_sink_and_originals_stay_at_home() {
    let world = World::start().await;
    let delivery = Delivery { pictures: full(), sink: Some("shots".into()), ticket_url: None };
    let id = world.submit(with(&picture(3), delivery)).await;
    let outputs = world.outputs(id).await;
    assert_full(&world, &outputs[0], &Place::Sink("shots".into())).await;
    assert_eq!(world.own_keys(), [format!("{id}-1-0000.png")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_stays_as_it_is_goes_to_both_stores() {
    let world = World::start().await;
    let delivery = Delivery { sink: Some("shots".into()), ..Delivery::default() };
    for workflow in [picture(4), sound()] {
        let id = world.submit(with(&workflow, delivery.clone())).await;
        let outputs = world.outputs(id).await;
        let there = world.read(&Place::Sink("shots".into()), &outputs[0].object_key).await;
        assert_eq!(there, world.original(&outputs[0]).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stripping_alone_keeps_the_pixels_and_other_types_are_one_object() {
    let world = World::start().await;
    let delivery = Delivery { pictures: stripped(), ..Delivery::default() };
    let id = world.submit(with(&picture(5), delivery.clone())).await;
    let outputs = world.outputs(id).await;
    assert_eq!((outputs[0].content_type.as_str(), outputs[0].size), ("image/png", Some((512, 384))));
    let bytes = world.read(&Place::Own, &outputs[0].object_key).await;
    assert!(!contains(&bytes, "filename_prefix"));
    assert!(contains(&world.original(&outputs[0]).await, "filename_prefix"));
    let id = world.submit(with(&sound(), delivery)).await;
    let outputs = world.outputs(id).await;
    assert_eq!(outputs[0].content_type, "audio/flac");
    assert_eq!(world.own_keys().iter().filter(|key| key.starts_with(&id.to_string())).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_cannot_be_labelled_fails_the_job_unless_it_may_pass() {
    let world = World::start().await;
    let id = world.submit(with(&sound(), Delivery { pictures: full(), ..Delivery::default() })).await;
    assert_eq!(world.failure(id).await, "label_unsupported");
    let pictures = Policy { unlabelled: Unlabelled::Pass, ..full() };
    let id = world.submit(with(&sound(), Delivery { pictures, ..Delivery::default() })).await;
    assert_eq!(world.outputs(id).await[0].content_type, "audio/flac");
    let spool = world.folder.path().join("spool");
    until("the spool is empty", || async {
        std::fs::read_dir(&spool).unwrap().next().is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_cannot_be_labelled_or_decoded_fails_the_job_by_name() {
    let world = World::with(|config| config.picture_limits.max_pixels = 300_000).await;
    let labelled = Delivery { pictures: full(), ..Delivery::default() };
    let mut tiny = picture(6);
    tiny["1"]["inputs"]["width"] = json!(16);
    tiny["1"]["inputs"]["height"] = json!(16);
    let id = world.submit(with(&tiny, labelled.clone())).await;
    assert_eq!(world.failure(id).await, "label_impossible");
    let mut huge = picture(7);
    huge["1"]["inputs"]["width"] = json!(1024);
    let id = world.submit(with(&huge, labelled)).await;
    assert_eq!(world.failure(id).await, "picture_too_large");
    assert!(world.own_keys().is_empty(), "{:?}", world.own_keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_bucket_is_reached_by_tickets_that_are_asked_for_until_they_work() {
    let world = World::start().await;
    world.backend.refusals.lock().unwrap().extend([StatusCode::SERVICE_UNAVAILABLE; 4]);
    *world.backend.expired.lock().unwrap() = 1;
    let ticket_url = Some(world.backend.ticket_url());
    let delivery = Delivery { pictures: full(), sink: None, ticket_url };
    let job = NewJob { user: Some("openid-7".into()), ..with(&picture(8), delivery) };
    let id = world.submit(job).await;
    let outputs = world.outputs(id).await;
    let output = &outputs[0];
    let asked = world.backend.asked();
    assert!(asked.len() >= 6, "four refusals, one expired, one that works: {}", asked.len());
    let last = asked.last().unwrap();
    assert_eq!((&last["job_id"], &last["attempt"]), (&json!(id), &json!(1)));
    assert_eq!(last["user"], "openid-7");
    let primary = &last["files"][0];
    assert_eq!((&primary["role"], &primary["variant"]), (&json!("primary"), &Value::Null));
    assert_eq!(primary["hash"], format!("blake3:{}", output.hash));
    assert_eq!(
        (&primary["size_bytes"], &primary["output_id"]),
        (&json!(output.size_bytes), &json!(output.id))
    );
    assert_eq!(
        (&last["files"][1]["role"], &last["files"][1]["variant"]),
        (&json!("variant"), &json!("thumb"))
    );
    assert_eq!(last["files"].as_array().unwrap().len(), 2, "the original is nobody's business");
    let receipt = output.receipt.as_ref().unwrap();
    let key = receipt.key.as_ref().unwrap();
    assert_eq!(receipt.meta.as_deref(), Some(format!(r#"{{"fileid":"cloud://env/{key}"}}"#).as_str()));
    let object = world.backend.object(key).unwrap();
    assert_eq!(blake3::hash(&object).to_hex().as_str(), output.hash);
    assert_eq!(labelled_as(&object), output.id.to_string());
    assert_eq!(output.place, Place::Caller);
    assert_eq!(world.own_keys(), [format!("{id}-1-0000.png")]);
    assert!(world.original(output).await.starts_with(b"\x89PNG"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_bucket_is_reached_by_forms_whose_file_comes_last() {
    let world = World::start().await;
    *world.backend.gives_forms.lock().unwrap() = true;
    let ticket_url = Some(world.backend.ticket_url());
    let id = world.submit(with(&picture(9), Delivery { pictures: full(), sink: None, ticket_url })).await;
    let output = world.outputs(id).await.remove(0);
    let fields = ["key", "Signature", "x-cos-meta-fileid", "file"];
    assert_eq!(*world.backend.forms.lock().unwrap(), [fields, fields], "the picture and its thumbnail");
    let object = world.backend.object(output.receipt.unwrap().key.unwrap().as_str()).unwrap();
    assert_eq!(blake3::hash(&object).to_hex().as_str(), output.hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_gets_no_tickets_for_as_long_as_its_files_would_be_kept_fails() {
    let world = World::start().await;
    world.backend.refusals.lock().unwrap().extend([StatusCode::SERVICE_UNAVAILABLE; 100]);
    let ticket_url = Some(world.backend.ticket_url());
    let job = with(&picture(10), Delivery { pictures: full(), sink: None, ticket_url });
    // Its id tells when it was accepted: longer ago than its files are kept.
    let two_hours_ago = jiff::Timestamp::now().as_second().unsigned_abs() - 7_200;
    let id = uuid::Uuid::new_v7(uuid::Timestamp::from_unix_time(two_hours_ago, 0, 0, 0));
    let id = world.submit(NewJob { id, public_id: id.to_string(), ..job }).await;
    assert_eq!(world.failure(id).await, "tickets_refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_survives_a_restart_of_both_ends() {
    let world = World::start().await;
    world.backend.refusals.lock().unwrap().extend([StatusCode::SERVICE_UNAVAILABLE; 10_000]);
    let ticket_url = Some(world.backend.ticket_url());
    let id = world.submit(with(&picture(9), Delivery { pictures: full(), sink: None, ticket_url })).await;
    let backend = world.backend.clone();
    until("tickets are asked for", || async { (!backend.asked().is_empty()).then_some(()) }).await;
    let first = backend.asked()[0].clone();
    // the instance forgets it as well: all there is lies in the spool
    world.sim.restart().await.unwrap();
    let world = world.restart().await;
    let seen = backend.asked().len();
    until("they are asked for again", || async { (backend.asked().len() > seen).then_some(()) }).await;
    world.backend.refusals.lock().unwrap().clear();
    let outputs = world.outputs(id).await;
    let last = backend.asked().pop().unwrap();
    assert_eq!(last["files"], first["files"], "the very same files");
    assert!(backend.object(outputs[0].receipt.as_ref().unwrap().key.as_ref().unwrap()).is_some());
    assert_eq!(world.ended(id).await.attempt, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_made_file_that_is_gone_from_the_spool_is_made_again() {
    let world = World::start().await;
    world.backend.refusals.lock().unwrap().extend([StatusCode::SERVICE_UNAVAILABLE; 10_000]);
    let ticket_url = Some(world.backend.ticket_url());
    let id = world.submit(with(&picture(10), Delivery { pictures: full(), sink: None, ticket_url })).await;
    let backend = world.backend.clone();
    until("tickets are asked for", || async { (!backend.asked().is_empty()).then_some(()) }).await;
    let first = backend.asked()[0].clone();
    let spooled = world.folder.path().join("spool").join(format!("{id}-1"));
    std::fs::remove_file(spooled.join("made-0-1")).unwrap();
    let world = world.restart().await;
    world.backend.refusals.lock().unwrap().clear();
    world.outputs(id).await;
    assert_eq!(backend.asked().pop().unwrap()["files"], first["files"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_pictures_of_one_job_keep_their_order() {
    let world = World::with(|config| {
        config.picture_threads = 4;
        config.picture_memory_bytes = 1 << 20;
    })
    .await;
    let mut batch = picture(11);
    batch["1"]["inputs"]["batch_size"] = json!(5);
    let delivery = Delivery { pictures: full(), sink: Some("shots".into()), ticket_url: None };
    let id = world.submit(with(&batch, delivery)).await;
    let outputs = world.outputs(id).await;
    assert_eq!(outputs.len(), 5);
    for (index, output) in outputs.iter().enumerate() {
        assert_eq!(output.name, format!("pic_{:05}_.webp", index + 1));
        let bytes = world.read(&output.place, &output.object_key).await;
        assert_eq!(labelled_as(&bytes), output.id.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_attempt_left_behind_that_did_not_win_is_removed_from_every_store() {
    let world = World::start().await;
    let delivery = Delivery { pictures: full(), sink: Some("shots".into()), ticket_url: None };
    let id = world.submit(with(&picture(12), delivery)).await;
    let outputs = world.outputs(id).await;
    let shelf = outputs[0].object_key.rsplit_once('/').unwrap().0.to_owned();
    let stray = format!("{shelf}/{id}-2-0000.png");
    for place in [Place::Own, Place::Sink("shots".into())] {
        let artifacts = &world.sinks.get(&place).unwrap().artifacts;
        let mut upload = artifacts.upload(&stray, 100).await.unwrap();
        upload.write(bytes::Bytes::from_static(b"left")).await.unwrap();
        upload.finish().await.unwrap();
        assert_eq!(artifacts.delete_beginning(&format!("{shelf}/{id}-2-")).await.unwrap(), 1);
        assert!(world::read(artifacts, &stray).await.is_none());
    }
    let kept = world.read(&outputs[0].place, &outputs[0].object_key).await;
    assert!(!kept.is_empty(), "the winner's files stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_output_leaves_nothing_in_any_store() {
    let world = World::start().await;
    let delivery = Delivery { pictures: full(), sink: Some("shots".into()), ticket_url: None };
    let id = world.submit(with(&picture(13), delivery)).await;
    let output = world.outputs(id).await.remove(0);
    let now = world.engine.now();
    let call = gateway::store::AssetCall::Delete { tenant: 1, id: output.id, now };
    let answer = world.engine.assets(call).await.unwrap();
    assert!(matches!(answer, gateway::store::AssetAnswer::Deleted));
    let store: Arc<_> = world.engine.store().clone();
    let later = now + 2 * 3_600_000;
    assert!(!tidy::sweep_once(&*store, &world.sinks, later).await, "one batch");
    assert!(world.own_keys().is_empty());
    let shots = &world.sinks.get(&output.place).unwrap().artifacts;
    assert!(world::read(shots, &output.object_key).await.is_none());
    assert!(world::read(shots, &output.variants[0].object_key).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_must_lie_in_the_spool_and_never_can_fails_the_job() {
    let world = World::with(|config| config.spool_max_bytes = 100).await;
    let delivery = Delivery { sink: Some("shots".into()), ..Delivery::default() };
    let id = world.submit(with(&film(), delivery)).await;
    assert_eq!(world.failure(id).await, "output_too_large");
    // where nothing has to be done to it, it need not
    let id = world.submit(with(&film(), Delivery { pictures: stripped(), ..Delivery::default() })).await;
    assert_eq!(world.outputs(id).await[0].content_type, "video/mp4");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_sink_is_not_configured_any_more_waits_for_it() {
    let world = World::start().await;
    let delivery = Delivery { pictures: stripped(), sink: Some("gone".into()), ticket_url: None };
    let id = world.submit(with(&picture(14), delivery)).await;
    until("it is collecting", || async {
        let live = world.engine.live(id)?;
        (live.phase == Some(scheduler::Phase::Collecting)).then_some(())
    })
    .await;
    let other = world.submit(job(&picture(15))).await;
    world.outputs(other).await;
    assert!(!world.engine.store().job(id).await.unwrap().unwrap().state.is_terminal());
}
