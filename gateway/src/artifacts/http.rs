//! The HTTP client of what buckets do not do through `object_store`.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Response};

use crate::names::Names;

pub(crate) const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Longest silence in the middle of a call.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Longest body of an answer that is read as text, bytes: a page of a list.
const TEXT_MAX: usize = 2 << 20;

/// A client that follows nobody anywhere.
pub(super) fn client() -> Result<Client, reqwest::Error> {
    let builder = || {
        Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .tcp_nodelay(true)
            .dns_resolver(Arc::new(Names))
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(SILENCE_MAX)
    };
    builder().build().or_else(|error| {
        tracing::warn!(%error, "no certificate authorities, buckets behind TLS will not work");
        builder().tls_certs_only([]).build()
    })
}

/// The text of an answer, bounded.
pub(crate) async fn read(mut answer: Response) -> Result<String, String> {
    let mut text = Vec::new();
    while let Some(bytes) = answer.chunk().await.map_err(|error| words(&error.without_url()))? {
        text.extend_from_slice(&bytes);
        if text.len() > TEXT_MAX {
            return Err(format!("the bucket's answer is larger than {TEXT_MAX} bytes"));
        }
    }
    String::from_utf8(text).map_err(|_| "the bucket's answer is no text".to_owned())
}

/// An error with its causes.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", words(source)),
        None => error.to_string(),
    }
}

/// The pause before another try, by the number of tries so far.
pub(super) fn pause(tries: u32) -> Duration {
    Duration::from_millis(100 << tries.min(6))
}
