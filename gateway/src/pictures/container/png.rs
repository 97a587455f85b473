//! PNG: a signature and chunks.

use std::io::Read;

use flate2::read::ZlibDecoder;
use image::metadata::Orientation;

use super::{Inherited, Keep, MAX_PARTS, MAX_PROFILE_BYTES, Statements, be32, exif, hides_label};
use crate::pictures::PictureError;

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const XMP_KEYWORD: &[u8] = b"XML:com.adobe.xmp";
const AIGC_KEYWORD: &[u8] = b"AIGC";
/// Uncompressed text that we look into, at most.
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// One chunk of a file.
#[derive(Debug, Clone, Copy)]
pub(in crate::pictures) struct Chunk<'a> {
    pub(in crate::pictures) kind: [u8; 4],
    pub(in crate::pictures) data: &'a [u8],
    /// With length and checksum.
    whole: &'a [u8],
}

/// The chunks up to `IEND`; what follows is not part of the picture.
pub(in crate::pictures) fn chunks(bytes: &[u8]) -> Result<Vec<Chunk<'_>>, PictureError> {
    let mut rest = bytes.strip_prefix(SIGNATURE).ok_or(PictureError::Damaged("no PNG signature"))?;
    let mut chunks = Vec::new();
    loop {
        let (chunk, after) = first_chunk(rest).ok_or(PictureError::Damaged("a PNG chunk is cut off"))?;
        if chunks.is_empty() && (&chunk.kind != b"IHDR" || chunk.data.len() != 13) {
            return Err(PictureError::Damaged("no PNG header"));
        }
        if chunks.len() == MAX_PARTS {
            return Err(PictureError::TooLarge("too many PNG chunks"));
        }
        chunks.push(chunk);
        if &chunk.kind == b"IEND" {
            return Ok(chunks);
        }
        rest = after;
    }
}

fn first_chunk(bytes: &[u8]) -> Option<(Chunk<'_>, &[u8])> {
    let length = be32(bytes, 0)? as usize;
    let kind = *bytes.get(4..)?.first_chunk()?;
    let (whole, rest) = bytes.split_at_checked(length.checked_add(12)?)?;
    Some((Chunk { kind, data: &whole[8..8 + length], whole }, rest))
}

/// The picture itself and its frames.
fn is_picture(kind: [u8; 4]) -> bool {
    matches!(&kind, b"IHDR" | b"PLTE" | b"tRNS" | b"IDAT" | b"IEND" | b"acTL" | b"fcTL" | b"fdAT")
}

/// What pixel values mean, and how large a pixel is.
fn is_rendering(kind: [u8; 4]) -> bool {
    matches!(
        &kind,
        b"gAMA"
            | b"cHRM"
            | b"sRGB"
            | b"iCCP"
            | b"cICP"
            | b"mDCV"
            | b"mDCv"
            | b"cLLI"
            | b"cLLi"
            | b"sBIT"
            | b"pHYs"
    )
}

/// Depends on pixels that a new encoding changes.
fn is_about_encoding(kind: [u8; 4]) -> bool {
    matches!(&kind, b"sBIT" | b"bKGD" | b"hIST" | b"sPLT")
}

fn keyword<'a>(chunk: &Chunk<'a>) -> Option<&'a [u8]> {
    if !matches!(&chunk.kind, b"tEXt" | b"zTXt" | b"iTXt") {
        return None;
    }
    chunk.data.split(|byte| *byte == 0).next()
}

fn is_xmp(chunk: &Chunk<'_>) -> bool {
    keyword(chunk) == Some(XMP_KEYWORD)
}

fn is_exif(chunk: &Chunk<'_>) -> bool {
    &chunk.kind == b"eXIf"
}

/// Whether a label may hide in it: the known carriers, and profiles that tools wrap into text.
fn may_hold_label(chunk: &Chunk<'_>) -> bool {
    let is_text = keyword(chunk).is_some_and(|word| {
        word == XMP_KEYWORD || word == AIGC_KEYWORD || word.starts_with(b"Raw profile type")
    });
    is_text || is_exif(chunk) && hides_label(chunk.data)
}

fn stays(chunk: &Chunk<'_>, keep: Keep) -> bool {
    match keep {
        Keep::All => true,
        Keep::AllButLabels => !may_hold_label(chunk),
        Keep::Picture => is_picture(chunk.kind) || is_rendering(chunk.kind),
    }
}

