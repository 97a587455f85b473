//! How ComfyUI, being Python, converts and compares the literals of a workflow.

use std::cmp::Ordering;

use serde_json::Value;

/// A number as Python has them. Integers of JSON fit `i128`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    /// `int`, and a float without a fraction (the two are equal in Python).
    Int(i128),
    /// `float`.
    Float(f64),
}

impl Number {
    /// Python's comparison; `None` with NaN.
    pub(super) fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (a, b) => a.as_float().partial_cmp(&b.as_float()),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "bounds beyond 2^53 are never that close to a float")]
    fn as_float(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Float(float) => float,
        }
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(int) => int.fmt(f),
            Self::Float(float) => float.fmt(f),
        }
    }
}

/// The number that a JSON value is in Python's eyes (`True` is 1); `None` for anything else.
pub(super) fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Bool(truth) => Some(Number::Int(i128::from(*truth))),
        Value::Number(number) => number.as_i128().map(Number::Int).or_else(|| number.as_f64().map(of_float)),
        _ => None,
    }
}

/// Equal numbers get equal forms. Floats beyond the integers that `i128` holds stay floats.
#[expect(clippy::cast_possible_truncation, reason = "the fraction is zero and the range is checked")]
fn of_float(float: f64) -> Number {
    if float.fract() == 0.0 && float.abs() < 1e38 { Number::Int(float as i128) } else { Number::Float(float) }
}

/// A value may come wrapped as `{"__value__": …}`; ComfyUI takes what is inside.
pub(super) fn unwrapped(value: &Value) -> &Value {
    value.as_object().and_then(|object| object.get("__value__")).unwrap_or(value)
}

/// `int(value)`: the number, nothing where it raises, `Err` where we do not know.
pub(super) fn to_int(value: &Value) -> Result<Option<Number>, Unsure> {
    match value {
        Value::String(text) => match digits(text)? {
            Some(text) => text.parse().map(|int| Some(Number::Int(int))).map_err(|_| Unsure),
            None => Ok(None),
        },
        other => Ok(number(other).map(truncated)),
    }
}

/// `float(value)`: the number, nothing where it raises, `Err` where we do not know.
pub(super) fn to_float(value: &Value) -> Result<Option<Number>, Unsure> {
    match value {
        Value::String(text) if text.is_ascii() => {
            Ok(text.trim().replace('_', "").parse().ok().map(Number::Float))
        }
        Value::String(_) => Err(Unsure),
        other => Ok(number(other)),
    }
}

/// Python would decide by rules that we do not follow to the end (digits of other scripts, endless numbers).
pub(super) struct Unsure;

#[expect(clippy::cast_possible_truncation, reason = "as int() does; a float of JSON is finite and saturates")]
fn truncated(number: Number) -> Number {
    match number {
        Number::Float(float) => Number::Int(float.trunc() as i128),
        int @ Number::Int(_) => int,
    }
}

/// The text of an integer literal as `int()` reads it, underscores removed; `None` where it raises.
fn digits(text: &str) -> Result<Option<String>, Unsure> {
    if !text.is_ascii() {
        return Err(Unsure);
    }
    let text = text.trim();
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let well_formed = body.split('_').all(|run| !run.is_empty() && run.bytes().all(|b| b.is_ascii_digit()));
    Ok(well_formed.then(|| text.replace('_', "")))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use serde_json::json;

    use super::*;

    fn int(value: &Value) -> Option<Number> {
        to_int(value).ok().flatten()
    }

    #[test]
    fn integers_are_read_as_python_reads_them() {
        assert_eq!(int(&json!(" 1_000 ")), Some(Number::Int(1000)));
        assert_eq!(int(&json!(-1.9)), Some(Number::Int(-1)));
        assert_eq!(int(&json!(true)), Some(Number::Int(1)));
        for raises in [json!("5.0"), json!("1__0"), json!("_1"), json!(""), json!(null), json!({})] {
            assert!(matches!(to_int(&raises), Ok(None)), "{raises}");
        }
        assert!(to_int(&json!("٣")).is_err());
    }

    #[test]
    fn floats_are_read_as_python_reads_them() {
        for fine in [json!("1e3"), json!(" inf"), json!("nan"), json!(".5"), json!(7), json!(false)] {
            assert!(matches!(to_float(&fine), Ok(Some(_))), "{fine}");
        }
        for raises in [json!("wide"), json!(""), json!(null)] {
            assert!(matches!(to_float(&raises), Ok(None)), "{raises}");
        }
    }

    #[test]
    fn numbers_that_python_calls_equal_are_equal() {
        let forms = [json!(1), json!(1.0), json!(true)].map(|value| number(&value).unwrap());
        assert_eq!(forms, [Number::Int(1); 3]);
        assert_eq!(number(&json!(u64::MAX)), Some(Number::Int(i128::from(u64::MAX))));
    }
}
