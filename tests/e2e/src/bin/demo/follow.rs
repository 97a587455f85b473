//! How the jobs stand, asked of the gateway like anybody would.

use std::collections::{BTreeMap, HashSet};

use e2e::api::Api;
use serde_json::Value;

use crate::screen::{Screen, bar};

/// Shows jobs as they go, and each end once.
#[derive(Default)]
pub struct Follow {
    told: HashSet<String>,
    /// Of them, those that had ended before this began.
    before: usize,
    /// Instance by name → what people call it.
    names: BTreeMap<String, String>,
    /// Job → where it was last seen at work: an ended job does not tell.
    places: BTreeMap<String, String>,
}

/// Numbers of the jobs looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub waiting: usize,
    pub running: usize,
    pub succeeded: usize,
    pub failed: usize,
}

impl Counts {
    /// Jobs that have not ended.
    pub fn open(self) -> usize {
        self.waiting + self.running
    }

    fn of(jobs: &[Value]) -> Self {
        let mut counts = Self::default();
        for job in jobs {
            match job["status"].as_str() {
                Some("succeeded") => counts.succeeded += 1,
                Some("failed" | "canceled" | "expired") => counts.failed += 1,
                Some("queued") => counts.waiting += 1,
                _ => counts.running += 1,
            }
        }
        counts
    }
}

impl Follow {
    /// Follows what ends from now on.
    pub async fn from_now(gateway: &Api) -> anyhow::Result<Self> {
        let list = gateway.get("/v1/jobs?limit=100").await?.expect(200)?.json()?;
        let jobs = list["jobs"].as_array().map(Vec::as_slice).unwrap_or_default();
        let ended = jobs.iter().filter(|job| has_ended(job)).filter_map(|job| job["id"].as_str());
        let told: HashSet<String> = ended.map(str::to_owned).collect();
        Ok(Self { before: told.len(), told, ..Self::default() })
    }

    /// Looks once: draws what runs, tells what has ended since. `total` is what the count goes up to.
    pub async fn look(
        &mut self,
        gateway: &Api,
        total: Option<usize>,
        screen: &mut Screen,
    ) -> anyhow::Result<Counts> {
        let fleet = gateway.get("/v1/fleet").await?.expect(200)?.json()?;
        let list = gateway.get("/v1/jobs?limit=100").await?.expect(200)?.json()?;
        let jobs = list["jobs"].as_array().cloned().unwrap_or_default();
        for instance in fleet["instances"].as_array().into_iter().flatten() {
            let name = instance["name"].as_str().unwrap_or_default();
            let shown = match instance["device_class"].as_str() {
                Some(class) if !class.is_empty() => class.to_uppercase(),
                _ => name.to_owned(),
            };
            self.names.insert(name.to_owned(), shown);
        }
        self.note_places(&jobs);
        let counts = Counts::of(&jobs);
        self.tell_ended(&jobs, total, screen);
        screen.block(&self.block(&jobs, counts));
        Ok(counts)
    }

    fn tell_ended(&mut self, jobs: &[Value], total: Option<usize>, screen: &mut Screen) {
        for job in jobs.iter().rev() {
            let id = job["id"].as_str().unwrap_or_default();
            if !has_ended(job) || !self.told.insert(id.to_owned()) {
                continue;
            }
            let count = self.told.len() - self.before;
            let so_far = total.map_or_else(|| count.to_string(), |total| format!("{count}/{total}"));
            let place = self.places.remove(id).unwrap_or_default();
            let line = match &job["error"]["message"] {
                Value::String(reason) => format!("{so_far:>7}  FAILED  {}: {reason}", title(job)),
                _ => format!("{so_far:>7}  {place:<5} {}", title(job)),
            };
            screen.say(&line);
        }
    }

    fn note_places(&mut self, jobs: &[Value]) {
        for job in jobs {
            if let (Some(id), Some(instance)) = (job["id"].as_str(), job["instance"].as_str()) {
                let shown = self.names.get(instance).map_or(instance, String::as_str);
                self.places.insert(id.to_owned(), shown.to_owned());
            }
        }
    }

    fn block(&self, jobs: &[Value], counts: Counts) -> Vec<String> {
        let mut lines = vec![String::new()];
        for (instance, shown) in &self.names {
            let on = |job: &&Value| {
                job["instance"] == **instance
                    && matches!(job["status"].as_str(), Some("running" | "collecting"))
            };
            let line = match jobs.iter().find(on) {
                Some(job) => {
                    let value = job["progress"]["value"].as_f64().unwrap_or_default();
                    format!(" {shown:<5} {} {:>3.0} %  {}", bar(value), value * 100.0, title(job))
                }
                None => format!(" {shown:<5} {}", "·".repeat(10)),
            };
            lines.push(line);
        }
        lines.push(format!(
            " {} waiting · {} at work · {} done · {} failed",
            counts.waiting, counts.running, counts.succeeded, counts.failed
        ));
        lines
    }
}

fn has_ended(job: &Value) -> bool {
    matches!(job["status"].as_str(), Some("succeeded" | "failed" | "canceled" | "expired"))
}

fn title(job: &Value) -> &str {
    job["labels"]["title"].as_str().or(job["id"].as_str()).unwrap_or_default()
}
