//! How a request carries its key: in a header, as a basic password, in a cookie of the login page, in its path, or not at
//! all because its listener is bound to one. Clients that can set no header need the others (CLIENTS §4.14).

use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::{Extensions, HeaderMap};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::link::message::Secret;

/// The cookie of the login page.
pub(super) const COOKIE_NAME: &str = "darkroom_key";

/// The key that stood in the path of a request (`/k/<key>/…`).
#[derive(Debug, Clone)]
pub(super) struct PathKey(pub(super) Secret);

/// The key that a listener is bound to.
#[derive(Debug, Clone)]
pub(super) struct ListenerKey(pub(super) Secret);

/// How a key came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// `Authorization: Bearer`.
    Bearer,
    /// The password of `Authorization: Basic`, under any name.
    Basic,
    /// By cookie.
    Cookie,
    /// In the path.
    Path,
    /// By the listener.
    Listener,
}

/// The key of a request. What some clients send while they have none counts as none.
pub(super) fn find(headers: &HeaderMap, about: &Extensions) -> Option<(Secret, Way)> {
    if let Some(PathKey(key)) = about.get() {
        return Some((key.clone(), Way::Path));
    }
    let given = headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok());
    if let Some(found) = given.and_then(in_header) {
        return Some(found);
    }
    if let Some(key) = headers.get_all(COOKIE).iter().find_map(|line| in_cookie(line.to_str().ok()?)) {
        return Some((key, Way::Cookie));
    }
    about.get().map(|ListenerKey(key)| (key.clone(), Way::Listener))
}

fn in_header(header: &str) -> Option<(Secret, Way)> {
    let (scheme, rest) = header.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        let is_none = rest.is_empty() || rest.eq_ignore_ascii_case("none");
        return (!is_none).then(|| (Secret(rest.to_owned()), Way::Bearer));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    let (_, password) = pair.split_once(':')?;
    (!password.is_empty()).then(|| (Secret(password.to_owned()), Way::Basic))
}

fn in_cookie(line: &str) -> Option<Secret> {
    let pairs = line.split(';').filter_map(|pair| pair.trim().split_once('='));
    let mut ours = pairs.filter(|(name, value)| *name == COOKIE_NAME && !value.is_empty());
    ours.next().map(|(_, value)| Secret(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str) -> Option<(String, Way)> {
        in_header(header).map(|(key, way)| (key.0, way))
    }

    #[test]
    fn a_key_is_a_bearer_token_or_a_basic_password() {
        assert_eq!(of("bearer dk_x"), Some(("dk_x".into(), Way::Bearer)));
        let basic = format!("Basic {}", STANDARD.encode("anybody:dk_x"));
        assert_eq!(of(&basic), Some(("dk_x".into(), Way::Basic)));
        for none in ["dk_x", "Bearer ", "Bearer None", "Basic x", "Basic eDo=", "Digest dk_x"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let key = in_cookie("a=b; darkroom_key=dk_x; c=d").map(|key| key.0);
        assert_eq!(key.as_deref(), Some("dk_x"));
        assert!(in_cookie("xdarkroom_key=dk_x").is_none());
    }
}
