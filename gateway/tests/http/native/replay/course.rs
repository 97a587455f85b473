//! What a socket was told, in a form in which a recording and its replay can be compared: job by job, in order, with what
//! this gateway holds back (results until the commit) in the place where it tells it.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use super::frame;

/// Texts of frames in their order.
pub type Frames = Vec<String>;

/// All that one socket was told.
#[derive(Debug, Default)]
pub struct Course {
    /// Frames that belong to no job: the greeting, features.
    own: Frames,
    jobs: BTreeMap<String, Frames>,
    /// Jobs in the order of their first frames.
    starts: Vec<String>,
}

impl Course {
    /// Notes a frame of a recording; jobs go by the names they have in the replay.
    pub fn record(&mut self, line: &Value, rename: impl Fn(&str) -> String) {
        let said = if line["kind"] == "text" { &line["payload"]["data"] } else { &line["metadata"] };
        let job = said["prompt_id"].as_str().map(rename);
        self.note(job, frame::recorded(line).text);
    }

    /// Notes a frame of the replay.
    pub fn hear(&mut self, message: &Message) {
        let said: Value = match message {
            Message::Text(text) => serde_json::from_str(text).unwrap_or_default(),
            Message::Binary(bytes) => metadata(bytes).unwrap_or_default(),
            _ => return,
        };
        let said = said.get("data").unwrap_or(&said);
        let job = said["prompt_id"].as_str().map(str::to_owned);
        if let Some(frame) = frame::received(message) {
            self.note(job, frame.text);
        }
    }

    fn note(&mut self, job: Option<String>, text: String) {
        // How many jobs are left depends on when it is asked: only the greeting counts.
        if text.starts_with("status") && !text.ends_with("sid") {
            return;
        }
        // What names no job belongs to the one that runs.
        let is_anonymous =
            text.starts_with("preview") || text.starts_with("text of") || text.starts_with("not JSON");
        let job = job.or_else(|| self.starts.last().filter(|_| is_anonymous).cloned());
        let Some(job) = job else { return self.own.push(text) };
        if !self.jobs.contains_key(&job) {
            self.starts.push(job.clone());
        }
        self.jobs.entry(job).or_default().push(text);
    }

    /// What of `recorded` is not here yet. Results are held until the end, previews may be thinned, and texts for
    /// everybody are not passed on: none of them is waited for.
    pub fn lacks(&self, recorded: &Self) -> Vec<String> {
        let none = Frames::new();
        let of_jobs =
            recorded.jobs.iter().map(|(job, all)| (job.as_str(), all, self.jobs.get(job).unwrap_or(&none)));
        let sides = std::iter::once(("", &recorded.own, &self.own)).chain(of_jobs);
        let missing = sides.flat_map(|(job, all, here)| {
            let lacking = all.iter().filter(|text| is_waited_for(text) && !here.contains(text));
            lacking.map(move |text| format!("{job} {text}"))
        });
        missing.collect()
    }

    /// How this replay differs from the recording.
    pub fn differences(&self, recorded: &Self, is_any_order: bool) -> Vec<String> {
        let mut found = Vec::new();
        compare("", &recorded.own, &self.own, is_any_order, &mut found);
        let mut all: Vec<&String> = recorded.starts.iter().collect();
        all.extend(self.starts.iter().filter(|job| !recorded.jobs.contains_key(*job)));
        for (number, job) in all.into_iter().enumerate() {
            let of = |course: &Self| tidy(course.jobs.get(job).cloned().unwrap_or_default(), is_any_order);
            compare(&format!(" of job {number}"), &of(recorded), &of(self), is_any_order, &mut found);
        }
        let both = |course: &Self, other: &Self| -> Vec<usize> {
            let kept = course.starts.iter().filter(|job| other.jobs.contains_key(*job));
            kept.filter_map(|job| recorded.starts.iter().position(|it| it == job)).collect()
        };
        let (theirs, ours) = (both(recorded, self), both(self, recorded));
        if theirs != ours {
            found.push(format!("jobs start in the order {ours:?}"));
        }
        found
    }
}

fn is_waited_for(text: &str) -> bool {
    !["executed", "preview", "text of", "not JSON"].iter().any(|kind| text.starts_with(kind))
}

/// The header of a preview that has one.
fn metadata(bytes: &[u8]) -> Option<Value> {
    let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    (word(0)? == 4).then_some(())?;
    serde_json::from_slice(bytes.get(8..8 + word(4)?)?).ok()
}

/// The frames of a job with results and their pictures just before the end, each run of ticks without repetitions, its
/// previews last: they may be thinned.
fn tidy(frames: Frames, is_any_order: bool) -> Frames {
    let is_result = |text: &String| {
        text.starts_with("executed")
            || text.starts_with("not JSON")
            || text.starts_with("preview format 2")
            || (text.starts_with("preview") && text.contains("image/png"))
    };
    let (mut results, rest): (Frames, Frames) = frames.into_iter().partition(is_result);
    results.sort_by_key(|text| text.starts_with("preview"));
    results.dedup_by(|a, b| a == b && a.starts_with("preview"));
    let is_end = |text: &String| text.starts_with("execution_") && text != "execution_start";
    let end = rest.iter().rposition(is_end).unwrap_or(rest.len());
    let mut tidied = Frames::new();
    for (index, text) in rest.into_iter().enumerate() {
        if index == end {
            tidied.append(&mut results);
        }
        tidied.push(text);
    }
    tidied.append(&mut results);
    if is_any_order {
        tidied.retain(|text| !text.starts_with("state"));
    }
    runs_of_ticks(tidied)
}

fn runs_of_ticks(frames: Frames) -> Frames {
    let is_tick = |text: &str| {
        ["state", "progress of", "preview format 1", "preview of"].iter().any(|kind| text.starts_with(kind))
    };
    let mut out = Frames::new();
    for run in frames.chunk_by(|a, b| is_tick(a) && is_tick(b)) {
        let mut told = Frames::new();
        for text in run {
            if !is_tick(text) || !told.contains(text) {
                told.push(text.clone());
            }
        }
        told.sort_by_key(|text| text.starts_with("preview"));
        out.append(&mut told);
    }
    out
}

fn compare(whose: &str, recorded: &Frames, replayed: &Frames, is_any_order: bool, found: &mut Vec<String>) {
    let mut lacks: Frames = recorded.iter().filter(|text| !replayed.contains(text)).cloned().collect();
    let mut more: Frames = replayed.iter().filter(|text| !recorded.contains(text)).cloned().collect();
    lacks.dedup();
    more.dedup();
    found.extend(lacks.into_iter().map(|text| format!("is not told{whose}: {text}")));
    found.extend(more.into_iter().map(|text| format!("is told{whose}: {text}")));
    let of_both = |frames: &Frames, other: &Frames| -> Frames {
        let mut kept: Frames = frames.iter().filter(|text| other.contains(text)).cloned().collect();
        if is_any_order {
            kept.sort();
            kept.dedup();
        }
        kept
    };
    let (theirs, ours) = (of_both(recorded, replayed), of_both(replayed, recorded));
    if theirs != ours {
        let (theirs, ours) = (theirs.join(" | "), ours.join(" | "));
        found.push(format!("hears in another order{whose}:\n  recorded {theirs}\n  replayed {ours}"));
    }
}
