#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use serde_json::{Value, json};

use super::*;

fn png(chunks: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut file = SIGNATURE.to_vec();
    for (kind, data) in chunks {
        file.extend(chunk(kind, data));
    }
    file.extend(chunk(b"IEND", b""));
    file
}

fn original() -> Original {
    Original {
        folder: "job/1".into(),
        replaced: vec![("/2/inputs/filename_prefix".into(), json!("каша \u{1f600}"))],
    }
}

fn sent() -> Value {
    json!({"2": {"class_type": "SaveImage", "inputs": {"filename_prefix": "job/1/x", "images": ["1", 0]}}})
}

/// Filters a file, fed in pieces of this many bytes.
fn restore_by(piece: usize, file: &[u8], max_text_bytes: usize) -> Vec<u8> {
    let mut restorer = Restorer::new(original(), max_text_bytes);
    let mut out = Vec::new();
    for piece in file.chunks(piece) {
        restorer.push(piece, &mut out);
    }
    restorer.finish(&mut out);
    out
}

fn text_of(file: &[u8], from: &[u8]) -> Value {
    let at = file.windows(from.len()).position(|window| window == from).unwrap();
    let length = u32::from_be_bytes(file[at - 4..at].try_into().unwrap()) as usize;
    serde_json::from_slice(&file[at + from.len()..at + 4 + length]).unwrap()
}

#[test]
fn the_callers_graph_is_put_back_however_the_bytes_are_cut() {
    let body = [&b"prompt\0"[..], sent().to_string().as_bytes()].concat();
    let file = png(&[(b"IHDR", &[0; 13]), (b"tEXt", &body), (b"IDAT", &[7; 300])]);
    let whole = restore_by(file.len(), &file, 1 << 20);
    let prompt = text_of(&whole, b"tEXtprompt\0");
    assert_eq!(prompt["2"]["inputs"]["filename_prefix"], "каша \u{1f600}");
    assert_eq!(prompt["2"]["inputs"]["images"], json!(["1", 0]));
    assert!(whole.ends_with(&file[file.len() - 324..]), "what follows is untouched");
    for piece in [1, 2, 3, 7, 64] {
        assert_eq!(restore_by(piece, &file, 1 << 20), whole, "pieces of {piece}");
    }
}

#[test]
fn the_restored_chunk_is_ascii_with_a_right_checksum() {
    let body = [&b"prompt\0"[..], sent().to_string().as_bytes()].concat();
    let whole = restore_by(64, &png(&[(b"tEXt", &body)]), 1 << 20);
    let length = u32::from_be_bytes(whole[8..12].try_into().unwrap()) as usize;
    assert!(whole[16..16 + length].is_ascii());
    assert_eq!(whole[16 + length..20 + length], crc32fast::hash(&whole[12..16 + length]).to_be_bytes());
}

#[test]
fn uncompressed_international_text_is_restored_too() {
    let body = [&b"prompt\0\0\0en\0\0"[..], sent().to_string().as_bytes()].concat();
    let whole = restore_by(5, &png(&[(b"iTXt", &body)]), 1 << 20);
    let prompt = text_of(&whole, b"iTXtprompt\0\0\0en\0\0");
    assert_eq!(prompt["2"]["inputs"]["filename_prefix"], "каша \u{1f600}");
}

#[test]
fn everything_else_passes_as_it_is() {
    let long = [&b"prompt\0"[..], sent().to_string().as_bytes()].concat();
    let compressed = [&b"prompt\0\x01\0en\0\0"[..], b"\x78\x9c\x03"].concat();
    let mut cut_off = png(&[(b"tEXt", &long)]);
    cut_off.truncate(40);
    let mut lying_length = SIGNATURE.to_vec();
    lying_length.extend(b"\xff\xff\xff\xfftEXtprompt\0{}");
    for (what, file, max) in [
        ("a chunk over the bound", png(&[(b"tEXt", &long)]), 16),
        ("compressed text", png(&[(b"iTXt", &compressed)]), 1 << 20),
        ("another keyword", png(&[(b"tEXt", b"workflow\0{}")]), 1 << 20),
        ("no JSON", png(&[(b"tEXt", b"prompt\0{")]), 1 << 20),
        ("a graph of others", png(&[(b"tEXt", b"prompt\0{\"9\":{}}")]), 1 << 20),
        ("a file that breaks off", cut_off, 1 << 20),
        ("a length that lies", lying_length, 1 << 20),
        ("no PNG", b"RIFF....WEBPVP8 prompt".to_vec(), 1 << 20),
        ("less than a signature", b"\x89PN".to_vec(), 1 << 20),
        ("bytes after the end", [png(&[]), b"tail".to_vec()].concat(), 1 << 20),
    ] {
        assert_eq!(restore_by(3, &file, max), file, "{what}");
    }
}

#[test]
fn without_rewrites_nothing_is_held_back() {
    let mut restorer = Restorer::new(Original::default(), 1 << 20);
    let mut out = Vec::new();
    restorer.push(b"\x89PN", &mut out);
    assert_eq!(out, b"\x89PN");
}
