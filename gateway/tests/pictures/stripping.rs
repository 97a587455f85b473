//! What goes and what stays when metadata is stripped.

use std::io::Write as _;

use gateway::pictures::*;
use image::ImageDecoder as _;

use super::support::*;

const SECRET: &[u8] = b"the-secret-prompt";
/// EXIF that says: turned by 90 degrees, and a secret.
const TURNED: &[u8] = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0the-secret-prompt";

fn private_png(png: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::none());
    packed.write_all(SECRET).unwrap();
    let parts = [
        chunk(b"tEXt", &[b"prompt\0", SECRET].concat()),
        chunk(b"zTXt", &[b"workflow\0\0", &packed.finish().unwrap()[..]].concat()),
        chunk(b"iTXt", &[b"XML:com.adobe.xmp\0\0\0\0\0", SECRET].concat()),
        chunk(b"eXIf", TURNED),
        chunk(b"tIME", &[7, 0xe9, 1, 1, 1, 1, 1]),
        chunk(b"prVt", SECRET),
        chunk(b"caBX", SECRET),
    ];
    [&with_chunks(png, &parts)[..], SECRET].concat()
}

fn private_jpeg(jpeg: &[u8]) -> Vec<u8> {
    let with = |prefix: &[u8]| [prefix, SECRET].concat();
    let segments = [
        (0xe0, with(b"JFXX\0\x10")),
        (0xe1, [b"Exif\0\0", TURNED].concat()),
        (0xe1, with(b"http://ns.adobe.com/xap/1.0/\0")),
        (0xe1, with(&[&b"http://ns.adobe.com/xmp/extension/\0"[..], &[b'0'; 40]].concat())),
        (0xe2, with(b"MPF\0")),
        (0xed, with(b"Photoshop 3.0\0")),
        (0xeb, with(b"JP\0\0")),
        (0xfe, SECRET.to_vec()),
    ];
    let segments: Vec<(u8, &[u8])> = segments.iter().map(|(marker, data)| (*marker, &data[..])).collect();
    [&with_segments(jpeg, &segments)[..], SECRET].concat()
}

fn private_webp(webp: &[u8]) -> Vec<u8> {
    let chunks: [(&[u8; 4], &[u8]); 3] = [(b"EXIF", TURNED), (b"XMP ", SECRET), (b"PRIV", SECRET)];
    [&with_riff_chunks(webp, 0x0c, &chunks)[..], SECRET].concat()
}

