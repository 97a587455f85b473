//! A folder as artifact store. Files are made under `.parts`, synced, renamed into place, and their folder synced.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use super::key::Key;
use super::{ArtifactError, Download, OpenError};

/// Unfinished files; keys cannot begin with a dot.
const PARTS: &str = ".parts";
/// Unfinished files of an earlier life older than this are removed at the start.
const PART_FOR: Duration = Duration::from_secs(60 * 60);
/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;
/// A clean-up may take an empty folder away under a writer this often before the writer gives up.
const PLACE_TRIES: usize = 3;

/// The folder.
#[derive(Debug)]
pub(super) struct Folder {
    /// Absolute, without links.
    root: PathBuf,
}

/// A file that is not seen yet; removed unless it was put into place.
#[derive(Debug)]
pub(super) struct Part {
    folder: Arc<Folder>,
    file: tokio::fs::File,
    path: PathBuf,
}

/// A file with its first piece: a small one is read at once.
struct Opened {
    file: File,
    size_bytes: u64,
    range: Range<u64>,
    first: Vec<u8>,
}

impl Opened {
    /// Blocks.
    fn open(path: &Path, range: Option<Range<u64>>) -> Result<Self, ArtifactError> {
        let mut file = File::open(path).map_err(fault)?;
        let metadata = file.metadata().map_err(fault)?;
        if !metadata.is_file() {
            return Err(ArtifactError::NotFound);
        }
        let size_bytes = metadata.len();
        let range = match range {
            None => 0..size_bytes,
            Some(asked) if asked.start >= size_bytes => return Err(ArtifactError::NotFound),
            Some(asked) => asked.start..asked.end.min(size_bytes),
        };
        if range.start > 0 {
            file.seek(SeekFrom::Start(range.start)).map_err(fault)?;
        }
        let most = (range.end - range.start).min(READ_BYTES as u64);
        // a buffer of the right size: one that grows reads a small file in a dozen pieces
        let mut first = Vec::with_capacity(usize::try_from(most).unwrap_or(READ_BYTES));
        (&file).take(most).read_to_end(&mut first).map_err(fault)?;
        Ok(Self { file, size_bytes, range, first })
    }
}

impl Folder {
    /// Makes it where missing, private to its owner.
    pub(super) fn open(folder: &Path) -> Result<Self, OpenError> {
        let wrong = |error: io::Error| OpenError { problems: vec![format!("{}: {error}", folder.display())] };
        let existed = folder.is_dir();
        private_folder(folder).map_err(wrong)?;
        let root = folder.canonicalize().map_err(wrong)?;
        if existed {
            std::fs::set_permissions(&root, PermissionsExt::from_mode(0o700)).map_err(wrong)?;
        }
        private_folder(&root.join(PARTS)).map_err(wrong)?;
        let folder = Self { root };
        folder.remove_old_parts();
        Ok(folder)
    }

    /// The folder itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the object of a key is.
    pub(super) fn path(&self, key: Key<'_>) -> PathBuf {
        self.root.join(key.as_str())
    }

    /// The path of a key whose folder exists.
    pub(super) async fn prepare(self: &Arc<Self>, key: Key<'_>) -> Result<PathBuf, ArtifactError> {
        let (folder, path) = (Arc::clone(self), self.path(key));
        // Nearly always it is there, which the system knows without asking the disk.
        if path.parent().is_some_and(Path::is_dir) {
            return Ok(path);
        }
        blocking(move || folder.make_folder_of(&path).map(|()| path)).await
    }

