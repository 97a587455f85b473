//! The link inside one process: bounded channels. `serialised` puts every message through JSON, which proves that
//! nothing travels that could not travel between machines.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::message::{Command, Envelope, Report, VERSION};

/// How many messages may wait in one direction before the sender has to wait.
pub const DEPTH: usize = 1024;

/// The leadership epoch while there is one gateway.
pub const EPOCH: u64 = 1;

/// The other end is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other end of the link is gone")]
pub struct Closed;

/// One direction's sending end. Cheap to clone; the order of sends of one clone is kept.
#[derive(Debug)]
pub struct Sender<T> {
    channel: mpsc::Sender<Envelope<T>>,
    seq: std::sync::Arc<std::sync::atomic::AtomicU64>,
    serialised: bool,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { channel: self.channel.clone(), seq: self.seq.clone(), serialised: self.serialised }
    }
}

/// One direction's receiving end.
#[derive(Debug)]
pub struct Receiver<T> {
    channel: mpsc::Receiver<Envelope<T>>,
    highest_epoch: u64,
}

/// The engine's end of a link to one host.
#[derive(Debug)]
pub struct EngineEnd {
    /// Towards the runner.
    pub commands: Sender<Command>,
    /// From the runner.
    pub reports: Receiver<Report>,
}

/// The runner's end.
#[derive(Debug)]
pub struct RunnerEnd {
    /// From the engine.
    pub commands: Receiver<Command>,
    /// Towards the engine.
    pub reports: Sender<Report>,
}

/// A link of bounded depth between two tasks of this process.
#[must_use]
pub fn pair(serialised: bool) -> (EngineEnd, RunnerEnd) {
    let (commands, take_commands) = direction(serialised);
    let (reports, take_reports) = direction(serialised);
    (EngineEnd { commands, reports: take_reports }, RunnerEnd { commands: take_commands, reports })
}

fn direction<T>(serialised: bool) -> (Sender<T>, Receiver<T>) {
    let (tx, rx) = mpsc::channel(DEPTH);
    (
        Sender { channel: tx, seq: std::sync::Arc::default(), serialised },
        Receiver { channel: rx, highest_epoch: 0 },
    )
}

impl<T: Serialize + DeserializeOwned> Sender<T> {
    /// Sends a message that must arrive; waits for room.
    ///
    /// # Errors
    /// [`Closed`] when the other end is gone.
    pub async fn send(&self, body: T) -> Result<(), Closed> {
        let envelope = self.envelope(body);
        self.channel.send(envelope).await.map_err(|_| Closed)
    }

    /// Sends a message that may be thinned (progress, previews): dropped when there is no room.
    pub fn offer(&self, body: T) {
        if self.channel.capacity() > DEPTH / 4 {
            let _ = self.channel.try_send(self.envelope(body));
        }
    }

    fn envelope(&self, body: T) -> Envelope<T> {
        let seq = self.seq.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let envelope = Envelope { version: VERSION, epoch: EPOCH, seq, body };
        if self.serialised { through_json(envelope) } else { envelope }
    }
}

fn through_json<T: Serialize + DeserializeOwned>(envelope: Envelope<T>) -> Envelope<T> {
    let Ok(text) = serde_json::to_vec(&envelope) else {
        tracing::error!("a link message does not serialise");
        return envelope;
    };
    match serde_json::from_slice(&text) {
        Ok(back) => back,
        Err(error) => {
            tracing::error!(%error, "a link message does not survive serialisation");
            envelope
        }
    }
}

impl<T> Receiver<T> {
    /// The next message; `None` when the other end is gone. A message of an epoch below the highest seen is
    /// refused: it is of a leader that has been replaced.
    pub async fn recv(&mut self) -> Option<T> {
        loop {
            let envelope = self.channel.recv().await?;
            if envelope.version != VERSION {
                tracing::warn!(
                    theirs = envelope.version,
                    ours = VERSION,
                    "link message of another version dropped"
                );
                continue;
            }
            if envelope.epoch < self.highest_epoch {
                tracing::warn!(epoch = envelope.epoch, "link message of a replaced leader dropped");
                continue;
            }
            self.highest_epoch = envelope.epoch;
            return Some(envelope.body);
        }
    }
}
