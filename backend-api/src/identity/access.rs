//! Access tokens: short-lived JWTs (HS256) that name a person and their login. Whether that login still stands is
//! looked up by whoever takes one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::keys::{Purpose, Secrets};
use crate::domain::{Millis, UserId};

const ISSUER: &str = "darkroom";
/// Longer texts are not looked at.
const TOKEN_MAX_BYTES: usize = 2_048;

/// Makes and reads access tokens.
#[derive(Clone)]
pub(super) struct AccessTokens {
    /// The first signs, all are recognised.
    keys: Arc<Vec<Key>>,
    lifetime: Duration,
}

struct Key {
    id: String,
    sign: EncodingKey,
    verify: DecodingKey,
}

/// What a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    /// Whose it is.
    #[serde(rename = "sub")]
    pub(super) user: UserId,
    /// Of which login.
    #[serde(rename = "sid")]
    pub(super) login: Uuid,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    iss: String,
    #[serde(flatten)]
    claims: Claims,
    iat: i64,
    exp: i64,
}

impl fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessTokens")
    }
}

impl AccessTokens {
    pub(super) fn new(secrets: &Secrets, lifetime: Duration) -> Self {
        let keys = secrets.keys(Purpose::Access).into_iter().map(|key| Key {
            id: hex::encode(key.id),
            sign: EncodingKey::from_secret(&key.bytes),
            verify: DecodingKey::from_secret(&key.bytes),
        });
        Self { keys: Arc::new(keys.collect()), lifetime }
    }

    /// How long a new token is good.
    pub(super) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    pub(super) fn issue(&self, claims: Claims, now: Millis) -> SecretString {
        let key = self.keys.first().expect("there is always a current secret");
        let issued = now.div_euclid(1_000);
        let lifetime = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX);
        let header = Header { kid: Some(key.id.clone()), ..Header::new(Algorithm::HS256) };
        let wire = Wire { iss: ISSUER.to_owned(), claims, iat: issued, exp: issued.saturating_add(lifetime) };
        let token =
            encode(&header, &wire, &key.sign).expect("these claims have a JSON text, and HMAC takes any key");
        SecretString::from(token)
    }

    /// `None` for what we did not sign, and for what has ended.
    pub(super) fn read(&self, token: &str) -> Option<Claims> {
        if token.len() > TOKEN_MAX_BYTES {
            return None;
        }
        let id = decode_header(token).ok()?.kid?;
        let key = self.keys.iter().find(|key| key.id == id)?;
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        decode::<Wire>(token, &key.verify, &validation).ok().map(|token| token.claims.claims)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::clock::now;

    fn tokens(secret: &str, previous: Option<&str>) -> AccessTokens {
        let secrets = Secrets { current: secret.into(), previous: previous.map(Into::into) };
        AccessTokens::new(&secrets, Duration::from_secs(60))
    }

    fn claims() -> Claims {
        Claims { user: UserId(Uuid::from_u128(1)), login: Uuid::from_u128(2) }
    }

    #[test]
    fn a_token_says_whose_it_is_until_it_ends() {
        let tokens = tokens("a", None);
        let token = tokens.issue(claims(), now());
        assert_eq!(tokens.read(token.expose_secret()), Some(claims()));
        let ended = tokens.issue(claims(), now() - 61_000);
        assert_eq!(tokens.read(ended.expose_secret()), None);
    }

    #[test]
    fn the_previous_secrets_tokens_are_good_and_nobody_elses() {
        let old = tokens("old", None).issue(claims(), now());
        assert_eq!(tokens("new", Some("old")).read(old.expose_secret()), Some(claims()));
        assert_eq!(tokens("new", None).read(old.expose_secret()), None);
    }

    #[test]
    fn a_token_without_signature_or_with_a_changed_part_is_none() {
        let tokens = tokens("a", None);
        let token = tokens.issue(claims(), now());
        let parts: Vec<_> = token.expose_secret().split('.').collect();
        let [header, body, signature] = parts.as_slice() else { unreachable!("a JWT has three parts") };
        let unsigned = BASE64.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let json = String::from_utf8(BASE64.decode(body).unwrap()).unwrap();
        let other = BASE64.encode(json.replace("0001", "0009"));
        for forged in [
            format!("{unsigned}.{body}."),
            format!("{unsigned}.{body}.{signature}"),
            format!("{header}.{other}.{signature}"),
            format!("{header}.{body}."),
            format!("{header}.{body}"),
            String::new(),
            "x".repeat(5_000),
        ] {
            assert_eq!(tokens.read(&forged), None, "{forged}");
        }
    }
}
