//! Personal data at rest: AES-256-GCM under a key derived from `identity.secret`. What is sealed is bound to its place
//! (whose, which field), so a row copied to another person does not open.
//!
//! Form: version 1, key name (4 bytes), nonce (12), ciphertext and tag (16).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use secrecy::SecretString;

use super::keys::{KeyId, Purpose, Secrets};

const VERSION: u8 = 1;

/// Seals and opens.
#[derive(Clone)]
pub(super) struct Sealer {
    /// The first seals, all open.
    keys: Arc<Vec<(KeyId, RandomizedNonceKey)>>,
}

/// What was stored does not open: by another secret, for another place, or damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sealed data does not open; was identity.secret changed without previous_secret?")]
pub struct Unsealable;

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    pub(super) fn new(secrets: &Secrets) -> Self {
        let keys = secrets.keys(Purpose::Seal).into_iter().map(|key| {
            let sealer = RandomizedNonceKey::new(&AES_256_GCM, &key.bytes);
            (key.id, sealer.expect("32 bytes are a key of AES-256"))
        });
        Self { keys: Arc::new(keys.collect()) }
    }

    /// `place` says whose it is and what, such as `phone <user id>`.
    pub(super) fn seal(&self, place: &str, plain: &str) -> Vec<u8> {
        let (id, key) = self.keys.first().expect("there is always a current secret");
        let mut bytes = plain.as_bytes().to_vec();
        let nonce = key
            .seal_in_place_append_tag(Aad::from(place.as_bytes()), &mut bytes)
            .expect("AES-GCM seals anything shorter than 64 GiB");
        let mut sealed = Vec::with_capacity(1 + id.len() + NONCE_LEN + bytes.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(id);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut bytes);
        sealed
    }

    /// What [`Self::seal`] was given for the same place.
    pub(super) fn open(&self, place: &str, sealed: &[u8]) -> Result<SecretString, Unsealable> {
        let (&VERSION, rest) = sealed.split_first().ok_or(Unsealable)? else { return Err(Unsealable) };
        let (id, rest) = rest.split_first_chunk::<4>().ok_or(Unsealable)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Unsealable)?;
        let (_, key) = self.keys.iter().find(|(known, _)| known == id).ok_or(Unsealable)?;
        let mut bytes = rest.to_vec();
        let plain = key
            .open_in_place(Nonce::from(nonce), Aad::from(place.as_bytes()), &mut bytes)
            .map_err(|_| Unsealable)?;
        std::str::from_utf8(plain).map(SecretString::from).map_err(|_| Unsealable)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use secrecy::ExposeSecret as _;

    use super::*;

    fn sealer(current: &str, previous: Option<&str>) -> Sealer {
        Sealer::new(&Secrets { current: current.into(), previous: previous.map(Into::into) })
    }

    #[test]
    fn what_is_sealed_opens_at_its_own_place_only() {
        let sealer = sealer("a", None);
        let sealed = sealer.seal("phone 1", "13800138000");
        assert_eq!(sealer.open("phone 1", &sealed).unwrap().expose_secret(), "13800138000");
        assert!(sealer.open("phone 2", &sealed).is_err());
        assert!(!sealed.windows(4).any(|part| part == b"1380"));
        assert_ne!(sealed, sealer.seal("phone 1", "13800138000"), "equal data does not look equal");
    }

    #[test]
    fn a_changed_byte_anywhere_is_noticed() {
        let sealer = sealer("a", None);
        let sealed = sealer.seal("p", "x");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            *changed.get_mut(at).unwrap() ^= 1;
            assert!(sealer.open("p", &changed).is_err(), "byte {at}");
        }
        for length in 0..sealed.len() {
            assert!(sealer.open("p", sealed.get(..length).unwrap()).is_err(), "first {length} bytes");
        }
    }

    #[test]
    fn the_previous_secret_still_opens_what_it_sealed_and_seals_nothing_new() {
        let old = sealer("old", None).seal("p", "x");
        let both = sealer("new", Some("old"));
        assert_eq!(both.open("p", &old).unwrap().expose_secret(), "x");
        assert!(sealer("new", None).open("p", &both.seal("p", "y")).is_ok());
        assert!(sealer("new", None).open("p", &old).is_err());
    }
}
