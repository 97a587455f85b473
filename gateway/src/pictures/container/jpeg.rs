//! JPEG: markers with segments, and entropy-coded data after each start of scan.

use image::metadata::Orientation;

use super::{
    Inherited, Keep, MAX_PARTS, MAX_PROFILE_BYTES, Statements, be16, contains, exif, hides_label, png::Shape,
};
use crate::pictures::PictureError;

const EXIF: &[u8] = b"Exif\0\0";
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
const XMP_EXTENSION: &[u8] = b"http://ns.adobe.com/xmp/extension/\0";
const ICC: &[u8] = b"ICC_PROFILE\0";
/// What one segment holds, without its length field.
const MAX_SEGMENT_BYTES: usize = 65_533;
/// Scans of a progressive picture, at most: each may cost as much as a whole picture.
const MAX_SCANS: usize = 100;

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const APP0: u8 = 0xe0;
const APP1: u8 = 0xe1;
const APP2: u8 = 0xe2;
const APP14: u8 = 0xee;

/// One marker with what belongs to it.
#[derive(Debug, Clone, Copy)]
struct Segment<'a> {
    marker: u8,
    /// Without the length field.
    data: &'a [u8],
    /// With marker, length and, of a scan, the entropy-coded data.
    whole: &'a [u8],
}

/// The segments between start and end of the picture, without both, and how many bytes follow the end.
fn segments(bytes: &[u8]) -> Result<(Vec<Segment<'_>>, usize), PictureError> {
    let mut at = 2;
    if bytes.get(..2) != Some(&[0xff, SOI]) {
        return Err(PictureError::Damaged("no JPEG start"));
    }
    let mut segments = Vec::new();
    loop {
        let (segment, next) = segment(bytes, at)?;
        let Some(segment) = segment else {
            return Ok((segments, bytes.len() - next));
        };
        if segments.len() == MAX_PARTS {
            return Err(PictureError::TooLarge("too many JPEG segments"));
        }
        segments.push(segment);
        at = next;
    }
}

/// The segment at an offset and where the next begins; none at the end of the picture.
fn segment(bytes: &[u8], at: usize) -> Result<(Option<Segment<'_>>, usize), PictureError> {
    const CUT_OFF: PictureError = PictureError::Damaged("a JPEG segment is cut off");
    if bytes.get(at) != Some(&0xff) {
        return Err(PictureError::Damaged("no JPEG marker where one belongs"));
    }
    let fill = bytes[at..].iter().take_while(|byte| **byte == 0xff).count();
    let start = at + fill - 1;
    let marker = *bytes.get(start + 1).ok_or(CUT_OFF)?;
    match marker {
        EOI => return Ok((None, start + 2)),
        0x00 | 0x01 | 0xd0..=SOI => return Err(PictureError::Damaged("a JPEG marker where none belongs")),
        _ => {}
    }
    let length = usize::from(be16(bytes, start + 2).ok_or(CUT_OFF)?);
    let mut end = start + 2 + length;
    let data = bytes.get(start + 4..end).ok_or(CUT_OFF)?;
    if marker == SOS {
        end += entropy(&bytes[end..]).ok_or(CUT_OFF)?;
    }
    Ok((Some(Segment { marker, data, whole: &bytes[start..end] }), end))
}

/// Length of entropy-coded data: up to a marker that is neither a stuffed byte nor a restart.
fn entropy(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == 0xff)?;
        match bytes.get(at + 1)? {
            0x00 | 0xd0..=0xd7 => at += 2,
            _ => return Some(at),
        }
    }
}

fn is_xmp(segment: &Segment<'_>) -> bool {
    segment.marker == APP1 && (segment.data.starts_with(XMP) || segment.data.starts_with(XMP_EXTENSION))
}

fn exif_of<'a>(segment: &Segment<'a>) -> Option<&'a [u8]> {
    if segment.marker == APP1 { segment.data.strip_prefix(EXIF) } else { None }
}

fn is_profile(segment: &Segment<'_>) -> bool {
    segment.marker == APP2 && segment.data.starts_with(ICC)
}

/// Tables, frames, scans, and what tells the colours: Adobe's transform, the profile.
fn is_picture(segment: &Segment<'_>) -> bool {
    match segment.marker {
        APP14 => segment.data.starts_with(b"Adobe"),
        APP2 => is_profile(segment),
        // APP0 is written anew: it may carry a small picture.
        marker => matches!(marker, 0xc0..=0xcf | SOS..=0xdd),
    }
}

