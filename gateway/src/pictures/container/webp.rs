//! WebP: a RIFF container of chunks.

use image::metadata::Orientation;

use super::{
    Inherited, Keep, MAX_PARTS, MAX_PROFILE_BYTES, Statements, exif, hides_label, le16, le24, le32,
    png::Shape,
};
use crate::pictures::PictureError;

const HEAD: usize = 12;
/// Flags of `VP8X`.
const HAS_ICC: u8 = 0x20;
const HAS_ALPHA: u8 = 0x10;
const HAS_EXIF: u8 = 0x08;
const HAS_XMP: u8 = 0x04;
const HAS_ANIMATION: u8 = 0x02;

/// One chunk of a file.
#[derive(Debug, Clone, Copy)]
struct Chunk<'a> {
    kind: [u8; 4],
    data: &'a [u8],
}

/// The chunks of the file and how many bytes follow its end.
fn chunks(bytes: &[u8]) -> Result<(Vec<Chunk<'_>>, usize), PictureError> {
    const DAMAGED: PictureError = PictureError::Damaged("no WebP header");
    if bytes.get(..4) != Some(b"RIFF") || bytes.get(8..HEAD) != Some(b"WEBP") {
        return Err(DAMAGED);
    }
    let end = le32(bytes, 4).ok_or(DAMAGED)? as usize + 8;
    let body = bytes.get(HEAD..end).ok_or(PictureError::Damaged("a WebP file is cut off"))?;
    Ok((split(body)?, bytes.len() - end))
}

fn split(mut body: &[u8]) -> Result<Vec<Chunk<'_>>, PictureError> {
    let mut chunks = Vec::new();
    while !body.is_empty() {
        if chunks.len() == MAX_PARTS {
            return Err(PictureError::TooLarge("too many WebP chunks"));
        }
        let (chunk, rest) = first_chunk(body).ok_or(PictureError::Damaged("a WebP chunk is cut off"))?;
        chunks.push(chunk);
        body = rest;
    }
    Ok(chunks)
}

fn first_chunk(body: &[u8]) -> Option<(Chunk<'_>, &[u8])> {
    let kind = *body.first_chunk()?;
    let length = le32(body, 4)? as usize;
    let data = body.get(8..length.checked_add(8)?)?;
    // Padded to even length; some writers leave the last padding out.
    let rest = body.get(8 + length + length % 2..).unwrap_or_default();
    Some((Chunk { kind, data }, rest))
}

fn is_picture(kind: [u8; 4]) -> bool {
    matches!(&kind, b"VP8 " | b"VP8L" | b"ALPH" | b"ANIM" | b"ANMF" | b"ICCP")
}

fn stays(chunk: &Chunk<'_>, keep: Keep) -> bool {
    match keep {
        _ if &chunk.kind == b"VP8X" => false, // written anew
        Keep::All => true,
        Keep::AllButLabels => match &chunk.kind {
            b"XMP " => false,
            b"EXIF" => !hides_label(exif_block(chunk.data)),
            _ => true,
        },
        Keep::Picture => is_picture(chunk.kind),
    }
}

/// Some writers put JPEG's prefix before the block.
fn exif_block(data: &[u8]) -> &[u8] {
    data.strip_prefix(b"Exif\0\0").unwrap_or(data)
}

pub(super) fn rewrite(bytes: &[u8], keep: Keep, xmp: Option<&str>) -> Result<Vec<u8>, PictureError> {
    let (old, _) = chunks(bytes)?;
    let turned = old
        .iter()
        .find(|chunk| &chunk.kind == b"EXIF" && !stays(chunk, keep))
        .and_then(|chunk| exif::stripped(exif_block(chunk.data)));
    let frames: Vec<Vec<u8>> = match keep {
        Keep::Picture => {
            old.iter().filter(|c| &c.kind == b"ANMF").map(bare_frame).collect::<Result<_, _>>()?
        }
        _ => Vec::new(),
    };
    let mut frames = frames.iter();
    let mut parts: Vec<Chunk<'_>> = Vec::with_capacity(old.len() + 2);
    for chunk in old.iter().filter(|chunk| stays(chunk, keep)) {
        match (&chunk.kind, keep) {
            (b"ANMF", Keep::Picture) => {
                parts.extend(frames.next().map(|data| Chunk { kind: chunk.kind, data }));
            }
            _ => parts.push(*chunk),
        }
    }
    parts.extend(turned.as_deref().map(|data| Chunk { kind: *b"EXIF", data }));
    parts.extend(xmp.map(|xmp| Chunk { kind: *b"XMP ", data: xmp.as_bytes() }));
    write(&extended(&old)?, &parts)
}

