//! Types, plans and names.

use bytes::Bytes;
use gateway::pictures::*;

use super::animations::moving;
use super::support::*;

#[test]
fn types_are_told_by_first_bytes() {
    let heads: [(&[u8], Option<&str>); 32] = [
        (b"\x89PNG\r\n\x1a\n\0\0", Some("image/png")),
        (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
        (b"RIFF\x10\0\0\0WEBPVP8 ", Some("image/webp")),
        (b"GIF89a\x01\0", Some("image/gif")),
        (b"\0\0\0\x20ftypavif\0\0\0\0", Some("image/avif")),
        (b"\0\0\0\x18ftypheic\0\0\0\0", Some("image/heic")),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", Some("image/avif")),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic", Some("image/heif")),
        (b"\0\0\0\x20ftypisom\0\0\0\0", Some("video/mp4")),
        (b"\0\0\0\x14ftypqt  ", Some("video/quicktime")),
        (b"\0\0\0\x20ftypM4A \0\0\0\0", Some("audio/mp4")),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm", Some("video/webm")),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x88matroska", Some("video/x-matroska")),
        (b"RIFF\x10\0\0\0WAVEfmt ", Some("audio/wav")),
        (b"RIFF\x10\0\0\0AVI LIST", Some("video/x-msvideo")),
        (b"RIFF\x10\0\0\0????", None),
        (b"ID3\x04\0", Some("audio/mpeg")),
        (b"\xff\xfb\x90\x64", Some("audio/mpeg")),
        (b"\xff\xf1\x50\x80", Some("audio/aac")),
        (b"fLaC\0\0\0\x22", Some("audio/flac")),
        (b"OggS\0\x02OpusHead", Some("audio/ogg")),
        (b"glTF\x02\0", Some("model/gltf-binary")),
        (b"%PDF-1.7", Some("application/pdf")),
        (b"PK\x03\x04\x14", Some("application/zip")),
        (b"II*\0\x08", Some("image/tiff")),
        (b"\x76\x2f\x31\x01\x02", Some("image/x-exr")),
        (b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", Some("image/bmp")),
        (b"BMW is a car", Some("text/plain")),
        ("ein schöner Text\n".as_bytes(), Some("text/plain")),
        (b"\x01\x02\x03", None),
        (b"\xc3\x28", None),
        (b"", None),
    ];
    for (head, want) in heads {
        assert_eq!(sniff(head), want, "{:?}", String::from_utf8_lossy(head));
    }
}

#[test]
fn the_first_bytes_tell_how_large_a_picture_is_as_its_headers_do() {
    let scene = scene(70, 301);
    let lossless = webp::Encoder::from_rgb(scene.as_raw(), 70, 301).encode_lossless().to_vec();
    let stills = [
        ("image/png", png(&scene.clone().into())),
        ("image/webp", webp(&scene)),
        ("image/webp", lossless),
        ("image/webp", primary(&webp(&scene), "image/webp", &labelled()).to_vec()),
    ];
    for (content_type, bytes) in stills.into_iter().chain(moving()) {
        let facts = Facts::read(&bytes, content_type, &Limits::default()).unwrap();
        assert_eq!(size(&bytes), Some((facts.width, facts.height)), "{content_type}");
        assert_eq!(size(&bytes[..8]), None, "{content_type} cut off");
    }
    assert_eq!(size(&jpeg(&scene)), None, "a JPEG tells it further on");
    assert_eq!(size(b"no picture at all"), None);
}

#[test]
fn a_character_cut_by_the_end_of_the_head_is_still_text() {
    let text = "界".repeat(40);
    assert_eq!(sniff(&text.as_bytes()[..SNIFF_BYTES]), Some("text/plain"));
}

#[test]
fn bytes_beat_a_lying_name_where_they_tell_and_text_keeps_its_own() {
    assert_eq!(stored_type(b"\x89PNG\r\n\x1a\n", "image/jpeg"), "image/png");
    assert_eq!(stored_type(b"{\"a\": 1}", "application/json"), "application/json");
    assert_eq!(stored_type(b"\x01\x02\x03", "model/obj"), "model/obj");
}

#[test]
fn files_that_are_no_pictures_pass_untouched() {
    for content_type in ["video/mp4", "audio/flac", "text/plain", "application/octet-stream", "image/avif"] {
        let everything = Policy {
            format: Encoding::of(Format::Webp),
            variants: vec![variant("thumb", 64, Format::Png)],
            placeholder: true,
            ..stripping()
        };
        let plan = plan(&Facts::of_type(content_type), &everything).unwrap();
        assert!(plan.is_pass());
        let original = Bytes::from_static(b"\x01\x02\x03");
        let made = produce(&original, &plan, &Limits::default(), &id()).unwrap();
        assert_eq!((made.pictures.len(), &made.pictures[0].bytes), (1, &original));
        assert_eq!(made.pictures[0].content_type, content_type);
    }
}

