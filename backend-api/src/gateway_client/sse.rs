//! Server-sent events out of the chunks that they come in.

use bytes::BytesMut;

use super::TransportError;

/// One event of a stream; fields that were not sent are empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) id: Option<String>,
    pub(super) event: String,
    pub(super) data: String,
}

/// What came and is not read yet, within a bound.
pub(super) struct Frames {
    limit: usize,
    rest: BytesMut,
    next: Frame,
}

impl Frames {
    /// No event and no chunk may be longer than `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, rest: BytesMut::new(), next: Frame::default() }
    }

    /// Takes a chunk, which may end anywhere.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), TransportError> {
        if self.rest.len() + self.next.data.len() + chunk.len() > self.limit {
            return Err(TransportError::TooLong { limit: self.limit });
        }
        self.rest.extend_from_slice(chunk);
        Ok(())
    }

    /// The next event that is whole. Comments are no events.
    pub(super) fn next(&mut self) -> Option<Frame> {
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line = self.rest.split_to(end + 1);
            let line = String::from_utf8_lossy(&line);
            match line.trim_end_matches(['\n', '\r']) {
                "" => {
                    let frame = std::mem::take(&mut self.next);
                    if frame != Frame::default() {
                        return Some(frame);
                    }
                }
                line => self.field(line),
            }
        }
        None
    }

    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => self.next.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.next.event),
            "data" => {
                if !self.next.data.is_empty() {
                    self.next.data.push('\n');
                }
                self.next.data.push_str(value);
            }
            _ => {} // a comment, or a field of a newer kind
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use super::*;

    fn all(chunks: &[&str]) -> Vec<Frame> {
        let mut frames = Frames::new(100);
        let mut found = Vec::new();
        for chunk in chunks {
            frames.push(chunk.as_bytes()).unwrap();
            found.extend(std::iter::from_fn(|| frames.next()));
        }
        found
    }

    #[test]
    fn events_are_whole_wherever_chunks_end() {
        let text = ": hello\n\nid: 7\nevent: job.placed\ndata: {\"a\":\ndata: 1}\n\nid: 8\r\n\r\nevent: x";
        let expected = [
            Frame { id: Some("7".into()), event: "job.placed".into(), data: "{\"a\":\n1}".into() },
            Frame { id: Some("8".into()), ..Frame::default() },
        ];
        assert_eq!(all(&[text]), expected);
        let bytes: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(all(&bytes.iter().map(String::as_str).collect::<Vec<_>>()), expected);
    }

    #[test]
    fn an_event_without_an_end_is_not_kept_for_ever() {
        let mut frames = Frames::new(100);
        let outcome = (0..100).try_for_each(|_| {
            frames.push(b"data: x\n")?;
            frames.next();
            Ok(())
        });
        assert!(matches!(outcome, Err(TransportError::TooLong { limit: 100 })));
    }
}
