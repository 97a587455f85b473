//! The little of EXIF that matters: the orientation.

use image::metadata::Orientation;

/// What the block says about orientation; upright where it says nothing sensible.
pub(in crate::pictures) fn orientation(exif: &[u8]) -> Orientation {
    Orientation::from_exif_chunk(exif).unwrap_or(Orientation::NoTransforms)
}

/// The block with the orientation reset, for pixels that were turned.
pub(super) fn upright(exif: &[u8]) -> Vec<u8> {
    let mut exif = exif.to_vec();
    let _ = Orientation::remove_from_exif_chunk(&mut exif); // what it was does not matter here
    exif
}

/// A block that says nothing but the orientation.
pub(super) fn only(orientation: Orientation) -> Vec<u8> {
    let mut block = Vec::with_capacity(26);
    block.extend_from_slice(b"MM\0*\0\0\0\x08"); // big endian, the directory follows
    block.extend_from_slice(&[0, 1]); // one entry
    block.extend_from_slice(&[0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation.to_exif(), 0, 0]); // SHORT, once
    block.extend_from_slice(&[0; 4]); // no further directory
    block
}

/// What stays of a block: nothing, or the orientation where it is not upright.
pub(super) fn stripped(exif: &[u8]) -> Option<Vec<u8>> {
    match orientation(exif) {
        Orientation::NoTransforms => None,
        turned => Some(only(turned)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_ours_is_read_back() {
        for value in 2..=8 {
            let turned = Orientation::from_exif(value).unwrap_or(Orientation::NoTransforms);
            assert_eq!(orientation(&only(turned)), turned);
            assert_eq!(orientation(&upright(&only(turned))), Orientation::NoTransforms);
        }
    }
}
