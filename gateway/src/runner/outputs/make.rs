//! What a job wants made of its files, written into the spool beside the originals.

use futures_util::{FutureExt as _, StreamExt as _, stream};

use super::deliver::{Courier, DeliveryError, words};
use super::ledger::Ledger;
use super::list::{Found, Source};
use super::process::{Clock, Original, ProcessError, Processed, Processor, Size};
use super::sink::{FileSink, Lasts, SinkError};
use super::spool::{Full, Item, MADE, Spooled};
use crate::link::message::{ListedFile, MadeFile, MadeOf, Making, PictureWork, StoredFile};
use crate::pictures::{self, Facts, Picture, Role};

/// Originals of one attempt that are worked on at the same time.
const AT_ONCE: usize = 4;

/// What was made of all files of an attempt.
pub(crate) struct Batch {
    pub made: Vec<MadeOf>,
    pub work: PictureWork,
}

/// What was made of one, with its place in the spool.
type OfOne = (MadeOf, Vec<Item>);

impl Courier {
    /// Makes all that is wanted of the listed files, brings it into the spool and notes it in the ledger. May be repeated.
    pub(crate) async fn make_all(
        &self,
        ledger: &Ledger,
        making: &Making,
        processor: &Processor,
    ) -> Result<Batch, DeliveryError> {
        self.spool.drop_made(self.attempt).await;
        let clock = Clock::default();
        let one = |index| self.make(index, ledger, making, processor, &clock).boxed();
        let work: Vec<_> = (0..ledger.len().await).map(one).collect();
        let mut working = stream::iter(work).buffered(AT_ONCE);
        let (mut made, mut items) = (Vec::new(), Vec::new());
        while let Some(one) = working.next().await {
            if let Some((of_one, of_one_items)) = one? {
                made.push(of_one);
                items.extend(of_one_items);
            }
        }
        ledger.made(made.clone(), items).await;
        Ok(Batch { made, work: clock.work() })
    }

    /// What is made of one file; `None`: it is delivered as it is, once.
    async fn make(
        &self,
        index: usize,
        ledger: &Ledger,
        making: &Making,
        processor: &Processor,
        clock: &Clock,
    ) -> Result<Option<OfOne>, DeliveryError> {
        let Some(item) = ledger.item(index).await else { return Ok(None) };
        let listed = &item.found.listed;
        let spooled = match self.spool_when_room(index, ledger).await {
            Ok(spooled) => spooled,
            // nothing has to be made of it, and only its own store takes it: it never has to lie here
            Err(DeliveryError::NeverFits(_)) if !making.apart && passes(listed, making) => return Ok(None),
            Err(error) => return Err(error),
        };
        let original = Original {
            path: self.spooled_path(&spooled.file),
            content_type: spooled.facts.content_type.clone(),
            size_bytes: spooled.facts.size_bytes,
            name: listed.name.clone(),
            id: self.attempt.output_id(index),
        };
        loop {
            let processed = processor.process(original.clone(), &making.pictures, clock).await;
            match processed.map_err(|error| undeliverable(listed, error))? {
                Processed::Untouched(size) => {
                    return Ok(untouched(index, listed, spooled, size, making.apart));
                }
                Processed::Made { mut files, placeholder, untouched } => {
                    let shared = (untouched && making.apart).then(|| spooled.clone());
                    if untouched {
                        files.remove(0);
                    }
                    match self.write_all(index, listed, files, shared).await {
                        Err(DeliveryError::Full) => self.wait_for_room().await,
                        written => {
                            return written.map(|(of, items)| Some((MadeOf { placeholder, ..of }, items)));
                        }
                    }
                }
            }
        }
    }

