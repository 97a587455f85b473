//! Drains an instance's socket and hands each frame to the attempt it is about. Never waits for the engine.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::board::{Hint, Slot};
use super::shared::Shared;
use crate::runner::comfy::wire::{FrameEvent, Picture, TextFrame};
use crate::runner::comfy::ws::{Closed, Frame, Socket};

/// Pictures of one instance in memory at the same time.
const PICTURES: usize = 4;

/// Reads until the socket is over.
pub(super) async fn drain(shared: &Shared, socket: &mut Socket) -> Closed {
    let mut reader = Reader { shared, room: Arc::new(Semaphore::new(PICTURES)), current: None };
    loop {
        match socket.next().await {
            Ok(Frame::Text(frame, text)) => reader.text(frame, text),
            Ok(Frame::Picture(picture)) => reader.picture(picture).await,
            Ok(Frame::Other) => {}
            Err(closed) => return closed,
        }
    }
}

struct Reader<'a> {
    shared: &'a Shared,
    room: Arc<Semaphore>,
    /// The prompt and node that run: pictures of type 1 name neither (PROTOCOL §3).
    current: Option<(Box<str>, String)>,
}

impl Reader<'_> {
    fn text(&mut self, frame: TextFrame, text: Bytes) {
        let TextFrame { prompt, event } = frame;
        if event == FrameEvent::Status {
            self.shared.saw_status();
            return;
        }
        let Some(prompt) = prompt else { return };
        let Some(slot) = self.shared.board.of_prompt(&prompt) else { return };
        match &event {
            FrameEvent::Executing(Some(node)) | FrameEvent::Step { node: Some(node), .. } => {
                self.current = Some((prompt, node.clone()));
            }
            FrameEvent::Executing(None) => self.current = None,
            _ => {}
        }
        let text = slot.wants_frames().then_some(text);
        slot.hint(Hint::Event(event, text));
    }

    async fn picture(&mut self, picture: Picture) {
        let Some((slot, node)) = self.owner(&picture) else { return };
        let patience = self.shared.host.config.times.request_timeout;
        let room = tokio::time::timeout(patience, self.room.clone().acquire_owned()).await;
        match room {
            Ok(Ok(room)) => slot.show(Hint::Picture { node, picture, _room: room }, patience).await,
            _ => slot.gap.store(true, std::sync::atomic::Ordering::Relaxed),
        }
    }

    fn owner(&self, picture: &Picture) -> Option<(Arc<Slot>, String)> {
        let (prompt, node) = match (&picture.owner, &self.current) {
            (Some(owner), _) => (owner.prompt_id.as_str(), owner.node().to_owned()),
            (None, Some((prompt, node))) => (&**prompt, node.clone()),
            (None, None) => return None,
        };
        Some((self.shared.board.of_prompt(prompt)?, node))
    }
}
