//! The visible label: white text on a dark, half-opaque plate in a corner (GB 45438-2025, 5.2).
//!
//! The standard asks for a text height of 5 % of the shortest side and does not say what is measured. We measure ink:
//! the lowest of the glyphs that make the statement, in whole pixel rows that are at least half covered.

use ab_glyph::{Font as _, OutlinedGlyph, PxScale, ScaleFont as _, point};
use image::DynamicImage;

use super::font::font;
use crate::pictures::{Corner, LabelPolicy, PictureError};

/// The words that make the statement; other glyphs (a dash, 一) may be lower.
const STATEMENT: &str = "AI人工智能生成合成";
/// Text lower than this is not legible, whatever the rule.
const MIN_INK: u32 = 10;
/// How much of the picture the plate hides.
const PLATE_OPACITY: u32 = 166;
/// Steps of a quarter pixel until the ink is high enough. A glyph is at most a pixel or two lower than computed.
const MAX_STEPS: usize = 32;

/// A label drawn for one size of picture: how much of each pixel of the plate is text.
#[derive(Debug)]
pub(in crate::pictures) struct Stamp {
    width: u32,
    height: u32,
    margin: u32,
    ink: Vec<u8>,
}

/// The height of ink that the rule asks for.
pub(in crate::pictures) fn least_ink(width: u32, height: u32) -> u32 {
    width.min(height).div_ceil(20).max(MIN_INK)
}

impl Stamp {
    /// The label for pictures of a size.
    pub(in crate::pictures) fn new(
        label: &LabelPolicy,
        width: u32,
        height: u32,
    ) -> Result<Self, PictureError> {
        let impossible = PictureError::LabelImpossible { width, height };
        let Some(line) = Line::of_ink(&label.text, least_ink(width, height)) else {
            return Err(impossible);
        };
        let stamp = line.on_plate(width.min(height).div_ceil(100));
        let needs = |side: u32| side.saturating_add(2 * stamp.margin);
        if needs(stamp.width) > width || needs(stamp.height) > height {
            return Err(impossible);
        }
        Ok(stamp)
    }

    /// Draws it into a corner. The canvas has the size that the stamp was made for.
    pub(in crate::pictures) fn draw(&self, canvas: &mut DynamicImage, corner: Corner) {
        let (left, top) = self.place(canvas.width(), canvas.height(), corner);
        let stride = canvas.width() as usize;
        match canvas {
            DynamicImage::ImageLuma8(pixels) => self.blend::<1>(pixels, stride, (left, top), false),
            DynamicImage::ImageLumaA8(pixels) => self.blend::<2>(pixels, stride, (left, top), true),
            DynamicImage::ImageRgb8(pixels) => self.blend::<3>(pixels, stride, (left, top), false),
            DynamicImage::ImageRgba8(pixels) => self.blend::<4>(pixels, stride, (left, top), true),
            _ => {} // a decoded canvas has eight bits a channel
        }
    }

    fn place(&self, width: u32, height: u32, corner: Corner) -> (usize, usize) {
        let right = width.saturating_sub(self.width + self.margin);
        let bottom = height.saturating_sub(self.height + self.margin);
        let (left, top) = match corner {
            Corner::TopLeft => (self.margin, self.margin),
            Corner::TopRight => (right, self.margin),
            Corner::BottomLeft => (self.margin, bottom),
            Corner::BottomRight => (right, bottom),
        };
        (left as usize, top as usize)
    }

    fn blend<const N: usize>(
        &self,
        bytes: &mut [u8],
        stride: usize,
        (left, top): (usize, usize),
        alpha: bool,
    ) {
        let (pixels, _) = bytes.as_chunks_mut::<N>();
        let width = self.width as usize;
        for (row, ink) in self.ink.chunks_exact(width).enumerate() {
            let start = (top + row) * stride + left;
            let Some(under) = pixels.get_mut(start..start + width) else { return };
            for (pixel, ink) in under.iter_mut().zip(ink) {
                if alpha {
                    paint_over_alpha(pixel, *ink);
                } else {
                    for value in pixel {
                        *value = mix(mix((*value).into(), 0, PLATE_OPACITY), 255, (*ink).into()) as u8;
                    }
                }
            }
        }
    }
}

/// `over` laid on `under`; all within 0 to 255.
fn mix(under: u32, over: u32, opacity: u32) -> u32 {
    (under * (255 - opacity) + over * opacity + 127) / 255
}

