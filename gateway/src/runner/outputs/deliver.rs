//! One file from where it is to where its ticket says.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::StatusCode;
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;

use super::ledger::Ledger;
use super::list::Source;
use super::png::Restorer;
use super::sink::{FileSink, Lasts, SinkError};
use super::spool::{Full, Item, Spool, Spooled};
use super::upload::{self, UploadError};
use crate::link::message::{Attempt, Receipt, StoredFile, Ticket};
use crate::link::ticket::Desk;
use crate::runner::comfy::http::FileRef;
use crate::runner::comfy::{Comfy, ComfyError};
use crate::runner::config::{Config, Times};
use crate::workflow::Original;

/// How often a file that broke off is fetched again before its set counts as gone.
pub(super) const FETCHES: u32 = 4;

/// How much of a file passes from one buffer to the next at a time, bytes.
const PIECE_BYTES: usize = 16 << 10;

/// Why a file is not where it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeliveryError {
    /// ComfyUI does not have it any more: the set is void.
    #[error("{0}")]
    Gone(String),
    /// ComfyUI listed it, but will never hand it out, however often the job is run.
    #[error("{message}")]
    Unservable { node: String, message: String },
    /// Over a bound.
    #[error("{0}")]
    TooLarge(String),
    /// Its ticket is worth nothing any more.
    #[error("the ticket has expired")]
    Expired,
    /// The bucket does not take its ticket, which has not expired.
    #[error("the bucket refuses the ticket: {0}")]
    Refused(String),
    /// A disk of this host.
    #[error("{0}")]
    Host(String),
    /// The spool has no room for it now.
    #[error("the spool has no room")]
    Full,
    /// It is larger than the whole spool.
    #[error("{0}")]
    NeverFits(String),
    /// What the job wants of it cannot be made.
    #[error("{message}")]
    Undeliverable { code: &'static str, message: String },
}

/// Moves the files of one attempt.
#[derive(Debug)]
pub(crate) struct Courier {
    pub comfy: Comfy,
    pub spool: Arc<Spool>,
    pub attempt: Attempt,
    pub original: Original,
    pub max_output_bytes: u64,
    pub max_png_text_bytes: usize,
    /// How a file in a local folder is made to last: a single one with its name, of several the names together.
    pub local_lasts: Lasts,
    /// Bounds how many files of the host are on their way.
    pub lanes: Arc<Semaphore>,
    /// From [`upload::client`].
    pub uploads: reqwest::Client,
    /// For buckets of callers.
    pub outside_uploads: reqwest::Client,
    /// Answers about uploads in pieces, where it is in this process.
    pub desk: Option<Arc<dyn Desk>>,
    pub times: Times,
}

/// Why one fetch did not work.
enum PourError {
    Comfy(ComfyError),
    Sink(SinkError),
    Full,
    NeverFits,
    Read(io::Error),
}

impl From<ComfyError> for PourError {
    fn from(error: ComfyError) -> Self {
        Self::Comfy(error)
    }
}

impl From<SinkError> for PourError {
    fn from(error: SinkError) -> Self {
        Self::Sink(error)
    }
}

impl Courier {
    /// Delivers the file; may be repeated.
    pub(crate) async fn deliver(
        &self,
        index: usize,
        ledger: &Ledger,
        ticket: &Ticket,
        receipt: Option<&Receipt>,
    ) -> Result<(), DeliveryError> {
        let with_receipt = |facts| StoredFile { receipt: receipt.cloned(), ..facts };
        let Some(item) = ledger.item(index).await.filter(|item| item.stored.is_none()) else {
            return Ok(());
        };
        match ticket {
            Ticket::File { path } => {
                let place = Place { path: path.to_owned(), lasts: self.local_lasts, counted: false };
                ledger.placed(index, with_receipt(self.fetch(&item, &place).await?)).await;
            }
            Ticket::Http { .. } | Ticket::Form { .. } | Ticket::BySize { .. } => {
                let facts = match self.spool_when_room(index, ledger).await {
                    Ok(spooled) => {
                        self.to_bucket(&spooled, ticket, receipt.is_some()).await?;
                        spooled.facts
                    }
                    Err(DeliveryError::NeverFits(_)) => {
                        self.pass_by(&item, ticket, receipt.is_some()).await?
                    }
                    Err(error) => return Err(error),
                };
                ledger.uploaded(index, with_receipt(facts)).await;
            }
        }
        Ok(())
    }