fn may_hold_label(segment: &Segment<'_>) -> bool {
    is_xmp(segment)
        || exif_of(segment).is_some_and(hides_label)
        || !is_picture(segment) && contains(segment.data, b"AIGC")
}

fn stays(segment: &Segment<'_>, keep: Keep) -> bool {
    match keep {
        Keep::All => true,
        Keep::AllButLabels => !may_hold_label(segment),
        Keep::Picture => is_picture(segment),
    }
}

/// A JFIF header without the small picture it may carry.
fn plain_jfif(segment: &Segment<'_>) -> Option<[u8; 14]> {
    let mut plain: [u8; 14] = *segment.data.first_chunk()?;
    plain[12..].fill(0);
    (segment.marker == APP0 && plain.starts_with(b"JFIF\0")).then_some(plain)
}

pub(super) fn rewrite(bytes: &[u8], keep: Keep, xmp: Option<&str>) -> Result<Vec<u8>, PictureError> {
    let (segments, _) = segments(bytes)?;
    let mut new = Vec::with_capacity(bytes.len() + 256);
    new.extend_from_slice(&[0xff, SOI]);
    let head = segments.iter().take_while(|segment| segment.marker == APP0).count();
    for (index, segment) in segments.iter().enumerate() {
        if index == head
            && let Some(xmp) = xmp
        {
            push_xmp(&mut new, xmp.as_bytes())?;
        }
        if stays(segment, keep) {
            new.extend_from_slice(segment.whole);
        } else if let Some(jfif) = plain_jfif(segment) {
            push(&mut new, APP0, &[&jfif])?;
        } else if let Some(turned) = exif_of(segment).and_then(exif::stripped) {
            push(&mut new, APP1, &[EXIF, &turned])?;
        }
    }
    new.extend_from_slice(&[0xff, EOI]);
    Ok(new)
}

/// Only what a decoder needs: no metadata can make it fail or cost it time.
pub(in crate::pictures) fn bare(bytes: &[u8]) -> Result<Vec<u8>, PictureError> {
    rewrite(bytes, Keep::Picture, None)
}

pub(super) fn inherited(bytes: &[u8], keep: Keep) -> Result<Inherited, PictureError> {
    let (segments, _) = segments(bytes)?;
    let mut inherited = Inherited { icc: profile(&segments)?, ..Inherited::default() };
    for segment in &segments {
        let is_metadata = !is_picture(segment) && segment.marker != APP0 && segment.marker != SOS;
        if !is_metadata || !stays(segment, keep) {
            continue;
        }
        if let Some(exif) = exif_of(segment) {
            inherited.exif = Some(exif::upright(exif));
        } else if let Some(xmp) = segment.data.strip_prefix(XMP).filter(|_| segment.marker == APP1) {
            inherited.xmp = Some(xmp.to_vec());
        } else if !is_xmp(segment) {
            inherited.own.extend_from_slice(segment.whole);
        }
    }
    Ok(inherited)
}

