//! The label in metadata: written once, read back, replaced.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gateway::pictures::*;
use serde_json::Value;

use super::support::*;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/fixtures/labels/aigc_label.json")).unwrap()
}

fn file(vectors: &Value, pointer: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(vectors.pointer(pointer).and_then(Value::as_str).unwrap()).unwrap()
}

fn ours() -> Found {
    Found { carrier: Carrier::Xmp, label: Some(AigcLabel::first(PRODUCER, &id())) }
}

/// A label in metadata alone: the pixels stay.
fn only_implicit() -> Policy {
    let mut policy = labelled();
    policy.label.as_mut().unwrap().visible = false;
    policy
}

#[test]
fn every_deliverable_in_every_format_carries_exactly_one_label() {
    for (content_type, bytes) in one_of_each(400, 300) {
        for format in [Format::AsMade, Format::Png, Format::Jpeg, Format::Webp] {
            let policy = Policy {
                format: Encoding::of(format),
                variants: vec![variant("small", 200, Format::Jpeg), variant("same", 9999, Format::Webp)],
                ..labelled()
            };
            let made = make(&bytes, content_type, &policy).unwrap();
            assert_eq!(made.pictures.len(), 3);
            for picture in made.pictures {
                assert_eq!(labels_in(&picture.bytes).unwrap(), [ours()], "{content_type} {:?}", picture.role);
            }
        }
    }
}

#[test]
fn the_value_and_its_carriers_are_those_of_the_vectors_byte_for_byte() {
    let vectors = vectors();
    let label = AigcLabel::first(PRODUCER, &id());
    assert_eq!(label.to_json(), vectors["value_json"].as_str().unwrap());
    let carriers = ["/png_iTXt_chunk_b64", "/jpeg_app1_segment_b64", "/webp_XMP_chunk_b64"];
    for ((content_type, bytes), carrier) in one_of_each(200, 200).into_iter().zip(carriers) {
        for policy in [labelled(), only_implicit()] {
            let made = primary(&bytes, content_type, &policy);
            assert!(contains(&made, &file(&vectors, carrier)), "{content_type}");
        }
    }
}

#[test]
fn labels_of_other_writers_are_read_in_both_spellings() {
    let vectors = vectors();
    for group in ["files_64x48", "files_written_by_exiv2_64x48"] {
        for format in ["png", "jpeg", "webp"] {
            let found = labels_in(&file(&vectors, &format!("/{group}/{format}_b64"))).unwrap();
            assert_eq!(found, [ours()], "{group} {format}");
        }
    }
}

#[test]
fn a_label_that_is_there_is_replaced_and_never_doubled() {
    let vectors = vectors();
    let other = ProduceId::new("another-content").unwrap();
    let want = Found { carrier: Carrier::Xmp, label: Some(AigcLabel::first(PRODUCER, &other)) };
    for (format, content_type) in [("png", "image/png"), ("jpeg", "image/jpeg"), ("webp", "image/webp")] {
        for group in ["files_64x48", "files_written_by_exiv2_64x48"] {
            for metadata in [Metadata::Keep, Metadata::Strip] {
                let bytes = file(&vectors, &format!("/{group}/{format}_b64"));
                let policy = Policy { metadata: Some(metadata), ..only_implicit() };
                let facts = Facts::read(&bytes, content_type, &Limits::default()).unwrap();
                let plan = plan(&facts, &policy).unwrap();
                let made = produce(&bytes.into(), &plan, &Limits::default(), &other).unwrap();
                assert_eq!(
                    labels_in(&made.pictures[0].bytes).unwrap(),
                    std::slice::from_ref(&want),
                    "{group} {format}"
                );
            }
        }
    }
}

#[test]
fn labels_in_text_chunks_and_exif_go_even_where_metadata_is_kept() {
    let wrapped = format!(r#"{{"AIGC":{}}}"#, AigcLabel::first("someone", &id()).to_json());
    let scene = scene(64, 64);
    let exif = [b"MM\0*\0\0\0\x08\0\0\0\0\0\0", wrapped.as_bytes()].concat();
    let text = [b"AIGC\0", wrapped.as_bytes()].concat();
    let png = png(&scene.clone().into());
    let png =
        with_chunks(&png, &[chunk(b"tEXt", &text), chunk(b"eXIf", &exif), chunk(b"tEXt", b"prompt\0kept")]);
    let jpeg = with_segments(&jpeg(&scene), &[(0xe1, &[b"Exif\0\0", &exif[..]].concat()), (0xfe, b"kept")]);
    let webp = with_riff_chunks(&webp(&scene), 0x08, &[(b"EXIF", &exif), (b"NOTE", b"kept")]);
    for (content_type, bytes, before) in
        [("image/png", png, 2), ("image/jpeg", jpeg, 1), ("image/webp", webp, 1)]
    {
        let found = labels_in(&bytes).unwrap();
        assert_eq!(found.len(), before, "{content_type}");
        assert!(found.iter().all(|found| found.label.is_some() && found.carrier != Carrier::Xmp));
        for policy in [labelled(), only_implicit()] {
            let made = primary(&bytes, content_type, &Policy { metadata: Some(Metadata::Keep), ..policy });
            assert_eq!(labels_in(&made).unwrap(), [ours()], "{content_type}");
            assert!(contains(&made, b"kept"), "{content_type}: the other metadata stays");
        }
    }
}

#[test]
fn an_implicit_label_alone_leaves_every_pixel_as_it_is() {
    for (content_type, bytes) in one_of_each(80, 60) {
        let made = primary(&bytes, content_type, &only_implicit());
        assert_eq!(decoded(&made), decoded(&bytes), "{content_type}");
    }
}

#[test]
fn only_the_characters_of_the_standard_are_taken() {
    for bad in ["", "a b", "a\"b", "a\\b", "图", "a\u{7f}", &"x".repeat(257)] {
        assert!(ProduceId::new(bad).is_none(), "{bad:?}");
        let mut policy = labelled();
        policy.label.as_mut().unwrap().content_producer = bad.to_owned();
        assert!(policy.check().is_err(), "{bad:?}");
    }
    assert!(ProduceId::new("!#$[]^~<>&'").is_some());
}

#[test]
fn characters_that_xml_escapes_survive() {
    let id = ProduceId::new("a<b>&'c").unwrap();
    for (content_type, bytes) in one_of_each(64, 64) {
        let facts = Facts::read(&bytes, content_type, &Limits::default()).unwrap();
        let plan = plan(&facts, &labelled()).unwrap();
        let made = produce(&bytes.into(), &plan, &Limits::default(), &id).unwrap();
        let found = labels_in(&made.pictures[0].bytes).unwrap();
        assert_eq!(found[0].label.as_ref().unwrap().produce_id, "a<b>&'c");
    }
}
