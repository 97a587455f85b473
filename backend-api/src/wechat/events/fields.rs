//! The fields of an event, whatever they were written in.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{ParseError, xml};

/// The longest body that is read.
pub const MAX_EVENT_BYTES: usize = 256 * 1024;

/// A tree with its names in lower case and without underscores.
#[derive(Debug)]
pub(super) struct Fields(Value);

impl Fields {
    pub(super) fn read(body: &[u8]) -> Result<Self, ParseError> {
        if body.len() > MAX_EVENT_BYTES {
            return Err(ParseError::TooLong);
        }
        let tree = match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{') => serde_json::from_slice(body).map_err(|_| ParseError::Unreadable)?,
            Some(b'<') => xml::read(body)?,
            _ => return Err(ParseError::Unreadable),
        };
        Ok(Self(plain_names(tree)))
    }

    /// As a typed value; its names are in lower case and without underscores.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, ParseError> {
        T::deserialize(&self.0).map_err(|_| ParseError::Incomplete)
    }
}

/// Depth is bounded by both readers.
fn plain_names(tree: Value) -> Value {
    match tree {
        Value::Object(fields) => {
            let plain = fields.into_iter().map(|(name, value)| (plain_name(&name), plain_names(value)));
            Value::Object(plain.collect::<Map<_, _>>())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(plain_names).collect()),
        value => value,
    }
}

fn plain_name(name: &str) -> String {
    name.chars().filter(|letter| *letter != '_').map(|letter| letter.to_ascii_lowercase()).collect()
}
