//! Reading what a request of the open platform holds.

use axum::http::Method;
use serde_json::Value;

use super::{Refusal, refuse};
use crate::http::Call;

/// The JSON object of a POST.
pub(super) fn posted(call: &Call) -> Result<Value, Refusal> {
    if call.method != Method::POST {
        return refuse(43002, "require POST method");
    }
    if call.body.is_empty() {
        return refuse(44002, "empty post data");
    }
    match serde_json::from_slice(&call.body) {
        Ok(value @ Value::Object(_)) => Ok(value),
        _ => refuse(47001, "data format error"),
    }
}

/// Refuses what is not a GET.
pub(super) fn got(call: &Call) -> Result<(), Refusal> {
    if call.method == Method::GET { Ok(()) } else { refuse(43001, "require GET method") }
}

/// A text that is there and not empty; else this error.
pub(super) fn text<'a>(body: &'a Value, name: &str, errcode: i64) -> Result<&'a str, Refusal> {
    match body[name].as_str() {
        Some(text) if !text.is_empty() => Ok(text),
        _ => refuse(errcode, format!("invalid {name}")),
    }
}

/// A whole number that is there; else this error.
pub(super) fn number(body: &Value, name: &str, errcode: i64) -> Result<i64, Refusal> {
    body[name].as_i64().map_or_else(|| refuse(errcode, format!("invalid {name}")), Ok)
}
