//! What a crash left behind: uploads to a bucket that nobody completed, files of a folder that never got their name.
//! Only ours and only old ones go.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::key::Key;
use super::parted::Parted;
use super::{ArtifactError, Artifacts, Home};

impl Artifacts {
    /// Removes what was begun and left for longer than that; how many. A session of Google Cloud Storage ends by itself
    /// and costs nothing.
    ///
    /// # Errors
    /// [`ArtifactError::Unavailable`]; what could not be removed is still there at the next start.
    pub async fn sweep_left_overs(&self, older_than: Duration) -> Result<usize, ArtifactError> {
        match &self.home {
            Home::Folder(folder) => {
                let root = folder.root().to_owned();
                let swept = tokio::task::spawn_blocking(move || sweep_folder(&root, older_than)).await;
                swept.map_err(|error| ArtifactError::Unavailable(error.to_string()))
            }
            Home::Bucket(bucket) => sweep_bucket(&**bucket, older_than).await,
            Home::Cos(bucket) => sweep_bucket(&*Arc::new(bucket.clone()), older_than).await,
            Home::Google(_) => Ok(0),
        }
    }
}

async fn sweep_bucket(bucket: &dyn Parted, older_than: Duration) -> Result<usize, ArtifactError> {
    let before = jiff::Timestamp::now().checked_sub(older_than).unwrap_or(jiff::Timestamp::MIN);
    let mut swept = 0;
    for found in bucket.unfinished().await? {
        let is_old = found.begun.parse::<jiff::Timestamp>().is_ok_and(|begun| begun < before);
        if is_old && Key::new(&found.key).is_ok() {
            bucket.abort(&found.key, &found.upload).await?;
            swept += 1;
        }
    }
    Ok(swept)
}

/// Goes through all folders; what cannot be read or removed now is tried again at the next start.
fn sweep_folder(root: &Path, older_than: Duration) -> usize {
    let mut folders: Vec<PathBuf> = vec![root.to_owned()];
    let mut swept = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if kind.is_dir() && !name.starts_with('.') {
                folders.push(entry.path());
            } else if kind.is_file() && is_temporary(name) {
                let modified = entry.metadata().and_then(|data| data.modified());
                let age = modified.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
                if age.is_ok_and(|age| age > older_than) && std::fs::remove_file(entry.path()).is_ok() {
                    swept += 1;
                }
            }
        }
    }
    swept
}

/// `.<name>.<32 hex digits>`: a file that a runner writes beside its place.
fn is_temporary(name: &str) -> bool {
    let id = name.strip_prefix('.').and_then(|rest| rest.rsplit_once('.')).map(|(_, id)| id);
    id.is_some_and(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
