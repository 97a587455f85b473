//! The one message set between the engine and the runners (DESIGN §3).
//!
//! Inside a process the values travel over channels as they are; between processes they will travel as JSON over
//! a WebSocket. Both ends may restart at any time, so every message names the attempt it is about and may be
//! repeated. Image bytes never travel here: tickets say where they go. What is passed on to custom nodes does, in bounded
//! pieces beside everything else ([`ForwardRequest`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use super::files::*;
pub use super::forward::*;
pub use super::native::*;
pub use super::ticket::{Secret, Ticket};

/// The version of this message set; the two ends compare it in the handshake.
pub const VERSION: u16 = 1;

/// A message with what fences it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// [`VERSION`] of the sender.
    pub version: u16,
    /// Leadership epoch: a runner refuses one below the highest it has seen. Constant 1 while there is one gateway.
    pub epoch: u64,
    /// Counts up per direction and connection, for resumption.
    pub seq: u64,
    /// The message.
    pub body: T,
}

/// One try at a job, as both ends name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attempt {
    /// The job's internal id (UUIDv7).
    pub job: Uuid,
    /// Which try, from 1.
    pub number: u32,
}

impl Attempt {
    /// The id of the output that the file of this index becomes: the same for whoever derives it.
    #[must_use]
    pub fn output_id(self, index: usize) -> Uuid {
        let mut hasher = blake3::Hasher::new_derive_key("darkroom output");
        hasher.update(self.job.as_bytes()).update(&self.number.to_be_bytes());
        hasher.update(&(index as u64).to_be_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

/// The name of an instance, unique within the fleet: its configured name or its URL.
pub type InstanceName = Arc<str>;

/// What the engine tells a runner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Answer to [`Report::Hello`]: the cell whose mark our prompts carry.
    Welcome {
        /// Random id of this installation, minted with its store (DESIGN §4.4).
        cell: Uuid,
    },
    /// Submit this prompt.
    Dispatch(Box<Dispatch>),
    /// Find out what became of this attempt: adopt it and go on reporting, or report that there is no trace.
    LookUp {
        /// All that is needed to go on with it.
        dispatch: Box<Dispatch>,
        /// A POST may still be on its way inside ComfyUI: believe "no trace" only the second time (DESIGN §13).
        maybe_in_flight: bool,
    },
    /// The attempt is not wanted any more. Delete it from the queue or interrupt it, drop its spool and its files;
    /// answer [`Signal::Stopped`] when nothing of it runs any more. Also for attempts never heard of.
    Withdraw {
        /// Which attempt.
        attempt: Attempt,
        /// Where.
        instance: InstanceName,
        /// Its id at ComfyUI.
        prompt: Uuid,
    },
    /// The same, unless it is done: then it goes on to hand its outputs over, and nothing is stopped.
    Preempt {
        /// Which attempt.
        attempt: Attempt,
        /// Where.
        instance: InstanceName,
        /// Its id at ComfyUI.
        prompt: Uuid,
    },
    /// Tickets for the files that the attempt listed, in the order of the list, then for what was made of them, in the
    /// order it was told. Sent again when asked again.
    Grant {
        /// Which attempt.
        attempt: Attempt,
        /// One a file, by the file's index.
        tickets: Vec<Ticket>,
        /// What the owner of a bucket calls the objects, by the file's index: returned with the file that was stored by
        /// that ticket. Empty where all the stores are the gateway's.
        #[serde(default)]
        receipts: Vec<Option<Receipt>>,
    },
    /// The outputs are committed: spool, rewritten files and memory of the attempt may go.
    Settle {
        /// Which attempt.
        attempt: Attempt,
    },
    /// Unload models and empty the node cache of an instance (`/free`).
    Free {
        /// Which one.
        instance: InstanceName,
    },
    /// Ask the supervisor of an instance to restart it; without one it is reported and nothing happens.
    Restart {
        /// Which one.
        instance: InstanceName,
    },
    /// Send the body of a catalogue whose hash was reported.
    SendCatalogue {
        /// Which one.
        instance: InstanceName,
    },
    /// Pass this request on to its instance.
    Forward(Box<ForwardRequest>),
    /// More of a request that is passed on.
    ForwardMore {
        /// Which.
        id: Uuid,
        /// What.
        more: ForwardMore,
    },
}

/// All that a runner needs to run one attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dispatch {
    /// Which attempt.
    pub attempt: Attempt,
    /// Where.
    pub instance: InstanceName,
    /// Sent to ComfyUI as `prompt_id`.
    pub prompt: Uuid,
    /// The caller's own graph, verbatim (JSON text).
    pub workflow: Arc<str>,
    /// Files to stage before the prompt is sent.
    pub inputs: Vec<Input>,
    /// The caller's `extra_pnginfo` (a JSON object as text), to be embedded in files; `None`: nothing.
    pub extra_pnginfo: Option<Arc<str>>,
    /// The caller's partner key (`api_key_comfy_org`); memory only, never stored or logged (DESIGN §9).
    pub partner_key: Option<Secret>,
    /// How ComfyUI's `200 with node_errors` is taken (DESIGN §13): `true` refuses it, `false` lets it run.
    pub strict: bool,
    /// Bound of one output file, bytes.
    pub max_output_bytes: u64,
    /// Predicted load and run time together, milliseconds: the measure of "hangs".
    pub expected_ms: u64,
    /// What is to be made of the files; `None`: they are delivered as they are.
    #[serde(default)]
    pub making: Option<Making>,
    /// It came by ComfyUI's own API.
    #[serde(default)]
    pub native: Option<Native>,
}

/// A file that a workflow refers to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Where the reference stands in the graph (RFC 6901 pointer); it is replaced by the staged name.
    pub pointer: String,
    /// BLAKE3 of the bytes, lower-case hex; the staged name is derived from it.
    pub hash: String,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Extension for the staged name, without the dot; may be empty.
    pub extension: String,
    /// Media type.
    pub content_type: String,
    /// Where the bytes are.
    pub source: Ticket,
}

