//! `[http]`.

use std::time::Duration;

use super::parse;
use super::source::Source;
use crate::http::Options;

pub(super) fn read(source: &mut Source<'_>) -> Options {
    Options {
        max_body_bytes: source.get("http.max_body_bytes", "", parse::bytes).unwrap_or(1024 * 1024),
        request_timeout: source
            .get("http.request_timeout_seconds", "", parse::seconds)
            .unwrap_or(Duration::from_secs(15)),
        max_wait: source.get("http.max_wait_seconds", "", parse::seconds).unwrap_or(Duration::from_secs(8)),
    }
}