#[test]
fn a_type_that_cannot_be_labelled_fails_unless_the_tenant_lets_it_pass() {
    for content_type in ["video/mp4", "audio/flac", "text/plain", "image/avif", "image/gif"] {
        let facts = Facts::of_type(content_type);
        let error = plan(&facts, &labelled()).unwrap_err();
        assert!(matches!(error, PictureError::LabelUnsupported(_)), "{error}");
        let passing = Policy { unlabelled: Unlabelled::Pass, metadata: None, ..labelled() };
        assert!(plan(&facts, &passing).unwrap().is_pass(), "{content_type}");
    }
}

#[test]
fn a_policy_that_asks_for_nothing_passes_pictures_byte_for_byte() {
    for (content_type, bytes) in one_of_each(64, 64) {
        let facts = Facts::read(&bytes, content_type, &Limits::default()).unwrap();
        assert!(plan(&facts, &Policy::default()).unwrap().is_pass());
        assert_eq!(primary(&bytes, content_type, &Policy::default()), bytes);
    }
}

#[test]
fn a_file_that_only_claims_to_be_a_picture_is_damaged() {
    let error = make(b"<html>not a picture</html>", "image/png", &stripping()).unwrap_err();
    assert_eq!(error.code(), "picture_damaged");
}

#[test]
fn names_follow_formats() {
    let facts = Facts::read(&png(&scene(64, 64).into()), "image/png", &Limits::default()).unwrap();
    let names = |format, original: &str| {
        let policy = Policy {
            format: Encoding::of(format),
            variants: vec![variant("thumb", 32, Format::Jpeg)],
            ..Policy::default()
        };
        let plan = plan(&facts, &policy).unwrap();
        plan.deliverables().map(|planned| planned.file_name(original)).collect::<Vec<_>>()
    };
    assert_eq!(names(Format::Webp, "cat_00001_.png"), ["cat_00001_.webp", "cat_00001_.thumb.jpg"]);
    assert_eq!(names(Format::AsMade, "cat.PNG"), ["cat.PNG", "cat.thumb.jpg"]);
    assert_eq!(names(Format::Jpeg, "cat"), ["cat.jpg", "cat.thumb.jpg"]);
    assert_eq!(names(Format::Jpeg, "a.b.png"), ["a.b.jpg", "a.b.thumb.jpg"]);
}

#[test]
fn variants_fit_their_bounds_and_never_grow() {
    let policy = Policy {
        variants: vec![
            variant("edge", 100, Format::Webp),
            Variant { max_edge: None, max_height: Some(50), ..variant("high", 16, Format::Png) },
            Variant { max_edge: None, max_width: Some(50), ..variant("wide", 16, Format::Png) },
            variant("large", 4000, Format::Jpeg),
        ],
        ..Policy::default()
    };
    let made = make(&png(&scene(400, 200).into()), "image/png", &policy).unwrap();
    let sizes: Vec<_> = made.pictures.iter().map(|picture| (picture.width, picture.height)).collect();
    assert_eq!(sizes, [(400, 200), (100, 50), (100, 50), (50, 25), (400, 200)]);
    for picture in &made.pictures {
        let seen = decoded(&picture.bytes);
        assert_eq!((seen.width(), seen.height()), (picture.width, picture.height));
    }
}

#[test]
fn a_placeholder_shows_the_picture_in_a_few_characters() {
    let policy = Policy { placeholder: true, ..Policy::default() };
    for (width, height) in [(300, 200), (200, 300), (1, 1), (5000, 2)] {
        let made = make(&png(&scene(width, height).into()), "image/png", &policy).unwrap();
        let hash = made.placeholder.unwrap();
        assert_eq!(hash.len(), 28, "{hash}");
    }
    let red = image::RgbImage::from_pixel(64, 64, image::Rgb([200, 10, 10]));
    let hash = make(&png(&red.into()), "image/png", &policy).unwrap().placeholder.unwrap();
    let shown = blurhash::decode(&hash, 8, 8, 1.0).unwrap();
    assert!(shown[0] > 180 && shown[1] < 40, "{:?}", &shown[..4]);
}

#[test]
fn a_lossy_webp_stays_lossy_and_a_lossless_one_lossless() {
    let scene = scene(200, 200);
    let lossless = webp::Encoder::from_rgb(scene.as_raw(), 200, 200).encode_lossless().to_vec();
    let is_lossless = |bytes: &[u8]| contains(bytes, b"VP8L");
    assert!(is_lossless(&primary(&lossless, "image/webp", &labelled())));
    assert!(!is_lossless(&primary(&webp(&scene), "image/webp", &labelled())));
}
