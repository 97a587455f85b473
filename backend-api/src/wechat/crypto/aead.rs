//! AEAD_AES_256_GCM, in which WeChat Pay wraps callbacks and certificates (FACTS 3.6).

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::KeyError;

/// The 32 bytes that the merchant set as "APIv3 key".
pub struct ApiV3Key(LessSafeKey);

/// What was wrapped does not open: another key, another context, changed bytes, or no base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the resource does not open with our key")]
pub struct OpenError;

impl ApiV3Key {
    /// From its text.
    ///
    /// # Errors
    /// When it has not exactly 32 bytes.
    pub fn new(key: &str) -> Result<Self, KeyError> {
        let unbound = UnboundKey::new(&AES_256_GCM, key.as_bytes())
            .map_err(|_| KeyError::Length(AES_256_GCM.key_len()))?;
        Ok(Self(LessSafeKey::new(unbound)))
    }

    /// The plaintext of `ciphertext` (base64 of bytes and their tag of 16).
    ///
    /// # Errors
    /// [`OpenError`], whatever is wrong.
    pub fn open(&self, nonce: &str, associated_data: &str, ciphertext: &str) -> Result<Vec<u8>, OpenError> {
        let nonce = Nonce::try_assume_unique_for_key(nonce.as_bytes()).map_err(|_| OpenError)?;
        let mut bytes = BASE64_STANDARD.decode(ciphertext).map_err(|_| OpenError)?;
        let plain = self
            .0
            .open_in_place(nonce, Aad::from(associated_data.as_bytes()), &mut bytes)
            .map_err(|_| OpenError)?;
        Ok(plain.to_vec())
    }
}

impl fmt::Debug for ApiV3Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiV3Key(…)")
    }
}
