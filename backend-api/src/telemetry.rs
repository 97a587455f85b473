//! The tracing subscriber, nothing else.

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What to log and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// A level, or directives such as `info,backend_api=debug`.
    pub filter: String,
    /// How a line looks.
    pub format: Format,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line, for collectors.
    Json,
    /// Coloured text, for people.
    Pretty,
}

/// Sends logs to stdout for the rest of the process.
///
/// # Errors
/// When the filter does not parse or a subscriber is already installed.
pub fn init(options: &Options) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&options.filter).context("log filter is invalid")?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter);
    match options.format {
        Format::Json => logs.json().flatten_event(true).with_span_list(false).finish().try_init(),
        Format::Pretty => logs.finish().try_init(),
    }
    .context("cannot install the log subscriber")
}
