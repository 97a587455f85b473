//! Pixels of every coding look as before, or are refused.

use gateway::pictures::*;
use image::{DynamicImage, ImageBuffer};

use super::support::*;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/fixtures/pictures/", $name)).as_slice()
    };
}

const RED: [u8; 3] = [255, 0, 0];
const GREEN: [u8; 3] = [0, 255, 0];
const BLUE: [u8; 3] = [0, 0, 255];
const WHITE: [u8; 3] = [255, 255, 255];

fn quarters(bytes: &[u8]) -> [[u8; 3]; 4] {
    let picture = decoded(bytes).to_rgb8();
    [(6, 6), (26, 6), (6, 26), (26, 26)].map(|(x, y)| picture.get_pixel(x, y).0)
}

fn near(a: [[u8; 3]; 4], b: [[u8; 3]; 4], by: u8) -> bool {
    a.iter().flatten().zip(b.iter().flatten()).all(|(a, b)| a.abs_diff(*b) <= by)
}

fn to(format: Format) -> Policy {
    let lossless = format == Format::Webp;
    let format = Encoding { lossless, ..Encoding::of(format) };
    let same = Variant { format, ..variant("same", 64, Format::Png) };
    Policy { format, variants: vec![same], ..stripping() }
}

#[test]
fn palettes_interlacing_depth_and_progression_keep_their_colours() {
    let files = [
        ("image/png", fixture!("palette.png")),
        ("image/png", fixture!("interlaced.png")),
        ("image/png", fixture!("rgb16.png")),
        ("image/jpeg", fixture!("progressive.jpg")),
    ];
    for (index, (content_type, bytes)) in files.into_iter().enumerate() {
        for format in [Format::Png, Format::Jpeg, Format::Webp] {
            for picture in make(bytes, content_type, &to(format)).unwrap().pictures {
                let is = quarters(&picture.bytes);
                assert!(near(is, [RED, GREEN, BLUE, WHITE], 6), "{index} to {format:?}: {is:?}");
            }
        }
    }
}

#[test]
fn black_and_white_and_grey_stay_grey_where_the_format_can() {
    for (content_type, bytes) in [("image/png", fixture!("bits.png")), ("image/jpeg", fixture!("grey.jpg"))] {
        let before = decoded(bytes).to_luma8();
        for format in [Format::Png, Format::Jpeg, Format::Webp] {
            let policy = Policy { variants: vec![], ..to(format) };
            let made = decoded(&primary(bytes, content_type, &policy));
            assert_eq!(made.color().has_color(), format == Format::Webp);
            let worst =
                before.pixels().zip(made.to_luma8().pixels()).map(|(a, b)| a.0[0].abs_diff(b.0[0])).max();
            assert!(worst.unwrap() <= if format == Format::Jpeg { 40 } else { 0 }, "{format:?}: {worst:?}");
        }
    }
}

#[test]
fn transparency_stays_or_becomes_white() {
    for bytes in [fixture!("palette_transparent.png").to_vec(), png(&with_alpha(32, 32).into())] {
        let clear = decoded(&bytes).to_rgba8().get_pixel(0, 0).0[3];
        assert_eq!(clear, 0, "the test's own file");
        for format in [Format::Png, Format::Webp] {
            let made = decoded(&primary(&bytes, "image/png", &to(format))).to_rgba8();
            assert_eq!(made.get_pixel(0, 0).0[3], 0, "{format:?}");
        }
        let flat = decoded(&primary(&bytes, "image/png", &to(Format::Jpeg)));
        assert!(!flat.color().has_alpha());
        assert!(flat.to_rgb8().get_pixel(0, 0).0.iter().all(|value| *value > 245));
    }
}

#[test]
fn half_transparent_edges_do_not_darken_when_made_smaller() {
    let edge =
        image::RgbaImage::from_fn(512, 512, |x, _| image::Rgba(if x < 300 { [255; 4] } else { [0; 4] }));
    let policy = Policy { variants: vec![variant("small", 100, Format::Png)], ..Policy::default() };
    let made = make(&png(&edge.into()), "image/png", &policy).unwrap();
    let small = decoded(&made.pictures[1].bytes).to_rgba8();
    assert!(small.pixels().filter(|pixel| pixel.0[3] > 8).all(|pixel| pixel.0[0] > 245));
}

#[test]
fn sixteen_bits_become_eight_by_rounding() {
    let deep: ImageBuffer<image::Rgb<u16>, Vec<u16>> =
        ImageBuffer::from_fn(64, 64, |x, y| image::Rgb([x as u16 * 1023, y as u16 * 1023, 40_000]));
    let bytes = png(&DynamicImage::ImageRgb16(deep.clone()));
    let made = decoded(&primary(&bytes, "image/png", &to(Format::Webp))).to_rgb8();
    for (deep, made) in deep.pixels().zip(made.pixels()) {
        let near =
            deep.0.iter().zip(made.0).all(|(d, m)| (f32::from(*d) / 257.0 - f32::from(m)).abs() <= 0.51);
        assert!(near, "{deep:?} became {made:?}");
    }
    // Stripping alone does not touch them.
    assert_eq!(decoded(&primary(&bytes, "image/png", &stripping())), DynamicImage::ImageRgb16(deep));
}

#[test]
fn cmyk_is_refused_for_pixels_and_stripped_without_them() {
    let error = make(fixture!("cmyk.jpg"), "image/jpeg", &labelled()).unwrap_err();
    assert!(matches!(error, PictureError::Unsupported(_)), "{error}");
    assert_eq!(error.code(), "picture_unsupported");
    assert!(make(fixture!("cmyk.jpg"), "image/jpeg", &stripping()).is_ok());
}

#[test]
fn a_gamma_of_its_own_stays_in_png_and_is_refused_elsewhere() {
    let odd = with_chunks(&png(&scene(100, 100).into()), &[chunk(b"gAMA", &100_000_u32.to_be_bytes())]);
    assert!(contains(&primary(&odd, "image/png", &stripping()), b"gAMA"));
    let policy = Policy { variants: vec![variant("same", 200, Format::Png)], ..labelled() };
    for picture in make(&odd, "image/png", &policy).unwrap().pictures {
        assert!(contains(&picture.bytes, b"gAMA"), "{:?}", picture.role);
    }
    let error = make(&odd, "image/png", &to(Format::Webp)).unwrap_err();
    assert!(matches!(error, PictureError::Unsupported(_)), "{error}");
    let usual = with_chunks(&png(&scene(100, 100).into()), &[chunk(b"gAMA", &45_455_u32.to_be_bytes())]);
    assert!(make(&usual, "image/png", &to(Format::Webp)).is_ok());
}
