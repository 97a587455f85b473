//! Pictures as recipes, and their bytes: a landscape made of seed and prompt, drawn when somebody fetches it.

use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder, RgbImage};

/// Hills in a landscape, farthest first.
const HILLS: usize = 4;

/// Where the pixels come from.
#[derive(Clone, Debug)]
enum Source {
    Solid([u8; 3]),
    Scene { seed: u64 },
    File(Bytes),
}

/// A picture nobody has drawn yet.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub width: u32,
    pub height: u32,
    source: Source,
    inverted: bool,
}

impl Picture {
    /// One colour, `0xRRGGBB`.
    pub(crate) fn solid(width: u32, height: u32, color: u32) -> Picture {
        let [_, red, green, blue] = color.to_be_bytes();
        Picture::new(width, height, Source::Solid([red, green, blue]))
    }

    /// A landscape; the same seed and text give the same one.
    pub(crate) fn scene(width: u32, height: u32, seed: u64, text: &str) -> Picture {
        let hash = blake3::Hasher::new().update(&seed.to_be_bytes()).update(text.as_bytes()).finalize();
        let seed = hash.as_bytes().iter().take(8).fold(0, |seed, byte| (seed << 8) | u64::from(*byte));
        Picture::new(width, height, Source::Scene { seed })
    }

    /// An encoded picture; its size is read now, its pixels later. `None` when it is not one.
    pub(crate) fn file(bytes: Bytes) -> Option<Picture> {
        let (width, height) = image::ImageReader::new(Cursor::new(&bytes))
            .with_guessed_format()
            .ok()?
            .into_dimensions()
            .ok()?;
        Some(Picture::new(width, height, Source::File(bytes)))
    }

    fn new(width: u32, height: u32, source: Source) -> Picture {
        Picture { width, height, source, inverted: false }
    }

    /// The same picture at another size.
    pub(crate) fn scaled(&self, width: u32, height: u32) -> Picture {
        Picture { width, height, ..self.clone() }
    }

    /// The negative.
    pub(crate) fn inverted(&self) -> Picture {
        Picture { inverted: !self.inverted, ..self.clone() }
    }

    /// The picture of another place in a batch: scenes differ, anything else repeats.
    pub(crate) fn nth(&self, index: usize) -> Picture {
        let mut picture = self.clone();
        if let Source::Scene { seed } = &mut picture.source {
            *seed = seed.wrapping_add(index as u64 * 0x9e37_79b9);
        }
        picture
    }

    fn draw(&self) -> RgbImage {
        let mut pixels = match &self.source {
            Source::Solid(color) => RgbImage::from_pixel(self.width, self.height, image::Rgb(*color)),
            Source::Scene { seed } => draw_scene(self.width, self.height, *seed),
            Source::File(bytes) => match image::load_from_memory(bytes) {
                Ok(decoded) => decoded.thumbnail_exact(self.width, self.height).to_rgb8(),
                Err(_) => RgbImage::new(self.width, self.height),
            },
        };
        if self.inverted {
            pixels.as_mut().iter_mut().for_each(|byte| *byte = 255 - *byte);
        }
        pixels
    }

    /// PNG bytes with text chunks, padded up to `pad_bytes`.
    pub(crate) fn png(&self, texts: &[(String, String)], pad_bytes: usize) -> Bytes {
        let pixels = self.draw();
        let mut file = Vec::new();
        let encoder = PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Sub);
        // writing to memory cannot fail, and the buffer fits the size it was made with
        let _ = encoder.write_image(pixels.as_raw(), self.width, self.height, ExtendedColorType::Rgb8);
        with_chunks(&file, texts, pad_bytes)
    }

    /// JPEG bytes, longest side at most `max_side`.
    pub(crate) fn jpeg(&self, max_side: u32, quality: u8) -> Bytes {
        let longest = self.width.max(self.height).max(1);
        let shrink =
            |side: u32| (u64::from(side) * u64::from(max_side.min(longest)) / u64::from(longest)).max(1);
        let small = self.scaled(
            u32::try_from(shrink(self.width)).unwrap_or(1),
            u32::try_from(shrink(self.height)).unwrap_or(1),
        );
        let mut file = Vec::new();
        let encoder = JpegEncoder::new_with_quality(&mut file, quality);
        let _ =
            encoder.write_image(small.draw().as_raw(), small.width, small.height, ExtendedColorType::Rgb8);
        file.into()
    }

    /// Lossless WebP bytes.
    pub(crate) fn webp(&self) -> Bytes {
        let mut file = Vec::new();
        let encoder = WebPEncoder::new_lossless(&mut file);
        let _ = encoder.write_image(self.draw().as_raw(), self.width, self.height, ExtendedColorType::Rgb8);
        file.into()
    }
}

/// A batch of pictures.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub picture: Arc<Picture>,
    pub count: u32,
}

