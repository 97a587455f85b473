//! `[identity]`.

use std::time::Duration;

use secrecy::SecretString;

use super::parse;
use super::source::Source;
use crate::http::Serving;
use crate::identity::Options;

/// Shorter secrets can be guessed.
const SECRET_MIN_BYTES: usize = 32;

pub(super) fn read(source: &mut Source<'_>, serving: Serving, public_access: bool) -> Options {
    let options = Options {
        secret: source.get("identity.secret", "BACKEND_IDENTITY_SECRET", secret),
        previous_secret: source.get("identity.previous_secret", "BACKEND_IDENTITY_PREVIOUS_SECRET", secret),
        access_lifetime: source
            .get("identity.access_token_seconds", "", parse::seconds)
            .unwrap_or(Duration::from_secs(900)),
        refresh_lifetime: source
            .get("identity.refresh_token_days", "", parse::days)
            .unwrap_or(Duration::from_secs(30 * 86_400)),
        refresh_grace: source
            .get("identity.refresh_grace_seconds", "", parse::seconds)
            .unwrap_or(Duration::from_secs(30)),
        recheck_after: source
            .get("identity.recheck_seconds", "", parse::seconds)
            .unwrap_or(Duration::from_secs(30)),
        max_remembered: source
            .get("identity.max_remembered_callers", "", parse::large_count)
            .unwrap_or(10_000),
        trust_wx_headers: source
            .get("identity.trust_wx_headers", "BACKEND_TRUST_WX_HEADERS", parse::flag)
            .unwrap_or(false),
    };
    if options.trust_wx_headers && (public_access || serving != Serving::App) {
        source.problem(
            "identity.trust_wx_headers",
            "anybody can write X-WX-* headers: they are trusted only by role = \"app\" with http.public_access = false, \
             which has to be what the platform's own settings of this service say",
        );
    }
    options
}

fn secret(text: &str) -> Result<SecretString, String> {
    match text.len() {
        length if length < SECRET_MIN_BYTES => Err(format!(
            "at least {SECRET_MIN_BYTES} characters are expected, such as openssl rand -hex 32 gives"
        )),
        _ => parse::secret(text),
    }
}
