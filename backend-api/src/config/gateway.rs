//! `[gateway]`.

use std::time::Duration;

use reqwest::Url;

use super::parse;
use super::source::Source;
use crate::gateway_client::Options;

pub(super) fn read(source: &mut Source<'_>) -> Options {
    Options {
        url: source
            .get("gateway.url", "BACKEND_GATEWAY_URL", parse::http_url)
            .unwrap_or_else(default_gateway),
        key: source.get("gateway.key", "BACKEND_GATEWAY_KEY", parse::header_secret),
        request_timeout: source
            .get("gateway.request_timeout_seconds", "", parse::seconds)
            .unwrap_or(Duration::from_secs(5)),
        max_reply_bytes: source.get("gateway.max_reply_bytes", "", parse::bytes).unwrap_or(4 * 1024 * 1024),
    }
}

fn default_gateway() -> Url {
    Url::parse("http://127.0.0.1:8190").expect("a constant that every test of this crate parses")
}
