//! What is told of a job once its end is on disk: its results in the names they have now, then its end (DESIGN §13).

use std::time::Duration;

use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use tracing::warn;
use uuid::Uuid;

use super::desk::{Desk, Entry, Handle, text};
use super::{frames, render};
use crate::store::{NativeJob, OutputRow};

/// Pauses before a job that cannot be read is read again.
const RETRIES: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(5)];

/// Tells the owner of a job that it has ended.
pub(super) async fn tell(desk: Desk, job: Uuid, entry: Entry) {
    let Some(owner) = entry.owner() else { return };
    let ended = read(&desk, job).await;
    let Some(socket) = desk.socket(&owner) else { return };
    if let Some(job) = &ended {
        let history = render::History::of(job);
        for (node, output) in history.executed() {
            socket.push(text(frames::text("executed", &executed(&history, node, output, &entry))));
        }
        for output in history.pictures() {
            give(&desk, &socket, &entry, output).await;
        }
        if let Some((name, data)) = last(&history, &entry) {
            socket.push(text(frames::text(&name, &data)));
        }
    }
    desk.tell_status(&owner);
    socket.push(text(frames::left(&entry.prompt_id)));
}

async fn read(desk: &Desk, job: Uuid) -> Option<NativeJob> {
    for pause in RETRIES {
        match desk.engine().store().native().native_job_by_id(job).await {
            Ok(found) => return found,
            Err(error) => warn!(%error, "job of a socket not read"),
        }
        tokio::time::sleep(pause).await;
    }
    None
}

fn executed(history: &render::History<'_>, node: &str, output: &Value, entry: &Entry) -> Value {
    json!({
        "node": node,
        "display_node": history.display_node(node),
        "output": output,
        "prompt_id": &*entry.prompt_id,
    })
}

/// The frame that tells how it ended. The node at fault of a job that was interrupted is known here only.
fn last(history: &render::History<'_>, entry: &Entry) -> Option<(String, Value)> {
    let (name, mut data) = history.messages().pop()?;
    if name == "execution_interrupted"
        && let (Some(node), true) = (&entry.node, data["node_id"] == "")
    {
        data["node_id"] = json!(node);
        data["node_type"] = history.class_of(node).into();
    }
    Some((name, data))
}

/// A picture that was made for the socket, unthinned (PROTOCOL §3: `SaveImageWebsocket`).
async fn give(desk: &Desk, socket: &Handle, entry: &Entry, output: &OutputRow) {
    let bytes = u32::try_from(output.size_bytes).unwrap_or(u32::MAX);
    if bytes > desk.settings().socket_picture_bytes {
        return warn!(bytes, "a picture is too large for a socket");
    }
    let Ok(share) = desk.pictures().clone().acquire_many_owned(bytes).await else { return };
    let Some(sink) = desk.sinks().get(&output.place) else { return };
    let read = async {
        let download = sink.artifacts.download(&output.object_key, None).await?;
        let mut all = Vec::with_capacity(bytes as usize);
        let mut stream = download.stream;
        while let Some(chunk) = stream.try_next().await? {
            all.extend_from_slice(&chunk);
        }
        Ok::<_, crate::artifacts::ArtifactError>(all)
    };
    match read.await {
        Ok(bytes) => {
            let shown = frames::Shown {
                prompt_id: &entry.prompt_id,
                node: &output.node_id,
                content_type: &output.content_type,
                bytes: &bytes,
            };
            socket.give(frames::picture(&shown, socket.metadata), share).await;
        }
        Err(error) => warn!(%error, "a picture for a socket could not be read"),
    }
}
