//! Tokens of upload tickets: what they are for, sealed so that nobody else can make or change one.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign, verify};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::link::message::Secret;

/// What a token is good for: one object, whose key names job, attempt and index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    /// Object key.
    #[serde(rename = "k")]
    pub(super) key: String,
    /// Media type.
    #[serde(rename = "t")]
    pub(super) content_type: String,
    /// Longest object.
    #[serde(rename = "m")]
    pub(super) max_bytes: u64,
    /// Milliseconds since the epoch.
    #[serde(rename = "e")]
    pub(super) expires_at: i64,
}

/// Seals claims with a key of this process: after a restart its tokens are worth nothing, and runners ask for others.
#[derive(Clone)]
pub(super) struct Seal(Key);

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    pub(super) fn new() -> Self {
        let secret = [*uuid::Uuid::new_v4().as_bytes(), *uuid::Uuid::new_v4().as_bytes()].concat();
        Self(Key::new(HMAC_SHA256, &secret))
    }

    pub(super) fn close(&self, claim: &Claim) -> Secret {
        let claim = BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(claim).unwrap_or_default());
        let seal = BASE64_URL_SAFE_NO_PAD.encode(sign(&self.0, claim.as_bytes()));
        Secret(format!("{claim}.{seal}"))
    }

    /// The claim of a token that is ours and still good.
    pub(super) fn open(&self, token: &str) -> Option<Claim> {
        let (claim, seal) = token.split_once('.')?;
        verify(&self.0, claim.as_bytes(), &BASE64_URL_SAFE_NO_PAD.decode(seal).ok()?).ok()?;
        let claim: Claim = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claim).ok()?).ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        (i128::from(claim.expires_at) > i128::try_from(now).unwrap_or(i128::MAX)).then_some(claim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_with_its_own_seal_until_it_expires() {
        let (ours, theirs) = (Seal::new(), Seal::new());
        let claim = |expires_at| Claim {
            key: "outputs/a/1-0.png".into(),
            content_type: "image/png".into(),
            max_bytes: 9,
            expires_at,
        };
        let token = ours.close(&claim(i64::MAX)).0;
        assert_eq!(ours.open(&token), Some(claim(i64::MAX)));
        assert_eq!(theirs.open(&token), None);
        assert_eq!(ours.open(&ours.close(&claim(1)).0), None);
        assert_eq!(ours.open(&format!("{token}x")), None);
        assert_eq!(ours.open(&token.replacen('e', "f", 1)), None);
        assert_eq!(ours.open(""), None);
    }
}
