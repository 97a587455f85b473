//! What a durable write costs on this disk.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// A commit of one job writes about this much to the log, bytes.
const APPEND_BYTES: usize = 8 << 10;

/// A file that is appended to and synced, as a write-ahead log is.
#[derive(Debug)]
pub struct Log {
    file: File,
}

impl Log {
    /// Makes it in a folder.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn create(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self { file: File::create(folder.join("fdatasync.probe"))? })
    }

    /// Appends, and times the `fdatasync` that follows. Blocks.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&mut self) -> anyhow::Result<Duration> {
        self.file.write_all(&[0x5a; APPEND_BYTES])?;
        let began = Instant::now();
        self.file.sync_data()?;
        Ok(began.elapsed())
    }
}
