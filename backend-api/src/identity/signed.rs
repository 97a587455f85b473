//! Requests of an existing user system, signed with a key that both hold. What is signed:
//!
//! ```text
//! POST\n/api/wechat/auth\n1767225600\n<nonce>\n<hex SHA-256 of the body>\n
//! ```
//!
//! in this order: method, path with its query, Unix seconds, nonce, hash, each ended by a line feed. The signature is the
//! lower-case hex HMAC-SHA256 of it. A request counts within five minutes of its time and once.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign, verify};
use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::Millis;

/// How far a request's time may be from ours, either way.
pub(super) const WINDOW_MILLIS: Millis = 5 * 60 * 1_000;
/// Bounds of a nonce, in bytes.
const NONCE: std::ops::RangeInclusive<usize> = 16..=64;

/// The user system that may sign, and the key that it holds with us.
#[derive(Clone)]
pub struct Partner {
    id: String,
    key: Arc<Key>,
}

/// A signed request, as it came.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    /// `POST`.
    pub method: &'a str,
    /// Path and query, as in the request line.
    pub path: &'a str,
    /// The name of who signed.
    pub id: &'a str,
    /// Unix seconds, as text.
    pub time: &'a str,
    /// 16 to 64 characters that the signer uses once.
    pub nonce: &'a str,
    /// Lower-case hex.
    pub signature: &'a str,
    /// Its raw bytes.
    pub body: &'a [u8],
}

/// Why a signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A wrong name, key, form or content; which of them is not told.
    #[error("the signature does not belong to the request")]
    Wrong,
    /// Signed too long ago, or in the future.
    #[error("the signature is not of now")]
    Stale,
}

impl fmt::Debug for Partner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partner").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Partner {
    /// Who may sign, with what.
    pub fn new(id: impl Into<String>, secret: &SecretString) -> Self {
        Self { id: id.into(), key: Arc::new(Key::new(HMAC_SHA256, secret.expose_secret().as_bytes())) }
    }

    /// Checks a request; gives what has to be noted so that it does not count twice.
    ///
    /// # Errors
    /// See [`SignatureError`]. The time is looked at only after the signature: a stranger learns nothing by it.
    pub fn check(&self, request: &SignedRequest<'_>, now: Millis) -> Result<[u8; 32], SignatureError> {
        let signature = hex::decode(request.signature).map_err(|_| SignatureError::Wrong)?;
        verify(&self.key, message(request).as_bytes(), &signature).map_err(|_| SignatureError::Wrong)?;
        if request.id != self.id || !NONCE.contains(&request.nonce.len()) {
            return Err(SignatureError::Wrong);
        }
        let signed_at: i64 = request.time.parse().map_err(|_| SignatureError::Wrong)?;
        if signed_at.saturating_mul(1_000).abs_diff(now) > WINDOW_MILLIS.unsigned_abs() {
            return Err(SignatureError::Stale);
        }
        let seen = digest(&SHA256, format!("{}\n{}", self.id, request.nonce).as_bytes());
        let mut noted = [0; 32];
        noted.copy_from_slice(seen.as_ref());
        Ok(noted)
    }
}

/// What the other side does: the signature of a request under a secret. `request.signature` is not looked at.
pub fn sign_request(secret: &SecretString, request: &SignedRequest<'_>) -> String {
    let key = Key::new(HMAC_SHA256, secret.expose_secret().as_bytes());
    hex::encode(sign(&key, message(request).as_bytes()))
}

fn message(request: &SignedRequest<'_>) -> String {
    let SignedRequest { method, path, time, nonce, body, .. } = request;
    format!("{method}\n{path}\n{time}\n{nonce}\n{}\n", hex::encode(digest(&SHA256, body)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use super::*;

    const NOW: Millis = 1_767_225_600_000;

    fn request(signature: &str) -> SignedRequest<'_> {
        SignedRequest {
            method: "POST",
            path: "/api/wechat/auth",
            id: "club",
            time: "1767225600",
            nonce: "0123456789abcdef",
            signature,
            body: b"{}",
        }
    }

    fn partner() -> (Partner, String) {
        let secret = SecretString::from("a secret of both");
        (Partner::new("club", &secret), sign_request(&secret, &request("")))
    }

    #[test]
    fn the_documented_text_is_what_is_signed() {
        // printf 'POST\n/api/wechat/auth\n1767225600\n0123456789abcdef\n%s\n' "$(printf '{}' | sha256sum | cut -c1-64)" \
        //   | openssl dgst -sha256 -hmac 'a secret of both'
        let (partner, signature) = partner();
        assert_eq!(signature, SIGNED_BY_OPENSSL);
        assert!(partner.check(&request(&signature), NOW).is_ok());
    }

    const SIGNED_BY_OPENSSL: &str = "467bd106f3d9abd8370a309b167dada774063978284fb36c5003c782522330d2";

    #[test]
    fn whatever_differs_is_noticed() {
        let (partner, signature) = partner();
        let good = request(&signature);
        for changed in [
            SignedRequest { method: "PUT", ..good },
            SignedRequest { path: "/api/wechat/auth?x", ..good },
            SignedRequest { id: "other", ..good },
            SignedRequest { time: "1767225601", ..good },
            SignedRequest { nonce: "0123456789abcdeF", ..good },
            SignedRequest { body: b"{} ", ..good },
            SignedRequest { signature: "", ..good },
            SignedRequest { signature: "zz", ..good },
        ] {
            assert_eq!(partner.check(&changed, NOW), Err(SignatureError::Wrong), "{changed:?}");
        }
    }

    #[test]
    fn five_minutes_either_way_are_now() {
        let (partner, signature) = partner();
        let request = request(&signature);
        assert!(partner.check(&request, NOW + WINDOW_MILLIS).is_ok());
        assert!(partner.check(&request, NOW - WINDOW_MILLIS).is_ok());
        assert_eq!(partner.check(&request, NOW + WINDOW_MILLIS + 1), Err(SignatureError::Stale));
        assert_eq!(partner.check(&request, NOW - WINDOW_MILLIS - 1), Err(SignatureError::Stale));
    }

    #[test]
    fn a_nonce_that_is_too_short_to_be_used_once_is_wrong() {
        let secret = SecretString::from("a secret of both");
        let unsigned = SignedRequest { nonce: "short", ..request("") };
        let signature = sign_request(&secret, &unsigned);
        let signed = SignedRequest { signature: &signature, ..unsigned };
        assert_eq!(Partner::new("club", &secret).check(&signed, NOW), Err(SignatureError::Wrong));
    }
}
