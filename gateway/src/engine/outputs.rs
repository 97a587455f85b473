//! What becomes of an attempt's files: the objects they are stored as, and the outputs they make.

use std::sync::Arc;

use super::names;
use crate::delivery::{Delivery, Place};
use crate::link::message::{Attempt, ListedFile, MadeFile, MadeOf, StoredFile};
use crate::store::{NewMade, NewOriginal, NewOutput, NewVariant, StoredObject};

/// How the files of a job are delivered, as far as is known.
#[derive(Debug, Clone, Default)]
pub(super) enum Terms {
    /// Not said yet: nothing may be stored.
    #[default]
    Unknown,
    /// The originals are all.
    Plain,
    /// In its own way.
    Own(Arc<Delivery>),
}

impl Terms {
    fn place(&self) -> Place {
        match self {
            Self::Own(delivery) => delivery.place(),
            Self::Unknown | Self::Plain => Place::Own,
        }
    }
}

impl From<Option<Arc<Delivery>>> for Terms {
    fn from(delivery: Option<Arc<Delivery>>) -> Self {
        delivery.map_or(Self::Plain, Self::Own)
    }
}

/// The files of one attempt, as its runner told.
#[derive(Default)]
pub(super) struct Files {
    terms: Terms,
    listed: Vec<ListedFile>,
    /// What was made of them; `None`: nothing was said yet.
    made: Option<Vec<MadeOf>>,
    stored: Vec<StoredFile>,
}

/// An object that wants a ticket.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) object: StoredObject,
    pub(super) content_type: String,
    /// What is told of a file for a bucket of the caller's.
    pub(super) told: Option<Told>,
}

/// A file as the owner of a bucket is told of it.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// Index of its original.
    pub(super) of: usize,
    /// Name of the variant; `None`: the primary deliverable.
    pub(super) variant: Option<String>,
    /// Its name in the caller's eyes.
    pub(super) name: String,
    pub(super) size_bytes: u64,
    pub(super) hash: String,
}

impl Files {
    pub(super) fn listed(&mut self, files: Vec<ListedFile>, terms: Terms) {
        *self = Self { terms, listed: files, made: None, stored: Vec::new() };
    }

    /// Whether it makes sense: each of another listed file, in their order.
    pub(super) fn made(&mut self, made: Vec<MadeOf>) -> bool {
        let in_order = made.windows(2).all(|pair| pair[0].of < pair[1].of);
        let known = made.iter().all(|made| made.of < self.listed.len());
        if in_order && known {
            self.made = Some(made);
        }
        in_order && known
    }

    /// Whether it is one a ticket.
    pub(super) fn stored(&mut self, stored: Vec<StoredFile>) -> bool {
        let is_known = !matches!(self.terms, Terms::Unknown);
        let is_complete = is_known && stored.len() == self.listed.len() + self.made_files().count();
        if is_complete {
            self.stored = stored;
        }
        is_complete
    }

    /// How many were listed.
    pub(super) fn len(&self) -> usize {
        self.listed.len()
    }

    /// What was made, each with its original's index and its number among what was made of that.
    fn made_files(&self) -> impl Iterator<Item = (usize, usize, &MadeFile)> {
        self.made
            .iter()
            .flatten()
            .flat_map(|made| made.files.iter().enumerate().map(move |(nth, file)| (made.of, nth, file)))
    }

    /// The objects that want tickets, in the order of the tickets; `None` while not all of them are known.
    pub(super) fn wanted(&self, attempt: Attempt) -> Option<Vec<Wanted>> {
        match &self.terms {
            Terms::Unknown => return None,
            Terms::Own(_) if self.made.is_none() => return None,
            Terms::Plain | Terms::Own(_) => {}
        }
        let place = self.terms.place();
        let originals = self.listed.iter().enumerate().map(|(index, file)| Wanted {
            object: StoredObject { place: Place::Own, key: original_key(attempt, index, &file.name) },
            content_type: file.content_type.clone(),
            told: None,
        });
        let made = self.made_files().map(|(of, nth, file)| {
            let key = names::made_key(attempt.job, attempt.number, of, nth, &file.name);
            let told = Told {
                of,
                variant: file.variant.clone(),
                name: file.name.clone(),
                size_bytes: file.size_bytes,
                hash: file.hash.clone(),
            };
            Wanted {
                object: StoredObject { place: place.clone(), key },
                content_type: file.content_type.clone(),
                told: Some(told).filter(|_| place == Place::Caller),
            }
        });
        Some(originals.chain(made).collect())
    }

