//! Results that wait on this host: a folder per attempt, bounded as a whole, kept across restarts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard, watch};

use super::list::Found;
use super::sink::blocking;
use crate::link::message::{Attempt, MadeOf, StoredFile};

const MANIFEST: &str = "manifest.json";
/// What the names of files begin with that were made of others.
pub(crate) const MADE: &str = "made-";

/// What the spool knows of an attempt whose prompt has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Its id at ComfyUI.
    pub prompt: String,
    /// The files that were listed, then those that were made of them.
    pub files: Vec<Item>,
    /// What was made; `None`: nothing yet.
    #[serde(default)]
    pub made: Option<Vec<MadeOf>>,
    /// What the history says of it, for callers of ComfyUI's own API.
    #[serde(default)]
    pub record: Option<Arc<str>>,
}

/// One listed file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub found: Found,
    /// Its bytes lie in the spool, restored and measured, under this name.
    pub spooled: Option<Spooled>,
    /// It is where its ticket said.
    pub stored: Option<StoredFile>,
}

/// A file in the spool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spooled {
    pub file: String,
    pub facts: StoredFile,
}

/// What is held, for the engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Level {
    pub full: bool,
    pub bytes: u64,
}

/// No room now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// The spool of a host.
#[derive(Debug)]
pub(crate) struct Spool {
    dir: PathBuf,
    max_bytes: u64,
    held: AtomicU64,
    level: watch::Sender<Level>,
    turn: Mutex<()>,
}

impl Spool {
    /// Opens the folder, drops what is older than that, and counts the rest.
    pub(crate) fn open(dir: &Path, max_bytes: u64, keep_for: Duration) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        drop_older(dir, keep_for)?;
        let spool = Self {
            dir: dir.to_owned(),
            max_bytes,
            held: AtomicU64::new(size_of(dir)?),
            level: watch::Sender::new(Level::default()),
            turn: Mutex::new(()),
        };
        spool.note();
        Ok(spool)
    }

    pub(crate) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Tells when it fills up and when it has room again.
    pub(crate) fn level(&self) -> watch::Receiver<Level> {
        self.level.subscribe()
    }

    /// Where an attempt's files lie. Exists once something was written.
    pub(crate) fn folder(&self, attempt: Attempt) -> PathBuf {
        self.dir.join(format!("{}-{}", attempt.job, attempt.number))
    }

    /// The right to try next, for one of those who found no room.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Counts bytes that are about to be written.
    pub(crate) fn take(&self, bytes: u64) -> Result<(), Full> {
        let room = |held: u64| held.checked_add(bytes).filter(|held| *held <= self.max_bytes);
        let taken = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        if taken.is_err() {
            // unless room was made in between, whose word has gone out already
            let still = || room(self.held.load(Ordering::Relaxed)).is_none();
            self.level.send_if_modified(|level| still() && !std::mem::replace(&mut level.full, true));
            return Err(Full);
        }
        self.note();
        Ok(())
    }

    /// Counts bytes that are gone again.
    pub(crate) fn give_back(&self, bytes: u64) {
        let less = |held: u64| Some(held.saturating_sub(bytes));
        let _ = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        self.note();
    }

    /// Full from 95 % on, until it is below 80 %.
    fn note(&self) {
        let bytes = self.held.load(Ordering::Relaxed);
        self.level.send_if_modified(|level| {
            let full = bytes >= self.max_bytes / 100 * if level.full { 80 } else { 95 };
            level.bytes = bytes;
            std::mem::replace(&mut level.full, full) != full
        });
    }

    /// Drops one file of an attempt.
    pub(crate) async fn release(&self, attempt: Attempt, file: &str) {
        let path = self.folder(attempt).join(file);
        let released = blocking(move || {
            let size = std::fs::metadata(&path)?.len();
            std::fs::remove_file(&path).map(|()| size)
        })
        .await;
        match released {
            Ok(size) => self.give_back(size),
            Err(error) => tracing::warn!(%error, job = %attempt.job, file, "spooled file not removed"),
        }
    }

    /// Whether a file of an attempt is there.
    pub(crate) async fn has(&self, attempt: Attempt, file: &str) -> bool {
        let path = self.folder(attempt).join(file);
        tokio::fs::try_exists(path).await.unwrap_or(false)
    }

    /// Drops what earlier work on an attempt's pictures left, finished or not.
    pub(crate) async fn drop_made(&self, attempt: Attempt) {
        let folder = self.folder(attempt);
        let dropped = blocking(move || {
            let mut size = 0;
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(MADE) {
                    size += entry.metadata()?.len();
                    std::fs::remove_file(entry.path())?;
                }
            }
            Ok(size)
        })
        .await;
        match dropped {
            Ok(0) => {}
            Ok(size) => self.give_back(size),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, job = %attempt.job, "made files not removed"),
        }
    }

    /// Drops all that is held of an attempt.
    pub(crate) async fn drop_attempt(&self, attempt: Attempt) {
        let folder = self.folder(attempt);
        // nearly always nothing was spooled, which the system knows without asking the disk
        if !folder.exists() {
            return;
        }
        let dropped = blocking(move || {
            let size = size_of(&folder)?;
            std::fs::remove_dir_all(&folder).map(|()| size)
        })
        .await;
        match dropped {
            Ok(0) => {}
            Ok(size) => self.give_back(size),
            Err(error) => tracing::warn!(%error, job = %attempt.job, "spool folder not removed"),
        }
    }

    /// Remembers an attempt's files across a restart.
    pub(crate) async fn remember(&self, attempt: Attempt, manifest: &Manifest) -> io::Result<()> {
        let text = serde_json::to_vec(manifest)?;
        let folder = self.folder(attempt);
        blocking(move || {
            std::fs::create_dir_all(&folder)?;
            let temporary = folder.join(".manifest");
            std::fs::write(&temporary, text)?;
            std::fs::rename(temporary, folder.join(MANIFEST))
        })
        .await
    }

    /// What is known of an attempt from before a restart.
    pub(crate) async fn recall(&self, attempt: Attempt) -> Option<Manifest> {
        let path = self.folder(attempt).join(MANIFEST);
        let text = blocking(move || std::fs::read(path)).await.ok()?;
        serde_json::from_slice(&text).ok()
    }
}

