//! The tickets that were answered: read within bounds, each checked before a runner gets to see it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::link::message::{Receipt, Secret, Ticket};

const MAX_URL_BYTES: usize = 8 << 10;
const MAX_HEADERS: usize = 32;
const MAX_HEADERS_BYTES: usize = 8 << 10;
const MAX_FIELDS: usize = 32;
const MAX_FIELDS_BYTES: usize = 16 << 10;
const MAX_KEY_BYTES: usize = 1 << 10;
const MAX_META_BYTES: usize = 4 << 10;

/// A ticket, and what its owner calls the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The ticket.
    pub ticket: Ticket,
    /// Kept with the output.
    pub receipt: Receipt,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    tickets: Vec<Answered<'a>>,
}

#[derive(Deserialize)]
struct Answered<'a> {
    index: usize,
    method: Method,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    fields: Option<Vec<(String, String)>>,
    expires_at: Timestamp,
    key: Option<String>,
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Method {
    Put,
    Post,
}

/// Reads an answer of exactly one ticket for each of so many files.
pub(super) fn read(
    bytes: &[u8],
    files: usize,
    check: &dyn Fn(&str) -> Result<(), String>,
) -> Result<Vec<Granted>, String> {
    let answer: Answer<'_> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let mut granted: Vec<Option<Granted>> = vec![None; files];
    for answered in answer.tickets {
        let index = answered.index;
        let slot = granted.get_mut(index).ok_or_else(|| format!("there is no file {index}"))?;
        if slot.is_some() {
            return Err(format!("two tickets for file {index}"));
        }
        *slot = Some(one(answered, check).map_err(|problem| format!("file {index}: {problem}"))?);
    }
    let missing = granted.iter().position(Option::is_none);
    match missing {
        Some(index) => Err(format!("no ticket for file {index}")),
        None => Ok(granted.into_iter().flatten().collect()),
    }
}

fn one(answered: Answered<'_>, check: &dyn Fn(&str) -> Result<(), String>) -> Result<Granted, String> {
    if answered.url.len() > MAX_URL_BYTES {
        return Err(format!("its url is longer than {MAX_URL_BYTES} bytes"));
    }
    check(&answered.url).map_err(|problem| format!("its url is refused: {problem}"))?;
    let expires_at = answered.expires_at.as_millisecond();
    let headers = headers(answered.headers)?;
    let receipt = receipt(answered.key, answered.meta)?;
    let ticket = match (answered.method, answered.fields) {
        (Method::Put, None) => {
            Ticket::Http { method: "PUT".into(), url: Secret(answered.url), headers, expires_at }
        }
        (Method::Put, Some(_)) => return Err("a PUT has no fields".into()),
        (Method::Post, Some(fields)) if headers.is_empty() => {
            Ticket::Form { url: Secret(answered.url), fields: form(fields)?, expires_at }
        }
        (Method::Post, _) => return Err("a POST is a form: it has fields and no headers".into()),
    };
    Ok(Granted { ticket, receipt })
}

/// Headers that a request may carry: none that say where it goes or how long it is.
fn headers(given: BTreeMap<String, String>) -> Result<Vec<(String, String)>, String> {
    let bytes: usize = given.iter().map(|(name, value)| name.len() + value.len()).sum();
    if given.len() > MAX_HEADERS || bytes > MAX_HEADERS_BYTES {
        return Err(format!("more than {MAX_HEADERS} headers or {MAX_HEADERS_BYTES} bytes of them"));
    }
    for (name, value) in &given {
        let parsed = reqwest::header::HeaderName::from_bytes(name.as_bytes());
        let is_ours = parsed.as_ref().is_ok_and(|name| {
            matches!(
                name.as_str(),
                "host"
                    | "content-length"
                    | "transfer-encoding"
                    | "connection"
                    | "te"
                    | "upgrade"
                    | "expect"
                    | "trailer"
            )
        });
        if parsed.is_err() || is_ours || reqwest::header::HeaderValue::from_str(value).is_err() {
            return Err("a header that cannot be sent".into());
        }
    }
    Ok(given.into_iter().collect())
}

