//! One prompt while it runs: whom it tells what.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::extract::ws::Message;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::frames::{self, PictureFormat};
use crate::nodes::{Computed, Failure};
use crate::process::{Process, now_ms};
use crate::queue::Item;

/// Ticks closer than this in time, or in share of the whole, are not told (PROTOCOL §3).
const TICK_INTERVAL: Duration = Duration::from_millis(100);
const TICK_SHARE: f64 = 0.005;

/// Who gets the events of a prompt (PROTOCOL §8.1).
enum Audience {
    /// The body named a client.
    Client(String),
    /// It named none: some events go to everyone, the others to nobody.
    Everyone,
    /// It named something that is no client id.
    Nobody,
}

/// A picture to send while a node runs.
pub(crate) struct PreviewPicture {
    format: PictureFormat,
    bytes: Bytes,
}

impl PreviewPicture {
    pub(crate) fn jpeg(bytes: Bytes) -> PreviewPicture {
        PreviewPicture { format: PictureFormat::Jpeg, bytes }
    }

    pub(crate) fn png(bytes: Bytes) -> PreviewPicture {
        PreviewPicture { format: PictureFormat::Png, bytes }
    }
}

/// One running prompt.
pub(crate) struct Job {
    pub process: Arc<Process>,
    pub item: Arc<Item>,
    /// UI outputs so far, by node.
    pub outputs: Map<String, Value>,
    pub meta: Map<String, Value>,
    /// What history will tell.
    pub messages: Vec<Value>,
    /// Results by node, cached ones included.
    pub results: HashMap<String, Arc<Computed>>,
    /// Nodes carried out in this run, in order.
    pub executed: Vec<String>,
    /// Nodes that already asked for their lazy inputs.
    pub asked: HashSet<String>,
    audience: Audience,
    /// The cumulative `progress_state`.
    progress: Map<String, Value>,
    last_tick: HashMap<String, (Instant, f64)>,
    ticks: u32,
    texts: Option<Arc<Vec<(String, String)>>>,
    /// When the time of the last node was over.
    pub(super) node_due: Option<tokio::time::Instant>,
}

/// Lateness up to this is made up for by the next node; more was something else.
const CATCH_UP: Duration = Duration::from_millis(10);

impl Job {
    pub(crate) fn new(process: &Arc<Process>, item: &Arc<Item>) -> Job {
        let audience = match item.extra_data.get("client_id") {
            None | Some(Value::Null) => Audience::Everyone,
            Some(Value::String(id)) => Audience::Client(id.clone()),
            Some(_) => Audience::Nobody,
        };
        Job {
            process: Arc::clone(process),
            item: Arc::clone(item),
            outputs: Map::new(),
            meta: Map::new(),
            messages: Vec::new(),
            results: HashMap::new(),
            executed: Vec::new(),
            asked: HashSet::new(),
            audience,
            progress: Map::new(),
            last_tick: HashMap::new(),
            node_due: None,
            ticks: 0,
            texts: None,
        }
    }

    /// The client the prompt belongs to, if it named one.
    pub(crate) fn owner(&self) -> Option<&str> {
        match &self.audience {
            Audience::Client(id) => Some(id),
            Audience::Everyone | Audience::Nobody => None,
        }
    }

    /// Sends an event to the owner only.
    pub(crate) fn tell_owner(&self, kind: &str, data: &Value) {
        if let Some(owner) = self.owner() {
            self.process.sockets.send_event(Some(owner), kind, data);
        }
    }

    /// Sends a frame to the owner, or to everyone when there is none.
    fn tell(&self, frame: Message) {
        match &self.audience {
            Audience::Client(id) => self.process.sockets.send(id, frame),
            Audience::Everyone => self.process.sockets.broadcast(frame),
            Audience::Nobody => {}
        }
    }

