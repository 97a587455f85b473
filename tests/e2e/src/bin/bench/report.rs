//! The figures as a Markdown table.

use std::fmt::Write as _;

use super::options::{Options, Stage};
use super::procfs;

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    stage: Stage,
    what: String,
    gateway: String,
    proxy: String,
    aim: String,
}

impl Row {
    /// A figure of the gateway.
    pub fn new(stage: Stage, what: impl Into<String>, gateway: impl Into<String>) -> Self {
        let (what, gateway) = (what.into(), gateway.into());
        Self { stage, what, gateway, proxy: String::new(), aim: String::new() }
    }

    /// The same figure of the proxy, if it was there.
    #[must_use]
    pub fn beside(self, proxy: Option<impl Into<String>>) -> Self {
        Self { proxy: proxy.map(Into::into).unwrap_or_default(), ..self }
    }

    /// What we aim at, and whether it is met.
    #[must_use]
    pub fn aim(self, aim: &str, is_met: bool) -> Self {
        let verdict = if is_met { "met" } else { "**missed**" };
        Self { aim: format!("{aim}: {verdict}"), ..self }
    }
}

/// Prints everything.
pub fn print(options: &Options, rows: &[Row]) -> anyhow::Result<()> {
    let mut out = String::new();
    writeln!(out, "\nMachine: {}.", procfs::machine())?;
    if options.quick {
        writeln!(out, "\nSmall sizes (`--quick`): a look, not a figure.")?;
    }
    writeln!(out, "\n| Figure | gateway | comfy-api-proxy | aim |\n|---|---|---|---|")?;
    for row in rows {
        writeln!(out, "| {} | {} | {} | {} |", row.what, row.gateway, row.proxy, row.aim)?;
    }
    writeln!(out, "\nEach again by itself:\n")?;
    let mut stages: Vec<Stage> = rows.iter().map(|row| row.stage).collect();
    stages.dedup();
    for stage in stages {
        writeln!(out, "- `{}`", stage.command())?;
    }
    println!("{out}");
    Ok(())
}
