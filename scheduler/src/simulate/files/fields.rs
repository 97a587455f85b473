//! Takes values out of JSON and remembers where they were.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::{BadFile, File};

/// An object and the way to it.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    file: &'a str,
    line: Option<usize>,
    path: String,
    map: &'a Map<String, Value>,
}

/// Parses a whole file; syntax errors name their line.
pub(super) fn parse(file: File<'_>) -> Result<Value, BadFile> {
    parse_at(file, 1)
}

/// Parses one line of a file.
pub(super) fn parse_at(file: File<'_>, first_line: usize) -> Result<Value, BadFile> {
    serde_json::from_str(file.text).map_err(|error| BadFile {
        file: file.name.to_owned(),
        line: Some(first_line + error.line().saturating_sub(1)),
        field: String::new(),
        problem: format!("is not valid JSON at column {}: {}", error.column(), reason(&error)),
    })
}

/// The error's own words, without the place that is told already.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

impl<'a> Fields<'a> {
    pub(super) fn root(file: &'a str, line: Option<usize>, value: &'a Value) -> Result<Self, BadFile> {
        let Value::Object(map) = value else {
            return Err(BadFile {
                file: file.to_owned(),
                line,
                field: String::new(),
                problem: "must be a JSON object in braces".to_owned(),
            });
        };
        Ok(Self { file, line, path: String::new(), map })
    }

    /// A mistake in this object's `key`.
    pub(super) fn bad(&self, key: &str, problem: impl Into<String>) -> BadFile {
        BadFile {
            file: self.file.to_owned(),
            line: self.line,
            field: format!("{}{key}", self.path),
            problem: problem.into(),
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.map.keys().map(String::as_str)
    }

    fn value(&self, key: &str) -> Result<&'a Value, BadFile> {
        self.map.get(key).ok_or_else(|| self.bad(key, "is missing; add it"))
    }

    fn nested(&self, key: &str, value: &'a Value) -> Result<Self, BadFile> {
        let Value::Object(map) = value else { return Err(self.bad(key, "must be an object in braces")) };
        Ok(Self { file: self.file, line: self.line, path: format!("{}{key}.", self.path), map })
    }

    pub(super) fn object(&self, key: &str) -> Result<Self, BadFile> {
        self.nested(key, self.value(key)?)
    }

    /// The objects of a list, each with its position in its path.
    pub(super) fn objects(&self, key: &str) -> Result<Vec<Self>, BadFile> {
        let items = self.list(key)?.iter().enumerate();
        items.map(|(at, item)| self.nested(&format!("{key}[{at}]"), item)).collect()
    }

    fn list(&self, key: &str) -> Result<&'a [Value], BadFile> {
        match self.value(key)? {
            Value::Array(items) => Ok(items),
            _ => Err(self.bad(key, "must be a list in brackets")),
        }
    }

    pub(super) fn text(&self, key: &str) -> Result<&'a str, BadFile> {
        self.value(key)?.as_str().ok_or_else(|| self.bad(key, "must be a text in quotes"))
    }

    pub(super) fn texts(&self, key: &str) -> Result<Vec<&'a str>, BadFile> {
        let items = self.list(key)?.iter();
        let texts: Option<Vec<&str>> = items.map(Value::as_str).collect();
        texts.ok_or_else(|| self.bad(key, "must be a list of texts in quotes"))
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, BadFile> {
        self.value(key)?.as_bool().ok_or_else(|| self.bad(key, "must be true or false"))
    }

    pub(super) fn int(&self, key: &str, allowed: RangeInclusive<i64>) -> Result<i64, BadFile> {
        let value = self.value(key)?;
        let number = value.as_i64().filter(|number| allowed.contains(number));
        number.ok_or_else(|| {
            let (least, most) = (allowed.start(), allowed.end());
            self.bad(key, format!("must be a whole number from {least} to {most}, not {}", shown(value)))
        })
    }

    pub(super) fn int_or_null(
        &self,
        key: &str,
        allowed: RangeInclusive<i64>,
    ) -> Result<Option<i64>, BadFile> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.int(key, allowed).map(Some),
        }
    }

    /// A number of dollars as millionths, so that sums of money are exact.
    pub(super) fn micros(&self, key: &str, most: f64) -> Result<i64, BadFile> {
        let value = self.value(key)?;
        let number = value.as_f64().filter(|number| (0.0..=most).contains(number));
        let number = number.ok_or_else(|| {
            self.bad(key, format!("must be a number from 0 to {most}, not {}", shown(value)))
        })?;
        #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
        Ok((number * 1_000_000.0).round() as i64)
    }
}

/// A value as a message can show it.
fn shown(value: &Value) -> String {
    const MOST_CHARS: usize = 40;
    let text = value.to_string();
    if text.chars().count() <= MOST_CHARS {
        return text;
    }
    text.chars().take(MOST_CHARS).chain("…".chars()).collect()
}
