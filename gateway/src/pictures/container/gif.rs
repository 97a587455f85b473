//! GIF: blocks. Never decoded here, only stripped.

use image::metadata::Orientation;

use super::{Keep, le16, png::Shape};
use crate::pictures::PictureError;

const CUT_OFF: PictureError = PictureError::Damaged("a GIF is cut off");
const EXTENSION: u8 = 0x21;
const IMAGE: u8 = 0x2c;
const TRAILER: u8 = 0x3b;
const GRAPHIC_CONTROL: u8 = 0xf9;
const APPLICATION: u8 = 0xff;

/// A block with all its sub-blocks.
struct Block<'a> {
    whole: &'a [u8],
    is_image: bool,
    is_picture: bool,
}

/// Where the first block begins: after the header, the screen descriptor and its colour table.
fn first_block(bytes: &[u8]) -> Result<usize, PictureError> {
    if !bytes.starts_with(b"GIF87a") && !bytes.starts_with(b"GIF89a") {
        return Err(PictureError::Damaged("no GIF signature"));
    }
    Ok(13 + table_bytes(*bytes.get(10).ok_or(CUT_OFF)?))
}

fn table_bytes(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// The block at an offset; none at the trailer.
fn block(bytes: &[u8], at: usize) -> Result<Option<Block<'_>>, PictureError> {
    let (data_at, is_picture) = match bytes.get(at) {
        Some(&TRAILER) => return Ok(None),
        Some(&IMAGE) => {
            let flags = *bytes.get(at + 9).ok_or(CUT_OFF)?;
            (at + 10 + table_bytes(flags) + 1, true)
        }
        Some(&EXTENSION) => {
            let label = *bytes.get(at + 1).ok_or(CUT_OFF)?;
            let loops = [&b"NETSCAPE2.0"[..], b"ANIMEXTS1.0"];
            let name = bytes.get(at + 3..at + 14);
            let is_loop = label == APPLICATION && name.is_some_and(|name| loops.contains(&name));
            (at + 2, label == GRAPHIC_CONTROL || is_loop)
        }
        Some(_) => return Err(PictureError::Damaged("an unknown GIF block")),
        None => return Err(CUT_OFF),
    };
    let mut end = data_at;
    loop {
        let length = usize::from(*bytes.get(end).ok_or(CUT_OFF)?);
        end += 1 + length;
        if length == 0 {
            break;
        }
    }
    let whole = bytes.get(at..end).ok_or(CUT_OFF)?;
    Ok(Some(Block { whole, is_image: whole.first() == Some(&IMAGE), is_picture }))
}

pub(super) fn rewrite(bytes: &[u8], keep: Keep) -> Result<Vec<u8>, PictureError> {
    let mut at = first_block(bytes)?;
    let mut new = bytes.get(..at).ok_or(CUT_OFF)?.to_vec();
    while let Some(block) = block(bytes, at)? {
        if block.is_picture || keep != Keep::Picture {
            new.extend_from_slice(block.whole);
        }
        at += block.whole.len();
    }
    new.push(TRAILER);
    Ok(new)
}

pub(in crate::pictures) fn shape(bytes: &[u8]) -> Result<Shape, PictureError> {
    let mut at = first_block(bytes)?;
    let mut frames = 0;
    while let Some(block) = block(bytes, at)? {
        frames += u32::from(block.is_image);
        at += block.whole.len();
    }
    let side = |at| le16(bytes, at).map(u32::from).ok_or(CUT_OFF);
    Ok(Shape { width: side(6)?, height: side(8)?, frames, orientation: Orientation::NoTransforms })
}