    /// Tells a message of the prompt's life and keeps it for history.
    pub(crate) fn message(&mut self, kind: &str, mut data: Value) {
        data["timestamp"] = json!(now_ms());
        if kind == "execution_interrupted" {
            self.tell(frames::event(kind, &data));
        } else {
            self.tell_owner(kind, &data);
        }
        self.messages.push(json!([kind, data]));
    }

    /// Marks a node as running and announces it.
    pub(crate) fn start_node(&mut self, node: &str) {
        self.set_progress(node, node, None, json!(0.0), json!(1.0), "running");
        self.announce(node, node);
    }

    /// Marks a node of a sub-graph as running and announces it under its parent.
    pub(crate) fn start_child(&mut self, child: &str, parent: &str) {
        self.set_progress(child, parent, Some(parent), json!(0.0), json!(1.0), "running");
        self.announce(child, parent);
    }

    fn announce(&self, node: &str, display_node: &str) {
        let data = json!({"node": node, "display_node": display_node, "prompt_id": self.item.prompt_id});
        self.tell_owner("executing", &data);
        let mut current = self.process.current();
        current.client = self.owner().map(str::to_owned);
        current.node = Some(node.to_owned());
    }

    /// Marks a node as finished.
    pub(crate) fn finish_node(&mut self, node: &str) {
        match self.progress.get_mut(node) {
            Some(state) => {
                state["value"] = state["max"].clone();
                state["state"] = json!("finished");
                self.tell_progress_state();
            }
            None => self.set_progress(node, node, None, json!(1.0), json!(1.0), "finished"),
        }
    }

    /// Tells a node's UI output and keeps it for history.
    pub(crate) fn show(&mut self, node: &str, ui: &Map<String, Value>) {
        let data =
            json!({"node": node, "display_node": node, "output": ui, "prompt_id": self.item.prompt_id});
        self.tell_owner("executed", &data);
        self.outputs.insert(node.to_owned(), Value::Object(ui.clone()));
        let meta = json!({"node_id": node, "display_node": node, "parent_node": null, "real_node_id": node});
        self.meta.insert(node.to_owned(), meta);
    }

    fn set_progress(
        &mut self,
        node: &str,
        display: &str,
        parent: Option<&str>,
        value: Value,
        max: Value,
        state: &str,
    ) {
        let state = json!({
            "value": value,
            "max": max,
            "state": state,
            "node_id": node,
            "prompt_id": self.item.prompt_id,
            "display_node_id": display,
            "parent_node_id": parent,
            "real_node_id": display,
        });
        self.progress.insert(node.to_owned(), state);
        self.tell_progress_state();
    }

    fn tell_progress_state(&self) {
        if matches!(self.audience, Audience::Nobody) {
            return;
        }
        let data = json!({"prompt_id": self.item.prompt_id, "nodes": self.progress});
        self.tell(frames::event("progress_state", &data));
    }

    /// A node got so far. Here is where a prompt can be interrupted, hang, or take the process with it.
    pub(crate) async fn tick(
        &mut self,
        node: &str,
        value: Value,
        max: Value,
        preview: Option<PreviewPicture>,
    ) -> Result<(), Failure> {
        self.ticks += 1;
        if let Some(restart_after) = self.process.faults.take_death(self.ticks) {
            self.process.die(restart_after);
            std::future::pending::<()>().await;
        }
        self.checkpoint().await?;
        if preview.is_none() && self.is_throttled(node, &value, &max) {
            return Ok(());
        }
        if let Some(state) = self.progress.get_mut(node) {
            state["value"] = value.clone();
            state["max"] = max.clone();
        }
        self.tell_progress_state();
        let prompt_id = &self.item.prompt_id;
        let progress = frames::event(
            "progress",
            &json!({"value": value, "max": max, "prompt_id": prompt_id, "node": node}),
        );
        let with_metadata = self.owner().is_some_and(|owner| self.process.sockets.wants_metadata(owner));
        match preview {
            None => self.tell(progress),
            Some(PreviewPicture { format, bytes }) if with_metadata => {
                self.tell(frames::preview_with_metadata(prompt_id, node, format, &bytes));
                self.tell(progress);
            }
            Some(PreviewPicture { format, bytes }) => {
                self.tell(progress);
                self.tell(frames::preview(format, &bytes));
            }
        }
        Ok(())
    }

