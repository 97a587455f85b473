//! What the gateway sends is signed: `Darkroom-Signature: t=<unix seconds>,kid=<key id>,v1=<hex>,…`, an HMAC-SHA256 of
//! `<t>.<body>` over the bytes as they came (`docs/WEBHOOKS.md`).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};
use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::Millis;

/// How far the time of a request may be from ours, either way.
const WINDOW_MILLIS: u64 = 5 * 60 * 1_000;
/// Keys of one header that are looked at.
const KEYS_MAX: usize = 8;

/// Keys by their ids; several while one replaces another.
#[derive(Clone, Default)]
pub struct GatewayKeys {
    keys: Arc<Vec<(String, Key)>>,
}

/// Why a request is not the gateway's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GatewaySignatureError {
    /// No header of that form, no key that we know, or a signature of other bytes; which of them is not told.
    #[error("the signature does not belong to the request")]
    Wrong,
    /// Rightly signed, but not now.
    #[error("the signature is not of now")]
    Stale,
}

impl fmt::Debug for GatewayKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id)).finish()
    }
}

impl GatewayKeys {
    /// Keys with their ids.
    pub fn new(keys: impl IntoIterator<Item = (String, SecretString)>) -> Self {
        let keys = keys
            .into_iter()
            .map(|(id, secret)| (id, Key::new(HMAC_SHA256, secret.expose_secret().as_bytes())));
        Self { keys: Arc::new(keys.collect()) }
    }

    /// Whether there is none, so that nothing can be the gateway's.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Checks the header over the raw body.
    ///
    /// # Errors
    /// See [`GatewaySignatureError`]. The time is looked at only after the signature.
    pub fn check(&self, header: &str, body: &[u8], now: Millis) -> Result<(), GatewaySignatureError> {
        let mut fields = header.split(',').map(|field| field.trim().split_once('='));
        let Some(Some(("t", time))) = fields.next() else { return Err(GatewaySignatureError::Wrong) };
        let signed_at: i64 = time.parse().map_err(|_| GatewaySignatureError::Wrong)?;
        let mut is_ours = false;
        for _ in 0..KEYS_MAX {
            let (Some(Some(("kid", id))), Some(Some(("v1", signature)))) = (fields.next(), fields.next())
            else {
                break;
            };
            is_ours |= self.is_signed_by(id, signature, time, body);
        }
        if !is_ours {
            return Err(GatewaySignatureError::Wrong);
        }
        match signed_at.saturating_mul(1_000).abs_diff(now) {
            ..=WINDOW_MILLIS => Ok(()),
            _ => Err(GatewaySignatureError::Stale),
        }
    }

    fn is_signed_by(&self, id: &str, signature: &str, time: &str, body: &[u8]) -> bool {
        let Some((_, key)) = self.keys.iter().find(|(known, _)| known == id) else { return false };
        let mut context = Context::with_key(key);
        context.update(time.as_bytes());
        context.update(b".");
        context.update(body);
        let wanted = hex::encode(context.sign());
        verify_slices_are_equal(wanted.as_bytes(), signature.as_bytes()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        keys: Vec<VectorKey>,
        t: i64,
        body: String,
        signature: String,
    }

    #[derive(Deserialize)]
    struct VectorKey {
        id: String,
        secret: String,
    }

    fn vectors() -> Vec<Vector> {
        let text = include_str!("../../../tests/contract/webhook_signatures.json");
        serde_json::from_str(text).unwrap()
    }

    fn keys(vector: &Vector) -> GatewayKeys {
        GatewayKeys::new(vector.keys.iter().map(|key| (key.id.clone(), key.secret.clone().into())))
    }

    #[test]
    fn the_gateways_own_vectors_count_for_five_minutes() {
        for vector in vectors() {
            let (keys, at) = (keys(&vector), vector.t * 1_000);
            let check = |now| keys.check(&vector.signature, vector.body.as_bytes(), now);
            assert_eq!(check(at), Ok(()));
            assert_eq!(check(at + 300_000), Ok(()));
            assert_eq!(check(at + 300_001), Err(GatewaySignatureError::Stale));
            assert_eq!(check(at - 300_001), Err(GatewaySignatureError::Stale));
        }
    }

    #[test]
    fn whatever_differs_is_noticed() {
        for vector in vectors() {
            let (keys, at) = (keys(&vector), vector.t * 1_000);
            let longer = format!("{} ", vector.body);
            assert!(keys.check(&vector.signature, longer.as_bytes(), at).is_err());
            let later = vector.signature.replacen("t=", "t=1", 1);
            for header in ["", "t=1", "v1=0", &later, &vector.signature.replace("v1=", "v1=0")] {
                let checked = keys.check(header, vector.body.as_bytes(), at);
                assert_eq!(checked, Err(GatewaySignatureError::Wrong), "{header}");
            }
            assert!(GatewayKeys::default().check(&vector.signature, vector.body.as_bytes(), at).is_err());
        }
    }
}
