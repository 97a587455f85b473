//! A file larger than the whole spool: from ComfyUI to its bucket as it comes, while both are up (DESIGN §13).

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};

use super::deliver::{Courier, DeliveryError, FETCHES, is_refusal, unfetched};
use super::list::Source;
use super::png::Restorer;
use super::spool::Item;
use super::upload::{self, StreamError};
use crate::link::message::{StoredFile, Ticket};
use crate::pictures;
use crate::runner::comfy::http::View;

/// What is found out about bytes on their way.
#[derive(Default)]
struct Seen {
    hasher: blake3::Hasher,
    head: Vec<u8>,
    size_bytes: u64,
    over_bound: bool,
}

impl Seen {
    fn take(&mut self, bytes: &[u8], max_bytes: u64) -> io::Result<()> {
        self.size_bytes += bytes.len() as u64;
        if self.size_bytes > max_bytes {
            self.over_bound = true;
            return Err(io::Error::other("it is over its bound"));
        }
        let missing = pictures::SNIFF_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..missing]);
        self.hasher.update(bytes);
        Ok(())
    }
}

/// Bytes on their way: from ComfyUI, with the caller's own graph put back.
struct Passage {
    view: View,
    restorer: Restorer,
    seen: Arc<Mutex<Seen>>,
    max_bytes: u64,
    ended: bool,
}

impl Passage {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while !self.ended {
            let mut ready = Vec::new();
            match self.view.chunk().await.map_err(|error| io::Error::other(error.words()))? {
                Some(chunk) => self.restorer.push(&chunk, &mut ready),
                None => {
                    self.restorer.finish(&mut ready);
                    self.ended = true;
                }
            }
            if !ready.is_empty() {
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.take(&ready, self.max_bytes)?;
                return Ok(Some(ready.into()));
            }
        }
        Ok(None)
    }

    fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin {
        stream::unfold(Some(self), async |passage| {
            let mut passage = passage?;
            match passage.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(passage))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }
}

impl Courier {
    /// Sends the file without it ever lying here.
    pub(super) async fn pass_by(
        &self,
        item: &Item,
        ticket: &Ticket,
        is_callers: bool,
    ) -> Result<StoredFile, DeliveryError> {
        let listed = &item.found.listed;
        let Source::View(file) = &item.found.source else {
            return Err(DeliveryError::TooLarge(format!("{} is larger than the spool", listed.name)));
        };
        let mut tries = 0;
        loop {
            tries += 1;
            let broke_off = match self.comfy.view(file).await {
                Ok(view) => match self.pass(view, item, (ticket, is_callers)).await? {
                    Ok(stored) => return Ok(stored),
                    Err(why) => why,
                },
                Err(error) if is_refusal(&error) || tries >= FETCHES => return Err(unfetched(item, &error)),
                Err(error) => error.words(),
            };
            if tries >= FETCHES {
                return Err(DeliveryError::Gone(format!("{} cannot be fetched: {broke_off}", listed.name)));
            }
            tokio::time::sleep(self.times.blind_poll * tries).await;
        }
    }

    /// One passage; the inner error: ComfyUI broke it off.
    async fn pass(
        &self,
        view: View,
        item: &Item,
        (ticket, is_callers): (&Ticket, bool),
    ) -> Result<Result<StoredFile, String>, DeliveryError> {
        let listed = &item.found.listed;
        // putting the caller's graph back changes the length of a PNG
        let length = view.length().filter(|_| listed.content_type != "image/png");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let restorer = Restorer::new(self.original.clone(), self.max_png_text_bytes);
        let max_bytes = self.max_output_bytes;
        let passage = Passage { view, restorer, seen: seen.clone(), max_bytes, ended: false };
        let _lane = self.lanes.acquire().await.map_err(|error| DeliveryError::Host(error.to_string()))?;
        let sent = upload::stream(self.means(is_callers), ticket, passage.into_stream(), length).await;
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match sent {
            Ok(_) => Ok(Ok(StoredFile {
                size_bytes: seen.size_bytes,
                hash: seen.hasher.finalize().to_hex().to_string(),
                content_type: pictures::stored_type(&seen.head, &listed.content_type).to_owned(),
                size: pictures::size(&seen.head),
                receipt: None,
            })),
            Err(_) if seen.over_bound => {
                Err(DeliveryError::TooLarge(format!("{} is larger than {max_bytes} bytes", listed.name)))
            }
            Err(StreamError::Source(why)) => Ok(Err(why)),
            Err(StreamError::LengthWanted) => Err(DeliveryError::TooLarge(format!(
                "{} is larger than the spool of its host, and its bucket wants to know its length beforehand",
                listed.name
            ))),
            Err(StreamError::Upload(error)) => Err(error.into()),
        }
    }
}