/// The file with the chunks that stay, and perhaps a label after the header.
pub(super) fn rewrite(bytes: &[u8], keep: Keep, xmp: Option<&str>) -> Result<Vec<u8>, PictureError> {
    let mut new = Vec::with_capacity(bytes.len() + xmp.map_or(0, str::len) + 64);
    new.extend_from_slice(SIGNATURE);
    for chunk in chunks(bytes)? {
        if stays(&chunk, keep) {
            new.extend_from_slice(chunk.whole);
        } else if is_exif(&chunk)
            && let Some(turned) = exif::stripped(chunk.data)
        {
            push(&mut new, b"eXIf", &[&turned]);
        }
        if &chunk.kind == b"IHDR"
            && let Some(xmp) = xmp
        {
            push_xmp(&mut new, xmp.as_bytes());
        }
    }
    Ok(new)
}

/// Only what a decoder of the (first) picture needs: nothing else can cost it time or memory.
pub(in crate::pictures) fn bare(bytes: &[u8]) -> Result<Vec<u8>, PictureError> {
    let mut new = Vec::with_capacity(bytes.len());
    new.extend_from_slice(SIGNATURE);
    for chunk in chunks(bytes)? {
        if matches!(&chunk.kind, b"IHDR" | b"PLTE" | b"tRNS" | b"IDAT" | b"IEND") {
            new.extend_from_slice(chunk.whole);
        }
    }
    Ok(new)
}

pub(super) fn inherited(bytes: &[u8], keep: Keep) -> Result<Inherited, PictureError> {
    let mut inherited = Inherited::default();
    for chunk in chunks(bytes)? {
        match &chunk.kind {
            b"iCCP" => inherited.icc = Some(profile(chunk.data)?),
            _ if is_picture(chunk.kind) || is_about_encoding(chunk.kind) => {}
            _ if is_exif(&chunk) => {
                inherited.exif = stays(&chunk, keep).then(|| exif::upright(chunk.data));
            }
            _ if is_xmp(&chunk) => {
                inherited.xmp = if stays(&chunk, keep) { text(&chunk) } else { None };
            }
            _ if is_rendering(chunk.kind) => inherited.own_colours.extend_from_slice(chunk.whole),
            _ if stays(&chunk, keep) => inherited.own.extend_from_slice(chunk.whole),
            _ => {}
        }
    }
    inherited.odd_colours = inherited.icc.is_none() && has_odd_colours(bytes)?;
    Ok(inherited)
}

/// Whether gamma, primaries or coding are given and are not those of sRGB.
fn has_odd_colours(bytes: &[u8]) -> Result<bool, PictureError> {
    let mut odd = false;
    for chunk in chunks(bytes)? {
        match &chunk.kind {
            b"cICP" => return Ok(chunk.data != [1, 13, 0, 1]),
            b"sRGB" => return Ok(false),
            b"gAMA" => odd |= be32(chunk.data, 0).is_none_or(|gamma| gamma.abs_diff(45_455) >= 1000),
            b"cHRM" => odd |= !has_srgb_primaries(chunk.data),
            _ => {}
        }
    }
    Ok(odd)
}

fn has_srgb_primaries(data: &[u8]) -> bool {
    const SRGB: [u32; 8] = [31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000];
    SRGB.iter().enumerate().all(|(at, want)| be32(data, at * 4).is_some_and(|is| is.abs_diff(*want) < 1000))
}

fn profile(data: &[u8]) -> Result<Vec<u8>, PictureError> {
    let name = data.iter().position(|byte| *byte == 0).ok_or(PictureError::Damaged("no profile name"))?;
    let packed = data.get(name + 2..).ok_or(PictureError::Damaged("an empty colour profile"))?;
    let mut profile = Vec::new();
    ZlibDecoder::new(packed)
        .take(MAX_PROFILE_BYTES as u64 + 1)
        .read_to_end(&mut profile)
        .map_err(|_| PictureError::Damaged("a colour profile that does not unpack"))?;
    if profile.len() > MAX_PROFILE_BYTES {
        return Err(PictureError::TooLarge("the colour profile"));
    }
    Ok(profile)
}

/// The text of a chunk, unpacked within a bound; `None` where it makes no sense.
fn text(chunk: &Chunk<'_>) -> Option<Vec<u8>> {
    let rest = chunk.data.get(keyword(chunk)?.len() + 1..)?;
    match (&chunk.kind, rest) {
        (b"tEXt", text) => Some(text.to_vec()),
        (b"zTXt", [0, packed @ ..]) => unpack(packed),
        (b"iTXt", [packed, 0, names @ ..]) => {
            let language = names.iter().position(|byte| *byte == 0)?;
            let names = &names[language + 1..];
            let translated = names.iter().position(|byte| *byte == 0)?;
            let text = &names[translated + 1..];
            if *packed == 0 { Some(text.to_vec()) } else { unpack(text) }
        }
        _ => None,
    }
}

fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    ZlibDecoder::new(packed).take(MAX_TEXT_BYTES + 1).read_to_end(&mut text).ok()?;
    (text.len() as u64 <= MAX_TEXT_BYTES).then_some(text)
}

/// A freshly encoded file with more chunks after its header.
pub(super) fn dress(
    encoded: Vec<u8>,
    inherited: &Inherited,
    xmp: Option<&[u8]>,
) -> Result<Vec<u8>, PictureError> {
    let header_end = SIGNATURE.len() + 12 + 13;
    if encoded.len() < header_end {
        return Err(PictureError::Unverified("a PNG without a header"));
    }
    let mut extra = Vec::new();
    if let Some(icc) = &inherited.icc {
        push(&mut extra, b"iCCP", &[b"icc\0\0", &pack(icc)]);
    }
    extra.extend_from_slice(&inherited.own_colours);
    extra.extend_from_slice(&inherited.own);
    if let Some(exif) = &inherited.exif {
        push(&mut extra, b"eXIf", &[exif]);
    }
    if let Some(xmp) = xmp {
        push_xmp(&mut extra, xmp);
    }
    let mut new = encoded;
    new.splice(header_end..header_end, extra);
    Ok(new)
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    // Reading from memory and writing into a Vec: neither fails.
    let _ = flate2::read::ZlibEncoder::new(bytes, flate2::Compression::default()).read_to_end(&mut packed);
    packed
}

/// `iTXt`, uncompressed, without language and translated keyword (TC260-PG-20259A).
fn push_xmp(new: &mut Vec<u8>, xmp: &[u8]) {
    push(new, b"iTXt", &[XMP_KEYWORD, b"\0\0\0\0\0", xmp]);
}

fn push(new: &mut Vec<u8>, kind: &[u8; 4], data: &[&[u8]]) {
    let length: usize = data.iter().map(|part| part.len()).sum();
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(kind);
    new.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    new.extend_from_slice(kind);
    for part in data {
        checksum.update(part);
        new.extend_from_slice(part);
    }
    new.extend_from_slice(&checksum.finalize().to_be_bytes());
}

pub(super) fn statements(bytes: &[u8]) -> Result<Statements, PictureError> {
    let chunks = chunks(bytes)?;
    let mut found = Statements::default();
    for chunk in &chunks {
        if is_xmp(chunk) {
            found.xmp.push(text(chunk).unwrap_or_default());
        } else if keyword(chunk) == Some(AIGC_KEYWORD) {
            found.texts.push(text(chunk).unwrap_or_default());
            found.private = true;
        } else if is_exif(chunk) {
            found.private |= exif::stripped(chunk.data).is_none_or(|stripped| stripped != chunk.data);
            found.exif.push(chunk.data.to_vec());
        } else {
            found.private |= !stays(chunk, Keep::Picture);
        }
    }
    let length: usize = SIGNATURE.len() + chunks.iter().map(|chunk| chunk.whole.len()).sum::<usize>();
    found.private |= length != bytes.len();
    Ok(found)
}

/// What the header and the chunks say.
pub(in crate::pictures) struct Shape {
    pub(in crate::pictures) width: u32,
    pub(in crate::pictures) height: u32,
    pub(in crate::pictures) frames: u32,
    pub(in crate::pictures) orientation: Orientation,
}

pub(in crate::pictures) fn shape(bytes: &[u8]) -> Result<Shape, PictureError> {
    let chunks = chunks(bytes)?;
    let side = |at| chunks.first().and_then(|header| be32(header.data, at));
    let (Some(width), Some(height)) = (side(0), side(4)) else {
        return Err(PictureError::Damaged("no PNG header"));
    };
    let is_animated = chunks.iter().any(|chunk| &chunk.kind == b"acTL");
    let controls = chunks.iter().filter(|chunk| &chunk.kind == b"fcTL").count();
    let exif = chunks.iter().find(|chunk| is_exif(chunk));
    if !chunks.iter().any(|chunk| &chunk.kind == b"IDAT") {
        return Err(PictureError::Damaged("a PNG without a picture"));
    }
    Ok(Shape {
        width,
        height,
        frames: if is_animated { u32::try_from(controls).unwrap_or(u32::MAX).max(2) } else { 1 },
        orientation: exif.map_or(Orientation::NoTransforms, |chunk| exif::orientation(chunk.data)),
    })
}
