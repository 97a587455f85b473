//! Jobs in ComfyUI's shapes (PROTOCOL §4): queue items, entries of the history, files in the names they have now.

use std::collections::HashMap;

use scheduler::Phase;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value, json};
use uuid::Uuid;

use super::super::view::Seen;
use crate::link::message::OutputKind;
use crate::store::{JobError, NativeJob, OutputRow, StoredState};

/// The member of a file's entry in a record that names the output it became.
const OUTPUT: &str = "@output";

/// `[number, prompt_id, graph, extra_data, outputs]`.
#[derive(Serialize)]
pub(super) struct Item<'a>(Number, &'a str, Box<RawValue>, Extra<'a>, &'a [String]);

#[derive(Serialize)]
pub(super) struct Extra<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_pnginfo: Option<Box<RawValue>>,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    create_time: i64,
}

/// A job in the queue.
pub(super) fn item(job: &NativeJob) -> Item<'_> {
    let facts = &job.facts;
    let graph = RawValue::from_string(job.workflow.to_string()).unwrap_or_default();
    let outputs = facts.targets.as_ref().unwrap_or(&facts.outputs);
    Item(number(facts.number), &facts.prompt_id, graph, extra(job), outputs)
}

/// `extra_data` as it is shown.
pub(super) fn extra(job: &NativeJob) -> Extra<'_> {
    let extra_pnginfo = job.extra_pnginfo.as_ref();
    Extra {
        extra_pnginfo: extra_pnginfo.and_then(|text| RawValue::from_string(text.to_string()).ok()),
        extra: &job.facts.extra,
        client_id: job.facts.client_id.as_deref(),
        create_time: job.row.accepted_at,
    }
}

/// Whole where it can be: clients check that.
pub(super) fn number(number: f64) -> Number {
    const WHOLE: f64 = 9_007_199_254_740_992.0; // 2^53
    #[expect(clippy::cast_possible_truncation, reason = "whole and within what an integer holds")]
    match number {
        whole if whole.fract() == 0.0 && whole.abs() <= WHOLE => Number::from(whole as i64),
        other => Number::from_f64(other).unwrap_or_else(|| Number::from(0)),
    }
}

/// Whether ComfyUI would call it running.
pub(super) fn runs(seen: &Seen) -> bool {
    match seen.phase {
        Phase::Running | Phase::Collecting => true,
        // As it was before.
        Phase::InDoubt | Phase::Canceling => seen.started_at().is_some(),
        _ => false,
    }
}

/// What ComfyUI's history said of the attempt that ended a job.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Record {
    outputs: Map<String, Value>,
    meta: Option<Map<String, Value>>,
    messages: Vec<(String, Value)>,
    pictures: Vec<Uuid>,
}

/// What is told of a job that has ended.
pub(super) struct History<'a> {
    job: &'a NativeJob,
    record: Record,
}

/// One entry of the history.
#[derive(Serialize)]
pub(super) struct Entry<'a> {
    prompt: Item<'a>,
    outputs: &'a Map<String, Value>,
    status: Status,
    meta: Value,
}

/// How a job ended.
#[derive(Serialize)]
pub(super) struct Status {
    status_str: &'static str,
    completed: bool,
    messages: Vec<(String, Value)>,
}

impl<'a> History<'a> {
    pub(super) fn of(job: &'a NativeJob) -> Self {
        let record = job.record.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let mut record = record.unwrap_or_else(|| Record { outputs: listed(job), ..Record::default() });
        if job.row.state != StoredState::Succeeded {
            without_files(&mut record.outputs);
        }
        let rows: HashMap<String, &OutputRow> =
            job.outputs.iter().map(|row| (row.id.to_string(), row)).collect();
        let lists = record.outputs.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut);
        lists.filter_map(Value::as_array_mut).flatten().for_each(|file| name(file, &rows));
        Self { job, record }
    }

    /// UI outputs by node, in the order in which the nodes ran.
    pub(super) fn executed(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.record.outputs.iter().map(|(node, output)| (node.as_str(), output))
    }

    pub(super) fn outputs(&self) -> &Map<String, Value> {
        &self.record.outputs
    }

    /// Pictures that were made for the socket.
    pub(super) fn pictures(&self) -> impl Iterator<Item = &'a OutputRow> {
        self.record.pictures.iter().filter_map(|id| self.job.outputs.iter().find(|row| row.id == *id))
    }

    /// The node of the submitted graph.
    pub(super) fn display_node<'n>(&'n self, node: &'n str) -> &'n str {
        let meta = self.record.meta.as_ref().and_then(|meta| meta.get(node));
        meta.and_then(|meta| meta.get("display_node")?.as_str()).unwrap_or(node)
    }

    /// The class of a node of the submitted graph.
    pub(super) fn class_of(&self, node: &str) -> String {
        let graph: Value = serde_json::from_str(&self.job.workflow).unwrap_or_default();
        graph[node]["class_type"].as_str().unwrap_or_default().to_owned()
    }

    /// What ComfyUI's history tells of its course; the last one tells its end.
    pub(super) fn messages(&self) -> Vec<(String, Value)> {
        let mut messages = self.record.messages.clone();
        let last = messages.last().map(|(name, _)| name.as_str());
        if last == Some(end_of(self.job.row.state)) {
            return messages;
        }
        messages.retain(|(name, _)| matches!(name.as_str(), "execution_start" | "execution_cached"));
        if let (true, Some(at)) = (messages.is_empty(), self.job.row.started_at) {
            let prompt_id = &self.job.facts.prompt_id;
            let start = json!({"prompt_id": prompt_id, "timestamp": at});
            let cached = json!({"nodes": [], "prompt_id": prompt_id, "timestamp": at});
            messages.extend([("execution_start".to_owned(), start), ("execution_cached".to_owned(), cached)]);
        }
        messages.push(self.end());
        messages
    }

    /// How it ended, in words of ours where ComfyUI did not say.
    fn end(&self) -> (String, Value) {
        let row = &self.job.row;
        let mut data = json!({"prompt_id": self.job.facts.prompt_id});
        match row.state {
            StoredState::Failed | StoredState::Expired => {
                describe(&mut data, row.error.as_ref().unwrap_or(&JobError::default()));
            }
            StoredState::Canceled => {
                data["node_id"] = json!("");
                data["node_type"] = json!("");
                data["executed"] = json!([]);
            }
            _ => {}
        }
        data["timestamp"] = json!(row.ended_at);
        (end_of(row.state).to_owned(), data)
    }

    pub(super) fn status(&self) -> Status {
        let completed = self.job.row.state == StoredState::Succeeded;
        let status_str = if completed { "success" } else { "error" };
        Status { status_str, completed, messages: self.messages() }
    }

    pub(super) fn entry(&self) -> Entry<'_> {
        let meta = self.record.meta.as_ref().filter(|_| self.job.row.state == StoredState::Succeeded);
        let meta = meta.cloned().unwrap_or_else(|| {
            let of = |node: &String| {
                json!({"node_id": node, "display_node": node, "parent_node": null, "real_node_id": node})
            };
            self.record.outputs.keys().map(|node| (node.clone(), of(node))).collect()
        });
        Entry {
            prompt: item(self.job),
            outputs: &self.record.outputs,
            status: self.status(),
            meta: meta.into(),
        }
    }
}

