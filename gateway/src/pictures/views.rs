//! Pictures as an editor asks for them: small formats, single channels, a mask laid over.

use image::{DynamicImage, GrayImage, RgbaImage};

use super::container::Kind;
use super::pixels::{decode::decode, encode::encode};
use super::{Encoding, Facts, Limits, PictureError};

/// Which channels of a picture are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// The colours.
    Rgb,
    /// The transparency alone.
    Alpha,
}

/// A picture made of another for looking at. It carries no metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// JPEG of this quality, 1 to 100.
    Jpeg(u8),
    /// WebP of this quality, 1 to 100.
    Webp(u8),
    /// PNG of some channels.
    Channel(Channel),
}

impl View {
    /// Its media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Jpeg(_) => "image/jpeg",
            Self::Webp(_) => "image/webp",
            Self::Channel(_) => "image/png",
        }
    }

    /// Makes it.
    ///
    /// # Errors
    /// See [`PictureError`]; what is no picture is `Unsupported`.
    pub fn of(self, bytes: &[u8], limits: &Limits) -> Result<Vec<u8>, PictureError> {
        let canvas = decode(bytes, &facts(bytes, limits)?)?;
        let quality = |quality: u8| Encoding { quality: Some(quality.clamp(1, 100)), ..Encoding::default() };
        match self {
            Self::Jpeg(wanted) => encode(&canvas, Kind::Jpeg, quality(wanted)),
            Self::Webp(wanted) => encode(&canvas, Kind::Webp, quality(wanted)),
            Self::Channel(Channel::Rgb) => {
                encode(&DynamicImage::ImageRgb8(canvas.to_rgb8()), Kind::Png, Encoding::default())
            }
            Self::Channel(Channel::Alpha) => encode(&alpha_of(&canvas), Kind::Png, Encoding::default()),
        }
    }
}

fn facts(bytes: &[u8], limits: &Limits) -> Result<Facts, PictureError> {
    Facts::read(bytes, "application/octet-stream", limits)
}

/// Black, as transparent as the picture.
fn alpha_of(canvas: &DynamicImage) -> DynamicImage {
    let mut alone = canvas.to_rgba8();
    for pixel in alone.pixels_mut() {
        let [.., alpha] = pixel.0;
        pixel.0 = [0, 0, 0, alpha];
    }
    DynamicImage::ImageRgba8(alone)
}

/// A picture with the transparency of another of the same size, as PNG.
///
/// # Errors
/// See [`PictureError`]; sizes that differ are `Damaged`.
pub fn with_mask(original: &[u8], mask: &[u8], limits: &Limits) -> Result<Vec<u8>, PictureError> {
    let canvas = decode(original, &facts(original, limits)?)?.to_rgba8();
    let mask = decode(mask, &facts(mask, limits)?)?.to_rgba8();
    if canvas.dimensions() != mask.dimensions() {
        return Err(PictureError::Damaged("the mask is of another size than the picture"));
    }
    encode(&DynamicImage::ImageRgba8(masked(canvas, &alpha(&mask))), Kind::Png, Encoding::default())
}

fn alpha(mask: &RgbaImage) -> GrayImage {
    let mut alpha = GrayImage::new(mask.width(), mask.height());
    for (to, from) in alpha.pixels_mut().zip(mask.pixels()) {
        to.0 = [from.0[3]];
    }
    alpha
}

fn masked(mut canvas: RgbaImage, alpha: &GrayImage) -> RgbaImage {
    for (pixel, alpha) in canvas.pixels_mut().zip(alpha.pixels()) {
        pixel.0[3] = alpha.0[0];
    }
    canvas
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use super::*;

    fn png(pixel: [u8; 4]) -> Vec<u8> {
        let canvas = RgbaImage::from_pixel(4, 3, image::Rgba(pixel));
        encode(&DynamicImage::ImageRgba8(canvas), Kind::Png, Encoding::default()).unwrap()
    }

    fn pixel(bytes: &[u8]) -> [u8; 4] {
        let limits = Limits::default();
        decode(bytes, &facts(bytes, &limits).unwrap()).unwrap().to_rgba8().get_pixel(1, 1).0
    }

    #[test]
    fn each_view_shows_what_it_says() {
        let limits = Limits::default();
        let bytes = png([200, 100, 50, 128]);
        let rgb = View::Channel(Channel::Rgb).of(&bytes, &limits).unwrap();
        assert_eq!(pixel(&rgb), [200, 100, 50, 255]);
        let alpha = View::Channel(Channel::Alpha).of(&bytes, &limits).unwrap();
        assert_eq!(pixel(&alpha), [0, 0, 0, 128]);
        assert!(View::Webp(90).of(&bytes, &limits).unwrap().starts_with(b"RIFF"));
        assert!(View::Jpeg(50).of(&bytes, &limits).unwrap().starts_with(b"\xff\xd8"));
        assert!(View::Jpeg(50).of(b"no picture", &limits).is_err());
    }

    #[test]
    fn a_mask_gives_its_transparency_and_nothing_else() {
        let masked = with_mask(&png([9, 8, 7, 255]), &png([1, 2, 3, 40]), &Limits::default()).unwrap();
        assert_eq!(pixel(&masked), [9, 8, 7, 40]);
    }
}
