//! Every key that identity needs, derived from one secret, so that an operator keeps one. A second, previous secret may
//! stand beside it while what it protects is still in use.

use std::fmt;

use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use secrecy::{ExposeSecret as _, SecretString};

/// Names a key in what it made, so that another is found when it has gone out of use.
pub(super) type KeyId = [u8; 4];

/// What a key is for. Keys for different purposes tell nothing of each other.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// Signs access tokens.
    Access,
    /// Signs refresh tokens.
    Refresh,
    /// Seals personal data at rest.
    Seal,
    /// Names people and files towards the gateway and the bucket.
    Pictures,
}

/// A key and its name.
pub(super) struct NamedKey {
    pub(super) id: KeyId,
    pub(super) bytes: [u8; 32],
}

/// The secret in use, and perhaps the one before it.
#[derive(Clone)]
pub(super) struct Secrets {
    pub(super) current: SecretString,
    pub(super) previous: Option<SecretString>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// Keys for a purpose: the one to use first, then those to recognise.
    pub(super) fn keys(&self, purpose: Purpose) -> Vec<NamedKey> {
        let all = std::iter::once(&self.current).chain(&self.previous);
        all.map(|secret| derive(secret, purpose)).collect()
    }
}

fn derive(secret: &SecretString, purpose: Purpose) -> NamedKey {
    let salt = Salt::new(HKDF_SHA256, b"darkroom backend-api identity");
    let root = salt.extract(secret.expose_secret().as_bytes());
    let (key, name): (&[u8], &[u8]) = match purpose {
        Purpose::Access => (b"access token", b"access token name"),
        Purpose::Refresh => (b"refresh token", b"refresh token name"),
        Purpose::Seal => (b"seal", b"seal name"),
        Purpose::Pictures => (b"pictures", b"pictures name"),
    };
    let [a, b, c, d, ..] = expand(&root, name);
    NamedKey { id: [a, b, c, d], bytes: expand(&root, key) }
}

fn expand(root: &Prk, info: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    root.expand(&[info], HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut bytes))
        .expect("32 bytes are what HKDF-SHA256 gives at once");
    bytes
}
