//! What the messages say of requests that are passed on to the routes of custom nodes. Heads are small and bodies come in
//! pieces. Each end lets the other send [`WINDOW`] pieces of a body and grants room for one more whenever it got rid of
//! one: whoever does not read stops who writes, and nothing of it piles up in between.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Most bytes of one piece of a body.
pub const PIECE_BYTES: usize = 64 << 10;

/// Pieces of one body that may be on their way in one direction.
pub const WINDOW: usize = 4;

/// A request for an instance, without its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardRequest {
    /// Names it in all that follows.
    pub id: Uuid,
    /// For which instance.
    pub instance: Arc<str>,
    /// `GET`, `PUT` …
    pub method: String,
    /// Path and query as they came, without any key.
    pub target: String,
    /// Headers that are passed on.
    pub headers: Vec<(String, String)>,
    /// Length of the body, bytes; 0: there is none; `None`: it is not known before its end.
    pub length: Option<u64>,
}

/// What the engine says of a request it sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForwardMore {
    /// The next piece of its body.
    Body(Piece),
    /// Its body is complete.
    Complete,
    /// Room for so many more pieces of the answer.
    Room(u32),
    /// Nobody waits for it any more.
    Over,
}

/// What a runner says of a request it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForwardWord {
    /// The answer begins.
    Head(ForwardHead),
    /// The next piece of the answer.
    Body(Piece),
    /// The answer is complete.
    Complete,
    /// Room for so many more pieces of the request's body.
    Room(u32),
    /// It came to nothing: the last word of it.
    Failed(ForwardFault),
}

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardHead {
    /// Its status.
    pub status: u16,
    /// Its headers, all that are text.
    pub headers: Vec<(String, String)>,
}

impl ForwardHead {
    /// The first value of a header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ForwardFault {
    /// The instance could not be reached: surely nothing was done.
    #[error("the instance cannot be reached: {0}")]
    Unreachable(String),
    /// The connection broke off: maybe it was done.
    #[error("the connection to the instance broke off: {0}")]
    BrokeOff(String),
    /// The request cannot be sent as it is.
    #[error("the request cannot be sent: {0}")]
    Unsendable(String),
    /// The host carries as many as it may.
    #[error("the host carries as many requests as it may")]
    Busy,
}

/// A piece of a body; base64 where the link is text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece(pub Bytes);

impl Piece {
    /// Cuts bytes into pieces that may be sent.
    pub fn cut(mut bytes: Bytes) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || {
            (!bytes.is_empty()).then(|| Self(bytes.split_to(bytes.len().min(PIECE_BYTES))))
        })
    }
}

impl Serialize for Piece {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Piece {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(|bytes| Self(bytes.into())).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_cut_into_pieces_that_may_be_sent_and_nothing_is_lost() {
        let bytes = Bytes::from_iter((0..PIECE_BYTES * 2 + 1).map(|index| (index % 251) as u8));
        let pieces: Vec<_> = Piece::cut(bytes.clone()).collect();
        assert_eq!(
            pieces.iter().map(|piece| piece.0.len()).collect::<Vec<_>>(),
            [PIECE_BYTES, PIECE_BYTES, 1]
        );
        let joined: Vec<u8> = pieces.iter().flat_map(|piece| piece.0.clone()).collect();
        assert_eq!(joined, bytes);
        assert_eq!(Piece::cut(Bytes::new()).count(), 0);
        let text = serde_json::to_string(&pieces[2]).unwrap();
        assert_eq!(serde_json::from_str::<Piece>(&text).unwrap(), pieces[2]);
    }
}
