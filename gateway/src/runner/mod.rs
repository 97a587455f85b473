//! Beside the instances of one host: drives ComfyUI, moves outputs, forwards what NVML reads.
//!
//! Speaks with the engine over the link only. The truth about a prompt is ComfyUI's history and queue; frames make it
//! fast (PROTOCOL §8). Each instance has a task that keeps contact and one task per attempt; nothing of it waits for
//! the engine except the words that must arrive. Whatever is cut off is looked up after the next start.

mod activity;
mod attempt;
mod binding;
mod catalogues;
mod comfy;
mod config;
mod facts;
mod failure;
mod forward;
mod host;
mod instance;
mod model_sizes;
mod native;
pub mod nvml;
mod outputs;
mod progress;
mod sketch;
mod spot;

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::{Config, InstanceConfig, Times};
pub use spot::metadata_server;

use crate::link::local::RunnerEnd;

/// The runner of one host.
#[derive(Debug, Clone, Copy)]
pub struct Runner;

/// A runner that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its spool folder cannot be used.
    #[error("the spool folder {} cannot be used", dir.display())]
    Spool {
        /// Which.
        dir: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up")]
    Client(#[from] reqwest::Error),
}

/// The hold on a running runner; dropping it ends the runner as well.
#[derive(Debug)]
pub struct RunnerHandle {
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Runner {
    /// Starts the tasks of a host's runner on the current Tokio runtime. Its first word on the link is `Hello`.
    ///
    /// # Errors
    /// See [`StartError`]. Instances that do not answer are no error: they are reported and tried again.
    pub fn start(config: Config, link: RunnerEnd) -> Result<RunnerHandle, StartError> {
        let handle = RunnerHandle { closing: CancellationToken::new(), tasks: TaskTracker::new() };
        host::start(config, link, &handle.closing, &handle.tasks)?;
        Ok(handle)
    }
}

impl RunnerHandle {
    /// Ends all tasks where they stand; prompts at ComfyUI go on and are looked up after the next start.
    pub async fn shutdown(self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for RunnerHandle {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}