/// What a runner tells the engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Report {
    /// First word on a link.
    Hello {
        /// The host's name.
        host: String,
        /// Its instances as configured.
        instances: Vec<InstanceName>,
    },
    /// An instance answers; sent again whenever something of it changed.
    InstanceUp {
        /// Which one.
        instance: InstanceName,
        /// What it is.
        facts: InstanceFacts,
    },
    /// An instance does not answer.
    InstanceDown {
        /// Which one.
        instance: InstanceName,
        /// In words, for people.
        reason: String,
    },
    /// The process of an instance is a new one: what it kept in memory is gone. Comes before it is up again.
    InstanceRestarted {
        /// Which one.
        instance: InstanceName,
    },
    /// The host with all its instances is about to be taken away (a spot notice).
    HostLeaving {
        /// How soon, milliseconds; `None`: it stays after all.
        within_ms: Option<u64>,
    },
    /// The body asked for by [`Command::SendCatalogue`].
    Catalogue {
        /// BLAKE3 of the body, lower-case hex.
        hash: String,
        /// `/object_info` as received (JSON text).
        body: Arc<str>,
    },
    /// The host's spool has no room, or has it again.
    Spool {
        /// Whether placing on this host must stop.
        full: bool,
        /// Bytes held.
        bytes: u64,
    },
    /// Readings of the host's devices.
    Devices(DeviceReport),
    /// Word of one attempt.
    Attempt {
        /// Which attempt.
        attempt: Attempt,
        /// What happened.
        signal: Signal,
    },
    /// A prompt with our mark that this runner does not know; the engine decides whether it is an orphan.
    Stray {
        /// Where.
        instance: InstanceName,
        /// From its mark.
        attempt: Attempt,
        /// Its id at ComfyUI.
        prompt: Uuid,
        /// It is over: only worth a look if its attempt is still open.
        ended: bool,
    },
    /// Word of a request that is passed on.
    Forward {
        /// Which.
        id: Uuid,
        /// What.
        word: ForwardWord,
    },
}

/// What an instance says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceFacts {
    /// Its base URL, for people.
    pub url: String,
    /// ComfyUI's version, if told.
    pub comfyui_version: Option<String>,
    /// Name of the device, cleaned (`Tesla T4`, `NVIDIA A100-SXM4-40GB`, `cpu`).
    pub device_name: String,
    /// Class of the device in lower case (`t4`, `v100`, `a100`, `cpu`, or the cleaned name).
    pub device_class: String,
    /// Speed in thousandths of the reference class: configured, or a prior by class.
    pub speed_milli: u32,
    /// Total memory of the device as the instance reports it, MiB; `None` when it is not a GPU.
    pub vram_mib: Option<u32>,
    /// `vram_mib` is configured: its share of a device that others may share.
    #[serde(default)]
    pub vram_split: bool,
    /// UUID of the device it is bound to (DESIGN §3); `None`: unbound, NVML never places for it.
    pub device_uuid: Option<String>,
    /// BLAKE3 of `/object_info` as received, lower-case hex; `None` while it could not be read.
    pub catalogue: Option<String>,
    /// `speed_milli` by model family (`sd15`, `sdxl`, `flux`, `video`), where it is known to differ.
    #[serde(default)]
    pub family_speeds: BTreeMap<String, u32>,
    /// How fast models come in; `None` where nobody knows.
    #[serde(default)]
    pub loading: Option<LoadingFacts>,
    /// Sizes of model files, MiB, as far as known, by folder and name as the graph gives it
    /// (`checkpoints/sdxl/base.safetensors`).
    #[serde(default)]
    pub models_mib: Arc<BTreeMap<String, u32>>,
}

/// How fast a host brings models to a device: priors that observed loads correct.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadingFacts {
    /// From disk to host RAM, MiB/s.
    pub disk_mib_s: u32,
    /// From host RAM to the device, MiB/s.
    pub pcie_mib_s: u32,
    /// Host RAM that keeps files, MiB.
    pub host_cache_mib: u32,
}

/// One look at all devices of a host.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DeviceReport {
    /// `None`: the look succeeded; else why not (no driver, a call that hangs …): a fact to show, not a failure.
    pub problem: Option<String>,
    /// Driver version, if told.
    pub driver: Option<String>,
    /// One a device.
    pub devices: Vec<DeviceReading>,
}

