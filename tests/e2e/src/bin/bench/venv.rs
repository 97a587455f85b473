//! The peer's own Python environment under `target/`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use tokio::process::Command;

/// What is installed.
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/requirements.txt");

/// The proxy's program; installed first where it is missing.
///
/// # Errors
/// When it cannot be installed; the error tells what to do.
pub async fn proxy(target: &Path) -> anyhow::Result<PathBuf> {
    let venv = target.join("venv-bench");
    let program = venv.join("bin/comfy-api-proxy");
    if program.is_file() {
        return Ok(program);
    }
    eprintln!("installing the reference proxy into {}", venv.display());
    let hint = "install python3-venv and allow access to PyPI, or leave the peer out with --without-proxy";
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv)).await.context(hint)?;
    let mut pip = Command::new(venv.join("bin/pip"));
    run(pip.args(["install", "--quiet", "--requirement", REQUIREMENTS])).await.context(hint)?;
    ensure!(program.is_file(), "{} did not appear", program.display());
    Ok(program)
}

async fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().await?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
