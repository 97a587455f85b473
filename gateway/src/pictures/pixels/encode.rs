//! From a canvas to a file of a format, without any metadata.

use std::borrow::Cow;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, ImageEncoder};
use webp::{PixelLayout, WebPConfig};

use crate::pictures::container::Kind;
use crate::pictures::{Encoding, PictureError};

const JPEG_QUALITY: u8 = 90;
const WEBP_QUALITY: u8 = 80;
/// libwebp's own default between speed (0) and size (6).
const WEBP_METHOD: i32 = 4;
/// The format's field has 14 bits.
const WEBP_MAX_EDGE: u32 = 16_383;

pub(in crate::pictures) fn encode(
    canvas: &DynamicImage,
    kind: Kind,
    encoding: Encoding,
) -> Result<Vec<u8>, PictureError> {
    match kind {
        Kind::Png => png(canvas),
        Kind::Jpeg => jpeg(canvas, encoding.quality.unwrap_or(JPEG_QUALITY)),
        Kind::Webp => webp(canvas, encoding),
        Kind::Gif => Err(PictureError::Unsupported("writing GIF")),
    }
}

/// The fast settings lose nothing here: on photographs and noise they are no larger than the slow ones
/// (docs/BENCHMARKS.md).
fn png(canvas: &DynamicImage) -> Result<Vec<u8>, PictureError> {
    let mut file = Vec::with_capacity(canvas.as_bytes().len() / 2 + 1024);
    PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Adaptive)
        .write_image(canvas.as_bytes(), canvas.width(), canvas.height(), canvas.color().into())
        .map_err(|error| PictureError::Encode(error.to_string()))?;
    Ok(file)
}

fn jpeg(canvas: &DynamicImage, quality: u8) -> Result<Vec<u8>, PictureError> {
    let (Ok(width), Ok(height)) = (u16::try_from(canvas.width()), u16::try_from(canvas.height())) else {
        return Err(PictureError::TooLarge("a side for JPEG"));
    };
    let opaque = on_white(canvas);
    let colours = match *opaque {
        DynamicImage::ImageLuma8(_) => jpeg_encoder::ColorType::Luma,
        _ => jpeg_encoder::ColorType::Rgb,
    };
    let mut file = Vec::with_capacity(opaque.as_bytes().len() / 8 + 1024);
    jpeg_encoder::Encoder::new(&mut file, quality)
        .encode(opaque.as_bytes(), width, height, colours)
        .map_err(|error| PictureError::Encode(error.to_string()))?;
    Ok(file)
}

fn webp(canvas: &DynamicImage, encoding: Encoding) -> Result<Vec<u8>, PictureError> {
    if canvas.width().max(canvas.height()) > WEBP_MAX_EDGE {
        return Err(PictureError::TooLarge("a side for WebP"));
    }
    let mut config = WebPConfig::new().map_err(|()| PictureError::Encode("libwebp's version".to_owned()))?;
    config.method = WEBP_METHOD;
    config.lossless = encoding.lossless.into();
    config.quality = match encoding.lossless {
        true => LOSSLESS_EFFORT,
        false => encoding.quality.unwrap_or(WEBP_QUALITY).into(),
    };
    let coloured: Cow<'_, DynamicImage> = match canvas {
        DynamicImage::ImageLuma8(_) => Cow::Owned(DynamicImage::ImageRgb8(canvas.to_rgb8())),
        DynamicImage::ImageLumaA8(_) => Cow::Owned(DynamicImage::ImageRgba8(canvas.to_rgba8())),
        _ => Cow::Borrowed(canvas),
    };
    let layout = if coloured.color().has_alpha() { PixelLayout::Rgba } else { PixelLayout::Rgb };
    webp::Encoder::new(coloured.as_bytes(), layout, coloured.width(), coloured.height())
        .encode_advanced(&config)
        .map(|file| file.to_vec())
        .map_err(|error| PictureError::Encode(format!("libwebp: {error:?}")))
}

/// What libwebp's quality means without loss: effort.
const LOSSLESS_EFFORT: f32 = 25.0;

/// The canvas without transparency, as it looks on white.
pub(super) fn on_white(canvas: &DynamicImage) -> Cow<'_, DynamicImage> {
    match canvas {
        DynamicImage::ImageLumaA8(pixels) => {
            let mut opaque = image::GrayImage::new(pixels.width(), pixels.height());
            for (to, from) in opaque.pixels_mut().zip(pixels.pixels()) {
                to.0 = [over_white(from.0[0], from.0[1])];
            }
            Cow::Owned(DynamicImage::ImageLuma8(opaque))
        }
        DynamicImage::ImageRgba8(pixels) => {
            let mut opaque = image::RgbImage::new(pixels.width(), pixels.height());
            for (to, from) in opaque.pixels_mut().zip(pixels.pixels()) {
                let [red, green, blue, alpha] = from.0;
                to.0 = [over_white(red, alpha), over_white(green, alpha), over_white(blue, alpha)];
            }
            Cow::Owned(DynamicImage::ImageRgb8(opaque))
        }
        _ => Cow::Borrowed(canvas),
    }
}

fn over_white(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    u8::try_from((value * alpha + 255 * (255 - alpha) + 127) / 255).unwrap_or(u8::MAX)
}