/// Removes attempts that nobody asked for in a long time.
fn drop_older(dir: &Path, keep_for: Duration) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        if entry.file_type()?.is_dir() && age > keep_for {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Length of all files below, but for what is noted about them (small, and not counted when written).
fn size_of(dir: &Path) -> io::Result<u64> {
    let mut size = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            size += size_of(&entry.path())?;
        } else if kind.is_file() && !entry.file_name().to_string_lossy().ends_with(".json") {
            size += entry.metadata()?.len();
        }
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn attempt() -> Attempt {
        Attempt { job: uuid::Uuid::from_u128(1), number: 1 }
    }

    #[tokio::test]
    async fn it_fills_up_once_and_empties_when_an_attempt_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), 1000, LONG).unwrap();
        let mut level = spool.level();
        spool.take(600).unwrap();
        std::fs::create_dir_all(spool.folder(attempt())).unwrap();
        std::fs::write(spool.folder(attempt()).join("file-0"), [0; 600]).unwrap();
        assert!(!level.borrow_and_update().full);
        assert_eq!(spool.take(600), Err(Full));
        assert!(level.borrow_and_update().full);
        spool.drop_attempt(attempt()).await;
        assert!(!level.borrow_and_update().full);
        assert_eq!(spool.take(1000), Ok(()));
    }

    #[tokio::test]
    async fn manifests_and_bytes_survive_and_the_forgotten_goes() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = Manifest { prompt: "p".into(), files: Vec::new(), made: None, record: None };
        let spool = Spool::open(dir.path(), 1000, LONG).unwrap();
        spool.remember(attempt(), &manifest).await.unwrap();
        std::fs::write(spool.folder(attempt()).join("file-0"), [0; 960]).unwrap();
        let again = Spool::open(dir.path(), 1000, LONG).unwrap();
        assert_eq!(again.recall(attempt()).await, Some(manifest));
        assert_eq!(again.take(100), Err(Full));
        let later = Spool::open(dir.path(), 1000, Duration::ZERO).unwrap();
        assert_eq!(later.recall(attempt()).await, None);
        assert_eq!(later.take(100), Ok(()));
    }
}
