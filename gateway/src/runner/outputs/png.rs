//! Undoes our rewrites in the `prompt` text that ComfyUI embeds in a PNG (DESIGN §13), while the file streams by.
//!
//! Pillow writes `tEXt` here, or uncompressed `iTXt` for text beyond Latin-1; compressed text passes through as it is,
//! as do a chunk over the bound and everything after a chunk that makes no sense.

use crate::workflow::Original;

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const KEYWORD: &[u8] = b"prompt";

/// A filter over the bytes of one file.
#[derive(Debug)]
pub(crate) struct Restorer {
    original: Original,
    max_text_bytes: usize,
    state: State,
    held: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Signature,
    /// Length and type of a chunk.
    Header,
    /// The rest of a text chunk of this length, with its checksum.
    Text(usize),
    /// That many bytes of another chunk, checksum included.
    Skip(usize),
    /// Not a PNG, or past what concerns us.
    Pass,
}

impl Restorer {
    pub(crate) fn new(original: Original, max_text_bytes: usize) -> Self {
        let state = if original.replaced.is_empty() { State::Pass } else { State::Signature };
        Self { original, max_text_bytes, state, held: Vec::new() }
    }

    /// Takes bytes in and appends what may go on to `out`.
    pub(crate) fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            match self.state {
                State::Pass => {
                    out.extend_from_slice(bytes);
                    return;
                }
                State::Skip(left) => {
                    let (skipped, rest) = bytes.split_at(left.min(bytes.len()));
                    out.extend_from_slice(skipped);
                    self.state =
                        if left == skipped.len() { State::Header } else { State::Skip(left - skipped.len()) };
                    bytes = rest;
                }
                State::Signature | State::Header => {
                    if self.hold(&mut bytes, 8) {
                        self.eight(out);
                    }
                }
                State::Text(length) => {
                    if self.hold(&mut bytes, 8 + length + 4) {
                        self.text(length, out);
                    }
                }
            }
        }
    }

    /// Appends what was held when the file ended.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
        self.state = State::Pass;
    }

    /// Moves bytes over until `want` are held.
    fn hold(&mut self, bytes: &mut &[u8], want: usize) -> bool {
        let (taken, rest) = bytes.split_at((want - self.held.len()).min(bytes.len()));
        self.held.extend_from_slice(taken);
        *bytes = rest;
        self.held.len() == want
    }

    fn eight(&mut self, out: &mut Vec<u8>) {
        if self.state == State::Signature {
            self.state = if self.held == SIGNATURE { State::Header } else { State::Pass };
            out.append(&mut self.held);
            return;
        }
        let length = self.held.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes)) as usize;
        let kind = &self.held[4..];
        self.state = match kind {
            b"tEXt" | b"iTXt" if length <= self.max_text_bytes => State::Text(length),
            b"IEND" => State::Pass,
            _ => State::Skip(length.saturating_add(4)),
        };
        if !matches!(self.state, State::Text(_)) {
            out.append(&mut self.held);
        }
    }

    fn text(&mut self, length: usize, out: &mut Vec<u8>) {
        self.state = State::Header;
        let restored = {
            let (kind, data) = (&self.held[4..8], &self.held[8..8 + length]);
            restored(kind, data, &self.original).map(|data| chunk(kind, &data))
        };
        match restored {
            Some(chunk) => out.extend_from_slice(&chunk),
            None => out.extend_from_slice(&self.held),
        }
        self.held.clear();
    }
}

/// The chunk's data with the caller's own graph; `None` where nothing is to be changed.
fn restored(kind: &[u8], data: &[u8], original: &Original) -> Option<Vec<u8>> {
    let rest = data.strip_prefix(KEYWORD)?.strip_prefix(b"\0")?;
    let text_at = data.len() - rest.len() + if kind == b"iTXt" { international(rest)? } else { 0 };
    let text = &data[text_at..];
    let mut graph: serde_json::Value = if kind == b"iTXt" {
        serde_json::from_slice(text).ok()?
    } else {
        let latin: String = text.iter().map(|byte| char::from(*byte)).collect();
        serde_json::from_str(&latin).ok()?
    };
    let before = graph.clone();
    original.restore(&mut graph);
    (graph != before).then(|| {
        let mut data = data[..text_at].to_vec();
        data.extend_from_slice(ascii(&graph.to_string()).as_bytes());
        data
    })
}

/// Where the text of an `iTXt` begins after its keyword; `None` when it is compressed.
fn international(rest: &[u8]) -> Option<usize> {
    let [0, _, names @ ..] = rest else { return None };
    let language = names.iter().position(|byte| *byte == 0)?;
    let translated = names[language + 1..].iter().position(|byte| *byte == 0)?;
    Some(2 + language + 1 + translated + 1)
}

/// JSON text with everything beyond ASCII escaped, as Python writes it: `tEXt` is Latin-1.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            text.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            text.push_str(&format!("\\u{unit:04x}"));
        }
    }
    text
}

fn chunk(kind: &[u8], data: &[u8]) -> Vec<u8> {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(kind);
    checksum.update(data);
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), kind, data, &checksum.finalize().to_be_bytes()].concat()
}

#[cfg(test)]
#[path = "png_tests.rs"]
mod tests;
