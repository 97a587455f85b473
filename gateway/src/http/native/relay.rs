//! Gives owners what the engine heard of their jobs. Text goes at once; what shows results waits for the commit that
//! ends the job (`finish`).

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::desk::{Desk, Entry, Handle, text};
use super::{finish, frames};
use crate::engine::Word;
use crate::link::message::{Frame, FrameKind, Preview};

/// Words taken at once.
const AT_ONCE: usize = 256;

impl Desk {
    /// Gives owners what is heard, until `stop`.
    pub async fn relay(self, stop: CancellationToken) {
        loop {
            let words = tokio::select! {
                words = self.engine().feeds().take(AT_ONCE) => words,
                () = stop.cancelled() => return,
            };
            for word in words {
                self.hear(word);
            }
        }
    }

    fn hear(&self, word: Word) {
        match word {
            Word::Frames(job, heard) => {
                if self.homes().is_wanted() && heard.iter().any(|frame| frame.kind == FrameKind::Started) {
                    self.note_home(job);
                }
                self.update(job, |entry, socket, remaining| {
                    heard.into_iter().for_each(|frame| tell(entry, socket, remaining, frame));
                });
            }
            Word::Preview(job, preview) => {
                self.update(job, |entry, socket, _| show(entry, socket, preview));
            }
            Word::WaitsAgain(job) => self.update(job, |entry, _, _| {
                (entry.node, entry.preview) = (None, None);
            }),
            Word::Ended(job) => self.end(job),
        }
    }

    /// A job began to run: requests of its client go there from now on.
    fn note_home(&self, job: Uuid) {
        let live = self.engine().live(job);
        if let Some(instance) = live.and_then(|live| live.instance)
            && let Some((tenant, client)) = self.owner(job)
        {
            self.homes().runs(tenant, client, &instance);
        }
    }

    /// Out of the count first, told afterwards: whoever looks when it is told finds the history, and not the queue.
    fn end(&self, job: Uuid) {
        let Some(entry) = self.remove(job) else { return };
        let listens = entry.owner().is_some_and(|owner| self.socket(&owner).is_some());
        if listens {
            tokio::spawn(finish::tell(self.clone(), job, entry));
        }
    }
}

fn tell(entry: &mut Entry, socket: Option<&Handle>, remaining: usize, frame: Frame) {
    match &frame.kind {
        FrameKind::Node(node) => entry.node = Some(node.clone()),
        FrameKind::Started if !std::mem::replace(&mut entry.started, true) => {
            if let Some(socket) = socket {
                socket.push(text(frames::status(remaining, None)));
            }
        }
        FrameKind::Started | FrameKind::Step | FrameKind::Other => {}
    }
    let Some(socket) = socket else {
        entry.preview = None;
        return;
    };
    let is_step = frame.kind == FrameKind::Step;
    let preview = entry.preview.take();
    if !is_step {
        flush(entry, socket, preview.as_ref());
    }
    socket.push(text(frame.text.into()));
    if is_step {
        flush(entry, socket, preview.as_ref());
    }
}

/// A preview goes to those who asked for previews: by metadata (type 4, before its `progress`), or by the job and being
/// there when it was submitted (type 1, after it).
fn show(entry: &mut Entry, socket: Option<&Handle>, preview: Arc<Preview>) {
    let Some(socket) = socket else { return };
    if socket.metadata {
        flush(entry, socket, Some(&preview));
    } else if entry.previews {
        entry.preview = Some(preview);
    }
}

fn flush(entry: &Entry, socket: &Handle, preview: Option<&Arc<Preview>>) {
    let Some(preview) = preview else { return };
    let shown = frames::Shown {
        prompt_id: &entry.prompt_id,
        node: preview.node_id.as_deref().unwrap_or_default(),
        content_type: &preview.content_type,
        bytes: &preview.bytes,
    };
    socket.offer(frames::picture(&shown, socket.metadata));
}
