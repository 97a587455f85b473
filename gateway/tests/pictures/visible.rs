//! The visible label, measured in pixels.

use gateway::pictures::*;
use image::{DynamicImage, GrayImage, RgbImage, RgbaImage};

use super::support::*;

/// Heights of the columns of ink, glyph by glyph: runs of columns that hold a pixel at least as bright as `least`.
fn glyph_heights(picture: &GrayImage, least: u8) -> Vec<u32> {
    let is_ink = |x: u32, y: u32| picture.get_pixel(x, y).0[0] >= least;
    let (mut heights, mut run): (Vec<u32>, Option<(u32, u32)>) = (Vec::new(), None);
    for x in 0..picture.width() {
        let rows: Vec<u32> = (0..picture.height()).filter(|y| is_ink(x, *y)).collect();
        match (rows.first(), rows.last()) {
            (Some(top), Some(bottom)) => {
                let (least, most) = run.unwrap_or((*top, *bottom));
                run = Some((least.min(*top), most.max(*bottom)));
            }
            _ => heights.extend(run.take().map(|(top, bottom)| bottom - top + 1)),
        }
    }
    heights.extend(run.map(|(top, bottom)| bottom - top + 1));
    heights
}

fn with_everything(format: Format) -> Policy {
    Policy {
        format: Encoding::of(format),
        variants: vec![variant("s", 256, format), variant("m", 333, format), variant("xs", 96, format)],
        ..labelled()
    }
}

#[test]
fn each_rendition_has_text_of_five_percent_of_its_own_shortest_side() {
    let grey = DynamicImage::from(RgbImage::from_pixel(1000, 700, image::Rgb([90, 90, 90])));
    for format in [Format::Png, Format::Jpeg, Format::Webp] {
        let made = make(&png(&grey), "image/png", &with_everything(format)).unwrap();
        for picture in made.pictures {
            let least = picture.width.min(picture.height).div_ceil(20);
            // White ink on a plate of 255 - 166 of 90: half way up is covered by half.
            let heights = glyph_heights(&decoded(&picture.bytes).to_luma8(), 143);
            assert!(heights.len() >= 4, "four glyphs: {heights:?}");
            let lowest = heights.iter().min().unwrap();
            assert!(*lowest >= least, "{format:?} {:?}: {heights:?} below {least}", picture.role);
        }
    }
}

/// The box of pixels that differ.
fn changed(before: &DynamicImage, after: &DynamicImage) -> (u32, u32, u32, u32) {
    let (before, after) = (before.to_rgba8(), after.to_rgba8());
    let differs = |x: &u32, y: &u32| before.get_pixel(*x, *y) != after.get_pixel(*x, *y);
    let all: Vec<(u32, u32)> = (0..before.width())
        .flat_map(|x| (0..before.height()).map(move |y| (x, y)))
        .filter(|(x, y)| differs(x, y))
        .collect();
    let (xs, ys) = (all.iter().map(|(x, _)| *x), all.iter().map(|(_, y)| *y));
    (xs.clone().min().unwrap(), ys.clone().min().unwrap(), xs.max().unwrap(), ys.max().unwrap())
}

#[test]
fn the_label_stands_in_its_corner_with_a_margin_and_nothing_else_changes() {
    let original = DynamicImage::from(scene(600, 400));
    for (corner, right, bottom) in [
        (Corner::TopLeft, false, false),
        (Corner::TopRight, true, false),
        (Corner::BottomLeft, false, true),
        (Corner::BottomRight, true, true),
    ] {
        let mut policy = labelled();
        policy.label.as_mut().unwrap().corner = corner;
        let made = decoded(&primary(&png(&original), "image/png", &policy));
        let (left, top, last_x, last_y) = changed(&original, &made);
        let (space_x, space_y) = if right { (600 - 1 - last_x, left) } else { (left, 600 - 1 - last_x) };
        assert!(space_x >= 4 && space_y > 300, "{corner:?}: {left} to {last_x}");
        let (space, other) = if bottom { (400 - 1 - last_y, top) } else { (top, 400 - 1 - last_y) };
        assert!(space >= 4 && other > 300, "{corner:?}: {top} to {last_y}");
    }
}

#[test]
fn text_is_bright_and_its_plate_dark_on_any_ground() {
    for ground in [0, 128, 255] {
        let plain = RgbImage::from_pixel(512, 512, image::Rgb([ground; 3]));
        let made = decoded(&primary(&png(&plain.into()), "image/png", &labelled())).to_luma8();
        let plate = made.pixels().map(|pixel| pixel.0[0]).min().unwrap();
        assert!(made.pixels().any(|pixel| pixel.0[0] == 255));
        assert!(plate <= 90, "{plate} on {ground}: too little contrast");
    }
}

#[test]
fn a_transparent_ground_becomes_opaque_enough_to_read() {
    let clear = RgbaImage::from_pixel(512, 512, image::Rgba([0, 0, 0, 0]));
    let made = decoded(&primary(&png(&clear.into()), "image/png", &labelled())).to_rgba8();
    let (label, rest) = (made.get_pixel(505, 500), made.get_pixel(5, 5));
    assert_eq!(rest.0, [0, 0, 0, 0]);
    assert_eq!(label.0, [0, 0, 0, 166], "the plate alone");
    assert!(made.pixels().any(|pixel| pixel.0 == [255; 4]), "the text is opaque and white");
}

#[test]
fn a_grey_picture_stays_grey() {
    let grey = DynamicImage::from(scene(300, 300)).to_luma8();
    let made = primary(&png(&grey.into()), "image/png", &labelled());
    assert_eq!(decoded(&made).color(), image::ColorType::L8);
}

#[test]
fn pictures_too_small_for_the_label_fail() {
    for (content_type, bytes) in one_of_each(16, 16) {
        let error = make(&bytes, content_type, &labelled()).unwrap_err();
        assert!(matches!(error, PictureError::LabelImpossible { width: 16, height: 16 }), "{error}");
        assert_eq!(error.code(), "label_impossible");
    }
    let policy = Policy { variants: vec![variant("icon", 16, Format::Png)], ..labelled() };
    let error = make(&png(&scene(500, 500).into()), "image/png", &policy).unwrap_err();
    assert!(
        matches!(error, PictureError::LabelImpossible { width: 16, .. }),
        "a variant is labelled too: {error}"
    );
}

#[test]
fn very_wide_and_very_high_pictures_hold_it() {
    for (width, height) in [(4000, 40), (60, 3000)] {
        let made = make(&png(&scene(width, height).into()), "image/png", &labelled()).unwrap();
        assert_eq!((made.pictures[0].width, made.pictures[0].height), (width, height));
    }
}

#[test]
fn a_picture_that_is_turned_is_labelled_upright() {
    // Stored lying on its side: 300 x 200, to be shown 200 x 300.
    let turned = [b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"];
    let jpeg = with_segments(&jpeg(&scene(300, 200)), &[(0xe1, turned[0])]);
    let made = make(&jpeg, "image/jpeg", &labelled()).unwrap();
    assert_eq!((made.pictures[0].width, made.pictures[0].height), (200, 300));
}