    /// Begins a file.
    pub(super) async fn begin(self: &Arc<Self>) -> Result<Part, ArtifactError> {
        let path = self.root.join(PARTS).join(Uuid::new_v4().to_string());
        let made = path.clone();
        let file =
            blocking(move || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&made)).await?;
        Ok(Part { folder: Arc::clone(self), file: tokio::fs::File::from_std(file), path })
    }

    /// Streams a file.
    pub(super) async fn download(
        &self,
        key: Key<'_>,
        range: Option<Range<u64>>,
    ) -> Result<Download, ArtifactError> {
        let path = self.path(key);
        let opened = tokio::task::spawn_blocking(move || Opened::open(&path, range)).await;
        let Opened { file, size_bytes, range, first } =
            opened.map_err(|error| ArtifactError::Unavailable(error.to_string()))??;
        let left = range.end - range.start - first.len() as u64;
        let first = stream::iter((!first.is_empty()).then_some(Ok(Bytes::from(first))));
        let stream = if left == 0 {
            first.boxed()
        } else {
            let rest = tokio::fs::File::from_std(file).take(left);
            first.chain(ReaderStream::with_capacity(rest, READ_BYTES).map_err(fault)).boxed()
        };
        Ok(Download { size_bytes, range, stream })
    }

    /// Removes a file, and the folders above it that are empty then, except those right below the root.
    pub(super) async fn delete(self: &Arc<Self>, key: Key<'_>) -> Result<(), ArtifactError> {
        let (folder, path) = (Arc::clone(self), self.path(key));
        blocking(move || {
            match std::fs::remove_file(&path) {
                Err(error) if !is_missing(&error) => return Err(error),
                _ => {}
            }
            let parents = path.ancestors().skip(1);
            for parent in parents.take_while(|parent| parent.parent().is_some_and(|up| up != folder.root)) {
                if !parent.starts_with(&folder.root) || std::fs::remove_dir(parent).is_err() {
                    break; // not empty
                }
            }
            Ok(())
        })
        .await
    }

    /// The keys that begin like this; their folder is the one of the beginning.
    pub(super) async fn list(self: &Arc<Self>, beginning: Key<'_>) -> Result<Vec<String>, ArtifactError> {
        let (folder, beginning) = (Arc::clone(self), beginning.as_str().to_owned());
        let (above, start) = beginning.rsplit_once('/').unwrap_or(("", &beginning));
        let (above, start) = (above.to_owned(), start.to_owned());
        blocking(move || {
            let entries = match std::fs::read_dir(folder.root.join(&above)) {
                Err(error) if is_missing(&error) => return Ok(Vec::new()),
                entries => entries?,
            };
            let mut keys = Vec::new();
            for entry in entries {
                let name = entry?.file_name();
                keys.extend(
                    name.to_str().filter(|name| name.starts_with(&start)).map(|name| {
                        if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") }
                    }),
                );
            }
            Ok(keys)
        })
        .await
    }

    /// Writes a file and removes it.
    pub(super) async fn probe(&self) -> Result<(), ArtifactError> {
        let path = self.root.join(PARTS).join(Uuid::new_v4().to_string());
        blocking(move || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            let written = file.write_all(b"probe");
            std::fs::remove_file(&path)?;
            written
        })
        .await
    }

    fn place(&self, part: &Path, path: &Path) -> io::Result<()> {
        let mut tries = 1;
        loop {
            self.make_folder_of(path)?;
            match std::fs::rename(part, path) {
                Err(error) if is_missing(&error) && tries < PLACE_TRIES => tries += 1,
                Err(error) => return Err(error),
                Ok(()) => return sync_folder(path.parent().unwrap_or(&self.root)),
            }
        }
    }

    /// Makes the folders of a path; those that are new are synced into their parents.
    fn make_folder_of(&self, path: &Path) -> io::Result<()> {
        let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) else { return Ok(()) };
        let mut missing: Vec<&Path> =
            folder.ancestors().take_while(|above| *above != self.root && !above.is_dir()).collect();
        while let Some(next) = missing.pop() {
            match DirBuilder::new().mode(0o700).create(next) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => sync_folder(next.parent().unwrap_or(&self.root))?,
            }
        }
        Ok(())
    }

    /// What cannot be removed now is tried again at the next start.
    fn remove_old_parts(&self) {
        let Ok(parts) = std::fs::read_dir(self.root.join(PARTS)) else { return };
        for part in parts.flatten() {
            let age = part.metadata().and_then(|data| data.modified()).map(|at| at.elapsed());
            if matches!(age, Ok(Ok(age)) if age > PART_FOR) {
                let _ = std::fs::remove_file(part.path());
            }
        }
    }
}

impl Part {
    /// Appends.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), ArtifactError> {
        self.file.write_all(bytes).await.map_err(unavailable)
    }

    /// Makes it durable and visible.
    pub(super) async fn finish(mut self, key: Key<'_>) -> Result<(), ArtifactError> {
        self.file.flush().await.map_err(unavailable)?;
        self.file.sync_all().await.map_err(unavailable)?;
        let (folder, path, part) = (Arc::clone(&self.folder), self.folder.path(key), self.path.clone());
        blocking(move || folder.place(&part, &path)).await
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Gone already when it was put into place; else a later start removes it.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ArtifactError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(unavailable),
        Err(error) => Err(ArtifactError::Unavailable(error.to_string())),
    }
}

fn fault(error: io::Error) -> ArtifactError {
    if is_missing(&error) { ArtifactError::NotFound } else { unavailable(error) }
}

fn unavailable(error: io::Error) -> ArtifactError {
    ArtifactError::Unavailable(error.to_string())
}