    /// Every object that may be there, in stores of ours.
    pub(super) fn objects(&self, attempt: Attempt) -> Vec<StoredObject> {
        let wanted = self.wanted(attempt).unwrap_or_default().into_iter();
        wanted.map(|wanted| wanted.object).filter(|object| object.place != Place::Caller).collect()
    }

    /// The outputs to be committed with the end of the job.
    pub(super) fn outputs(&self, attempt: Attempt) -> Vec<NewOutput> {
        let originals = self.listed.iter().zip(&self.stored).enumerate();
        let mut outputs: Vec<NewOutput> =
            originals.map(|(index, (listed, stored))| original(attempt, index, listed, stored)).collect();
        let mut stored = self.stored.iter().skip(self.listed.len());
        for made in self.made.iter().flatten() {
            let files: Vec<_> = made.files.iter().zip(stored.by_ref()).collect();
            if let Some(output) = outputs.get_mut(made.of) {
                self.dress(attempt, output, made, &files);
            }
        }
        outputs
    }

    /// Makes an output of an original with what was made of it.
    fn dress(
        &self,
        attempt: Attempt,
        output: &mut NewOutput,
        of: &MadeOf,
        files: &[(&MadeFile, &StoredFile)],
    ) {
        let mut made = NewMade {
            size: of.size.or_else(|| output.made.as_ref()?.size),
            placeholder: of.placeholder.clone(),
            ..NewMade::default()
        };
        for (nth, (file, stored)) in files.iter().enumerate() {
            let blob = names::made_blob_id(attempt.job, attempt.number, of.of, nth);
            let object_key = names::made_key(attempt.job, attempt.number, of.of, nth, &file.name);
            match &file.variant {
                Some(variant) => made.variants.push(NewVariant {
                    id: names::variant_id(attempt.job, attempt.number, of.of, nth),
                    blob,
                    name: variant.clone(),
                    content_type: stored.content_type.clone(),
                    size_bytes: stored.size_bytes,
                    hash: stored.hash.clone(),
                    size: file.size,
                    place: self.terms.place(),
                    object_key,
                    receipt: stored.receipt.clone(),
                }),
                None => {
                    made.original = Some(NewOriginal {
                        blob: std::mem::replace(&mut output.blob, blob),
                        name: std::mem::replace(&mut output.name, file.name.clone()),
                        content_type: std::mem::replace(
                            &mut output.content_type,
                            stored.content_type.clone(),
                        ),
                        size_bytes: std::mem::replace(&mut output.size_bytes, stored.size_bytes),
                        hash: std::mem::replace(&mut output.hash, stored.hash.clone()),
                        object_key: std::mem::replace(&mut output.object_key, object_key),
                    });
                    made.size = file.size.or(stored.size);
                    made.place = self.terms.place();
                    made.receipt.clone_from(&stored.receipt);
                }
            }
        }
        output.made = Some(Box::new(made));
    }
}

fn original_key(attempt: Attempt, index: usize, name: &str) -> String {
    names::object_key(attempt.job, attempt.number, index, name)
}

fn original(attempt: Attempt, index: usize, listed: &ListedFile, stored: &StoredFile) -> NewOutput {
    NewOutput {
        id: attempt.output_id(index),
        blob: names::blob_id(attempt.job, attempt.number, index),
        node_id: listed.node_id.clone(),
        kind: listed.kind,
        name: listed.name.clone(),
        content_type: stored.content_type.clone(),
        size_bytes: stored.size_bytes,
        hash: stored.hash.clone(),
        object_key: original_key(attempt, index, &listed.name),
        made: stored.size.map(|size| Box::new(NewMade { size: Some(size), ..NewMade::default() })),
    }
}

#[cfg(test)]
#[path = "outputs_tests.rs"]
mod tests;
