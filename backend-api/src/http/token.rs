//! What callers present instead of a password: tokens of machines, compared by their hash, and codes and tokens of people.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use secrecy::{ExposeSecret as _, SecretString};

use super::codes;
use super::error::ApiError;

/// Longest code or token that is looked at, in bytes.
const MAX_BYTES: usize = 256;

/// Recognises a machine's token without keeping it.
#[derive(Clone)]
pub struct MachineToken(Digest);

impl MachineToken {
    /// The door opens to `token` from now on.
    pub fn new(token: &SecretString) -> Self {
        Self(digest(&SHA256, token.expose_secret().as_bytes()))
    }

    /// Takes as long for a wrong token as for the right one, whatever their lengths.
    pub(super) fn matches(&self, presented: &[u8]) -> bool {
        verify_slices_are_equal(self.0.as_ref(), digest(&SHA256, presented).as_ref()).is_ok()
    }
}

impl fmt::Debug for MachineToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MachineToken")
    }
}

/// What follows `Bearer` in the header that says who asks.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

/// What a caller sends instead of a password.
pub(super) fn credential<'a>(secret: &'a SecretString, name: &str) -> Result<&'a str, ApiError> {
    let text = secret.expose_secret();
    if (1..=MAX_BYTES).contains(&text.len()) {
        return Ok(text);
    }
    Err(ApiError::of(codes::INVALID_REQUEST, format!("{name}: 1 to {MAX_BYTES} bytes are expected")))
}
