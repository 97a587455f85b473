//! Bytes that mean harm: bounded, refused, never a panic.

use std::io::Write as _;

use bytes::Bytes;
use gateway::pictures::*;
use proptest::prelude::*;

use super::support::*;

fn everything() -> Policy {
    Policy {
        format: Encoding::of(Format::Jpeg),
        variants: vec![variant("small", 48, Format::Webp), variant("same", 999, Format::Png)],
        placeholder: true,
        label: None,
        ..labelled()
    }
}

/// Small, so that thousands of attempts take seconds.
fn small() -> Limits {
    Limits { max_pixels: 16_384, max_edge: 256, max_frames: 8, ..Limits::default() }
}

/// Runs everything; only errors are fine, and finished files must hold what they promise.
fn try_all(bytes: &[u8], content_type: &str) {
    let original = Bytes::copy_from_slice(bytes);
    let _ = labels_in(bytes);
    let Ok(facts) = Facts::read(bytes, content_type, &small()) else { return };
    assert!(u64::from(facts.width) * u64::from(facts.height) <= small().max_pixels);
    for policy in [everything(), stripping(), Policy { label: labelled().label, ..everything() }] {
        let Ok(plan) = plan(&facts, &policy) else { continue };
        let Ok(made) = produce(&original, &plan, &small(), &id()) else { continue };
        for picture in made.pictures.iter().filter(|picture| is_picture(&picture.content_type)) {
            let facts = Facts::read(&picture.bytes, "", &small()).unwrap();
            assert_eq!((facts.width, facts.height), (picture.width, picture.height));
        }
    }
}

#[derive(Debug, Clone)]
enum Harm {
    Set(usize, u8),
    Flip(usize, u8),
    Cut(usize),
    Remove(usize, usize),
    Double(usize, usize),
    Insert(usize, Vec<u8>),
}

fn harm() -> impl Strategy<Value = Harm> {
    let at = any::<prop::sample::Index>().prop_map(|index| index.index(1 << 20));
    prop_oneof![
        4 => (at.clone(), any::<u8>()).prop_map(|(at, byte)| Harm::Set(at, byte)),
        4 => (at.clone(), 0..8_u8).prop_map(|(at, bit)| Harm::Flip(at, bit)),
        1 => at.clone().prop_map(Harm::Cut),
        1 => (at.clone(), 1..40_usize).prop_map(|(at, length)| Harm::Remove(at, length)),
        1 => (at.clone(), 1..200_usize).prop_map(|(at, length)| Harm::Double(at, length)),
        1 => (at, prop::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Harm::Insert(at, bytes)),
    ]
}

fn harmed(mut bytes: Vec<u8>, harms: &[Harm]) -> Vec<u8> {
    for harm in harms {
        let length = bytes.len().max(1);
        let end = |at: usize, count: usize| (at % length + count).min(bytes.len());
        match harm {
            _ if bytes.is_empty() => {}
            Harm::Set(at, byte) => bytes[at % length] = *byte,
            Harm::Flip(at, bit) => bytes[at % length] ^= 1 << bit,
            Harm::Cut(at) => bytes.truncate(at % length),
            Harm::Remove(at, count) => drop(bytes.drain(at % length..end(*at, *count))),
            Harm::Double(at, count) => {
                let part = bytes[at % length..end(*at, *count)].to_vec();
                drop(bytes.splice(at % length..at % length, part));
            }
            Harm::Insert(at, part) => drop(bytes.splice(at % length..at % length, part.iter().copied())),
        }
    }
    bytes
}

/// Real files with all kinds of parts.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let mut files = one_of_each(40, 30).to_vec();
    files.push(("image/png", png(&with_alpha(24, 24).into())));
    files.push(("image/webp", {
        let picture = with_alpha(24, 24);
        webp::Encoder::from_rgba(picture.as_raw(), 24, 24).encode(60.0).to_vec()
    }));
    files.push(("image/webp", {
        let picture = scene(24, 24);
        webp::Encoder::from_rgb(picture.as_raw(), 24, 24).encode_lossless().to_vec()
    }));
    for name in ["palette.png", "interlaced.png", "progressive.jpg", "cmyk.jpg", "grey.jpg", "rgb16.png"] {
        let path = format!("{}/../tests/fixtures/pictures/{name}", env!("CARGO_MANIFEST_DIR"));
        let content_type = if name.ends_with("png") { "image/png" } else { "image/jpeg" };
        files.push((content_type, std::fs::read(path).unwrap()));
    }
    files.push((
        "image/gif",
        b"GIF89a\x02\0\x02\0\x80\0\0\0\0\0\xff\xff\xff\x2c\0\0\0\0\x02\0\x02\0\0\x02\x03\x44\x02\x05\0\x3b"
            .to_vec(),
    ));
    let labelled: Vec<_> = one_of_each(200, 64)
        .into_iter()
        .map(|(content_type, bytes)| (content_type, primary(&bytes, content_type, &labelled()).to_vec()))
        .collect();
    files.extend(labelled);
    files
}