/// The colour profile, put together from its numbered segments.
fn profile(segments: &[Segment<'_>]) -> Result<Option<Vec<u8>>, PictureError> {
    let mut parts: Vec<(u8, &[u8])> = segments
        .iter()
        .filter(|segment| is_profile(segment))
        .filter_map(|segment| match &segment.data[ICC.len()..] {
            [number, _, part @ ..] => Some((*number, part)),
            _ => None,
        })
        .collect();
    parts.sort_by_key(|(number, _)| *number);
    let length: usize = parts.iter().map(|(_, part)| part.len()).sum();
    if length > MAX_PROFILE_BYTES {
        return Err(PictureError::TooLarge("the colour profile"));
    }
    Ok((length > 0).then(|| parts.iter().flat_map(|(_, part)| *part).copied().collect()))
}

pub(super) fn dress(
    encoded: Vec<u8>,
    inherited: &Inherited,
    xmp: Option<&[u8]>,
) -> Result<Vec<u8>, PictureError> {
    let mut extra = Vec::new();
    if let Some(exif) = &inherited.exif {
        push(&mut extra, APP1, &[EXIF, exif])?;
    }
    if let Some(xmp) = xmp {
        push_xmp(&mut extra, xmp)?;
    }
    if let Some(icc) = &inherited.icc {
        push_profile(&mut extra, icc)?;
    }
    extra.extend_from_slice(&inherited.own);
    let (segments, _) = segments(&encoded)?;
    let after_head: usize = segments
        .iter()
        .take_while(|segment| segment.marker == APP0)
        .map(|segment| segment.whole.len())
        .sum::<usize>()
        + 2;
    let mut new = encoded;
    new.splice(after_head..after_head, extra);
    Ok(new)
}

fn push_profile(new: &mut Vec<u8>, icc: &[u8]) -> Result<(), PictureError> {
    let parts = icc.chunks(MAX_SEGMENT_BYTES - ICC.len() - 2);
    let count = u8::try_from(parts.len()).map_err(|_| PictureError::TooLarge("the colour profile"))?;
    for (number, part) in (1..=count).zip(parts) {
        push(new, APP2, &[ICC, &[number, count], part])?;
    }
    Ok(())
}

fn push_xmp(new: &mut Vec<u8>, xmp: &[u8]) -> Result<(), PictureError> {
    push(new, APP1, &[XMP, xmp])
}

fn push(new: &mut Vec<u8>, marker: u8, data: &[&[u8]]) -> Result<(), PictureError> {
    let length: usize = data.iter().map(|part| part.len()).sum();
    let field =
        u16::try_from(length + 2).map_err(|_| PictureError::TooLarge("metadata for a JPEG segment"))?;
    new.extend_from_slice(&[0xff, marker]);
    new.extend_from_slice(&field.to_be_bytes());
    data.iter().for_each(|part| new.extend_from_slice(part));
    Ok(())
}

pub(super) fn statements(bytes: &[u8]) -> Result<Statements, PictureError> {
    let (segments, trailing) = segments(bytes)?;
    let mut found = Statements { private: trailing > 0, ..Statements::default() };
    for segment in &segments {
        if is_xmp(segment) {
            found.xmp.push(segment.data.strip_prefix(XMP).unwrap_or_default().to_vec());
        } else if let Some(exif) = exif_of(segment) {
            found.private |= exif::stripped(exif).is_none_or(|stripped| stripped != exif);
            found.exif.push(exif.to_vec());
        } else if segment.marker == APP0 {
            found.private |= plain_jfif(segment).is_none_or(|plain| plain != segment.data);
        } else {
            found.private |= !is_picture(segment);
        }
    }
    Ok(found)
}

/// What a decoder must know of a JPEG before it begins.
pub(in crate::pictures) struct Frame {
    pub(in crate::pictures) shape: Shape,
    /// Why it cannot be decoded here, if so.
    pub(in crate::pictures) refusal: Option<&'static str>,
}

pub(in crate::pictures) fn frame(bytes: &[u8]) -> Result<Frame, PictureError> {
    let (segments, _) = segments(bytes)?;
    let mut frames = segments
        .iter()
        .filter(|s| matches!(s.marker, 0xc0..=0xcf) && !matches!(s.marker, 0xc4 | 0xc8 | 0xcc));
    let frame = frames.next().ok_or(PictureError::Damaged("a JPEG without a frame"))?;
    if frames.next().is_some() {
        return Err(PictureError::Damaged("a JPEG with several frames"));
    }
    let [precision, _, _, _, _, components, ..] = frame.data else {
        return Err(PictureError::Damaged("a short JPEG frame"));
    };
    let scans = segments.iter().filter(|segment| segment.marker == SOS).count();
    let (height, width) = (be16(frame.data, 1).unwrap_or(0), be16(frame.data, 3).unwrap_or(0));
    let exif = segments.iter().find_map(exif_of);
    let refusal = match (frame.marker, precision, components) {
        (0xc0..=0xc2, 8, 1 | 3) if scans <= MAX_SCANS => None,
        (0xc0..=0xc2, 8, 4) => Some("a CMYK JPEG"),
        (0xc0..=0xc2, 8, 1 | 3) => Some("a JPEG of too many scans"),
        (0xc0..=0xc2, 8, _) => Some("a JPEG of that many components"),
        (0xc0..=0xc2, ..) => Some("a JPEG of more than 8 bits a channel"),
        _ => Some("a lossless, hierarchical or arithmetic JPEG"),
    };
    Ok(Frame {
        shape: Shape {
            width: width.into(),
            height: height.into(),
            frames: 1,
            orientation: exif.map_or(Orientation::NoTransforms, exif::orientation),
        },
        refusal,
    })
}
