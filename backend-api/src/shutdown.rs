//! What ends the process politely.

use tokio::signal::unix::{SignalKind, signal as listen};

/// Waits for SIGTERM or Ctrl-C and names which one came.
///
/// # Errors
/// When the process cannot register a signal handler.
pub async fn signal() -> std::io::Result<&'static str> {
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
