//! The value of a label: a JSON object with seven string members.

use serde::{Deserialize, Serialize};

/// Bytes of a number of a content, at most.
const MAX_ID_BYTES: usize = 256;

/// The provider's number of one content: printable ASCII without space, `"` and `\`. It must not tell who the user is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceId(String);

impl ProduceId {
    /// `None` where it is empty, longer than 256 bytes, or has characters that the standard does not allow.
    #[must_use]
    pub fn new(id: &str) -> Option<Self> {
        let fits = !id.is_empty() && id.len() <= MAX_ID_BYTES && is_allowed_value(id);
        fits.then(|| Self(id.to_owned()))
    }

    /// The number itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether all characters are allowed in a member: 0x21, 0x23 to 0x5B, 0x5D to 0x7E.
pub(in crate::pictures) fn is_allowed_value(value: &str) -> bool {
    value.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// The seven members, in the standard's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AigcLabel {
    /// `1`: is generated; `2`: may be; `3`: is suspected to be.
    pub label: String,
    /// Name or code of the provider that generated it.
    pub content_producer: String,
    /// That provider's number of the content.
    #[serde(rename = "ProduceID")]
    pub produce_id: String,
    /// For the producer.
    pub reserved_code1: String,
    /// Name or code of the platform that propagates it; at first writing the producer.
    pub content_propagator: String,
    /// That platform's number of the content; at first writing the producer's.
    #[serde(rename = "PropagateID")]
    pub propagate_id: String,
    /// For the propagator.
    pub reserved_code2: String,
}

impl AigcLabel {
    /// The label of first writing (annex E, note 1).
    #[must_use]
    pub fn first(content_producer: &str, id: &ProduceId) -> Self {
        Self {
            label: "1".to_owned(),
            content_producer: content_producer.to_owned(),
            produce_id: id.0.clone(),
            reserved_code1: String::new(),
            content_propagator: content_producer.to_owned(),
            propagate_id: id.0.clone(),
            reserved_code2: String::new(),
        }
    }

    /// As JSON, members in order, without spaces.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() // strings alone always serialise
    }

    /// Reads the bare object, or the one wrapped as `{"AIGC": …}`.
    pub(super) fn read(json: &str) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "UPPERCASE", deny_unknown_fields)]
        struct Wrapped {
            aigc: AigcLabel,
        }
        serde_json::from_str(json)
            .or_else(|_| serde_json::from_str(json).map(|wrapped: Wrapped| wrapped.aigc))
            .ok()
    }
}

/// The JSON object that stands somewhere in a block of bytes.
pub(super) fn within(block: &[u8]) -> Option<&str> {
    let start = block.windows(7).position(|window| window == b"{\"AIGC\"")?;
    let end = block.iter().rposition(|byte| *byte == b'}')?;
    std::str::from_utf8(block.get(start..=end)?).ok()
}
