//! How events are signed, and how a receiver checks it. `docs/WEBHOOKS.md` says the same with examples.
//!
//! `Darkroom-Signature: t=<unix seconds>,kid=<key>,v1=<hex>[,kid=<key>,v1=<hex>…]`, each `v1` being the HMAC-SHA256 of
//! `<t>.<body>` under the key before it.

use std::fmt::Write as _;

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};

use crate::link::message::Secret;

/// How far the time of a signature may be from the receiver's, seconds.
pub const WINDOW_SECONDS: i64 = 300;

/// Fewest characters of a secret.
const MIN_SECRET: usize = 32;

/// Keys that are looked at in one header.
const MAX_SIGNATURES: usize = 16;

/// A key that events are signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningKey {
    /// What receivers know it by: 1 to 64 letters, digits, `-`, `_` and `.`.
    pub id: String,
    /// The secret, at least 32 characters; its UTF-8 bytes are the key.
    pub secret: Secret,
}

/// Why a signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The header is not as described.
    #[error("the signature is malformed")]
    Malformed,
    /// Too old, or from the future: a replay, or a clock that is wrong.
    #[error("the signature's time is more than {WINDOW_SECONDS} s away")]
    Stale,
    /// None of its keys is known here.
    #[error("no known key")]
    UnknownKey,
    /// The body is not what was signed.
    #[error("the signature does not match")]
    Mismatch,
}

impl SigningKey {
    /// What is wrong with it; never holds the secret.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !(1..=64).contains(&self.id.len()) || !self.id.chars().all(is_plain) {
            return Some("id must be 1 to 64 letters, digits, '-', '_' or '.'");
        }
        (self.secret.0.len() < MIN_SECRET).then_some("secret must have at least 32 characters")
    }

    fn hmac(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.secret.0.as_bytes())
    }
}

/// The value of `Darkroom-Signature` for a body sent at `at` (unix seconds), by all `keys`.
#[must_use]
pub fn sign(keys: &[SigningKey], at: i64, body: &[u8]) -> String {
    keys.iter().fold(format!("t={at}"), |mut header, key| {
        let mut context = hmac::Context::with_key(&key.hmac());
        context.update(format!("{at}.").as_bytes());
        context.update(body);
        // Writing to a string cannot fail.
        let _ = write!(header, ",kid={},v1={}", key.id, hex::encode(context.sign()));
        header
    })
}

/// Checks the value of `Darkroom-Signature` against the body as received, at `now` (unix seconds). One signature by
/// a known key is enough; comparisons take constant time. Returns the id of the key.
///
/// # Errors
/// See [`VerifyError`].
pub fn verify<'a>(
    header: &str,
    body: &[u8],
    keys: &'a [SigningKey],
    now: i64,
) -> Result<&'a str, VerifyError> {
    let (at, signatures) = read(header).ok_or(VerifyError::Malformed)?;
    if now.abs_diff(at) > WINDOW_SECONDS.unsigned_abs() {
        return Err(VerifyError::Stale);
    }
    let mut signed = format!("{at}.").into_bytes();
    signed.extend_from_slice(body);
    let mut known = false;
    for (id, signature) in signatures {
        let Some(key) = keys.iter().find(|key| key.id == id) else { continue };
        known = true;
        if hmac::verify(&key.hmac(), &signed, &signature).is_ok() {
            return Ok(&key.id);
        }
    }
    Err(if known { VerifyError::Mismatch } else { VerifyError::UnknownKey })
}

type Signatures<'a> = Vec<(&'a str, Vec<u8>)>;

fn read(header: &str) -> Option<(i64, Signatures<'_>)> {
    let mut parts = header.split(',').map(|part| part.trim().split_once('='));
    let ("t", at) = parts.next()?? else { return None };
    let mut signatures = Vec::new();
    while let Some(part) = parts.next() {
        let ("kid", id) = part? else { return None };
        let ("v1", signature) = parts.next()?? else { return None };
        signatures.push((id, hex::decode(signature).ok()?));
        if signatures.len() > MAX_SIGNATURES {
            return None;
        }
    }
    let is_number = at.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !signatures.is_empty()).then_some((at.parse().ok()?, signatures))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use super::*;

    const VECTORS: &str = include_str!("../../../tests/contract/webhook_signatures.json");

    fn key(id: &str, secret: &str) -> SigningKey {
        SigningKey { id: id.into(), secret: Secret(secret.into()) }
    }

    #[test]
    fn the_published_vectors_hold() {
        let vectors: Vec<serde_json::Value> = serde_json::from_str(VECTORS).unwrap();
        assert!(vectors.len() >= 3);
        for vector in vectors {
            let text = |name: &str| vector[name].as_str().unwrap();
            let keys: Vec<SigningKey> = serde_json::from_value(vector["keys"].clone()).unwrap();
            let at = vector["t"].as_i64().unwrap();
            assert_eq!(sign(&keys, at, text("body").as_bytes()), text("signature"), "{vector}");
            for key in &keys {
                let alone = std::slice::from_ref(key);
                assert_eq!(
                    verify(text("signature"), text("body").as_bytes(), alone, at),
                    Ok(key.id.as_str())
                );
            }
        }
    }

    #[test]
    fn what_was_not_signed_does_not_pass() {
        let old = key("old", "0123456789abcdef0123456789abcdef");
        let new = key("new", "fedcba9876543210fedcba9876543210");
        let both = [old.clone(), new.clone()];
        let header = sign(&both, 1_000, b"{}");
        for known in [&[old.clone()][..], &[new][..], &both[..]] {
            assert!(
                verify(&header, b"{}", known, 1_300).is_ok(),
                "either key will do, at the edge of the window"
            );
        }
        assert_eq!(verify(&header, b"{ }", &both, 1_000), Err(VerifyError::Mismatch));
        assert_eq!(verify(&header, b"{}", &both, 1_301), Err(VerifyError::Stale));
        assert_eq!(verify(&header, b"{}", &both, 699), Err(VerifyError::Stale));
        assert_eq!(
            verify(&header, b"{}", &[key("other", &"x".repeat(32))], 1_000),
            Err(VerifyError::UnknownKey)
        );
        let forged = key("old", "another secret of the same name!!");
        assert_eq!(verify(&header, b"{}", &[forged], 1_000), Err(VerifyError::Mismatch));
        let moved = header.replace("t=1000", "t=1001");
        assert_eq!(verify(&moved, b"{}", &both, 1_000), Err(VerifyError::Mismatch));
        let many = format!("t=1000{}", ",kid=old,v1=00".repeat(17));
        for bad in [
            "",
            "t=",
            "t=1000",
            "t=x,kid=a,v1=00",
            "kid=a,v1=00,t=1",
            "t=1000,kid=old,v1=zz",
            "t=1,v1=00",
            "t=-1,kid=a,v1=00",
            &many,
        ] {
            assert_eq!(verify(bad, b"{}", &both, 1_000), Err(VerifyError::Malformed), "{bad}");
        }
    }

    #[test]
    fn a_key_shows_nothing_of_its_secret() {
        let key = key("k", "a secret that nobody may ever see");
        assert!(!format!("{key:?}").contains("nobody"));
        assert_eq!(key.problem(), None);
        let short = SigningKey { secret: Secret("short".into()), ..key };
        assert!(short.problem().is_some_and(|problem| !problem.contains("short ")));
    }
}
