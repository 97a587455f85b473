//! Keyed and plain hashes as lower-case hex, the way the platform writes them.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256, Key, sign};

/// HMAC-SHA256: virtual payment and session keys (FACTS 1.6, 4.10, 4.11).
pub fn hmac_sha256_hex(key: &[u8], message: &[u8]) -> String {
    hex::encode(sign(&Key::new(HMAC_SHA256, key), message))
}

/// HMAC-SHA1: Tencent COS (FACTS 6.2).
pub fn hmac_sha1_hex(key: &[u8], message: &[u8]) -> String {
    hex::encode(sign(&Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, key), message))
}

/// SHA-1: message push and bills (FACTS 2.5, 3.7).
pub fn sha1_hex(message: &[u8]) -> String {
    hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, message))
}

/// Compares without telling by its time where two texts differ.
pub fn equal(one: &str, other: &str) -> bool {
    verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}