/// A frame of an animation with nothing in it but the picture.
fn bare_frame(frame: &Chunk<'_>) -> Result<Vec<u8>, PictureError> {
    let (head, body) = frame.data.split_at_checked(16).ok_or(PictureError::Damaged("a short WebP frame"))?;
    let mut new = head.to_vec();
    for chunk in split(body)?.iter().filter(|chunk| matches!(&chunk.kind, b"VP8 " | b"VP8L" | b"ALPH")) {
        push(&mut new, chunk)?;
    }
    Ok(new)
}

/// Canvas size, whether there is transparency, whether it moves.
#[derive(Debug, Clone, Copy)]
struct Extended {
    width: u32,
    height: u32,
    alpha: bool,
    animated: bool,
}

fn extended(chunks: &[Chunk<'_>]) -> Result<Extended, PictureError> {
    const DAMAGED: PictureError = PictureError::Damaged("a WebP file without a picture");
    let first = chunks.first().ok_or(DAMAGED)?;
    if &first.kind != b"VP8X" {
        let (width, height, alpha) = bitstream(first).ok_or(DAMAGED)?;
        return Ok(Extended { width, height, alpha, animated: false });
    }
    let (Some(flags), Some(width), Some(height)) =
        (first.data.first(), le24(first.data, 4), le24(first.data, 7))
    else {
        return Err(DAMAGED);
    };
    Ok(Extended {
        width: width + 1,
        height: height + 1,
        alpha: flags & HAS_ALPHA != 0,
        animated: flags & HAS_ANIMATION != 0,
    })
}

/// Width, height and transparency as a picture's own data tell them.
fn bitstream(chunk: &Chunk<'_>) -> Option<(u32, u32, bool)> {
    match &chunk.kind {
        b"VP8 " => {
            // A key frame begins with three bytes of tag and a start code.
            if chunk.data.get(3..6)? != [0x9d, 0x01, 0x2a] {
                return None;
            }
            let side = |at| Some(u32::from(le16(chunk.data, at)? & 0x3fff));
            Some((side(6)?, side(8)?, false))
        }
        b"VP8L" => {
            let bits = le32(chunk.data, 1).filter(|_| chunk.data.first() == Some(&0x2f))?;
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1, bits >> 28 & 1 == 1))
        }
        _ => None,
    }
}

/// The order that the format asks for: profile, animation or picture, EXIF, XMP, the unknown.
fn rank(kind: [u8; 4]) -> u8 {
    match &kind {
        b"ICCP" => 0,
        b"ANIM" => 1,
        b"ANMF" | b"ALPH" | b"VP8 " | b"VP8L" => 2,
        b"EXIF" => 3,
        b"XMP " => 4,
        _ => 5,
    }
}

