//! Reads the three files of a scenario. Every mistake is told with file, line or field, and what to do.

mod fields;
mod fleet;
mod models;
mod trace;

use std::collections::BTreeMap;

use super::scenario::{FamilyIx, ModelIx, Scenario, TenantIx, Truth};

/// A file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {}{problem}", line.map(|line| format!(":{line}")).unwrap_or_default(), if field.is_empty() { String::new() } else { format!("`{field}` ") })]
pub struct BadFile {
    /// The name it was given by.
    pub file: String,
    /// The line, where one is known.
    pub line: Option<usize>,
    /// The field, such as `classes.T4-16.vram_mib`; empty when the mistake is not in one.
    pub field: String,
    /// What is wrong and what to do.
    pub problem: String,
}

/// One file: the name it is called by in messages, and its text.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// For messages.
    pub name: &'a str,
    /// All of it, unpacked.
    pub text: &'a str,
}

/// Most milliseconds, mebibytes and the like that a file may say: 11 days, 953 TiB. Keeps sums far from overflow.
const MOST: i64 = 1_000_000_000;

/// Positions by name.
#[derive(Debug, Default)]
struct Names {
    families: BTreeMap<String, FamilyIx>,
    tenants: BTreeMap<String, TenantIx>,
    models: BTreeMap<String, ModelIx>,
}

impl Scenario {
    /// Reads a fleet (nodes.json), a catalogue (models.json) and a trace (trace.jsonl, unpacked).
    ///
    /// # Errors
    /// The first mistake found, with its place.
    pub fn parse(fleet: File<'_>, models: File<'_>, trace: File<'_>) -> Result<Self, BadFile> {
        let (mut fleet, mut names) = fleet::read(fleet)?;
        fleet.setting.models = models::read(models, &mut names)?;
        let (jobs, hidden) = trace::read(trace, &names, &fleet.setting)?;
        let truth = Truth {
            jobs: hidden,
            speed_milli: fleet.speed_milli,
            events: fleet.events,
            compliant: fleet.compliant,
        };
        Ok(Self { setting: fleet.setting, jobs, truth })
    }
}
