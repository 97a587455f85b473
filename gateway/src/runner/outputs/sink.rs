//! A file being written: hashed, measured, bounded, buffered by little; whole only under its final name.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::link::message::StoredFile;
use crate::pictures;

/// How much is gathered before a write, bytes. A small picture is written, synced and renamed in one go.
const GATHER_BYTES: usize = 64 << 10;

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SinkError {
    /// Over the job's bound.
    #[error("larger than {0} bytes")]
    TooLarge(u64),
    /// The disk.
    #[error("cannot write the file")]
    Io(#[from] io::Error),
}

/// What of a finished file survives a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lasts {
    /// Nothing for sure.
    Perhaps,
    /// Its bytes; its name only once the caller has synced its folder, once for many files.
    Bytes,
    /// Bytes and name.
    Placed,
}

/// A file under a temporary name beside its place; removed when dropped unfinished.
#[derive(Debug)]
pub(crate) struct FileSink {
    place: PathBuf,
    temporary: PathBuf,
    file: Option<File>,
    gathered: Vec<u8>,
    /// Two kilobytes: not to be copied along with every future that holds a sink.
    hasher: Box<blake3::Hasher>,
    head: Vec<u8>,
    size_bytes: u64,
    max_bytes: u64,
    done: bool,
}

impl FileSink {
    /// A file that will stand at `place`.
    pub(crate) fn new(place: &Path, max_bytes: u64) -> Self {
        let name = place.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let temporary = place.with_file_name(format!(".{name}.{}", uuid::Uuid::new_v4().simple()));
        Self {
            place: place.to_owned(),
            temporary,
            file: None,
            gathered: Vec::new(),
            hasher: Box::default(),
            head: Vec::new(),
            size_bytes: 0,
            max_bytes,
            done: false,
        }
    }

    /// Adds bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.size_bytes += bytes.len() as u64;
        if self.size_bytes > self.max_bytes {
            return Err(SinkError::TooLarge(self.max_bytes));
        }
        let missing = pictures::SNIFF_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..missing]);
        self.hasher.update(bytes);
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= GATHER_BYTES { self.spill().await } else { Ok(()) }
    }

    async fn spill(&mut self) -> Result<(), SinkError> {
        let (file, gathered) = (self.file.take(), std::mem::take(&mut self.gathered));
        let temporary = self.temporary.clone();
        let (file, mut gathered) = blocking(move || {
            let mut file = file.map_or_else(|| create(&temporary), Ok)?;
            file.write_all(&gathered)?;
            Ok((file, gathered))
        })
        .await?;
        gathered.clear();
        (self.file, self.gathered) = (Some(file), gathered);
        Ok(())
    }

    /// Puts the file in its place.
    pub(crate) async fn finish(mut self, lasts: Lasts, content_type: &str) -> Result<StoredFile, SinkError> {
        let (file, gathered) = (self.file.take(), std::mem::take(&mut self.gathered));
        let (temporary, place) = (self.temporary.clone(), self.place.clone());
        blocking(move || {
            let mut file = file.map_or_else(|| create(&temporary), Ok)?;
            file.write_all(&gathered)?;
            if lasts != Lasts::Perhaps {
                file.sync_all()?;
            }
            std::fs::rename(&temporary, &place)?;
            match place.parent().filter(|_| lasts == Lasts::Placed) {
                Some(folder) => sync_folder(folder),
                None => Ok(()),
            }
        })
        .await?;
        self.done = true;
        Ok(StoredFile {
            size_bytes: self.size_bytes,
            hash: self.hasher.finalize().to_hex().to_string(),
            content_type: pictures::stored_type(&self.head, content_type).to_owned(),
            size: pictures::size(&self.head),
            receipt: None,
        })
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        if !self.done {
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    match File::create(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
                // a new folder lasts only when the one it stands in is synced
                if let Some(above) = folder.parent() {
                    sync_folder(above)?;
                }
            }
            File::create(path)
        }
        created => created,
    }
}

/// Makes renames in these folders last.
pub(crate) async fn sync_folders(folders: Vec<PathBuf>) -> io::Result<()> {
    if folders.is_empty() {
        return Ok(());
    }
    blocking(move || folders.iter().try_for_each(|folder| sync_folder(folder))).await
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Runs file work where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
