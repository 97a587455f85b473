//! The cryptography of Tencent's formats, on aws-lc-rs alone. Pure: bytes in, bytes out.

mod aead;
mod mac;
mod rsa;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};

pub use aead::{ApiV3Key, OpenError};
pub use mac::{equal, hmac_sha1_hex, hmac_sha256_hex, sha1_hex};
pub use rsa::{Certificate, SigningKey, VerifyingKey};

/// Key material that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no section of the right kind in the text.
    #[error("it is not PEM text of the expected kind")]
    NotPem,
    /// The bytes inside are no key, or not of a kind that is taken.
    #[error("it holds no usable RSA key")]
    NotRsa,
    /// The bytes inside are no certificate.
    #[error("it holds no readable certificate")]
    NotCertificate,
    /// A symmetric key of another length.
    #[error("it has to have exactly {0} bytes")]
    Length(usize),
    /// Text in another alphabet than base64.
    #[error("it is not base64 text")]
    NotBase64,
}

/// A signature that does not belong to its message, or is no signature at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not belong to the message")]
pub struct BadSignature;

/// 32 upper-case hex digits that nobody can guess.
pub fn nonce() -> String {
    let mut bytes = [0_u8; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system's random source is open from the process's start");
    hex::encode_upper(bytes)
}
