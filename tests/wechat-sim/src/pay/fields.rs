//! Reading a request's body: what is missing, of another type, too long or unknown is `PARAM_ERROR`.

use serde_json::{Map, Value};

use super::{Refusal, bad};

/// The fields of one object.
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The object, if it has no other fields than these.
    pub(super) fn of(value: &'a Value, known: &[&str]) -> Result<Self, Refusal> {
        let Some(object) = value.as_object() else { return bad("输入源不是一个JSON对象") };
        if let Some(name) = object.keys().find(|name| !known.contains(&name.as_str())) {
            return bad(format!("字段 {name} 不存在"));
        }
        Ok(Self { object })
    }

    /// A text of 1 to `max` characters.
    pub(super) fn text(&self, name: &str, max: usize) -> Result<&'a str, Refusal> {
        match self.optional_text(name, max)? {
            Some(text) => Ok(text),
            None => bad(format!("必填字段 {name} 缺失")),
        }
    }

    /// The same, or nothing.
    pub(super) fn optional_text(&self, name: &str, max: usize) -> Result<Option<&'a str>, Refusal> {
        match self.object.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if (1..=max).contains(&text.chars().count()) => Ok(Some(text)),
            Some(Value::String(_)) => bad(format!("字段 {name} 的长度不在 1 到 {max} 之间")),
            Some(_) => bad(format!("字段 {name} 不是字符串")),
        }
    }

    /// Fen: a whole number above zero.
    pub(super) fn fen(&self, name: &str) -> Result<i64, Refusal> {
        match self.object.get(name) {
            None => bad(format!("必填字段 {name} 缺失")),
            Some(value) => match value.as_i64() {
                Some(fen) if fen > 0 => Ok(fen),
                Some(_) => bad(format!("字段 {name} 小于最小值 1")),
                None => bad(format!("字段 {name} 不是整数")),
            },
        }
    }

    /// An object with no other fields than these.
    pub(super) fn object(&self, name: &str, known: &[&str]) -> Result<Fields<'a>, Refusal> {
        match self.object.get(name) {
            Some(value) => Fields::of(value, known),
            None => bad(format!("必填字段 {name} 缺失")),
        }
    }

    /// `currency`, which is CNY or absent where that is allowed.
    pub(super) fn currency(&self, is_required: bool) -> Result<(), Refusal> {
        match self.object.get("currency").map(|value| value.as_str()) {
            Some(Some("CNY")) => Ok(()),
            None if !is_required => Ok(()),
            _ => bad("字段 currency 只支持 CNY"),
        }
    }

    /// `notify_url`: https, at most 255 characters, no query.
    pub(super) fn notify_url(&self, is_required: bool) -> Result<Option<String>, Refusal> {
        let url = match self.optional_text("notify_url", 255)? {
            Some(url) => url,
            None if is_required => return bad("必填字段 notify_url 缺失"),
            None => return Ok(None),
        };
        let is_good =
            url.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
        if !is_good || url.contains(['?', '#', ' ']) {
            return bad("字段 notify_url 须为不携带参数的 https 地址");
        }
        Ok(Some(url.to_owned()))
    }
}

/// The body as JSON.
pub(super) fn body(bytes: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(bytes).or_else(|_| bad("请求体不是合法的JSON"))
}

/// A number the merchant chose: `min` to `max` of letters, digits and `marks`.
pub(super) fn own_number<'a>(
    text: &'a str,
    name: &str,
    (min, max): (usize, usize),
    marks: &str,
) -> Result<&'a str, Refusal> {
    let is_good = |one: char| one.is_ascii_alphanumeric() || marks.contains(one);
    if (min..=max).contains(&text.len()) && text.chars().all(is_good) {
        Ok(text)
    } else {
        bad(format!("字段 {name} 不符合规则"))
    }
}
