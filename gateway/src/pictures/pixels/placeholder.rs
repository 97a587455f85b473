//! A BlurHash: a few dozen characters that a client draws until the picture is there.

use fast_image_resize::{FilterType, Resizer};
use image::DynamicImage;

use super::{encode::on_white, resize};
use crate::pictures::PictureError;

/// Long edge of the picture that is hashed: more changes nothing that is seen.
const EDGE: u32 = 32;

/// The hash, of four components along the long side and three along the other.
pub(in crate::pictures) fn blurhash(
    resizer: &mut Resizer,
    canvas: &DynamicImage,
) -> Result<String, PictureError> {
    let size = resize::fit((canvas.width(), canvas.height()), (EDGE, EDGE));
    let small = resize::resize(resizer, canvas, size, FilterType::Bilinear)?;
    let pixels = on_white(&small).to_rgba8();
    let (across, down) = if size.0 >= size.1 { (4, 3) } else { (3, 4) };
    blurhash::encode(across, down, size.0, size.1, pixels.as_raw())
        .map_err(|error| PictureError::Encode(format!("blurhash: {error}")))
}
