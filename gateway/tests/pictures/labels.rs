//! The label in metadata: written once, read back, replaced.

use gateway::pictures::*;

use super::support::*;

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
                let want = Found { carrier: Carrier::Xmp, label: Some(AigcLabel::first(PRODUCER, &id())) };
                assert_eq!(labels_in(&picture.bytes).unwrap(), [want], "{content_type} {:?}", picture.role);
            }
        }
    }
}