fn write(extended: &Extended, parts: &[Chunk<'_>]) -> Result<Vec<u8>, PictureError> {
    let mut parts = parts.to_vec();
    parts.sort_by_key(|part| rank(part.kind));
    let has = |kind: &[u8; 4], flag: u8| if parts.iter().any(|p| &p.kind == kind) { flag } else { 0 };
    let flags = has(b"ICCP", HAS_ICC)
        | has(b"EXIF", HAS_EXIF)
        | has(b"XMP ", HAS_XMP)
        | if extended.alpha { HAS_ALPHA } else { 0 }
        | if extended.animated { HAS_ANIMATION } else { 0 };
    let length: usize = parts.iter().map(|part| part.data.len() + 9).sum();
    let mut new = Vec::with_capacity(length + 64);
    new.extend_from_slice(b"RIFF\0\0\0\0WEBP");
    if flags & !HAS_ALPHA != 0 || parts.iter().any(|part| !matches!(&part.kind, b"VP8 " | b"VP8L")) {
        let mut head = vec![flags, 0, 0, 0];
        head.extend_from_slice(&(extended.width - 1).to_le_bytes()[..3]);
        head.extend_from_slice(&(extended.height - 1).to_le_bytes()[..3]);
        push(&mut new, &Chunk { kind: *b"VP8X", data: &head })?;
    }
    for part in &parts {
        push(&mut new, part)?;
    }
    let size = u32::try_from(new.len() - 8).map_err(|_| PictureError::TooLarge("a WebP file"))?;
    new[4..8].copy_from_slice(&size.to_le_bytes());
    Ok(new)
}

fn push(new: &mut Vec<u8>, chunk: &Chunk<'_>) -> Result<(), PictureError> {
    let length = u32::try_from(chunk.data.len()).map_err(|_| PictureError::TooLarge("a WebP chunk"))?;
    new.extend_from_slice(&chunk.kind);
    new.extend_from_slice(&length.to_le_bytes());
    new.extend_from_slice(chunk.data);
    if length % 2 == 1 {
        new.push(0);
    }
    Ok(())
}

pub(super) fn inherited(bytes: &[u8], keep: Keep) -> Result<Inherited, PictureError> {
    let mut inherited = Inherited::default();
    for chunk in chunks(bytes)?.0 {
        match &chunk.kind {
            b"ICCP" if chunk.data.len() > MAX_PROFILE_BYTES => {
                return Err(PictureError::TooLarge("the colour profile"));
            }
            b"ICCP" => inherited.icc = Some(chunk.data.to_vec()),
            b"EXIF" if stays(&chunk, keep) => inherited.exif = Some(exif::upright(exif_block(chunk.data))),
            b"XMP " if stays(&chunk, keep) => inherited.xmp = Some(chunk.data.to_vec()),
            kind if !is_picture(*kind) && stays(&chunk, keep) => push(&mut inherited.own, &chunk)?,
            _ => {}
        }
    }
    Ok(inherited)
}

pub(super) fn dress(
    encoded: Vec<u8>,
    inherited: &Inherited,
    xmp: Option<&[u8]>,
) -> Result<Vec<u8>, PictureError> {
    if inherited.icc.is_none() && inherited.exif.is_none() && inherited.own.is_empty() && xmp.is_none() {
        return Ok(encoded);
    }
    let (old, _) = chunks(&encoded)?;
    let mut parts: Vec<Chunk<'_>> = old.iter().filter(|c| &c.kind != b"VP8X").copied().collect();
    let named = [(b"ICCP", inherited.icc.as_deref()), (b"EXIF", inherited.exif.as_deref()), (b"XMP ", xmp)];
    parts.extend(named.iter().filter_map(|(kind, data)| data.map(|data| Chunk { kind: **kind, data })));
    parts.extend(split(&inherited.own)?);
    write(&extended(&old)?, &parts)
}

pub(super) fn statements(bytes: &[u8]) -> Result<Statements, PictureError> {
    let (chunks, trailing) = chunks(bytes)?;
    let mut found = Statements { private: trailing > 0, ..Statements::default() };
    let flags =
        chunks.first().filter(|c| &c.kind == b"VP8X").and_then(|c| c.data.first()).copied().unwrap_or(0);
    for chunk in &chunks {
        match &chunk.kind {
            // A reader that goes by the flags would not see it.
            b"XMP " if flags & HAS_XMP == 0 => found.xmp.push(Vec::new()),
            b"XMP " => found.xmp.push(chunk.data.to_vec()),
            b"EXIF" => {
                let exif = exif_block(chunk.data);
                found.private |= exif::stripped(exif).is_none_or(|stripped| stripped != chunk.data);
                found.exif.push(exif.to_vec());
            }
            b"VP8X" => {}
            kind => found.private |= !is_picture(*kind),
        }
    }
    Ok(found)
}

/// What the file says about itself.
pub(in crate::pictures) struct Frame {
    pub(in crate::pictures) shape: Shape,
    /// Whether the (first) picture is coded without loss.
    pub(in crate::pictures) lossless: bool,
}

pub(in crate::pictures) fn frame(bytes: &[u8]) -> Result<Frame, PictureError> {
    const DAMAGED: PictureError = PictureError::Damaged("a WebP file without a picture");
    let (chunks, _) = chunks(bytes)?;
    let extended = extended(&chunks)?;
    let frames = chunks.iter().filter(|chunk| &chunk.kind == b"ANMF");
    let count = u32::try_from(frames.clone().count()).unwrap_or(u32::MAX);
    let inner = match frames.clone().next().filter(|_| extended.animated) {
        Some(frame) => split(frame.data.get(16..).unwrap_or_default())?,
        None => chunks.clone(),
    };
    let picture = inner.iter().find(|chunk| matches!(&chunk.kind, b"VP8 " | b"VP8L")).ok_or(DAMAGED)?;
    let (width, height, _) = bitstream(picture).ok_or(DAMAGED)?;
    // A still fills its canvas; a frame of an animation lies within it.
    let fits = width <= extended.width && height <= extended.height;
    if !fits || (!extended.animated && (width, height) != (extended.width, extended.height)) {
        return Err(PictureError::Damaged("a WebP file of two sizes"));
    }
    let exif = chunks.iter().find(|chunk| &chunk.kind == b"EXIF");
    Ok(Frame {
        shape: Shape {
            width: extended.width,
            height: extended.height,
            frames: if extended.animated { count.max(2) } else { 1 },
            orientation: exif.map_or(Orientation::NoTransforms, |c| exif::orientation(exif_block(c.data))),
        },
        lossless: &picture.kind == b"VP8L",
    })
}
