//! What a file is by its own bytes, whatever anybody says of it.

/// PNG: signature, then a chunk `IHDR` of thirteen bytes that begins with width and height.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
/// JPEG: a start of image, then a marker.
const JPEG: &[u8] = b"\xff\xd8\xff";

/// A kind of picture that both the check (FACTS §8) and the fleet take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhotoKind {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
}

impl PhotoKind {
    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
        }
    }
}

/// What the head of a picture says. Its body is not looked at: who decodes it has bounds of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhotoFile {
    /// Its kind.
    pub kind: PhotoKind,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

impl PhotoFile {
    /// Reads the head of a file; `None` when it is no picture that we take.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (kind, width, height) = if let Some(rest) = bytes.strip_prefix(PNG) {
            (PhotoKind::Png, number(rest.get(..4)?), number(rest.get(4..8)?))
        } else if bytes.starts_with(JPEG) {
            let frame = jpeg_frame(bytes)?;
            (PhotoKind::Jpeg, number(frame.get(3..5)?), number(frame.get(1..3)?))
        } else {
            return None;
        };
        (width > 0 && height > 0).then_some(Self { kind, width, height })
    }

    /// How many there are.
    pub fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

/// Most significant byte first.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| (number << 8) | u32::from(*byte))
}

/// The first start of frame behind its length: precision, height, width. It stands before the first scan.
fn jpeg_frame(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(2..)?;
    loop {
        let marker = rest.iter().position(|byte| *byte != 0xff).filter(|fill| *fill > 0)?;
        let kind = *rest.get(marker)?;
        let segment = rest.get(marker + 1..)?;
        let length = usize::try_from(number(segment.get(..2)?)).ok().filter(|length| *length >= 2)?;
        match kind {
            0xc4 | 0xc8 | 0xcc => {} // tables, not frames
            0xc0..=0xcf => return segment.get(2..length),
            0xd0..=0xda => return None,
            _ => {}
        }
        rest = segment.get(length..)?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use super::*;

    const SMALL_PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x04\0\0\0\x03\0\x08\x02";
    /// A segment of an application, a table, then a frame of 640 by 480.
    const SMALL_JPEG: &[u8] =
        b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc4\0\x03x\xff\xc2\0\x0b\x08\x01\xe0\x02\x80\x01\x01\x11\0\xff\xda";

    #[test]
    fn a_picture_is_known_by_its_head() {
        let png = PhotoFile::read(SMALL_PNG).unwrap();
        assert_eq!((png.kind, png.width, png.height), (PhotoKind::Png, 1024, 768));
        let jpeg = PhotoFile::read(SMALL_JPEG).unwrap();
        assert_eq!((jpeg.kind, jpeg.width, jpeg.height), (PhotoKind::Jpeg, 640, 480));
        assert_eq!(jpeg.pixels(), 640 * 480);
    }

    #[test]
    fn what_is_none_or_is_cut_off_is_none_of_ours() {
        for none in
            [&b""[..], b"GIF89a", b"<svg>", b"\xff\xd8\xff", b"RIFF____WEBP", b"\xff\xd8\xff\xda\0\x08"]
        {
            assert_eq!(PhotoFile::read(none), None, "{none:?}");
        }
        for whole in [SMALL_PNG, SMALL_JPEG] {
            for length in 0..20 {
                assert_eq!(PhotoFile::read(&whole[..length]), None, "{length}");
            }
        }
        let empty = [&SMALL_PNG[..16], b"\0\0\0\0\0\0\x03\0"].concat();
        assert_eq!(PhotoFile::read(&empty), None, "without an extent");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_strange_to_be_refused(rest in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let _ = PhotoFile::read(&rest);
            let _ = PhotoFile::read(&[JPEG, &rest].concat());
        }
    }
}
