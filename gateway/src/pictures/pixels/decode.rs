//! From bytes to a canvas: 8 bits a channel, grey or RGB, with or without alpha, upright.

use std::io::Cursor;

use image::codecs::{jpeg::JpegDecoder, png::PngDecoder, webp::WebPDecoder};
use image::{DynamicImage, ImageDecoder};

use crate::pictures::container::{self, Kind};
use crate::pictures::{Facts, PictureError};

/// Working memory of a decoder beside the picture.
const SLACK_BYTES: u64 = 16 << 20;
/// Bytes of a pixel of four 16-bit channels.
const MAX_PIXEL_BYTES: u64 = 8;

/// Decodes the (first) picture of a file whose facts were read, and thereby checked against the limits.
pub(in crate::pictures) fn decode(bytes: &[u8], facts: &Facts) -> Result<DynamicImage, PictureError> {
    let limits = bounds(facts);
    let decoded = match facts.kind() {
        // Without metadata: the decoders would unpack texts and profiles, and stumble over what they cannot read.
        Some(Kind::Png) => {
            let bare = container::png::bare(bytes)?;
            PngDecoder::with_limits(Cursor::new(bare), limits).and_then(DynamicImage::from_decoder)
        }
        Some(Kind::Jpeg) => {
            let bare = container::jpeg::bare(bytes)?;
            JpegDecoder::new(Cursor::new(bare)).and_then(|decoder| within(decoder, limits))
        }
        Some(Kind::Webp) => WebPDecoder::new(Cursor::new(bytes)).and_then(|decoder| within(decoder, limits)),
        Some(Kind::Gif) | None => return Err(PictureError::Unsupported("pixels of this type")),
    };
    let mut canvas = eight_bits(decoded.map_err(PictureError::Undecodable)?);
    if (canvas.width(), canvas.height()) != (facts.width, facts.height) {
        return Err(PictureError::Damaged("the picture is of another size than its header says"));
    }
    canvas.apply_orientation(facts.orientation);
    Ok(canvas)
}

fn bounds(facts: &Facts) -> image::Limits {
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(facts.width);
    limits.max_image_height = Some(facts.height);
    let pixels = u64::from(facts.width) * u64::from(facts.height);
    limits.max_alloc = Some(pixels.saturating_mul(MAX_PIXEL_BYTES).saturating_add(SLACK_BYTES));
    limits
}

fn within(mut decoder: impl ImageDecoder, limits: image::Limits) -> image::ImageResult<DynamicImage> {
    decoder.set_limits(limits)?;
    DynamicImage::from_decoder(decoder)
}

fn eight_bits(picture: DynamicImage) -> DynamicImage {
    match picture {
        DynamicImage::ImageLuma16(_) => DynamicImage::ImageLuma8(picture.to_luma8()),
        DynamicImage::ImageLumaA16(_) => DynamicImage::ImageLumaA8(picture.to_luma_alpha8()),
        DynamicImage::ImageRgb16(_) | DynamicImage::ImageRgb32F(_) => {
            DynamicImage::ImageRgb8(picture.to_rgb8())
        }
        DynamicImage::ImageRgba16(_) | DynamicImage::ImageRgba32F(_) => {
            DynamicImage::ImageRgba8(picture.to_rgba8())
        }
        picture => picture,
    }
}
