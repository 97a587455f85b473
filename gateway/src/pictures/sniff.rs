//! Media types by first bytes. The one place that looks at them.

/// How many first bytes tell a type.
pub const SNIFF_BYTES: usize = 64;

/// Starts that tell by themselves.
const STARTS: [(&[u8], &str); 14] = [
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"glTF", "model/gltf-binary"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"\x76\x2f\x31\x01", "image/x-exr"),
    (b"BM", "image/bmp"),
];

/// Media type by the first [`SNIFF_BYTES`] (fewer where the file is shorter); `None` where they do not tell.
/// `text/plain` is the weakest answer: nothing but text was seen.
#[must_use]
pub fn sniff(head: &[u8]) -> Option<&'static str> {
    let head = &head[..head.len().min(SNIFF_BYTES)];
    let start = STARTS.iter().find(|(start, _)| head.starts_with(start)).map(|(_, kind)| *kind);
    match start {
        Some("image/bmp") => is_bitmap(head).then_some("image/bmp"),
        Some(kind) => Some(kind),
        None => riff(head).or_else(|| boxed(head)).or_else(|| matroska(head)).or_else(|| mpeg_frame(head)),
    }
    .or_else(|| is_text(head).then_some("text/plain"))
}

/// The type to store a file under: what its bytes tell, else the type its name claims. Text may be any textual type.
#[must_use]
pub fn stored_type<'a>(head: &[u8], named: &'a str) -> &'a str {
    match sniff(head) {
        Some("text/plain") | None => named,
        Some(kind) => kind,
    }
}

/// Width and height in pixels, where the first [`SNIFF_BYTES`] of a picture tell them: PNG, GIF and WebP do, JPEG does
/// only further on.
#[must_use]
pub fn size(head: &[u8]) -> Option<(u32, u32)> {
    let little = |at: usize, bytes: usize| {
        let bytes = head.get(at..at + bytes)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    };
    let big = |at: usize| head.get(at..at + 4)?.first_chunk().map(|four| u32::from_be_bytes(*four));
    let (width, height) = match sniff(head)? {
        "image/png" if head.get(12..16) == Some(b"IHDR") => (big(16)?, big(20)?),
        "image/gif" => (little(6, 2)?, little(8, 2)?),
        "image/webp" => match head.get(12..16)? {
            b"VP8X" => (little(24, 3)? + 1, little(27, 3)? + 1),
            b"VP8L" if head.get(20) == Some(&0x2f) => {
                let bits = little(21, 4)?;
                ((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1)
            }
            b"VP8 " if head.get(23..26) == Some(b"\x9d\x01\x2a") => {
                (little(26, 2)? & 0x3fff, little(28, 2)? & 0x3fff)
            }
            _ => return None,
        },
        _ => return None,
    };
    (width > 0 && height > 0).then_some((width, height))
}

fn is_bitmap(head: &[u8]) -> bool {
    // Two reserved fields are zero, and the header of the picture is of a known length.
    head.get(6..10) == Some(&[0; 4])
        && matches!(head.get(14..18), Some([12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0]))
}

fn riff(head: &[u8]) -> Option<&'static str> {
    if !head.starts_with(b"RIFF") {
        return None;
    }
    match head.get(8..12)? {
        b"WEBP" => Some("image/webp"),
        b"WAVE" => Some("audio/wav"),
        b"AVI " => Some("video/x-msvideo"),
        _ => None,
    }
}

/// ISO base media: the first box is `ftyp`, its major brand tells.
fn boxed(head: &[u8]) -> Option<&'static str> {
    if head.get(4..8) != Some(b"ftyp") {
        return None;
    }
    Some(match head.get(8..12)? {
        b"avif" | b"avis" => "image/avif",
        b"heic" | b"heix" | b"hevc" | b"hevx" | b"heim" | b"heis" => "image/heic",
        b"mif1" | b"msf1" => compatible(head),
        b"qt  " => "video/quicktime",
        b"M4A " | b"M4B " => "audio/mp4",
        _ => "video/mp4",
    })
}

/// The generic picture brand: the compatible brands say whose.
fn compatible(head: &[u8]) -> &'static str {
    let brands = head.get(16..).unwrap_or_default();
    if brands.chunks_exact(4).any(|brand| brand == b"avif") { "image/avif" } else { "image/heif" }
}

/// EBML: the document type within the first bytes tells WebM from Matroska.
fn matroska(head: &[u8]) -> Option<&'static str> {
    let rest = head.strip_prefix(b"\x1a\x45\xdf\xa3")?;
    let is_webm = rest.windows(4).any(|word| word == b"webm");
    Some(if is_webm { "video/webm" } else { "video/x-matroska" })
}

/// An MPEG audio frame without a tag before it, or ADTS.
fn mpeg_frame(head: &[u8]) -> Option<&'static str> {
    let [0xff, second, third, ..] = head else { return None };
    let layer = second >> 1 & 3;
    match (second & 0xe0 == 0xe0, second >> 3 & 3, layer) {
        (true, 2 | 3, 0) if second & 0xf6 == 0xf0 => Some("audio/aac"),
        (true, 0 | 2 | 3, 1..=3) if third >> 4 != 15 && third >> 2 & 3 != 3 => Some("audio/mpeg"),
        _ => None,
    }
}

/// UTF-8 without control characters; the last character may be cut off by the end of the head.
fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() && head.len() == SNIFF_BYTES => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.is_empty() && !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\x0c'))
}