    /// Whether this tick is too close to the last one told; the first and the last always are told.
    fn is_throttled(&mut self, node: &str, value: &Value, max: &Value) -> bool {
        let (value, max) = (value.as_f64().unwrap_or(0.0), max.as_f64().unwrap_or(1.0));
        let now = Instant::now();
        let throttled = match self.last_tick.get(node) {
            Some((told_at, told)) if value < max => {
                now - *told_at < TICK_INTERVAL || (value - told).abs() < max * TICK_SHARE
            }
            _ => false,
        };
        if !throttled {
            self.last_tick.insert(node.to_owned(), (now, value));
        }
        throttled
    }

    /// Hangs while that fault holds, then fails if interrupted.
    pub(crate) async fn checkpoint(&self) -> Result<(), Failure> {
        self.process.faults.wait_until(|state| !state.hang).await;
        if self.process.interrupted.load(Ordering::SeqCst) {
            return Err(Failure::Interrupted);
        }
        Ok(())
    }

    /// Lets simulated time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        if time.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(time).await;
        }
    }

    /// Lets the time of a node pass. Timers are a millisecond late, and rendering takes its time: what the node before
    /// was late by is made up for, also between prompts that follow each other at once.
    pub(crate) async fn pass_node(&mut self) {
        let time = self.process.config.pace.node;
        if time.is_zero() {
            return self.pass(time).await;
        }
        let now = tokio::time::Instant::now();
        let began = self.node_due.filter(|due| now.duration_since(*due) < CATCH_UP).unwrap_or(now);
        self.node_due = Some(began + time);
        tokio::time::sleep_until(began + time).await;
    }

    /// One sampling step on this device.
    pub(crate) fn step_time(&self) -> Duration {
        self.process.config.pace.step_on(&self.process.config.device)
    }

    /// Bringing weights of this size onto this device.
    pub(crate) fn load_time(&self, mib: u64) -> Duration {
        self.process.config.pace.load_on(&self.process.config.device, mib)
    }

    /// Whether sampling sends previews: the prompt's `preview_method`, else the server's setting.
    pub(crate) fn wants_latent_previews(&self) -> bool {
        match self.item.extra_data["preview_method"].as_str() {
            Some("auto" | "latent2rgb" | "taesd") => true,
            Some("none") => false,
            _ => self.process.config.preview,
        }
    }

    /// Text chunks of every PNG this prompt saves: the graph and each member of `extra_pnginfo` (PROTOCOL §9).
    pub(crate) fn png_texts(&mut self) -> Arc<Vec<(String, String)>> {
        let item = &self.item;
        let texts = self.texts.get_or_insert_with(|| {
            let mut texts = vec![("prompt".to_owned(), item.graph.to_string())];
            for (key, value) in item.extra_data["extra_pnginfo"].as_object().into_iter().flatten() {
                texts.push((key.clone(), value.to_string()));
            }
            Arc::new(texts)
        });
        Arc::clone(texts)
    }

    /// Some random lower-case letters.
    pub(crate) fn letters(&self, count: usize) -> String {
        let random = uuid::Uuid::new_v4().into_bytes();
        random.iter().take(count).map(|byte| char::from(b'a' + byte % 26)).collect()
    }

    /// Names of every file listed so far.
    pub(crate) fn file_names(&self) -> Vec<String> {
        let lists = self.outputs.values().filter_map(Value::as_object).flat_map(Map::values);
        lists
            .filter_map(Value::as_array)
            .flatten()
            .filter_map(|entry| entry["filename"].as_str().map(str::to_owned))
            .collect()
    }
}
