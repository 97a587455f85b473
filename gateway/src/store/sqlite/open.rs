//! Opening the file: permissions, the lock of the one gateway, connections and their settings.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::StoreFault;
use crate::store::{Result, StoreError};

/// The first release without the WAL-reset corruption (two connections, any earlier version).
const SQLITE_AT_LEAST: i32 = 3_051_003;
/// How long a statement waits for another process, such as `key create` beside `serve`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Page cache of the writer, KiB.
const WRITER_CACHE_KIB: i64 = 8 * 1024;
/// Page cache of a reader, KiB: the system's own cache is behind it.
const READER_CACHE_KIB: i64 = 2 * 1024;
/// To what size the write-ahead log is cut back after a checkpoint.
const JOURNAL_LIMIT_BYTES: i64 = 64 * 1024 * 1024;
/// Pages of the write-ahead log before a commit copies them back: rarer than SQLite's 1,000, since that commit is slow.
const CHECKPOINT_PAGES: i64 = 4000;
/// Statements kept prepared; above the number of different ones we have.
const STATEMENTS: usize = 128;

/// Refuses an SQLite that is known to corrupt files.
pub(super) fn assert_library() -> Result<()> {
    if rusqlite::version_number() < SQLITE_AT_LEAST {
        return Err(StoreError::Damaged(format!(
            "SQLite {} is linked in; versions before 3.51.3 may corrupt a database with several connections",
            rusqlite::version()
        )));
    }
    Ok(())
}

/// Makes the file, and its folder where missing, readable by its owner alone. SQLite gives its side files the same mode.
pub(super) fn prepare_file(path: &Path) -> Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| unavailable(folder, "cannot be made", &error))?;
    }
    private_file(path).map(drop)
}

/// Takes the lock that keeps a second gateway off the file; it is held while the returned file is open.
pub(super) fn lock(path: &Path) -> Result<File> {
    match try_lock(path)? {
        Some(file) => Ok(file),
        None => Err(StoreError::Unavailable(format!("another gateway serves {}", path.display()))),
    }
}

/// The lock, or `None` while another process holds it.
pub(super) fn try_lock(path: &Path) -> Result<Option<File>> {
    let lock_path = with_suffix(path, ".lock");
    let file = private_file(&lock_path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(unavailable(&lock_path, "cannot be locked", &error)),
    }
}

/// The connection that writes. `max_pages` bounds the file where given.
pub(super) fn writer(path: &Path, max_pages: Option<u32>) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).or_fault()?;
    connection.busy_timeout(BUSY_TIMEOUT).or_fault()?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).or_fault()?;
    if mode != "wal" {
        return Err(StoreError::Unavailable(format!(
            "the file cannot use a write-ahead log (journal {mode})"
        )));
    }
    connection.pragma_update(None, "synchronous", "FULL").or_fault()?;
    connection.pragma_update(None, "foreign_keys", true).or_fault()?;
    connection.pragma_update(None, "journal_size_limit", JOURNAL_LIMIT_BYTES).or_fault()?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).or_fault()?;
    if let Some(pages) = max_pages {
        connection.pragma_update(None, "max_page_count", pages).or_fault()?;
    }
    settle(&connection, WRITER_CACHE_KIB)?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn reader(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).or_fault()?;
    connection.busy_timeout(BUSY_TIMEOUT).or_fault()?;
    connection.pragma_update(None, "query_only", true).or_fault()?;
    settle(&connection, READER_CACHE_KIB)?;
    Ok(connection)
}

fn settle(connection: &Connection, cache_kib: i64) -> Result<()> {
    connection.pragma_update(None, "cache_size", -cache_kib).or_fault()?;
    connection.pragma_update(None, "mmap_size", 0).or_fault()?;
    connection.pragma_update(None, "temp_store", "MEMORY").or_fault()?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

fn private_file(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| unavailable(path, "cannot be opened for writing", &error))?;
    let mode = file.metadata().map(|data| data.permissions().mode() & 0o777);
    if mode.map_err(|error| unavailable(path, "cannot be examined", &error))? != 0o600 {
        file.set_permissions(Permissions::from_mode(0o600))
            .map_err(|error| unavailable(path, "cannot be made private", &error))?;
    }
    Ok(file)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn unavailable(path: &Path, what: &str, error: &std::io::Error) -> StoreError {
    StoreError::Unavailable(format!("{} {what}: {error}", path.display()))
}
