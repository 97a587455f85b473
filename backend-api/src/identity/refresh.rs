//! Refresh tokens. Each names a login and a generation of it, under our signature; a login has one good generation.
//! The next token follows from the login's row alone, so an answer that was lost is given again, the very same, to who
//! repeats the question within the grace time. Any older one that comes back tells that two parties hold a copy.
//!
//! Form: base64url of version 1, key name (4 bytes), login (16), generation (8, big-endian), HMAC-SHA256 (32).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign, verify};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use secrecy::SecretString;
use uuid::Uuid;

use super::keys::{KeyId, Purpose, Secrets};
use crate::db::SessionRow;
use crate::domain::Millis;

const VERSION: u8 = 1;
const SIGNED_BYTES: usize = 1 + 4 + 16 + 8;

/// Makes and reads refresh tokens.
#[derive(Clone)]
pub(super) struct RefreshTokens {
    /// The first signs, all are recognised.
    keys: Arc<Vec<(KeyId, Key)>>,
}

/// What a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) login: Uuid,
    pub(super) generation: i64,
}

/// What becomes of a token that was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The good one: move the login to the next.
    Rotate,
    /// The one before it, a moment ago: say again which is the good one.
    Repeat,
    /// It was used before, so there are two who hold it: end the login.
    Reused,
    /// The login has ended.
    Ended,
}

impl fmt::Debug for RefreshTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshTokens")
    }
}

impl RefreshTokens {
    pub(super) fn new(secrets: &Secrets) -> Self {
        let keys = secrets.keys(Purpose::Refresh).into_iter();
        Self { keys: Arc::new(keys.map(|key| (key.id, Key::new(HMAC_SHA256, &key.bytes))).collect()) }
    }

    pub(super) fn issue(&self, named: Named) -> SecretString {
        let (id, key) = self.keys.first().expect("there is always a current secret");
        let mut bytes = Vec::with_capacity(SIGNED_BYTES + 32);
        bytes.push(VERSION);
        bytes.extend_from_slice(id);
        bytes.extend_from_slice(named.login.as_bytes());
        bytes.extend_from_slice(&named.generation.to_be_bytes());
        let signature = sign(key, &bytes);
        bytes.extend_from_slice(signature.as_ref());
        SecretString::from(BASE64.encode(bytes))
    }

    /// `None` for what we did not sign.
    pub(super) fn read(&self, token: &str) -> Option<Named> {
        let bytes = BASE64.decode(token).ok()?;
        let (signed, signature) = bytes.split_at_checked(SIGNED_BYTES)?;
        let (&version, rest) = signed.split_first()?;
        let (id, rest) = rest.split_first_chunk::<4>()?;
        let (login, rest) = rest.split_first_chunk::<16>()?;
        let generation = rest.first_chunk::<8>()?;
        let (_, key) = self.keys.iter().find(|(known, _)| version == VERSION && known == id)?;
        verify(key, signed, signature).ok()?;
        Some(Named { login: Uuid::from_bytes(*login), generation: i64::from_be_bytes(*generation) })
    }
}

/// What becomes of generation `presented` of a login.
pub(super) fn fate(row: &SessionRow, presented: i64, now: Millis, grace: Duration) -> Fate {
    let grace = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
    match row.generation - presented {
        _ if row.revoked_at.is_some() || row.expires_at <= now => Fate::Ended,
        0 => Fate::Rotate,
        1 if now - row.rotated_at <= grace => Fate::Repeat,
        1.. => Fate::Reused,
        _ => Fate::Ended, // of a future that a restored database does not know
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::domain::UserId;

    fn tokens() -> RefreshTokens {
        RefreshTokens::new(&Secrets { current: "a".into(), previous: None })
    }

    fn row(generation: i64) -> SessionRow {
        SessionRow {
            id: Uuid::from_u128(1),
            user: UserId(Uuid::from_u128(2)),
            generation,
            created_at: 0,
            rotated_at: 10_000,
            expires_at: 100_000,
            revoked_at: None,
        }
    }

    #[test]
    fn only_the_newest_generation_rotates_and_older_ones_betray_a_copy() {
        let grace = Duration::from_secs(5);
        assert_eq!(fate(&row(3), 3, 20_000, grace), Fate::Rotate);
        assert_eq!(fate(&row(3), 2, 15_000, grace), Fate::Repeat);
        assert_eq!(fate(&row(3), 2, 15_001, grace), Fate::Reused);
        assert_eq!(fate(&row(3), 1, 10_001, grace), Fate::Reused);
        assert_eq!(fate(&row(3), 4, 10_001, grace), Fate::Ended);
        assert_eq!(fate(&row(3), 3, 100_000, grace), Fate::Ended);
        let revoked = SessionRow { revoked_at: Some(1), ..row(3) };
        assert_eq!(fate(&revoked, 3, 20_000, grace), Fate::Ended);
    }

    #[test]
    fn the_same_generation_is_always_the_same_token() {
        let named = Named { login: Uuid::from_u128(9), generation: 7 };
        let token = tokens().issue(named);
        assert_eq!(token.expose_secret(), tokens().issue(named).expose_secret());
        assert_eq!(tokens().read(token.expose_secret()), Some(named));
        let other = RefreshTokens::new(&Secrets { current: "b".into(), previous: None });
        assert_eq!(other.read(token.expose_secret()), None);
    }

    proptest! {
        #[test]
        fn no_text_that_we_did_not_sign_is_read(text in "\\PC*", flip in 0_usize..61) {
            prop_assert_eq!(tokens().read(&text), None);
            let token = tokens().issue(Named { login: Uuid::from_u128(9), generation: 7 });
            let mut bytes = BASE64.decode(token.expose_secret()).unwrap();
            bytes[flip] ^= 0x40;
            prop_assert_eq!(tokens().read(&BASE64.encode(bytes)), None);
        }
    }
}
