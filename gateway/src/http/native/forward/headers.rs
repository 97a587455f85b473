//! Which headers pass, either way. What is not named stays here: credentials and cookies of ours, what is between two
//! neighbours only, and whatever else says who somebody is.

use axum::http::HeaderMap;
use axum::http::header::{self, HeaderName, HeaderValue};

use super::super::super::error::{ApiError, ErrorKind};
use super::super::super::v2::content::is_inert;

/// What an instance is told.
const TO_INSTANCE: [HeaderName; 15] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
    header::USER_AGENT,
];

/// What a caller is told. What decides over the origin of a page (cookies, other origins, policies) is ours alone.
const FROM_INSTANCE: [HeaderName; 14] = [
    header::ACCEPT_RANGES,
    header::ALLOW,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::RETRY_AFTER,
    header::VARY,
];

/// Headers that never pass, even where a rule names them: credentials, where somebody comes from (the address of a page may
/// hold a key), what is between neighbours only.
const NEVER: [&str; 34] = [
    "accept-charset",
    "alt-svc",
    "authorization",
    "cf-connecting-ip",
    "clear-site-data",
    "connection",
    "content-length",
    "content-security-policy",
    "cookie",
    "expect",
    "fastly-client-ip",
    "forwarded",
    "host",
    "keep-alive",
    "location",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "referer",
    "refresh",
    "service-worker-allowed",
    "set-cookie",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "true-client-ip",
    "upgrade",
    "via",
    "www-authenticate",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-real-ip",
];

/// Whether a rule may let a header pass.
pub(crate) fn may_pass(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_ours = ["access-control-", "sec-", "x-forwarded-", "x-darkroom-", "proxy-", "cross-origin-"];
    name.parse::<HeaderName>().is_ok()
        && !NEVER.contains(&name.as_str())
        && !is_ours.iter().any(|prefix| name.starts_with(prefix))
}

/// Sockets of custom nodes are not passed on.
pub(super) fn refuse_upgrade(headers: &HeaderMap) -> Result<(), ApiError> {
    if !headers.contains_key(header::UPGRADE) {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorKind::Invalid,
        "upgrade_refused",
        "sockets of custom nodes are not passed on, only requests",
    ))
}

/// The headers that go to an instance.
pub(super) fn to_instance(given: &HeaderMap, further: &[HeaderName]) -> Vec<(String, String)> {
    let passes = |name: &HeaderName| TO_INSTANCE.contains(name) || further.contains(name);
    let passing = given.iter().filter(|(name, _)| passes(name));
    passing.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned()))).collect()
}

/// The headers of an instance's answer that go to a caller, and those that keep what it sent from acting in our origin:
/// as with the files of `/view`.
pub(super) fn from_instance(given: &[(String, String)], further: &[HeaderName]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) else {
            continue;
        };
        let is_way = name == header::LOCATION && is_within(&value);
        if FROM_INSTANCE.contains(&name) || further.contains(&name) || is_way {
            headers.append(name, value);
        }
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !is_inert(kind) {
        headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
    let kept = match headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED) {
        true => "private, no-cache",
        false => "private, no-store",
    };
    for (name, value) in [
        (header::CACHE_CONTROL, kept),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
}

/// Whether a redirection stays on this server: addresses of instances are nobody's business. Browsers leave out what is
/// not printed before they read an address, and take a back-slash for a slash.
fn is_within(location: &HeaderValue) -> bool {
    let bytes = location.as_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'\\';
    bytes.starts_with(b"/") && !bytes.starts_with(b"//") && bytes.iter().all(is_plain)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    fn answered(headers: &[(&str, &str)]) -> HeaderMap {
        let owned: Vec<_> = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        from_instance(&owned, &[HeaderName::from_static("x-my-node")])
    }

    #[test]
    fn nothing_of_who_somebody_is_goes_to_an_instance() {
        let mut given = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer dk_x"),
            ("cookie", "darkroom_key=dk_x"),
            ("x-api-key", "k"),
            ("x-forwarded-for", "10.0.0.1"),
            ("origin", "http://a"),
            ("referer", "http://a/k/dk_x/"),
            ("connection", "close, x-my-node"),
            ("content-type", "text/plain"),
            ("range", "bytes=0-1"),
            ("x-my-node", "1"),
        ] {
            given.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(value));
        }
        let mut sent = to_instance(&given, &[HeaderName::from_static("x-my-node")]);
        sent.sort();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected =
            [pair("content-type", "text/plain"), pair("range", "bytes=0-1"), pair("x-my-node", "1")];
        assert_eq!(sent, expected);
    }

    #[test]
    fn an_answer_cannot_set_what_is_ours_or_act() {
        let headers = answered(&[
            ("set-cookie", "darkroom_key=evil"),
            ("access-control-allow-origin", "*"),
            ("content-security-policy", "default-src *"),
            ("connection", "keep-alive"),
            ("location", "http://127.0.0.1:8188/"),
            ("content-type", "text/html"),
            ("x-my-node", "1"),
        ]);
        let names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        for never in ["set-cookie", "access-control-allow-origin", "connection", "location"] {
            assert!(!names.contains(&never), "{never}");
        }
        assert_eq!(headers["content-security-policy"], "default-src 'none'; sandbox");
        assert_eq!(headers["content-disposition"], "attachment");
        assert_eq!(headers["x-my-node"], "1");
        let picture =
            answered(&[("content-type", "image/png"), ("etag", "\"1\""), ("location", "/my_node/b")]);
        assert_eq!(picture.get("content-disposition"), None);
        assert_eq!(picture["cache-control"], "private, no-cache");
        assert_eq!(picture["location"], "/my_node/b");
    }

    #[test]
    fn a_redirection_stays_on_this_server_however_a_browser_reads_it() {
        for within in ["/", "/my_node/b?c=%09#d", "/a//b"] {
            assert_eq!(answered(&[("location", within)])["location"], within);
        }
        for without in [
            "//evil.example/",
            "/\t/evil.example/",
            "/\t\\evil.example/",
            "/\\evil.example/",
            "/ /evil.example/",
            "/my node",
            "\t//evil.example/",
            "https://evil.example/",
            "my_node",
        ] {
            assert_eq!(answered(&[("location", without)]).get("location"), None, "{without:?}");
        }
        for byte in (0..=0x20).chain([0x7f]) {
            // Whatever the library lets into a value.
            if let Ok(value) = HeaderValue::from_bytes(&[b'/', byte, b'/', b'a']) {
                assert!(!is_within(&value), "{byte:#x}");
            }
        }
    }

    #[test]
    fn a_rule_cannot_let_credentials_pass() {
        for never in
            ["Authorization", "cookie", "Set-Cookie", "host", "x-forwarded-for", "a b", "sec-fetch-site"]
        {
            assert!(!may_pass(never), "{never}");
        }
        for where_from in ["Referer", "X-Real-IP", "True-Client-IP", "Via", "CF-Connecting-IP", "x-client-ip"]
        {
            assert!(!may_pass(where_from), "{where_from}");
        }
        assert!(may_pass("X-My-Node"));
    }
}
