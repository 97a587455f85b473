//! The work on pictures: off the async threads, so many at a time, within so much memory. What waits lies in the spool,
//! whose bound is that of the queue.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::link::message::PictureWork;
use crate::pictures::{self, Facts, Limits, Picture, PictureError, Plan, Policy, ProduceId};

/// What is decoded needs so many bytes a pixel at most ([`Limits`]).
const BYTES_PER_PIXEL: u64 = 12;
const MIB: u64 = 1 << 20;

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    /// The picture does not allow it.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// The file cannot be read here.
    #[error("the spooled file cannot be read")]
    Unreadable(#[source] std::io::Error),
    /// The work broke off: a fault of ours.
    #[error("the work on a picture broke off")]
    Broken,
}

/// One original.
#[derive(Debug, Clone)]
pub(crate) struct Original {
    pub path: PathBuf,
    pub content_type: String,
    pub size_bytes: u64,
    /// Its name in the caller's eyes.
    pub name: String,
    /// The number of its content in the label.
    pub id: Uuid,
}

/// Width and height, pixels, where known.
pub(crate) type Size = Option<(u32, u32)>;

/// What became of it.
pub(crate) enum Processed {
    /// It is delivered as it is.
    Untouched(Size),
    /// These are its files, the primary one first, each with its name; `untouched`: that one has the original's bytes.
    Made { files: Vec<(String, Picture)>, placeholder: Option<String>, untouched: bool },
}

/// The place where a host's pictures are worked on. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Processor {
    threads: Arc<Semaphore>,
    /// One permit a MiB.
    memory: Arc<Semaphore>,
    memory_mib: u32,
    limits: Arc<Limits>,
}

/// An original that was read, and what is to be made of it.
struct Looked {
    bytes: Bytes,
    size: (u32, u32),
    plan: Plan,
}

/// What work cost so far.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    waited_ms: AtomicU64,
    made_ms: AtomicU64,
}

impl Clock {
    pub(crate) fn work(&self) -> PictureWork {
        PictureWork {
            waited_ms: self.waited_ms.load(Ordering::Relaxed),
            made_ms: self.made_ms.load(Ordering::Relaxed),
        }
    }
}

fn add(to: &AtomicU64, took: Duration) {
    to.fetch_add(u64::try_from(took.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl Processor {
    pub(crate) fn new(threads: usize, memory_bytes: u64, limits: Limits) -> Self {
        let most = u32::try_from(Semaphore::MAX_PERMITS.min(1 << 30)).unwrap_or(1 << 30);
        let memory_mib = u32::try_from(memory_bytes.div_ceil(MIB)).unwrap_or(most).clamp(1, most);
        Self {
            threads: Arc::new(Semaphore::new(threads.max(1))),
            memory: Arc::new(Semaphore::new(memory_mib as usize)),
            memory_mib,
            limits: Arc::new(limits),
        }
    }

    /// Makes of an original what the policy wants. The same bytes give the same files.
    pub(crate) async fn process(
        &self,
        original: Original,
        policy: &Policy,
        clock: &Clock,
    ) -> Result<Processed, ProcessError> {
        if !pictures::is_picture(&original.content_type) {
            pictures::plan(&Facts::of_type(&original.content_type), policy)?;
            return Ok(Processed::Untouched(None));
        }
        if original.size_bytes > self.limits.max_input_bytes {
            return Err(PictureError::TooLarge("more bytes than max_input_bytes").into());
        }
        let began = Instant::now();
        let thread = permit(&self.threads, 1).await?;
        add(&clock.waited_ms, began.elapsed());
        let name = original.name.clone();
        let id = ProduceId::new(&original.id.to_string()).ok_or(ProcessError::Broken)?;
        // bounded by the number of threads; what decoding takes is asked for once the size is known
        let Looked { bytes, size, plan } = self.look(original, policy.clone(), clock).await?;
        if plan.is_pass() {
            return Ok(Processed::Untouched(Some(size)));
        }
        let began = Instant::now();
        let memory = permit(&self.memory, self.memory_of(size)).await?;
        add(&clock.waited_ms, began.elapsed());
        let limits = self.limits.clone();
        let work = move || {
            // held until the work has really ended, though nobody may wait for it any more
            let _held = (thread, memory);
            let made = pictures::produce(&bytes, &plan, &limits, &id)?;
            let untouched = made.pictures.first().is_some_and(|primary| primary.bytes == bytes);
            let names = plan.deliverables().map(|planned| planned.file_name(&name));
            let files = names.zip(made.pictures).collect();
            Ok(Processed::Made { files, placeholder: made.placeholder, untouched })
        };
        timed(clock, work).await
    }

    /// Reads the file and plans.
    async fn look(&self, original: Original, policy: Policy, clock: &Clock) -> Result<Looked, ProcessError> {
        let limits = self.limits.clone();
        let work = move || {
            let bytes = Bytes::from(std::fs::read(&original.path).map_err(ProcessError::Unreadable)?);
            let facts = Facts::read(&bytes, &original.content_type, &limits)?;
            let plan = pictures::plan(&facts, &policy)?;
            Ok(Looked { bytes, size: (facts.width, facts.height), plan })
        };
        timed(clock, work).await
    }

    /// Permits for what decoding takes. One that wants more than there is gets all there is, alone.
    fn memory_of(&self, (width, height): (u32, u32)) -> u32 {
        let bytes = u64::from(width) * u64::from(height) * BYTES_PER_PIXEL;
        u32::try_from(bytes.div_ceil(MIB)).unwrap_or(u32::MAX).clamp(1, self.memory_mib)
    }
}

async fn permit(of: &Arc<Semaphore>, count: u32) -> Result<OwnedSemaphorePermit, ProcessError> {
    of.clone().acquire_many_owned(count).await.map_err(|_| ProcessError::Broken)
}

/// Work that blocks, with its time noted.
async fn timed<T: Send + 'static>(
    clock: &Clock,
    work: impl FnOnce() -> Result<T, ProcessError> + Send + 'static,
) -> Result<T, ProcessError> {
    let began = Instant::now();
    let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "the work on a picture broke off");
        Err(ProcessError::Broken)
    });
    add(&clock.made_ms, began.elapsed());
    done
}
