//! JSON as the Python server reads and writes it: `NaN` and `Infinity` are allowed on both sides (PROTOCOL §8.1).
//!
//! Inside, these two are marker strings, since [`Value`] has no such numbers.

use serde_json::Value;

const NAN: &str = "\u{1}NaN";
const INFINITY: &str = "\u{1}Infinity";

/// The stand-in for a NaN.
pub(crate) fn nan() -> Value {
    Value::from(NAN)
}

/// The stand-in for an infinity.
pub(crate) fn infinity() -> Value {
    Value::from(INFINITY)
}

/// Whether `value` stands for a number JSON does not have.
pub(crate) fn is_not_finite(value: &Value) -> bool {
    matches!(value.as_str(), Some(NAN | INFINITY))
}

/// Reads a request body; `None` where Python's `json.loads` would raise.
pub(crate) fn parse(body: &[u8]) -> Option<Value> {
    if let Ok(value) = serde_json::from_slice(body) {
        return Some(value);
    }
    let text = std::str::from_utf8(body).ok()?;
    let marked = text
        .replace(": NaN", ": \"\\u0001NaN\"")
        .replace(":NaN", ":\"\\u0001NaN\"")
        .replace(": Infinity", ": \"\\u0001Infinity\"");
    serde_json::from_str(&marked).ok()
}

/// Writes a reply or a frame.
pub(crate) fn text(value: &Value) -> String {
    let text = value.to_string();
    if text.contains("\"\\u0001") {
        return text.replace("\"\\u0001NaN\"", "NaN").replace("\"\\u0001Infinity\"", "Infinity");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_survives_the_way_in_and_out() {
        let value = parse(br#"{"number": NaN, "x": 1}"#);
        assert_eq!(value.as_ref().map(text).as_deref(), Some(r#"{"number":NaN,"x":1}"#));
    }
}