    /// Brings finished files into the spool, all of them or none. `shared`: the original is the primary one.
    async fn write_all(
        &self,
        of: usize,
        listed: &ListedFile,
        pictures: Vec<(String, Picture)>,
        shared: Option<Spooled>,
    ) -> Result<OfOne, DeliveryError> {
        let mut size = None;
        let (mut files, mut items) = (Vec::new(), Vec::new());
        if let Some(spooled) = shared {
            files.push(as_it_is(listed, &spooled, None));
            items.push(item(listed, &files[0], spooled));
        }
        for (file_name, picture) in pictures {
            let name = format!("{MADE}{of}-{}", files.len());
            let facts = match self.write_made(&name, &picture).await {
                Ok(facts) => facts,
                Err(error) => {
                    for item in items.iter().filter_map(|item: &Item| item.spooled.as_ref()) {
                        if item.file.starts_with(MADE) {
                            self.spool.release(self.attempt, &item.file).await;
                        }
                    }
                    return Err(error);
                }
            };
            let file = MadeFile {
                name: file_name,
                variant: match &picture.role {
                    Role::Primary => None,
                    Role::Variant(name) => Some(name.clone()),
                },
                content_type: picture.content_type.clone(),
                size_bytes: facts.size_bytes,
                hash: facts.hash.clone(),
                size: known(picture.width, picture.height),
            };
            if file.variant.is_none() {
                size = file.size;
            }
            let spooled = Spooled { file: name, facts };
            items.push(item(listed, &file, spooled));
            files.push(file);
        }
        Ok((MadeOf { of, size, placeholder: None, files }, items))
    }

    async fn write_made(&self, name: &str, picture: &Picture) -> Result<StoredFile, DeliveryError> {
        let length = picture.bytes.len() as u64;
        if length > self.spool.max_bytes() {
            let max = self.spool.max_bytes();
            return Err(DeliveryError::TooLarge(format!("{name} is larger than the spool, {max} bytes")));
        }
        self.spool.take(length).map_err(|Full| DeliveryError::Full)?;
        let written = async {
            let mut sink = FileSink::new(&self.spooled_path(name), u64::MAX);
            sink.write(&picture.bytes).await?;
            sink.finish(Lasts::Perhaps, &picture.content_type).await
        };
        written.await.map_err(|error: SinkError| {
            self.spool.give_back(length);
            DeliveryError::Host(format!("the spool cannot be written: {error}"))
        })
    }
}

/// What to tell of a file that stays as it is: nothing more than its size, unless it has to go to two stores.
fn untouched(of: usize, listed: &ListedFile, spooled: Spooled, size: Size, apart: bool) -> Option<OfOne> {
    let told = |files| MadeOf { of, size, placeholder: None, files };
    if apart {
        let file = as_it_is(listed, &spooled, size);
        let item = item(listed, &file, spooled);
        Some((told(vec![file]), vec![item]))
    } else {
        size.map(|_| (told(Vec::new()), Vec::new()))
    }
}

/// A deliverable with the original's own bytes.
fn as_it_is(listed: &ListedFile, spooled: &Spooled, size: Size) -> MadeFile {
    MadeFile {
        variant: None,
        name: listed.name.clone(),
        content_type: spooled.facts.content_type.clone(),
        size_bytes: spooled.facts.size_bytes,
        hash: spooled.facts.hash.clone(),
        size,
    }
}

fn item(listed: &ListedFile, file: &MadeFile, spooled: Spooled) -> Item {
    let listed =
        ListedFile { name: file.name.clone(), content_type: file.content_type.clone(), ..listed.clone() };
    Item { found: Found { listed, source: Source::Made }, spooled: Some(spooled), stored: None }
}

fn known(width: u32, height: u32) -> Size {
    (width > 0 && height > 0).then_some((width, height))
}

/// Whether a file of which only the name is known stays as it is.
fn passes(listed: &ListedFile, making: &Making) -> bool {
    let kept = !pictures::is_picture(&listed.content_type);
    kept && pictures::plan(&Facts::of_type(&listed.content_type), &making.pictures).is_ok()
}

fn undeliverable(listed: &ListedFile, error: ProcessError) -> DeliveryError {
    match error {
        ProcessError::Picture(error) => {
            let message = format!("{}: {}", listed.name, words(&error));
            DeliveryError::Undeliverable { code: error.code(), message }
        }
        ProcessError::Unreadable(error) => {
            DeliveryError::Gone(format!("{} left the spool: {error}", listed.name))
        }
        error @ ProcessError::Broken => {
            let message = format!("{}: {error}", listed.name);
            DeliveryError::Undeliverable { code: "picture_failed", message }
        }
    }
}
