//! Smaller pictures.

use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::DynamicImage;

use crate::pictures::PictureError;

/// The largest size of the same shape within bounds; never larger than the picture, never empty.
pub(in crate::pictures) fn fit(
    (width, height): (u32, u32),
    (max_width, max_height): (u32, u32),
) -> (u32, u32) {
    let (w, h) = (u64::from(width), u64::from(height));
    let (max_w, max_h) = (u64::from(max_width), u64::from(max_height));
    if w <= max_w && h <= max_h {
        return (width, height);
    }
    // Which bound is the tighter one: max_w / w against max_h / h.
    let (new_w, new_h) = if max_w * h <= max_h * w {
        (max_w, (h * max_w + w / 2) / w)
    } else {
        ((w * max_h + h / 2) / h, max_h)
    };
    (u32::try_from(new_w.max(1)).unwrap_or(width), u32::try_from(new_h.max(1)).unwrap_or(height))
}

/// Resizes, with alpha taken into account. One resizer keeps its buffers from picture to picture.
pub(in crate::pictures) fn resize(
    resizer: &mut Resizer,
    canvas: &DynamicImage,
    (width, height): (u32, u32),
    filter: FilterType,
) -> Result<DynamicImage, PictureError> {
    let mut smaller = DynamicImage::new(width, height, canvas.color());
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
    resizer
        .resize(canvas, &mut smaller, &options)
        .map_err(|error| PictureError::Encode(format!("resizing: {error}")))?;
    Ok(smaller)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_keeps_its_shape_and_never_grows() {
        assert_eq!(fit((1024, 1024), (256, 256)), (256, 256));
        assert_eq!(fit((1024, 512), (256, 256)), (256, 128));
        assert_eq!(fit((512, 1024), (256, 256)), (128, 256));
        assert_eq!(fit((100, 50), (256, 256)), (100, 50));
        assert_eq!(fit((16_000, 3), (256, 256)), (256, 1));
        assert_eq!(fit((1000, 500), (u32::MAX, 100)), (200, 100));
    }
}
