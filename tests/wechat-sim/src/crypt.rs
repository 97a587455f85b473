//! Sums, seals and random text, as the platform's pages describe them.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{digest, hmac, rand};
use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

/// The last of 43 characters may carry bits that belong to no byte.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&ALPHABET, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// Message push pads to this length, longer than a block of AES.
const PUSH_BLOCK_BYTES: usize = 32;

const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Random bytes.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system gives random bytes, or nothing here works");
    bytes
}

/// Random letters and digits.
pub(crate) fn letters(count: usize) -> String {
    (0..count).map(|_| char::from(LETTERS[usize::from(bytes::<1>()[0]) % LETTERS.len()])).collect()
}

/// Random digits.
pub(crate) fn digits(count: usize) -> String {
    (0..count).map(|_| char::from(b'0' + bytes::<1>()[0] % 10)).collect()
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// `hex(HMAC-SHA256(key, message))`
pub(crate) fn hmac_hex(key: &[u8], message: &[u8]) -> String {
    hex::encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message))
}

pub(crate) fn sha1_hex(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes))
}

/// `sha1(concat(sort(parts)))` of message push.
pub(crate) fn push_signature(parts: &[&str]) -> String {
    let mut parts = parts.to_vec();
    parts.sort_unstable();
    sha1_hex(parts.concat().as_bytes())
}

/// AEAD_AES_256_GCM: base64 of ciphertext and tag.
pub(crate) fn seal(key: &[u8; 32], nonce: &[u8; 12], associated: &str, plain: &[u8]) -> String {
    let key = UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are a key of AES-256");
    let mut sealed = plain.to_vec();
    LessSafeKey::new(key)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(*nonce), Aad::from(associated), &mut sealed)
        .expect("a message this short can be sealed");
    base64(&sealed)
}

/// AES mode of message push: 16 random bytes, length, message, appid; padded to 32; the key's first half is the IV.
/// `None` when `encoding_aes_key` is not 43 characters of base64.
pub(crate) fn push_encrypt(encoding_aes_key: &str, appid: &str, message: &str) -> Option<String> {
    let key: [u8; 32] = LENIENT.decode(format!("{encoding_aes_key}=")).ok()?.try_into().ok()?;
    let mut text = bytes::<16>().to_vec();
    text.extend(u32::try_from(message.len()).ok()?.to_be_bytes());
    text.extend(message.as_bytes());
    text.extend(appid.as_bytes());
    let padding = PUSH_BLOCK_BYTES - text.len() % PUSH_BLOCK_BYTES;
    text.resize(text.len() + padding, u8::try_from(padding).ok()?);
    let iv: [u8; 16] = key[..16].try_into().ok()?;
    let cipher = EncryptingKey::cbc(UnboundCipherKey::new(&AES_256, &key).ok()?).ok()?;
    cipher.less_safe_encrypt(&mut text, EncryptionContext::Iv128(FixedLength::from(iv))).ok()?;
    Some(base64(&text))
}