/// PNG checksums that fit again, so that harm reaches what lies behind them.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut new = bytes.to_vec();
    let mut at = 8;
    while let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let end = at.saturating_add(8).saturating_add(u32::from_be_bytes(*length) as usize);
        let Some(covered) = bytes.get(at + 4..end) else { break };
        let checksum = crc32fast::hash(covered).to_be_bytes();
        let Some(old) = new.get_mut(end..end + 4) else { break };
        old.copy_from_slice(&checksum);
        at = end + 4;
    }
    new
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn harmed_files_are_refused_or_made_whole(
        which in any::<prop::sample::Index>(),
        harms in prop::collection::vec(harm(), 1..6),
    ) {
        let files = files_once();
        let (content_type, bytes) = which.get(files);
        let bytes = harmed(bytes.clone(), &harms);
        try_all(&bytes, content_type);
        if *content_type == "image/png" {
            try_all(&mended(&bytes), content_type);
        }
    }

    #[test]
    fn bytes_at_random_are_no_picture(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        start in prop::sample::select(vec![
            &b""[..], b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", b"\xff\xd8\xff", b"RIFF\x20\0\0\0WEBPVP8X", b"GIF89a",
        ]),
    ) {
        try_all(&[start, &bytes].concat(), "image/png");
    }
}

fn files_once() -> &'static [(&'static str, Vec<u8>)] {
    static FILES: std::sync::OnceLock<Vec<(&str, Vec<u8>)>> = std::sync::OnceLock::new();
    FILES.get_or_init(files)
}

#[test]
fn sizes_are_refused_by_the_header_alone() {
    let sized = |width: u32, height: u32| {
        let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
        let chunks = [chunk(b"IHDR", &header), chunk(b"IDAT", b"\x78\x9c"), chunk(b"IEND", b"")].concat();
        [b"\x89PNG\r\n\x1a\n", &chunks[..]].concat()
    };
    let limits = Limits::default();
    for (width, height) in
        [(60_000, 60_000), (20_000, 1), (1, 20_000), (16_000, 16_000), (u32::MAX, u32::MAX)]
    {
        let error = Facts::read(&sized(width, height), "image/png", &limits).unwrap_err();
        assert!(matches!(error, PictureError::TooLarge(_)), "{width} x {height}: {error}");
    }
    assert!(matches!(Facts::read(&sized(0, 5), "image/png", &limits), Err(PictureError::Damaged(_))));
}

#[test]
fn bytes_and_frames_are_bounded() {
    let png = png(&scene(64, 64).into());
    let few = Limits { max_input_bytes: 100, ..Limits::default() };
    assert!(matches!(Facts::read(&png, "image/png", &few), Err(PictureError::TooLarge(_))));
    let control = chunk(b"fcTL", &[0; 26]);
    let parts = [vec![chunk(b"acTL", &[0; 8])], vec![control; 20]].concat();
    let moving = with_chunks(&png, &parts);
    let few = Limits { max_frames: 10, ..Limits::default() };
    assert!(matches!(Facts::read(&moving, "image/png", &few), Err(PictureError::TooLarge(_))));
}

fn bomb(bytes: usize) -> Vec<u8> {
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(&vec![b'x'; bytes]).unwrap();
    packed.finish().unwrap()
}

#[test]
fn packed_texts_are_never_unpacked_and_profiles_within_a_bound() {
    let png = png(&scene(200, 200).into());
    let text = with_chunks(&png, &[chunk(b"zTXt", &[b"prompt\0\0", &bomb(64 << 20)[..]].concat())]);
    assert!(make(&text, "image/png", &labelled()).is_ok());
    let profile = with_chunks(&png, &[chunk(b"iCCP", &[b"p\0\0", &bomb(64 << 20)[..]].concat())]);
    let error = make(&profile, "image/png", &labelled()).unwrap_err();
    assert!(matches!(error, PictureError::TooLarge(_)), "{error}");
    // A text that claims to be a label is looked into, within a bound.
    let label = with_chunks(&png, &[chunk(b"zTXt", &[b"AIGC\0\0", &bomb(64 << 20)[..]].concat())]);
    assert_eq!(labels_in(&label).unwrap()[0].label, None);
}

#[test]
fn a_jpeg_of_very_many_scans_is_refused() {
    let bytes = include_bytes!("../../../tests/fixtures/pictures/progressive.jpg");
    let at = bytes.windows(2).rposition(|window| window == [0xff, 0xda]).unwrap();
    let scan = &bytes[at..bytes.len() - 2];
    let bomb = [&bytes[..bytes.len() - 2], &scan.repeat(150), &[0xff, 0xd9]].concat();
    let error = make(&bomb, "image/jpeg", &everything()).unwrap_err();
    assert!(matches!(error, PictureError::Unsupported(_)), "{error}");
}

#[test]
fn time_is_bounded_between_steps() {
    let bytes = png(&scene(300, 300).into());
    let limits = Limits { max_seconds: 0, ..Limits::default() };
    let facts = Facts::read(&bytes, "image/png", &limits).unwrap();
    let plan = plan(&facts, &labelled()).unwrap();
    let error = produce(&bytes.into(), &plan, &limits, &id()).unwrap_err();
    assert_eq!(error.code(), "picture_timeout");
}

#[test]
fn other_bytes_than_those_that_were_planned_for_are_refused() {
    let (planned, other) = (png(&scene(100, 100).into()), png(&scene(300, 300).into()));
    let facts = Facts::read(&planned, "image/png", &Limits::default()).unwrap();
    let plan = plan(&facts, &everything()).unwrap();
    assert!(produce(&other.into(), &plan, &Limits::default(), &id()).is_err());
}