    /// Brings the file into the spool if it has room.
    pub(crate) async fn spool(
        &self,
        index: usize,
        ledger: &Ledger,
    ) -> Result<Option<Spooled>, DeliveryError> {
        let Some(item) = ledger.item(index).await.filter(|item| item.stored.is_none()) else {
            return Ok(None);
        };
        if let Some(spooled) = item.spooled {
            return Ok(Some(spooled));
        }
        let spooled = match &item.found.source {
            Source::Frame(file, facts) => Spooled { file: file.clone(), facts: facts.clone() },
            Source::View(_) | Source::Text(_) => {
                let file = format!("file-{index}");
                let path = self.spooled_path(&file);
                let facts = self.fetch(&item, &Place { path, lasts: Lasts::Perhaps, counted: true }).await?;
                Spooled { file, facts }
            }
            Source::Made => return Err(gone(&item)),
        };
        ledger.spooled(index, spooled.clone()).await;
        Ok(Some(spooled))
    }

    /// Waits for room. Of those who found none only one tries at a time: many half files must not keep each other out.
    pub(super) async fn spool_when_room(
        &self,
        index: usize,
        ledger: &Ledger,
    ) -> Result<Spooled, DeliveryError> {
        let mut turn = None;
        loop {
            match self.spool(index, ledger).await {
                Ok(Some(spooled)) => return Ok(spooled),
                Ok(None) => return Err(DeliveryError::Gone("the file is stored already".into())),
                Err(DeliveryError::Full) if turn.is_none() => turn = Some(self.spool.turn().await),
                Err(DeliveryError::Full) => self.wait_for_room().await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Fetches until it works, for as long as that makes sense.
    async fn fetch(&self, item: &Item, place: &Place) -> Result<StoredFile, DeliveryError> {
        let name = &item.found.listed.name;
        let mut tries = 0;
        loop {
            let error = match self.pour(item, place).await {
                Ok(stored) => return Ok(stored),
                Err(error) => error,
            };
            tries += 1;
            match error {
                PourError::Comfy(error) if tries < FETCHES && !is_refusal(&error) => {
                    tokio::time::sleep(self.times.blind_poll * tries).await;
                }
                PourError::Comfy(error) => return Err(unfetched(item, &error)),
                PourError::Sink(SinkError::TooLarge(max)) => {
                    return Err(DeliveryError::TooLarge(format!("{name} is larger than {max} bytes")));
                }
                PourError::Sink(error @ SinkError::Io(_)) => return Err(DeliveryError::Host(words(&error))),
                PourError::Read(error) => {
                    return Err(DeliveryError::Gone(format!("{name} left the spool: {error}")));
                }
                PourError::Full => return Err(DeliveryError::Full),
                PourError::NeverFits => {
                    let max = self.spool.max_bytes();
                    let message = format!("{name} is larger than the spool of its host, {max} bytes");
                    return Err(DeliveryError::NeverFits(message));
                }
            }
        }
    }

    pub(super) async fn wait_for_room(&self) {
        let mut level = self.spool.level();
        let _ = level.wait_for(|level| !level.full).await;
        // room for some is not room for all who wait
        tokio::time::sleep(self.times.poll_after).await;
    }

    async fn pour(&self, item: &Item, place: &Place) -> Result<StoredFile, PourError> {
        let Ok(_lane) = self.lanes.acquire().await else {
            return Err(PourError::Read(io::Error::other("the runner is closing")));
        };
        let mut pour = Pour {
            sink: FileSink::new(&place.path, self.max_output_bytes),
            restorer: Restorer::new(self.original.clone(), self.max_png_text_bytes),
            ready: Vec::new(),
            room: Room { spool: place.counted.then_some(&*self.spool), taken: 0 },
            written: 0,
        };
        match (&item.spooled, &item.found.source) {
            (Some(spooled), _) => pour.take_file(&self.spooled_path(&spooled.file)).await?,
            (None, Source::Frame(file, _)) => pour.take_file(&self.spooled_path(file)).await?,
            (None, Source::Text(text)) => pour.write(text.as_bytes()).await?,
            (None, Source::View(file)) => pour.take_view(&self.comfy, file).await?,
            (None, Source::Made) => return Err(PourError::Read(io::ErrorKind::NotFound.into())),
        }
        pour.finish(place.lasts, &item.found.listed.content_type).await
    }

    pub(super) fn spooled_path(&self, file: &str) -> PathBuf {
        self.spool.folder(self.attempt).join(file)
    }

    async fn to_bucket(
        &self,
        spooled: &Spooled,
        ticket: &Ticket,
        is_callers: bool,
    ) -> Result<(), DeliveryError> {
        let path = self.spooled_path(&spooled.file);
        Ok(upload::put(self.means(is_callers), ticket, &path, spooled.facts.size_bytes).await?)
    }

    /// A receipt comes with tickets of callers only.
    pub(super) fn means(&self, is_callers: bool) -> upload::Means<'_> {
        upload::Means {
            http: if is_callers { &self.outside_uploads } else { &self.uploads },
            desk: self.desk.as_deref(),
            lanes: &self.lanes,
            times: &self.times,
        }
    }
}

impl From<UploadError> for DeliveryError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Expired => Self::Expired,
            UploadError::Refused(reason) => Self::Refused(reason),
            UploadError::Unreadable(error) => Self::Gone(format!("a file left the spool: {error}")),
            UploadError::Retry(reason) => Self::Host(reason),
        }
    }
}

