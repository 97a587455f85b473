//! The native signature of Tencent COS (`q-sign-algorithm=sha1`; wechat FACTS §6.2): a header, or parameters of a URL.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key, sign};

use crate::link::message::Secret;

/// Carries the token of temporary keys, as a header or as a parameter.
pub(super) const TOKEN: &str = "x-cos-security-token";

/// What requests are signed with.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) id: String,
    pub(super) key: Secret,
    /// Of temporary keys.
    pub(super) token: Option<Secret>,
}

/// When a signature counts, seconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Term {
    pub(super) from: u64,
    pub(super) until: u64,
}

/// What of a request is signed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'a> {
    /// In either case.
    pub(super) method: &'a str,
    /// With its first slash, not percent-encoded.
    pub(super) path: &'a str,
    /// Not percent-encoded.
    pub(super) query: &'a [(String, String)],
    /// Names in any case, values as sent.
    pub(super) headers: &'a [(String, String)],
}

/// The fields of a signature in their order. As `Authorization` they are joined as they are; as parameters of a URL
/// their values are percent-encoded.
pub(super) fn fields(keys: &Keys, request: Signed<'_>, term: Term) -> Vec<(&'static str, String)> {
    let time = format!("{};{}", term.from, term.until);
    let (query, headers) = (canonical(request.query), canonical(request.headers));
    let method = request.method.to_ascii_lowercase();
    let text = format!("{method}\n{}\n{}\n{}\n", request.path, pairs(&query), pairs(&headers));
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let to_sign = format!("sha1\n{time}\n{}\n", hex::encode(hash));
    // the key that signs is the text of the hex digits, not the bytes they stand for
    let key = hmac(keys.key.0.as_bytes(), &time);
    let signature = hmac(key.as_bytes(), &to_sign);
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

/// The value of the `Authorization` header.
pub(super) fn authorization(keys: &Keys, request: Signed<'_>, term: Term) -> String {
    let fields = fields(keys, request, term);
    fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Percent-encodes everything but `A-Z a-z 0-9 - _ . ~`.
pub(super) fn encode(text: &str) -> String {
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

fn hmac(key: &[u8], text: &str) -> String {
    hex::encode(sign(&Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, key), text.as_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]

    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vectors {
        vectors: Vec<Vector>,
    }

    #[derive(Deserialize)]
    struct Vector {
        id: String,
        secret_id: String,
        secret_key: String,
        method: String,
        path: String,
        query: BTreeMap<String, String>,
        signed_headers: BTreeMap<String, String>,
        key_time: String,
        authorization: Option<String>,
        q_signature: Option<String>,
    }

    #[test]
    fn every_published_signature_comes_out_the_same() {
        let text = include_str!("../../../../tests/fixtures/cos/cos_sign_v5.json");
        let Vectors { vectors } = serde_json::from_str(text).unwrap();
        assert_eq!(vectors.len(), 4);
        for vector in vectors {
            let keys = Keys { id: vector.secret_id, key: Secret(vector.secret_key), token: None };
            let (from, until) = vector.key_time.split_once(';').unwrap();
            let term = Term { from: from.parse().unwrap(), until: until.parse().unwrap() };
            let (query, headers): (Vec<_>, Vec<_>) =
                (vector.query.into_iter().collect(), vector.signed_headers.into_iter().collect());
            let request =
                Signed { method: &vector.method, path: &vector.path, query: &query, headers: &headers };
            let authorization = authorization(&keys, request, term);
            let told = (vector.authorization.is_some(), vector.q_signature.is_some());
            assert_ne!(told, (false, false), "{}", vector.id);
            assert_eq!(vector.authorization.unwrap_or(authorization.clone()), authorization, "{}", vector.id);
            if let Some(signature) = vector.q_signature {
                assert!(authorization.ends_with(&format!("&q-signature={signature}")), "{}", vector.id);
            }
        }
    }

    #[test]
    fn names_are_lower_case_and_sorted_and_nothing_reserved_stays_as_it_is() {
        assert_eq!(encode("a b/ä~-_.*"), "a%20b%2F%C3%A4~-_.%2A");
        let pairs = [("uploadId".to_owned(), "B/1".to_owned()), ("partNumber".to_owned(), "2".to_owned())];
        assert_eq!(
            canonical(&pairs),
            [("partnumber".to_owned(), "2".to_owned()), ("uploadid".to_owned(), "B%2F1".to_owned())]
        );
    }
}