/// Fields of a form, in their order.
fn form(given: Vec<(String, String)>) -> Result<Vec<(String, Secret)>, String> {
    let bytes: usize = given.iter().map(|(name, value)| name.len() + value.len()).sum();
    if given.len() > MAX_FIELDS || bytes > MAX_FIELDS_BYTES {
        return Err(format!("more than {MAX_FIELDS} fields or {MAX_FIELDS_BYTES} bytes of them"));
    }
    let is_name =
        |name: &str| !name.is_empty() && name != "file" && !name.chars().any(|c| c.is_control() || c == '"');
    if !given.iter().all(|(name, _)| is_name(name)) {
        return Err("a field that cannot be sent".into());
    }
    Ok(given.into_iter().map(|(name, value)| (name, Secret(value))).collect())
}

fn receipt(key: Option<String>, meta: Option<&RawValue>) -> Result<Receipt, String> {
    if key.as_ref().is_some_and(|key| key.len() > MAX_KEY_BYTES || key.chars().any(char::is_control)) {
        return Err(format!("its key is longer than {MAX_KEY_BYTES} bytes or has control characters"));
    }
    let meta = meta.map(RawValue::get).filter(|meta| *meta != "null");
    if meta.is_some_and(|meta| !meta.starts_with('{') || meta.len() > MAX_META_BYTES) {
        return Err(format!("its meta is no object or longer than {MAX_META_BYTES} bytes"));
    }
    Ok(Receipt { key, meta: meta.map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]

    use serde_json::{Value, json};

    use super::*;

    fn ticket(index: usize) -> Value {
        json!({"index": index, "method": "PUT", "url": "https://a.example/k", "expires_at": "2030-01-01T00:00:00Z"})
    }

    fn read_json(tickets: &[Value], files: usize) -> Result<Vec<Granted>, String> {
        let check = |url: &str| if url.starts_with("https://") { Ok(()) } else { Err("no".to_owned()) };
        read(json!({ "tickets": tickets }).to_string().as_bytes(), files, &check)
    }

    #[test]
    fn tickets_are_put_in_the_order_of_the_files_with_what_their_owner_says_of_them() {
        let mut first = ticket(0);
        first["key"] = "users/1/a.webp".into();
        first["meta"] = json!({"fileid": "cloud://env.bucket/a.webp"});
        first["headers"] = json!({"x-cos-meta-fileid": "1"});
        let granted = read_json(&[ticket(1), first], 2).unwrap();
        assert_eq!(granted[0].receipt.key.as_deref(), Some("users/1/a.webp"));
        assert_eq!(granted[0].receipt.meta.as_deref(), Some(r#"{"fileid":"cloud://env.bucket/a.webp"}"#));
        assert_eq!(granted[1].receipt, Receipt::default());
        let Ticket::Http { headers, expires_at, .. } = &granted[0].ticket else { unreachable!() };
        assert_eq!((headers.len(), *expires_at), (1, 1_893_456_000_000));
    }

    #[test]
    fn a_form_keeps_its_fields_in_order() {
        let mut post = ticket(0);
        post["method"] = "POST".into();
        post["fields"] = json!([["key", "a.webp"], ["Signature", "q-sign"], ["x-cos-security-token", "t"]]);
        let granted = read_json(&[post.clone()], 1).unwrap();
        let Ticket::Form { fields, .. } = &granted[0].ticket else { unreachable!() };
        let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["key", "Signature", "x-cos-security-token"]);
        post["fields"] = json!([["file", "mine"]]);
        assert!(read_json(&[post], 1).is_err());
    }

    #[test]
    fn an_answer_that_does_not_fit_its_files_is_wrong() {
        let with = |member: &str, value: Value| {
            let mut ticket = ticket(0);
            ticket[member] = value;
            ticket
        };
        for (tickets, files) in [
            (vec![], 1),
            (vec![ticket(0), ticket(0)], 1),
            (vec![ticket(1)], 1),
            (vec![ticket(0)], 2),
            (vec![with("url", "http://169.254.169.254/".into())], 1),
            (vec![with("url", format!("https://a.example/{}", "x".repeat(9000)).into())], 1),
            (vec![with("method", "DELETE".into())], 1),
            (vec![with("fields", json!([["a", "b"]]))], 1),
            (vec![with("headers", json!({"Host": "b.example"}))], 1),
            (vec![with("headers", json!({"x": "a\r\nb: c"}))], 1),
            (vec![with("key", "a\nb".into())], 1),
            (vec![with("meta", json!("text"))], 1),
            (vec![with("meta", json!({"long": "x".repeat(5000)}))], 1),
            (vec![with("expires_at", json!(0))], 1),
        ] {
            assert!(read_json(&tickets, files).is_err(), "{tickets:?}");
        }
    }
}
