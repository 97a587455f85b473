//! The native signature of Tencent COS, `q-sign-algorithm=sha1` (FACTS §6.2): as a header, or as parameters of a URL.

use std::fmt::Write as _;

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

use crate::wechat::crypto::{hmac_sha1_hex, sha1_hex};

/// Carries the token of lent keys, as a header or as a parameter.
pub(super) const TOKEN: &str = "x-cos-security-token";

/// Keys of a bucket.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Names the key.
    pub id: String,
    /// Signs.
    pub secret: SecretString,
    /// Of lent keys; without it they do not count.
    pub token: Option<SecretString>,
}

/// When a signature counts, seconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// From.
    pub from: i64,
    /// Until.
    pub until: i64,
}

/// What of a request is signed.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// In either case.
    pub method: &'a str,
    /// With its first slash, not percent-encoded.
    pub path: &'a str,
    /// Not percent-encoded.
    pub query: &'a [(String, String)],
    /// Names in any case, values as sent.
    pub headers: &'a [(String, String)],
}

/// The value of the `authorization` header.
pub fn authorization(keys: &Keys, request: Request<'_>, term: Term) -> String {
    let fields = fields(keys, request, term);
    fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// A link to the object at `path` (not percent-encoded, without its first slash) of a bucket at `endpoint`, which only
/// works for `method`. The token of lent keys is signed and sent as a parameter; the host is signed, too.
pub fn presigned(keys: &Keys, method: &str, endpoint: &Url, path: &str, term: Term) -> Url {
    let mut url = crate::wechat::transport::extended(endpoint, path.split('/'));
    let query: Vec<_> =
        keys.token.iter().map(|token| (TOKEN.to_owned(), token.expose_secret().to_owned())).collect();
    let request = Request {
        method,
        path: &format!("/{path}"),
        query: &query,
        headers: &[("host".to_owned(), host(endpoint))],
    };
    let signed = fields(keys, request, term);
    let pairs =
        signed.iter().map(|(name, value)| (*name, value)).chain(query.iter().map(|(n, v)| (n.as_str(), v)));
    let text = pairs.map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&");
    url.set_query(Some(&text));
    url
}

/// The `host` header of requests to `endpoint`.
pub(super) fn host(endpoint: &Url) -> String {
    let name = endpoint.host_str().unwrap_or_default();
    endpoint.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

/// The parts of a signature in their order.
fn fields(keys: &Keys, request: Request<'_>, term: Term) -> Vec<(&'static str, String)> {
    let time = format!("{};{}", term.from, term.until);
    let (query, headers) = (canonical(request.query), canonical(request.headers));
    let method = request.method.to_ascii_lowercase();
    let text = format!("{method}\n{}\n{}\n{}\n", request.path, pairs(&query), pairs(&headers));
    let to_sign = format!("sha1\n{time}\n{}\n", sha1_hex(text.as_bytes()));
    // the key that signs is the text of the hex digits, not the bytes they stand for
    let key = hmac_sha1_hex(keys.secret.expose_secret().as_bytes(), time.as_bytes());
    let signature = hmac_sha1_hex(key.as_bytes(), to_sign.as_bytes());
    vec![
        ("q-sign-algorithm", "sha1".to_owned()),
        ("q-ak", keys.id.clone()),
        ("q-sign-time", time.clone()),
        ("q-key-time", time),
        ("q-header-list", names(&headers)),
        ("q-url-param-list", names(&query)),
        ("q-signature", signature),
    ]
}

/// Percent-encodes everything but `A-Z a-z 0-9 - _ . ~`.
fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // writing to a string cannot fail
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// Names in lower case, both encoded, sorted.
fn canonical(pairs: &[(String, String)]) -> Vec<(String, String)> {
    let mut pairs: Vec<_> =
        pairs.iter().map(|(name, value)| (encode(name).to_ascii_lowercase(), encode(value))).collect();
    pairs.sort();
    pairs
}

fn pairs(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn names(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";")
}
