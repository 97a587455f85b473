//! `[log]`.

use super::parse;
use super::source::Source;
use crate::telemetry::{Format, Options};

pub(super) fn read(source: &mut Source<'_>) -> Options {
    Options {
        filter: source
            .get("log.filter", "BACKEND_LOG", parse::log_filter)
            .unwrap_or_else(|| "info".to_owned()),
        format: source.get("log.format", "BACKEND_LOG_FORMAT", parse::log_format).unwrap_or(Format::Json),
    }
}