fn private() -> [(&'static str, Vec<u8>); 3] {
    let [(_, png), (_, jpeg), (_, webp)] = one_of_each(300, 200);
    [
        ("image/png", private_png(&png)),
        ("image/jpeg", private_jpeg(&jpeg)),
        ("image/webp", private_webp(&webp)),
    ]
}

fn exif(bytes: &[u8]) -> Option<Vec<u8>> {
    let reader = image::ImageReader::new(std::io::Cursor::new(bytes)).with_guessed_format().unwrap();
    reader.into_decoder().unwrap().exif_metadata().unwrap()
}

#[test]
fn nothing_private_is_left_and_the_pixels_are_the_same() {
    for (content_type, bytes) in private() {
        let made = primary(&bytes, content_type, &stripping());
        assert!(!contains(&made, SECRET), "{content_type}");
        assert!(!contains(&made, b"tIME"), "{content_type}");
        assert_eq!(decoded(&made), decoded(&bytes), "{content_type}");
        let exif = exif(&made).unwrap();
        assert!(exif.len() <= 32, "{content_type}: {} bytes of EXIF", exif.len());
        let upright = image::metadata::Orientation::from_exif_chunk(&exif).unwrap();
        assert_eq!(upright, image::metadata::Orientation::Rotate90, "{content_type}: it is shown as before");
    }
}

#[test]
fn stripping_twice_changes_nothing() {
    for (content_type, bytes) in private() {
        let once = primary(&bytes, content_type, &stripping());
        assert_eq!(primary(&once, content_type, &stripping()), once, "{content_type}");
    }
}

#[test]
fn nothing_private_comes_through_a_conversion_or_a_label() {
    for (content_type, bytes) in private() {
        for format in [Format::AsMade, Format::Png, Format::Jpeg, Format::Webp] {
            let variants = vec![variant("thumb", 96, Format::Webp), variant("same", 999, Format::Png)];
            let format = Encoding { quality: None, ..Encoding::of(format) };
            for policy in [stripping(), labelled()] {
                let policy = Policy { format, variants: variants.clone(), ..policy };
                for picture in make(&bytes, content_type, &policy).unwrap().pictures {
                    assert!(
                        !contains(&picture.bytes, SECRET),
                        "{content_type} {format:?} {:?}",
                        picture.role
                    );
                }
            }
        }
    }
}

#[test]
fn variants_never_carry_what_the_primary_keeps() {
    for (content_type, bytes) in private() {
        let policy = Policy { variants: vec![variant("thumb", 64, Format::AsMade)], ..Policy::default() };
        let made = make(&bytes, content_type, &policy).unwrap();
        assert_eq!(made.pictures[0].bytes, bytes, "{content_type}");
        assert!(!contains(&made.pictures[1].bytes, SECRET), "{content_type}");
    }
}

#[test]
fn kept_metadata_stays_in_a_picture_that_is_encoded_again() {
    for (content_type, bytes) in private() {
        let made = primary(&bytes, content_type, &Policy { metadata: Some(Metadata::Keep), ..labelled() });
        assert!(contains(&made, SECRET), "{content_type}");
        let turned = exif(&made).and_then(|exif| image::metadata::Orientation::from_exif_chunk(&exif));
        let upright = image::metadata::Orientation::NoTransforms;
        assert!(turned.is_none_or(|turned| turned == upright), "{content_type}: it is not turned twice");
    }
}

#[test]
fn orientation_is_applied_to_pixels_that_are_encoded_again() {
    for (content_type, bytes) in private() {
        let policy = Policy { format: Encoding::of(Format::Webp), variants: vec![], ..stripping() };
        let policy = if content_type == "image/webp" {
            Policy { format: Encoding::of(Format::Png), ..policy }
        } else {
            policy
        };
        let made = make(&bytes, content_type, &policy).unwrap();
        assert_eq!((made.pictures[0].width, made.pictures[0].height), (200, 300), "{content_type}");
        assert!(exif(&made.pictures[0].bytes).is_none());
    }
}

/// A profile with the fields that are looked at, and no more sense.
fn profile(space: &[u8; 4]) -> Vec<u8> {
    let mut profile = vec![7; 3000];
    profile[16..20].copy_from_slice(space);
    profile[36..40].copy_from_slice(b"acsp");
    profile
}

fn icc(bytes: &[u8]) -> Option<Vec<u8>> {
    let reader = image::ImageReader::new(std::io::Cursor::new(bytes)).with_guessed_format().unwrap();
    reader.into_decoder().unwrap().icc_profile().unwrap()
}

fn with_profile(content_type: &str, bytes: &[u8], profile: &[u8]) -> Vec<u8> {
    match content_type {
        "image/png" => {
            let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(profile).unwrap();
            with_chunks(bytes, &[chunk(b"iCCP", &[b"p\0\0", &packed.finish().unwrap()[..]].concat())])
        }
        "image/jpeg" => {
            let (first, second) = profile.split_at(1000);
            let part = |number, part: &[u8]| [b"ICC_PROFILE\0", &[number, 2][..], part].concat();
            with_segments(bytes, &[(0xe2, &part(2, second)), (0xe2, &part(1, first))])
        }
        _ => {
            let body = &bytes[12..];
            let webp = with_riff_chunks(bytes, 0x20, &[]);
            let at = webp.len() - body.len();
            let length = u32::try_from(profile.len()).unwrap().to_le_bytes();
            let mut new = [&webp[..at], b"ICCP", &length, profile, body].concat();
            let size = u32::try_from(new.len() - 8).unwrap().to_le_bytes();
            new[4..8].copy_from_slice(&size);
            new
        }
    }
}

#[test]
fn a_colour_profile_stays_through_stripping_conversion_and_labels() {
    let profile = profile(b"RGB ");
    for (content_type, bytes) in one_of_each(120, 120) {
        let bytes = with_profile(content_type, &bytes, &profile);
        assert_eq!(icc(&bytes).unwrap(), profile, "{content_type}: the test's own file");
        for format in [Format::AsMade, Format::Png, Format::Jpeg, Format::Webp] {
            for policy in [stripping(), labelled()] {
                let policy = Policy {
                    format: Encoding::of(format),
                    variants: vec![variant("small", 100, Format::Webp)],
                    ..policy
                };
                for picture in make(&bytes, content_type, &policy).unwrap().pictures {
                    assert_eq!(icc(&picture.bytes).as_ref(), Some(&profile), "{content_type} to {format:?}");
                }
            }
        }
    }
}

#[test]
fn a_profile_that_is_not_for_these_pixels_is_left_behind() {
    let bytes = with_profile("image/png", &png(&scene(64, 64).into()), &profile(b"GRAY"));
    let made = primary(&bytes, "image/png", &Policy { format: Encoding::of(Format::Jpeg), ..stripping() });
    assert_eq!(icc(&made), None);
}

#[test]
fn a_file_that_is_cut_off_is_refused() {
    for (content_type, bytes) in one_of_each(100, 100) {
        for cut in [bytes.len() - 1, bytes.len() / 2, 30] {
            // The last byte of a WebP may be padding.
            let result = make(&bytes[..cut], content_type, &stripping());
            assert!(matches!(result, Err(PictureError::Damaged(_))), "{content_type} at {cut}");
        }
    }
}
