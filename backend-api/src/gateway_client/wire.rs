//! The JSON of `/v1`, as far as we use it. Fields and words we do not know are ignored, so a newer gateway stays readable.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Service level of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Runs when nobody else wants the device.
    Batch,
    /// The usual one.
    #[default]
    Normal,
    /// A person is waiting.
    Interactive,
}

/// Body of `POST /v1/jobs` for a template.
#[derive(Debug, Clone, Serialize)]
pub struct SubmitTemplate {
    /// What to run.
    pub template: TemplateCall,
    /// Service level.
    pub class: Class,
    /// The person it is done for, under a name that says nothing about them.
    pub user: String,
    /// The caller's own words about the job.
    pub labels: BTreeMap<String, String>,
    /// Expire the job unless it ended this soon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_within_seconds: Option<u64>,
    /// Who gives places for its files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket_url: Option<String>,
    /// Who is told of its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
}

impl SubmitTemplate {
    /// The exact bytes to send, now and in any repeat under the same idempotency key.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("all map keys are strings and no field's Serialize can fail")
    }
}

/// A stored workflow with values for its parameters.
#[derive(Debug, Clone, Serialize)]
pub struct TemplateCall {
    /// Its name.
    pub name: String,
    /// Values by name.
    pub parameters: Map<String, Value>,
}

/// A receiver of events.
#[derive(Debug, Clone, Serialize)]
pub struct Webhook {
    /// Its address.
    pub url: String,
}

/// A stored workflow, as `/v1/templates` shows it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// Its newest enabled version.
    pub version: u32,
    /// What may be set, each with `name`, `type` and bounds.
    #[serde(default)]
    pub parameters: Vec<Map<String, Value>>,
    /// What its author tells people: title, description and the like.
    #[serde(default)]
    pub meta: Map<String, Value>,
    /// Whether the fleet could run it now; unknown while there is no fleet.
    #[serde(default)]
    pub available: Option<bool>,
}

/// A page of templates.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct TemplatePage {
    pub(super) templates: Vec<Template>,
    pub(super) next_cursor: Option<String>,
}

/// Something committed about a job, by webhook or feed.
#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    /// Such as `job.succeeded`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whose.
    pub job_id: String,
    /// The job as it is when the event is sent; none once it is past its retention.
    pub job: Option<Job>,
}

/// A page of the feed.
#[derive(Debug, Clone, Deserialize)]
pub struct EventPage {
    /// In the order of their commits.
    pub events: Vec<Event>,
    /// From where to read on.
    pub next: String,
}

/// Where a job stands, in short.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Standing {
    /// Which.
    pub id: String,
    /// Where it stands.
    pub status: JobStatus,
    /// How far the current attempt is, while it runs.
    pub progress: Option<Progress>,
}

/// Where many jobs stand; those that are not known are left out.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Standings {
    pub(super) jobs: Vec<Standing>,
}

/// What the gateway asks of `ticket_url`: places for the files of an attempt.
#[derive(Debug, Clone, Deserialize)]
pub struct TicketRequest {
    /// Whose files.
    pub job_id: String,
    /// Of which try.
    pub attempt: u64,
    /// Each wants one ticket.
    pub files: Vec<TicketedFile>,
}

/// A file that wants a place.
#[derive(Debug, Clone, Deserialize)]
pub struct TicketedFile {
    /// Its number among the others.
    pub index: u64,
    /// Media type.
    pub content_type: String,
}

/// The answer.
#[derive(Debug, Clone, Serialize)]
pub struct Tickets {
    /// One for each file.
    pub tickets: Vec<Ticket>,
}

/// A place for one file. Lets whoever holds it upload, so it never shows in logs.
#[derive(Clone, Serialize)]
pub struct Ticket {
    /// Which file.
    pub index: u64,
    /// `PUT` or `POST`.
    pub method: &'static str,
    /// Where to.
    pub url: String,
    /// Headers of a `PUT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, String>>,
    /// Fields of a `POST`, in their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<(String, String)>>,
    /// Until when.
    pub expires_at: Timestamp,
    /// The path of the object.
    pub key: String,
    /// Kept with the output.
    pub meta: TicketMeta,
}

/// What comes back with the output.
#[derive(Debug, Clone, Serialize)]
pub struct TicketMeta {
    /// What the mini program calls the file.
    pub fileid: String,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("index", &self.index).finish_non_exhaustive()
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// In the backlog.
    Queued,
    /// On its way to an instance.
    Dispatching,
    /// An instance works on it.
    Running,
    /// Its fate is being looked up.
    InDoubt,
    /// Its files are being stored.
    Collecting,
    /// Its owner wants it to stop.
    Canceling,
    /// Ended with its files.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Ended by its owner's will.
    Canceled,
    /// Ended by its deadline, or past retention.
    Expired,
    /// A word of a newer gateway.
    #[serde(other)]
    Unknown,
}

impl JobStatus {
    /// Whether the job will never change again.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled | Self::Expired)
    }
}

/// A job as `/v1` shows it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Job {
    /// Its id, unique for our key.
    pub id: String,
    /// Where it stands.
    pub status: JobStatus,
    /// Grows with each durable change.
    #[serde(default)]
    pub revision: u64,
    /// When it was accepted.
    pub created_at: Option<Timestamp>,
    /// When the current attempt started to run.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The current or last try, from 1.
    #[serde(default)]
    pub attempt: u32,
    /// Tries that failed by themselves.
    #[serde(default)]
    pub faults: u32,
    /// Tries that were lost with their instance or connection.
    #[serde(default)]
    pub losses: u32,
    /// As submitted.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Jobs before it in the backlog, while queued.
    pub position: Option<u64>,
    /// How far the current attempt is, while it runs.
    pub progress: Option<Progress>,
    /// Its files; complete once it succeeded.
    #[serde(default)]
    pub outputs: Vec<Output>,
    /// Why it failed.
    pub error: Option<JobError>,
}

/// How far an attempt is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Progress {
    /// From 0 to 1.
    #[serde(default)]
    pub value: f64,
    /// Nodes finished or cached.
    pub nodes_done: Option<u64>,
    /// Nodes of the graph.
    pub nodes_total: Option<u64>,
    /// The node that runs.
    pub current_node: Option<String>,
    /// Step of that node.
    pub step: Option<u64>,
    /// Its steps.
    pub steps: Option<u64>,
}

/// One file of a job.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Output {
    /// Identifies the file.
    pub id: String,
    /// The node that made it.
    pub node_id: Option<String>,
    /// File name.
    #[serde(default)]
    pub name: String,
    /// `output` or `temp`, ComfyUI's folders.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Media type.
    pub content_type: Option<String>,
    /// Size in bytes.
    pub size_bytes: Option<u64>,
    /// Content hash with its algorithm.
    pub hash: Option<String>,
    /// Key in the artifact store.
    pub object_key: Option<String>,
    /// Where to fetch the bytes.
    pub url: Option<String>,
    /// In pixels.
    #[serde(default)]
    pub width: Option<u64>,
    /// In pixels.
    #[serde(default)]
    pub height: Option<u64>,
    /// What the ticket said of the object, if it went to a bucket of ours.
    #[serde(default)]
    pub meta: Option<Value>,
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct JobError {
    /// Stable, for programs.
    pub code: String,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// The node at fault.
    pub node_id: Option<String>,
    /// Its class.
    pub class_type: Option<String>,
}
