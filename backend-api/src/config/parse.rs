//! Text to values. Messages never repeat the text: it may be secret.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;
use tracing_subscriber::EnvFilter;

use crate::http::Serving;
use crate::telemetry::Format;

/// Shorter tokens can be guessed.
const TOKEN_MIN_BYTES: usize = 16;
/// No bound in seconds is longer than a day.
const SECONDS_MAX: u64 = 86_400;

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an address and port such as 127.0.0.1:8191 is expected".to_owned())
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(text))
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    whole_number(text, 1, SECONDS_MAX).map(Duration::from_secs)
}

/// 0 is never.
pub(super) fn seconds_or_never(text: &str) -> Result<Option<Duration>, String> {
    let seconds = whole_number(text, 0, SECONDS_MAX)?;
    Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
}

pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let bytes = whole_number(text, 1, 1 << 30)?;
    usize::try_from(bytes).map_err(|_| "too large for this machine".to_owned())
}

pub(super) fn flag(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "true or false is expected".to_owned())
}

/// Any text, taken as it is.
pub(super) fn text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// Any text, never shown.
pub(super) fn secret(text: &str) -> Result<SecretString, String> {
    Ok(SecretString::from(text.to_owned()))
}

pub(super) fn days(text: &str) -> Result<Duration, String> {
    whole_number(text, 1, 3_650).map(|days| Duration::from_secs(days * 86_400))
}

pub(super) fn large_count(text: &str) -> Result<u64, String> {
    whole_number(text, 1, 10_000_000)
}

pub(super) fn serving(text: &str) -> Result<Serving, String> {
    match text {
        "single" => Ok(Serving::Single),
        "app" => Ok(Serving::App),
        "callbacks" => Ok(Serving::Callbacks),
        _ => Err("single, app or callbacks is expected".to_owned()),
    }
}

pub(super) fn count(text: &str) -> Result<u32, String> {
    let count = whole_number(text, 1, 1_000)?;
    u32::try_from(count).map_err(|_| "too large".to_owned())
}

pub(super) fn pixels(text: &str) -> Result<u64, String> {
    whole_number(text, 1, 1 << 30)
}

pub(super) fn http_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            Err("an http or https URL is expected".to_owned())
        }
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            Err("a URL without query is expected".to_owned())
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            Err("credentials do not belong into this URL: they have settings of their own".to_owned())
        }
        Ok(url) => Ok(url),
        Err(error) => Err(format!("not a URL: {error}")),
    }
}

pub(super) fn header_secret(text: &str) -> Result<SecretString, String> {
    match text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(SecretString::from(text.to_owned())),
        false => Err("printable ASCII characters without spaces are expected".to_owned()),
    }
}

pub(super) fn machine_token(text: &str) -> Result<SecretString, String> {
    match text.len() {
        length if length < TOKEN_MIN_BYTES => {
            Err(format!("at least {TOKEN_MIN_BYTES} characters are expected"))
        }
        _ => header_secret(text),
    }
}

pub(super) fn log_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|_| "a level or directives such as info,backend_api=debug are expected".to_owned())
}

pub(super) fn log_format(text: &str) -> Result<Format, String> {
    match text {
        "json" => Ok(Format::Json),
        "pretty" => Ok(Format::Pretty),
        _ => Err("json or pretty is expected".to_owned()),
    }
}

pub(super) fn whole_number(text: &str, least: u64, most: u64) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("a whole number from {least} to {most} is expected")),
    }
}
