//! `[http]`.

use std::num::NonZeroU32;
use std::time::Duration;

use axum::http::HeaderName;

use super::parse;
use super::source::Source;
use crate::http::{Options, RateOptions};

/// Where WeChat Cloud Run tells the caller's address (FACTS 2.1).
const CLOUD_RUN_ADDRESS: HeaderName = HeaderName::from_static("x-original-forwarded-for");

pub(super) fn read(source: &mut Source<'_>) -> Options {
    let on_cloud_run = source.env("CBR_ENV_ID").is_some();
    Options {
        max_body_bytes: source.get("http.max_body_bytes", "", parse::bytes).unwrap_or(1024 * 1024),
        request_timeout: source
            .get("http.request_timeout_seconds", "", parse::seconds)
            .unwrap_or(Duration::from_secs(15)),
        max_wait: source.get("http.max_wait_seconds", "", parse::seconds).unwrap_or(Duration::from_secs(8)),
        public_access: source.get("http.public_access", "BACKEND_PUBLIC_ACCESS", parse::flag).unwrap_or(true),
        client_address_header: source
            .get("http.client_address_header", "BACKEND_CLIENT_ADDRESS_HEADER", header)
            .or_else(|| on_cloud_run.then_some(CLOUD_RUN_ADDRESS)),
        rates: RateOptions {
            logins_per_minute: per_minute(source, "http.logins_per_minute", 20),
            reads_per_minute: per_minute(source, "http.reads_per_minute", 600),
            writes_per_minute: per_minute(source, "http.writes_per_minute", 120),
            max_callers: source.get("http.max_rate_callers", "", parse::bytes).unwrap_or(100_000),
        },
    }
}

fn per_minute(source: &mut Source<'_>, setting: &str, default: u32) -> NonZeroU32 {
    source.get(setting, "", rate).or(NonZeroU32::new(default)).unwrap_or(NonZeroU32::MIN)
}

fn rate(text: &str) -> Result<NonZeroU32, String> {
    let number = parse::whole_number(text, 1, 1_000_000)?;
    u32::try_from(number).ok().and_then(NonZeroU32::new).ok_or_else(|| "too large".to_owned())
}

fn header(text: &str) -> Result<HeaderName, String> {
    text.parse().map_err(|_| "the name of a header is expected".to_owned())
}
