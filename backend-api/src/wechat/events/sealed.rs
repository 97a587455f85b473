//! Events over a public way (FACTS 2.5): signed with a token, sealed where the console says so.

use std::fmt;

use aws_lc_rs::cipher::{AES_256, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::fields::Fields;
use super::{ParseError, Received, parse};
use crate::wechat::crypto::{KeyError, equal, sha1_hex};

/// Characters of an EncodingAESKey: base64 of 32 bytes without its padding.
const ENCODED_KEY_LEN: usize = 43;
const KEY_LEN: usize = 32;
const BLOCK_LEN: usize = 16;
/// Before the message: random bytes, then its length in four.
const RANDOM_LEN: usize = 16;
/// Padding fills up to a multiple of this, twice the cipher's block.
const PADDED_TO: usize = 32;

/// The query of a pushed request.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct PushQuery {
    /// Over token, time and nonce.
    #[serde(default)]
    pub signature: String,
    /// Over the same and the sealed text.
    #[serde(default)]
    pub msg_signature: String,
    /// Seconds since the epoch.
    #[serde(default)]
    pub timestamp: String,
    /// Anything.
    #[serde(default)]
    pub nonce: String,
    /// To be answered as it is when the console tries the address by `GET`.
    #[serde(default)]
    pub echostr: String,
}

/// Why a pushed request is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// Not from the platform.
    #[error("the signature of the pushed event does not fit")]
    Signature,
    /// Signed, but sealed with another key, for another app, or not as the documentation has it.
    #[error("the pushed event does not open")]
    Sealed,
    /// Not sealed, although a key says that events are.
    #[error("the pushed event is not sealed")]
    NotSealed,
    /// Opened, but no event.
    #[error(transparent)]
    Parse(#[from] ParseError),
}

/// What the console and we agreed on.
pub struct Push {
    app_id: String,
    token: SecretString,
    aes_key: Option<AesKey>,
}

struct AesKey([u8; KEY_LEN]);

impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push").field("is_sealed", &self.aes_key.is_some()).finish_non_exhaustive()
    }
}

impl Push {
    /// `token` signs; with `encoding_aes_key` (43 characters) only sealed events are taken.
    ///
    /// # Errors
    /// When the key is not what it should be.
    pub fn new(
        app_id: impl Into<String>,
        token: SecretString,
        encoding_aes_key: Option<&SecretString>,
    ) -> Result<Self, KeyError> {
        let aes_key = encoding_aes_key.map(|key| AesKey::read(key.expose_secret())).transpose()?;
        Ok(Self { app_id: app_id.into(), token, aes_key })
    }

    /// Answers the console's `GET`: gives back what the platform signed.
    ///
    /// # Errors
    /// [`PushError::Signature`] when it was somebody else.
    pub fn echo<'a>(&self, query: &'a PushQuery) -> Result<&'a str, PushError> {
        self.check(&query.signature, query, None)?;
        Ok(&query.echostr)
    }

    /// Takes a `POST` in.
    ///
    /// # Errors
    /// See [`PushError`].
    pub fn open(&self, query: &PushQuery, body: &[u8]) -> Result<Received, PushError> {
        #[derive(Deserialize)]
        struct Sealed {
            encrypt: String,
        }
        let Some(key) = &self.aes_key else {
            self.check(&query.signature, query, None)?;
            return Ok(parse(body)?);
        };
        let Sealed { encrypt } = Fields::read(body)?.parse().map_err(|_| PushError::NotSealed)?;
        self.check(&query.msg_signature, query, Some(&encrypt))?;
        Ok(parse(&key.open(&encrypt, &self.app_id).ok_or(PushError::Sealed)?)?)
    }

    fn check(&self, signature: &str, query: &PushQuery, sealed: Option<&str>) -> Result<(), PushError> {
        let mut parts = vec![self.token.expose_secret(), query.timestamp.as_str(), query.nonce.as_str()];
        parts.extend(sealed);
        parts.sort_unstable();
        match equal(&sha1_hex(parts.concat().as_bytes()), signature) {
            true => Ok(()),
            false => Err(PushError::Signature),
        }
    }
}

impl AesKey {
    fn read(text: &str) -> Result<Self, KeyError> {
        if text.len() != ENCODED_KEY_LEN {
            return Err(KeyError::Length(ENCODED_KEY_LEN));
        }
        // 43 characters are 258 bits: the last two may be anything
        let config = GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireNone);
        let bytes =
            GeneralPurpose::new(&alphabet::STANDARD, config).decode(text).map_err(|_| KeyError::NotBase64)?;
        bytes.try_into().map(Self).map_err(|_| KeyError::Length(KEY_LEN))
    }

    /// The message in a sealed text that is for `app_id`.
    fn open(&self, sealed: &str, app_id: &str) -> Option<Vec<u8>> {
        let mut bytes = BASE64_STANDARD.decode(sealed).ok()?;
        let plain = self.decrypt(&mut bytes)?;
        let padding = usize::from(*plain.last()?);
        if padding == 0 || padding > PADDED_TO {
            return None;
        }
        let content = plain.get(RANDOM_LEN..plain.len().checked_sub(padding)?)?;
        let (length, rest) = content.split_first_chunk::<4>()?;
        let (message, receiver) =
            rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        (receiver == app_id.as_bytes()).then(|| message.to_vec())
    }

    /// AES-256-CBC; its first half of the key is the initial vector. It is no proof of anything: the signature over the
    /// sealed text, checked before, is.
    fn decrypt<'a>(&self, bytes: &'a mut [u8]) -> Option<&'a [u8]> {
        let key = UnboundCipherKey::new(&AES_256, &self.0).ok()?;
        let vector: [u8; BLOCK_LEN] = *self.0.first_chunk()?;
        let key = DecryptingKey::cbc(key).ok()?;
        let context = DecryptionContext::Iv128(FixedLength::from(vector));
        key.decrypt(bytes, context).ok().map(|plain| &*plain)
    }
}
