//! How big model files are: read from the folder of models, where the operator named it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::workflow::model_file;

/// Most entries that are looked at; more than any real folder holds, less than a whole disk.
const MOST_ENTRIES: usize = 50_000;
/// Deepest folder below the folder of models; also the end of a circle of links.
const DEEPEST: usize = 6;

/// Sizes of model files, MiB, by their path below `folder`; on a thread of its own. What cannot be read is left out.
pub(super) async fn read(folder: Option<PathBuf>) -> BTreeMap<String, u32> {
    let Some(folder) = folder else { return BTreeMap::new() };
    tokio::task::spawn_blocking(move || walk(&folder)).await.unwrap_or_default()
}

fn walk(folder: &Path) -> BTreeMap<String, u32> {
    let mut sizes = BTreeMap::new();
    let mut open = vec![(folder.to_owned(), String::new(), 0)];
    let mut looked_at = 0;
    while let Some((folder, path, depth)) = open.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "folder of models not read");
                continue;
            }
        };
        for entry in entries.flatten() {
            looked_at += 1;
            if looked_at > MOST_ENTRIES {
                tracing::warn!(most = MOST_ENTRIES, "too many files of models; the rest stays unknown");
                return sizes;
            }
            let Ok(name) = entry.file_name().into_string() else { continue };
            let below = if path.is_empty() { name } else { format!("{path}/{name}") };
            // Follows links: models are often kept elsewhere.
            let Ok(metadata) = std::fs::metadata(entry.path()) else { continue };
            if metadata.is_dir() {
                if depth < DEEPEST {
                    open.push((entry.path(), below, depth + 1));
                }
            } else if model_file(&below).is_some() {
                let mib = metadata.len().div_ceil(1 << 20).max(1);
                sizes.insert(below, u32::try_from(mib).unwrap_or(u32::MAX));
            }
        }
    }
    sizes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use super::*;

    #[tokio::test]
    async fn files_of_models_are_found_by_folder_and_name_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("checkpoints/sdxl")).unwrap();
        std::fs::write(root.path().join("checkpoints/sdxl/base.safetensors"), vec![0; (1 << 20) + 1])
            .unwrap();
        std::fs::write(root.path().join("checkpoints/put_models_here"), "").unwrap();
        std::fs::write(root.path().join("loose.safetensors"), "").unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("circle")).unwrap();
        let sizes = read(Some(root.path().to_owned())).await;
        assert_eq!(sizes.get("checkpoints/sdxl/base.safetensors"), Some(&2));
        assert!(!sizes.keys().any(|path| path == "loose.safetensors" || path.contains("put_")), "{sizes:?}");
        assert_eq!(read(Some(root.path().join("missing"))).await, BTreeMap::new());
    }
}