/// Inserts `tEXt` chunks and padding after the PNG header chunk.
fn with_chunks(file: &[u8], texts: &[(String, String)], pad_bytes: usize) -> Bytes {
    const HEADER: usize = 8 + 25;
    let mut out = Vec::with_capacity(file.len().max(pad_bytes) + 1024);
    out.extend(&file[..HEADER.min(file.len())]);
    for (key, text) in texts {
        let ascii: String = text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
        out.extend(chunk(*b"tEXt", &[key.as_bytes(), b"\0", ascii.as_bytes()].concat()));
    }
    let missing = pad_bytes.saturating_sub(out.len() + file.len().saturating_sub(HEADER) + 12);
    if missing > 0 {
        out.extend(chunk(*b"prVt", &noise(missing)));
    }
    out.extend(&file[HEADER.min(file.len())..]);
    out.into()
}

fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&kind);
    checksum.update(data);
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &kind, data, &checksum.finalize().to_be_bytes()].concat()
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// A small deterministic stream of numbers.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    }

    /// Between `low` and `high`.
    fn between(&mut self, low: f32, high: f32) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "sixteen bits fit")]
        let unit = (self.next() & 0xffff) as f32 / 65_535.0;
        low + unit * (high - low)
    }
}

type Color = [f32; 3];

fn mix(a: Color, b: Color, t: f32) -> Color {
    [0, 1, 2].map(|i| a[i] + (b[i] - a[i]) * t)
}

fn bytes_of(color: Color) -> [u8; 3] {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
    color.map(|channel| channel.clamp(0.0, 255.0) as u8)
}

/// A saturated colour of this hue (0 to 6).
fn hue(position: f32, lightness: f32) -> Color {
    [0.0, 4.0, 2.0].map(|shift| {
        let around = (position + shift).rem_euclid(6.0);
        ((around - 3.0).abs() - 1.0).clamp(0.0, 1.0) * 0.55 * 255.0 * lightness + 0.35 * 255.0 * lightness
    })
}

/// Sky, sun and layered hills.
#[expect(clippy::cast_precision_loss, reason = "picture sides are far below 2^24")]
fn draw_scene(width: u32, height: u32, seed: u64) -> RgbImage {
    let mut dice = Dice(seed);
    let (w, h) = (width as f32, height as f32);
    let base = dice.between(0.0, 6.0);
    let (top, horizon) = (hue(base, 0.45), hue(base + dice.between(0.6, 1.6), 1.35));
    let sun = (dice.between(0.2, 0.8) * w, dice.between(0.15, 0.45) * h);
    let radius = dice.between(0.06, 0.14) * w.min(h);
    let mut ridges = Vec::with_capacity(HILLS);
    for layer in 0..HILLS {
        let depth = (layer + 1) as f32 / HILLS as f32;
        let (f1, f2) = (dice.between(1.0, 3.0), dice.between(4.0, 9.0));
        let (p1, p2) = (dice.between(0.0, 6.3), dice.between(0.0, 6.3));
        let heights: Vec<u32> = (0..width)
            .map(|x| {
                let t = x as f32 / w * std::f32::consts::TAU;
                let wave = (t * f1 + p1).sin() * 0.06 + (t * f2 + p2).sin() * 0.02;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "clamped to the height"
                )]
                let line = ((0.45 + depth * 0.42 + wave) * h).clamp(0.0, h) as u32;
                line
            })
            .collect();
        let color = mix(horizon, hue(base + 3.0 + depth, 0.32), 0.35 + depth * 0.6);
        ridges.push((heights, bytes_of(color)));
    }
    ridges.reverse();
    let (light, glow) = ([255, 244, 214], mix(horizon, [255.0, 240.0, 200.0], 0.5));
    let (inner, outer) = (radius * radius, radius * radius * 9.0);
    let mut pixels = RgbImage::new(width, height);
    let row_bytes = (width as usize * 3).max(1);
    for (y, row) in pixels.as_mut().chunks_exact_mut(row_bytes).enumerate() {
        let y = u32::try_from(y).unwrap_or(u32::MAX);
        let sky_color = mix(top, horizon, y as f32 / h);
        let (sky, dy) = (bytes_of(sky_color), y as f32 - sun.1);
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let color = match ridges.iter().find(|(heights, _)| y >= heights[x]) {
                Some((_, color)) => *color,
                None => {
                    let dx = x as f32 - sun.0;
                    let distance = dx * dx + dy * dy;
                    if distance < inner {
                        light
                    } else if distance < outer {
                        bytes_of(mix(glow, sky_color, distance / outer))
                    } else {
                        sky
                    }
                }
            };
            pixel.copy_from_slice(&color);
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use super::*;

    #[test]
    fn the_picture_follows_seed_and_prompt() {
        let png = |seed, text| Picture::scene(64, 48, seed, text).png(&[], 0);
        assert_eq!(png(1, "a"), png(1, "a"));
        assert_ne!(png(1, "a"), png(2, "a"));
        assert_ne!(png(1, "a"), png(1, "b"));
    }

    #[test]
    fn a_padded_png_with_text_still_decodes() {
        let texts = vec![("prompt".to_owned(), "{\"1\":{}}".to_owned())];
        let png = Picture::scene(32, 32, 1, "").png(&texts, 50_000);
        assert!(png.len().abs_diff(50_000) < 16, "{}", png.len());
        let decoded = image::load_from_memory(&png).unwrap();
        assert_eq!((decoded.width(), decoded.height()), (32, 32));
        assert!(png.windows(6).any(|window| window == b"prompt"));
    }
}