fn end_of(state: StoredState) -> &'static str {
    match state {
        StoredState::Succeeded => "execution_success",
        StoredState::Canceled => "execution_interrupted",
        _ => "execution_error",
    }
}

fn describe(data: &mut Value, error: &JobError) {
    let lines: Vec<String> =
        error.traceback.iter().flat_map(|trace| trace.split_inclusive('\n')).map(str::to_owned).collect();
    data["node_id"] = json!(error.node_id.as_deref().unwrap_or_default());
    data["node_type"] = json!(error.class_type.as_deref().unwrap_or_default());
    data["executed"] = json!([]);
    data["exception_message"] = json!(error.message);
    data["exception_type"] = json!(error.code);
    data["traceback"] = json!(lines);
    data["current_inputs"] = json!({});
    data["current_outputs"] = json!([]);
}

/// Gives a file the name that its output has in the tenant's own numbering.
fn name(file: &mut Value, rows: &HashMap<String, &OutputRow>) {
    let Some(members) = file.as_object_mut() else { return };
    let Some(id) = members.remove(OUTPUT) else { return };
    let Some(row) = id.as_str().and_then(|id| rows.get(id)) else { return };
    let (folder, name) = row.name.rsplit_once('/').unwrap_or(("", &row.name));
    members.insert("filename".into(), name.into());
    members.insert("subfolder".into(), folder.into());
}

/// Of a job that failed, what nodes said that were done and made no files: files of such a job are not kept.
fn without_files(outputs: &mut Map<String, Value>) {
    let is_file = |item: &Value| item.get("filename").is_some();
    let has_files = |told: &Value| told.as_array().is_some_and(|list| list.iter().any(is_file));
    outputs.retain(|_, node| !node.as_object().is_some_and(|node| node.values().any(has_files)));
}

/// The files of a job whose history nobody saw: what is stored of them.
fn listed(job: &NativeJob) -> Map<String, Value> {
    let mut outputs = Map::new();
    for row in job.outputs.iter().filter(|row| row.kind != OutputKind::Text) {
        let node = outputs.entry(&row.node_id).or_insert_with(|| json!({}));
        let key = if row.kind == OutputKind::Audio { "audio" } else { "images" };
        let file = json!({"filename": "", "subfolder": "", "type": "output", OUTPUT: row.id});
        match node.get_mut(key).and_then(Value::as_array_mut) {
            Some(list) => list.push(file),
            None => node[key] = json!([file]),
        }
    }
    outputs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_job_that_failed_what_nodes_said_stays_and_files_go() {
        let file = json!({"filename": "a.png", "subfolder": "", "type": "output"});
        let told = json!({
            "1": {"images": [file], "animated": [false]},
            "2": {"text": ["a", "b"]},
            "3": {"text": ["a"], "images": [file]},
            "4": {},
        });
        let mut outputs = told.as_object().cloned().unwrap_or_default();
        without_files(&mut outputs);
        assert_eq!(Value::Object(outputs), json!({"2": {"text": ["a", "b"]}, "4": {}}));
    }

    #[test]
    fn a_number_is_whole_where_it_can_be() {
        assert_eq!(number(7.0).to_string(), "7");
        assert_eq!(number(-0.5).to_string(), "-0.5");
        assert!(number(1e300).is_f64());
    }
}
