//! What came out: decoded and hashed.

use std::io::Cursor;

use anyhow::Context as _;
use image::{ImageFormat, Rgb, RgbImage};

/// Decodes a picture of any format that a saver writes.
///
/// # Errors
/// When the bytes are no complete picture.
pub fn decode(bytes: &[u8]) -> anyhow::Result<RgbImage> {
    Ok(image::load_from_memory(bytes).context("not a picture")?.to_rgb8())
}

/// The colour of a picture of one colour, `0xRRGGBB`.
///
/// # Errors
/// When the bytes are no picture, or it has more than one colour.
pub fn only_color(bytes: &[u8]) -> anyhow::Result<u32> {
    let picture = decode(bytes)?;
    let first = picture.pixels().next().context("a picture without pixels")?;
    anyhow::ensure!(picture.pixels().all(|pixel| pixel == first), "more than one colour");
    let [red, green, blue] = first.0;
    Ok(u32::from_be_bytes([0, red, green, blue]))
}

/// A PNG file of one colour, `0xRRGGBB`.
///
/// # Errors
/// When it cannot be encoded.
pub fn of_color(color: u32) -> anyhow::Result<Vec<u8>> {
    let [_, red, green, blue] = color.to_be_bytes();
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(16, 16, Rgb([red, green, blue])).write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

/// The hash by which the gateway names these bytes.
pub fn hash(bytes: &[u8]) -> String {
    format!("blake3:{}", blake3::hash(bytes).to_hex())
}