/// One device at one moment; what the driver does not say is `None` (nvml FACTS §2).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeviceReading {
    /// `GPU-…`; the stable name of the device.
    pub uuid: String,
    /// Its index at the driver; may change between boots.
    pub index: u32,
    /// As the driver spells it.
    pub name: String,
    /// `00000000:00:04.0`.
    pub pci_bus_id: Option<String>,
    /// Total memory, MiB.
    pub total_mib: Option<u32>,
    /// Used memory, MiB.
    pub used_mib: Option<u32>,
    /// Memory of processes that are not an instance of ours, MiB.
    pub foreign_mib: Option<u32>,
    /// Percent of the sample period in which foreign processes kept it busy.
    pub foreign_percent: Option<u32>,
    /// Percent of the sample period with any kernel running.
    pub utilization_percent: Option<u32>,
    /// Degrees Celsius.
    pub temperature_celsius: Option<u32>,
    /// Milliwatts.
    pub power_milliwatts: Option<u32>,
    /// Millijoules since the driver was loaded.
    pub energy_millijoules: Option<u64>,
    /// XID events since the start: code and count.
    pub xids: Vec<(u64, u64)>,
    /// Why no new work may go there, in words; `None`: healthy.
    pub fault: Option<String>,
}

/// What was heard of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Signal {
    /// ComfyUI has it in its queue.
    Accepted,
    /// ComfyUI executes it.
    Started,
    /// A snapshot of its progress. May be thinned; the newest counts.
    Progress(Progress),
    /// A preview picture. May be thinned; the newest counts.
    Preview(Preview),
    /// Frames for the owner of a job that came by ComfyUI's own API, in their order; some may be missing.
    Frames(Vec<Frame>),
    /// What ComfyUI's history says of it, in the caller's words: JSON text (`docs/NATIVE_API.md`). Comes before the word
    /// that ends it.
    Record(Arc<str>),
    /// Contact is lost; the runner looks it up by itself.
    ContactLost,
    /// ComfyUI is done with it; these files are to be stored.
    Executed {
        /// In ComfyUI's order; the index in this list is the file's index.
        files: Vec<ListedFile>,
    },
    /// What was made of the listed files lies in the spool, to be stored as well. Comes after [`Signal::Executed`] for
    /// a dispatch that says what to make; only then there are tickets.
    Made {
        /// Of those files of which anything was made or found out, in the order of the list.
        files: Vec<MadeOf>,
        /// What it cost.
        work: PictureWork,
    },
    /// Asks for (fresh) tickets for the files it listed and made.
    NeedTickets,
    /// All files are stored; in the order of the tickets.
    Stored {
        /// One a listed file, then one a made file.
        files: Vec<StoredFile>,
    },
    /// What the job asks for cannot be made of its files: the same everywhere, and no fault of the device.
    Undeliverable {
        /// Stable code (`docs/ERRORS.md`).
        code: String,
        /// Which file and why, in words.
        message: String,
    },
    /// ComfyUI refused the graph: its own answer.
    Invalid(Rejection),
    /// A node raised an error.
    NodeFailed(NodeError),
    /// An output is over its bound.
    OutputTooLarge {
        /// Which and by how much, in words.
        message: String,
    },
    /// An input's bytes are gone, or the stored workflow cannot be read.
    InputUnavailable {
        /// Which, in words.
        message: String,
    },
    /// This try is over, the job is not.
    Lost {
        /// Why.
        end: scheduler::AttemptEnd,
        /// In words, for people.
        message: String,
    },
    /// Nothing of it runs any more (answer to a withdrawal).
    Stopped,
}

/// How far a prompt is. Complete in itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Progress {
    /// Share done, 0 to 1; never goes back within an attempt.
    pub value: f64,
    /// Nodes done, cached ones included.
    pub nodes_done: u32,
    /// Nodes of the graph.
    pub nodes_total: u32,
    /// The node that runs.
    pub current_node: Option<String>,
    /// Its class.
    pub current_node_class: Option<String>,
    /// Its step, where it counts.
    pub step: Option<u32>,
    /// Of so many.
    pub steps: Option<u32>,
}

/// A preview picture, as ComfyUI sent it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// The node that shows it, where known.
    pub node_id: Option<String>,
    /// `image/jpeg` or `image/png`.
    pub content_type: String,
    /// The picture.
    pub bytes: bytes::Bytes,
}

/// ComfyUI's 400.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rejection {
    /// Its `error.type`, such as `prompt_outputs_failed_validation`.
    pub kind: String,
    /// Its message.
    pub message: String,
    /// Its `node_errors` (a JSON object as text), server paths and tracebacks removed.
    pub node_errors: Option<String>,
}

/// A node's failure (PROTOCOL §3 `execution_error`), bounded in size.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NodeError {
    /// The node.
    pub node_id: Option<String>,
    /// Its class.
    pub class_type: Option<String>,
    /// The exception's type.
    pub exception_type: Option<String>,
    /// The exception's message.
    pub message: String,
    /// The traceback as one text, paths of the server removed.
    pub traceback: Option<String>,
}
