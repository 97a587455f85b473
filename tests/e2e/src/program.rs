//! Programs of this workspace as child processes that cannot outlive the one that started them, however it ends.

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::{Child, Command};

/// Ports for listeners: below the range from which connections take theirs, so that one stays free for a restart.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Variables of the caller's own environment that must not reach a program.
const OURS: [&str; 2] = ["GATEWAY_", "BACKEND_"];

/// Lines of a log worth telling when something failed.
const TAIL_LINES: usize = 40;

/// The path of a program built beside this one.
///
/// # Errors
/// When it was not built; the error holds the line to run.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let folder = own.parent().context("this program lies nowhere")?;
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let path = folder.join(name);
    if !path.is_file() {
        bail!("{} is missing: run `cargo build --workspace` first", path.display());
    }
    Ok(path)
}

/// A loopback port that nobody listens on.
///
/// # Errors
/// When there is none.
pub fn free_port() -> anyhow::Result<u16> {
    let count = PORTS.end - PORTS.start;
    let start = uuid::Uuid::new_v4().as_u128() % u128::from(count);
    let start = u16::try_from(start).unwrap_or_default();
    (0..count)
        .map(|step| PORTS.start + (start + step) % count)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .context("no free port")
}

/// A command for a program of ours, with nothing of ours in its environment.
///
/// # Errors
/// As [`binary`].
pub fn command(name: &str, arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(binary(name)?);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    for (variable, _) in std::env::vars_os() {
        if OURS.iter().any(|prefix| variable.to_string_lossy().starts_with(prefix)) {
            command.env_remove(variable);
        }
    }
    Ok(command)
}

/// A program that serves until it is told to end.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    /// Kills the child when this process is gone and cannot do so itself; dies with its own guard.
    _watch: Child,
    log: PathBuf,
}

/// Waits for the end of its standard input, the other end of which is ours alone, then kills.
fn watch_over(child: &Child) -> anyhow::Result<Child> {
    let id = child.id().context("it ended at once")?;
    let script = format!("cat >/dev/null; kill -s KILL {id} 2>/dev/null");
    let mut watch = Command::new("sh");
    watch.args(["-c", &script]).stdin(Stdio::piped()).process_group(0).kill_on_drop(true);
    watch.spawn().context("cannot start sh")
}

impl Program {
    /// Starts `name serve` in a process group of its own; its output is appended to `log`.
    ///
    /// # Errors
    /// When it was not built or cannot be started.
    pub fn serve(name: &str, env: &[(OsString, OsString)], log: &Path) -> anyhow::Result<Self> {
        let open = || File::options().create(true).append(true).open(log);
        let out = open().with_context(|| format!("cannot write {}", log.display()))?;
        let child = command(name, &["serve"])?
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stderr(out.try_clone()?)
            .stdout(out)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let watch = watch_over(&child)?;
        Ok(Self { name: name.to_owned(), child, _watch: watch, log: log.to_owned() })
    }

    /// Its process id; `None` when it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Ends it as a crash would; returns when it is gone.
    ///
    /// # Errors
    /// When the system does not obey.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("cannot kill {}", self.name))
    }

    /// Asks it to end (SIGTERM) and does not wait. Nothing happens when it has ended already.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn terminate(&self) -> anyhow::Result<()> {
        let Some(id) = self.child.id() else { return Ok(()) };
        // The standard library sends SIGKILL only; every shell has the rest built in.
        let script = format!("kill -s TERM {id}");
        let asked = Command::new("sh").args(["-c", &script]).status().await?;
        anyhow::ensure!(asked.success(), "cannot send SIGTERM to {}", self.name);
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it has not ended `within` that time.
    pub async fn exit(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        match tokio::time::timeout(within, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!("{} did not end within {within:?}; its log ends:\n{}", self.name, self.tail()),
        }
    }

    /// The last lines it wrote.
    pub fn tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The child itself is killed by its own guard.
        if std::thread::panicking() {
            eprintln!("the log of {} ends:\n{}", self.name, self.tail());
        }
    }
}