/// Where a file goes on this host.
struct Place {
    path: PathBuf,
    lasts: Lasts,
    /// Whether it counts against the spool.
    counted: bool,
}

/// One file under way.
struct Pour<'a> {
    sink: FileSink,
    restorer: Restorer,
    ready: Vec<u8>,
    room: Room<'a>,
    written: u64,
}

/// Room taken in the spool, given back unless the file arrives.
struct Room<'a> {
    /// `None`: the file does not count against the spool.
    spool: Option<&'a Spool>,
    taken: u64,
}

impl Pour<'_> {
    async fn take_view(&mut self, comfy: &Comfy, file: &FileRef) -> Result<(), PourError> {
        let mut view = comfy.view(file).await?;
        // all of it before the first byte: a file that is let in arrives
        self.room.take(view.length().unwrap_or(0))?;
        while let Some(chunk) = view.chunk().await? {
            self.write(&chunk).await?;
        }
        Ok(())
    }

    async fn take_file(&mut self, path: &Path) -> Result<(), PourError> {
        let mut file = tokio::fs::File::open(path).await.map_err(PourError::Read)?;
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            match file.read(&mut buffer).await.map_err(PourError::Read)? {
                0 => return Ok(()),
                read => self.write(&buffer[..read]).await?,
            }
        }
    }

    /// Takes bytes in by little: what a buffer has grown to it keeps, however small the rest of the file is.
    async fn write(&mut self, bytes: &[u8]) -> Result<(), PourError> {
        for piece in bytes.chunks(PIECE_BYTES) {
            self.ready.clear();
            self.restorer.push(piece, &mut self.ready);
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), PourError> {
        self.written += self.ready.len() as u64;
        self.room.take(self.written)?;
        Ok(self.sink.write(&self.ready).await?)
    }

    async fn finish(mut self, lasts: Lasts, content_type: &str) -> Result<StoredFile, PourError> {
        self.ready.clear();
        self.restorer.finish(&mut self.ready);
        if !self.ready.is_empty() {
            self.flush().await?;
        }
        let stored = self.sink.finish(lasts, content_type).await?;
        self.room.keep(self.written);
        Ok(stored)
    }
}

impl Room<'_> {
    /// Sees to it that the spool has room for a file of that length.
    fn take(&mut self, length: u64) -> Result<(), PourError> {
        let Some(spool) = self.spool.filter(|_| length > self.taken) else { return Ok(()) };
        if length > spool.max_bytes() {
            return Err(PourError::NeverFits);
        }
        spool.take(length - self.taken).map_err(|Full| PourError::Full)?;
        self.taken = length;
        Ok(())
    }

    /// That much is there to stay.
    fn keep(&mut self, written: u64) {
        self.taken = self.taken.saturating_sub(written);
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if let Some(spool) = self.spool.filter(|_| self.taken > 0) {
            spool.give_back(self.taken);
        }
    }
}

/// A file that lies nowhere but in the spool, and is not there any more.
fn gone(item: &Item) -> DeliveryError {
    DeliveryError::Gone(format!("{} left the spool", item.found.listed.name))
}

/// Whether asking again will be answered the same.
pub(super) fn is_refusal(error: &ComfyError) -> bool {
    matches!(error, ComfyError::Status { status, .. } if status.is_client_error())
}

/// What it means that a listed file does not come: ComfyUI answers 400 and 403 to names that it will never serve.
pub(super) fn unfetched(item: &Item, error: &ComfyError) -> DeliveryError {
    let listed = &item.found.listed;
    let name = &listed.name;
    match error {
        ComfyError::Status { status: StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN, .. } => {
            let message = format!("ComfyUI cannot serve the output {name}");
            DeliveryError::Unservable { node: listed.node_id.clone(), message }
        }
        ComfyError::Status { status, .. } if status.is_client_error() => {
            DeliveryError::Gone(format!("{name} is listed, but /view answers {status}"))
        }
        error => DeliveryError::Gone(format!("{name} cannot be fetched: {}", error.words())),
    }
}

/// An error with its causes.
pub(super) fn words(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", words(source)),
        None => error.to_string(),
    }
}

/// What a courier is made of, apart from the attempt.
pub(crate) fn bucket_client(config: &Config) -> Result<reqwest::Client, reqwest::Error> {
    let builder = || {
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .tcp_nodelay(true)
            .connect_timeout(config.times.connect_timeout)
            .read_timeout(config.times.stall_timeout)
            .pool_max_idle_per_host(8)
    };
    builder().build().or_else(|error| {
        tracing::warn!(%error, "no certificate authorities, buckets behind TLS will not work");
        builder().tls_certs_only([]).build()
    })
}
