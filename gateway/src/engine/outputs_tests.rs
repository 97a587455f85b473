#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use uuid::Uuid;

use super::*;
use crate::link::message::{OutputKind, Receipt, Secret};
use crate::pictures::{Metadata, Policy};

const ATTEMPT: Attempt = Attempt { job: Uuid::from_u128(7), number: 2 };

fn listed(name: &str) -> ListedFile {
    ListedFile {
        node_id: "9".into(),
        kind: OutputKind::Image,
        name: name.into(),
        content_type: "image/png".into(),
    }
}

fn made_file(variant: Option<&str>, name: &str) -> MadeFile {
    MadeFile {
        variant: variant.map(str::to_owned),
        name: name.into(),
        content_type: "image/webp".into(),
        size_bytes: 3,
        hash: "cd".repeat(32),
        size: Some((64, 32)),
    }
}

fn stored(content_type: &str, letter: char) -> StoredFile {
    let hash = letter.to_string().repeat(64);
    StoredFile { size_bytes: 5, hash, content_type: content_type.into(), size: None, receipt: None }
}

fn delivery(sink: Option<&str>, ticket_url: Option<&str>) -> Terms {
    let pictures = Policy::default().or_metadata(Metadata::Strip);
    let ticket_url = ticket_url.map(|url| Secret(url.into()));
    Terms::Own(Arc::new(Delivery { pictures, sink: sink.map(Into::into), ticket_url }))
}

/// Two listed files; of the second a primary and a thumbnail were made.
fn files(terms: Terms) -> Files {
    let mut files = Files::default();
    files.listed(vec![listed("clip.mp4"), listed("a/x_00003_.png")], terms);
    let thumb = made_file(Some("thumb"), "a/x_00003_.thumb.webp");
    let made = vec![made_file(None, "a/x_00003_.webp"), thumb];
    assert!(files.made(vec![MadeOf { of: 1, size: None, placeholder: Some("L00".into()), files: made }]));
    files
}

#[test]
fn plain_files_want_one_ticket_each_and_become_outputs_as_they_are() {
    let mut files = Files::default();
    files.listed(vec![listed("x_00003_.png")], Terms::Plain);
    let wanted = files.wanted(ATTEMPT).unwrap();
    assert_eq!(wanted.len(), 1);
    assert!(files.stored(vec![stored("image/png", 'a')]));
    let outputs = files.outputs(ATTEMPT);
    assert_eq!((outputs[0].object_key.as_str(), &outputs[0].made), (wanted[0].object.key.as_str(), &None));
}

#[test]
fn nothing_may_be_stored_before_it_is_known_what_and_where() {
    let mut files = Files::default();
    files.listed(vec![listed("x.png")], Terms::Unknown);
    assert!(files.wanted(ATTEMPT).is_none());
    assert!(!files.stored(vec![stored("image/png", 'a')]));
    files.listed(vec![listed("x.png")], delivery(None, None));
    assert!(files.wanted(ATTEMPT).is_none(), "what is to be made was not told yet");
    assert!(files.made(Vec::new()));
    assert_eq!(files.wanted(ATTEMPT).unwrap().len(), 1);
}

#[test]
fn what_stands_for_an_original_takes_its_place_and_originals_stay_here() {
    let mut files = files(delivery(Some("cn"), None));
    let wanted = files.wanted(ATTEMPT).unwrap();
    let places: Vec<_> = wanted.iter().map(|wanted| wanted.object.place.clone()).collect();
    let cn = Place::Sink("cn".into());
    assert_eq!(places, [Place::Own, Place::Own, cn.clone(), cn.clone()]);
    assert_eq!(files.objects(ATTEMPT).len(), 4);
    assert!(!files.stored(vec![stored("image/png", 'a')]), "one a ticket");
    let kinds = [("video/mp4", 'a'), ("image/png", 'b'), ("image/webp", 'c'), ("image/webp", 'd')];
    assert!(files.stored(kinds.map(|(kind, letter)| stored(kind, letter)).to_vec()));
    let outputs = files.outputs(ATTEMPT);
    assert!(outputs[0].made.is_none());
    let (output, made) = (&outputs[1], outputs[1].made.as_ref().unwrap());
    assert_eq!((output.name.as_str(), output.content_type.as_str()), ("a/x_00003_.webp", "image/webp"));
    assert_eq!((&output.object_key, &output.hash), (&wanted[2].object.key, &"c".repeat(64)));
    let original = made.original.as_ref().unwrap();
    assert_eq!((original.name.as_str(), &original.object_key), ("a/x_00003_.png", &wanted[1].object.key));
    assert_eq!((&made.place, made.size, made.placeholder.as_deref()), (&cn, Some((64, 32)), Some("L00")));
    assert_eq!(
        (made.variants[0].name.as_str(), &made.variants[0].object_key),
        ("thumb", &wanted[3].object.key)
    );
}

#[test]
fn a_callers_bucket_is_told_of_deliverables_alone_and_never_swept() {
    let mut files = files(delivery(None, Some("https://a.example")));
    let told: Vec<_> = files.wanted(ATTEMPT).unwrap().into_iter().filter_map(|wanted| wanted.told).collect();
    assert_eq!((told.len(), told[0].of, told[1].variant.as_deref()), (2, 1, Some("thumb")));
    assert!(files.objects(ATTEMPT).iter().all(|object| object.place == Place::Own));
    let receipt = Some(Receipt { key: Some("theirs".into()), meta: None });
    let mut all = vec![stored("video/mp4", 'a'), stored("image/png", 'b')];
    all.extend([stored("image/webp", 'c'), stored("image/webp", 'd')]);
    all[2].receipt.clone_from(&receipt);
    assert!(files.stored(all));
    let outputs = files.outputs(ATTEMPT);
    let made = outputs[1].made.as_ref().unwrap();
    assert_eq!((&made.place, &made.receipt), (&Place::Caller, &receipt));
}

#[test]
fn what_was_made_of_files_that_nobody_listed_is_refused() {
    let mut files = Files::default();
    files.listed(vec![listed("x.png")], delivery(None, None));
    let of = |of| MadeOf { of, size: None, placeholder: None, files: Vec::new() };
    assert!(!files.made(vec![of(1)]));
    assert!(!files.made(vec![of(0), of(0)]));
    assert!(files.wanted(ATTEMPT).is_none());
}
