//! Reads the signature of a request and computes it again.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{digest, hmac};
use axum::http::request::Parts;

use crate::http::decoded as decode;

use super::{Asked, Cos, Refusal, refuse};

/// Takes a request apart if it is signed as it has to be.
pub(super) fn check(head: &Parts, cos: &Cos) -> Result<Asked, Refusal> {
    let host = head.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.split(':').next().unwrap_or_default();
    let is_bound = cos.state().domain.as_deref() == Some(host);
    if !is_bound && !name.strip_prefix(&*cos.name).is_some_and(|rest| rest.starts_with(".cos.")) {
        return refuse(400, "InvalidURI", format!("{host}: the bucket has to stand in the host"));
    }
    let mut query: BTreeMap<String, String> = pairs(head.uri.query().unwrap_or_default());
    let in_query = query.contains_key("q-signature");
    let fields: BTreeMap<String, String> = match head.headers.get("authorization") {
        Some(header) => header.to_str().unwrap_or_default().split('&').filter_map(pair).collect(),
        None if in_query => {
            let names = query.keys().filter(|name| name.starts_with("q-")).cloned().collect::<Vec<_>>();
            names.into_iter().filter_map(|name| query.remove_entry(&name)).collect()
        }
        None => return refuse(403, "AccessDenied", "not signed"),
    };
    let path = decode(head.uri.path());
    let term = field(&fields, "q-sign-time")?;
    in_term(term)?;
    let keys = cos.state().keys(field(&fields, "q-ak")?);
    let Some(keys) = keys.filter(|_| fields.get("q-sign-algorithm").is_some_and(|name| name == "sha1"))
    else {
        return refuse(403, "InvalidAccessKeyId", "not known");
    };
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let headers = listed(field(&fields, "q-header-list")?, |name| header(name).map(str::to_owned))?;
    let lower: BTreeMap<String, String> =
        query.iter().map(|(name, value)| (encode(name).to_lowercase(), value.clone())).collect();
    let parameters = listed(field(&fields, "q-url-param-list")?, |name| lower.get(name).cloned())?;
    for name in head.headers.keys().map(|name| name.as_str()) {
        if (name.starts_with("x-cos-") || name == "host") && !headers.contains_key(name) {
            return refuse(403, "SignatureDoesNotMatch", format!("{name} is not signed"));
        }
    }
    if let Some(name) = lower.keys().find(|name| !parameters.contains_key(*name)) {
        return refuse(403, "SignatureDoesNotMatch", format!("{name} is not signed"));
    }
    let text = http_string(head.method.as_str(), &path, &parameters, &headers);
    let expected = signature(&keys.key, field(&fields, "q-key-time")?, term, &text);
    if expected != field(&fields, "q-signature")? {
        return refuse(403, "SignatureDoesNotMatch", text.replace('\n', "\\n"));
    }
    let given = header("x-cos-security-token").or(query.get("x-cos-security-token").map(String::as_str));
    if given != keys.token.as_deref() {
        return refuse(403, "InvalidToken", "the token is another");
    }
    query.remove("x-cos-security-token");
    let key = path.trim_start_matches('/').to_owned();
    Ok(Asked { method: head.method.clone(), key, query, headers: head.headers.clone() })
}

/// The request as it is signed: names in order, values encoded, the path as it is.
pub(crate) fn http_string(
    method: &str,
    path: &str,
    parameters: &BTreeMap<String, String>,
    headers: &BTreeMap<String, String>,
) -> String {
    format!("{}\n{path}\n{}\n{}\n", method.to_lowercase(), joined(parameters), joined(headers))
}

/// `q-signature` of a request.
pub(crate) fn signature(key: &str, key_time: &str, sign_time: &str, http_string: &str) -> String {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, http_string.as_bytes());
    mac(&mac(key, key_time), &format!("sha1\n{sign_time}\n{}\n", hex::encode(hash)))
}

fn in_term(term: &str) -> Result<(), Refusal> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let parsed = term.split_once(';').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    match parsed {
        Some::<(u64, u64)>((from, to)) if from <= now && now <= to => Ok(()),
        _ => refuse(403, "AccessDenied", "Request has expired"),
    }
}

fn listed(names: &str, value: impl Fn(&str) -> Option<String>) -> Result<BTreeMap<String, String>, Refusal> {
    let names: Vec<&str> = names.split(';').filter(|name| !name.is_empty()).collect();
    if !names.is_sorted() {
        return refuse(403, "SignatureDoesNotMatch", "the names are not in order");
    }
    names
        .into_iter()
        .map(|name| match value(name) {
            Some(value) => Ok((name.to_owned(), value)),
            None => refuse(403, "SignatureDoesNotMatch", format!("{name} was signed and not sent")),
        })
        .collect()
}

fn field<'a>(fields: &'a BTreeMap<String, String>, name: &'static str) -> Result<&'a str, Refusal> {
    fields.get(name).map_or_else(|| refuse(403, "AccessDenied", name), |value| Ok(value.as_str()))
}

fn joined(pairs: &BTreeMap<String, String>) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&")
}

fn pairs(query: &str) -> BTreeMap<String, String> {
    query
        .split('&')
        .filter(|one| !one.is_empty())
        .map(|one| one.split_once('=').unwrap_or((one, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

fn pair(text: &str) -> Option<(String, String)> {
    text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
}

fn mac(key: &str, text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
    hex::encode(hmac::sign(&key, text.as_bytes()))
}

/// Percent-encoded as the signature wants it.
pub(crate) fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}
