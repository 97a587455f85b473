//! Programs that nobody here wrote, each in a process of its own, as they come from their registries.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tempfile::NamedTempFile;
use tokio::process::Command;

use crate::sandbox::Sandbox;

/// A path in the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// A folder of `target` that `script` fills.
///
/// # Errors
/// When it was not filled.
pub fn installed(folder: &str, script: &str) -> anyhow::Result<PathBuf> {
    let path = repository("target").join(folder);
    ensure!(path.is_dir(), "{} is not there: run `{script}`", path.display());
    Ok(path)
}

/// A script of this package for Node.js, with the packages that lie in `packages`. Modules are looked for beside a
/// script, so it runs from a copy beside them.
///
/// # Errors
/// When it cannot be copied.
pub fn node(packages: &Path, script: &Path) -> anyhow::Result<Command> {
    let name = script.file_name().context("a script has a name")?;
    let copy = packages.join(name);
    // At once: another test may start the same script.
    let fresh = NamedTempFile::new_in(packages)?;
    std::fs::copy(script, fresh.path()).with_context(|| format!("cannot copy {}", script.display()))?;
    fresh.persist(&copy)?;
    let mut command = Command::new("node");
    command.arg(copy);
    Ok(command)
}

/// Runs a program to its end, with a home of its own; returns what it told.
///
/// # Errors
/// When it fails or is not done `within` that time; with all that it said.
pub async fn succeeds(
    sandbox: &Sandbox,
    name: &str,
    mut command: Command,
    within: Duration,
) -> anyhow::Result<String> {
    let run = command
        .env("HOME", sandbox.path("home"))
        .env("DO_NOT_TRACK", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("COMFY_API_KEY")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let run = tokio::time::timeout(within, run).await.with_context(|| format!("{name} hangs"))??;
    let (told, complained) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    ensure!(run.status.success(), "{name} fails:\n{told}\n{complained}");
    Ok(told.into_owned())
}