/// Lays plate and ink on a pixel whose last channel is its opacity.
fn paint_over_alpha<const N: usize>(pixel: &mut [u8; N], ink: u8) {
    let Some((opacity, colours)) = pixel.split_last_mut() else { return };
    for (over, by) in [(0, PLATE_OPACITY), (255, u32::from(ink))] {
        let under = u32::from(*opacity);
        let together = mix(under, 255, by);
        if together == 0 {
            continue;
        }
        // What shows of the picture: its own opacity through the layer's transparency.
        let shows = under * (255 - by) / 255;
        for value in colours.iter_mut() {
            let mixed = (u32::from(*value) * shows + over * (together - shows) + together / 2) / together;
            *value = mixed.min(255) as u8;
        }
        *opacity = together.min(255) as u8;
    }
}

/// The text's outlines, side by side.
struct Line {
    glyphs: Vec<OutlinedGlyph>,
    ink: u32,
}

impl Line {
    /// The smallest line whose statement has that much ink; `None` where nothing would be drawn.
    fn of_ink(text: &str, ink: u32) -> Option<Self> {
        let lowest = text
            .chars()
            .filter(|c| STATEMENT.contains(*c))
            .filter_map(|c| font().outline_glyph(font().glyph_id(c).with_scale(1000.0)))
            .map(|glyph| glyph.px_bounds().height())
            .fold(f32::INFINITY, f32::min);
        if !lowest.is_finite() || lowest < 1.0 {
            return None;
        }
        let computed = ink as f32 * 1000.0 / lowest;
        (0..MAX_STEPS)
            .map(|step| Self::at(text, computed + step as f32 / 4.0))
            .find(|(_, lowest)| *lowest >= ink)
            .map(|(line, _)| line)
    }

    /// The line at a scale, and the least ink of its statement.
    fn at(text: &str, scale: f32) -> (Self, u32) {
        let scale = PxScale::from(scale);
        let scaled = font().as_scaled(scale);
        let (mut glyphs, mut pen, mut lowest) = (Vec::new(), 0.0, u32::MAX);
        for c in text.chars() {
            let id = font().glyph_id(c);
            if let Some(glyph) = font().outline_glyph(id.with_scale_and_position(scale, point(pen, 0.0))) {
                if STATEMENT.contains(c) {
                    lowest = lowest.min(inked_rows(&glyph));
                }
                glyphs.push(glyph);
            }
            pen += scaled.h_advance(id);
        }
        (Self { glyphs, ink: lowest }, lowest)
    }

    /// The line with room round it.
    fn on_plate(&self, margin: u32) -> Stamp {
        let bounds: Vec<_> = self.glyphs.iter().map(OutlinedGlyph::px_bounds).collect();
        let edge = |of: fn(&ab_glyph::Rect) -> f32, better: fn(f32, f32) -> f32| {
            bounds.iter().map(of).reduce(better).unwrap_or(0.0)
        };
        let (left, top) = (edge(|b| b.min.x, f32::min), edge(|b| b.min.y, f32::min));
        let (right, bottom) = (edge(|b| b.max.x, f32::max), edge(|b| b.max.y, f32::max));
        let room = self.ink.div_ceil(4).max(2);
        let (width, height) = ((right - left) as u32 + 2 * room, (bottom - top) as u32 + 2 * room);
        let mut ink = vec![0; width as usize * height as usize];
        for (glyph, bounds) in self.glyphs.iter().zip(&bounds) {
            let (x, y) = ((bounds.min.x - left) as u32 + room, (bounds.min.y - top) as u32 + room);
            glyph.draw(|dx, dy, covered| {
                let at = (y + dy) as usize * width as usize + (x + dx) as usize;
                if let Some(ink) = ink.get_mut(at) {
                    *ink = (*ink).max((covered.clamp(0.0, 1.0) * 255.0 + 0.5) as u8);
                }
            });
        }
        Stamp { width, height, margin, ink }
    }
}

/// Rows from the first to the last that has a pixel at least half covered.
fn inked_rows(glyph: &OutlinedGlyph) -> u32 {
    let (mut first, mut last) = (u32::MAX, 0);
    glyph.draw(|_, row, covered| {
        if covered >= 0.5 {
            first = first.min(row);
            last = last.max(row);
        }
    });
    if first == u32::MAX { 0 } else { last - first + 1 }
}

#[cfg(test)]
#[path = "stamp_tests.rs"]
mod tests;
