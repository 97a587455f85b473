//! What jobs that somebody follows frame by frame have to tell, in the order in which the engine heard it. One reader
//! takes it all; what it cannot take in time is dropped, but for the ends of jobs, which are as many as jobs are followed.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use uuid::Uuid;

use crate::link::message::{Frame, Preview};

/// Words of one job.
#[derive(Debug, Clone, PartialEq)]
pub enum Word {
    /// Frames of its newest attempt.
    Frames(Uuid, Vec<Frame>),
    /// A preview of it.
    Preview(Uuid, Arc<Preview>),
    /// Its attempt is over and it is not: it waits for another.
    WaitsAgain(Uuid),
    /// Its end is committed. It is not followed any more.
    Ended(Uuid),
}

/// All words that wait for their reader.
#[derive(Debug, Default)]
pub struct Feeds {
    inner: Mutex<Inner>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    followed: HashSet<Uuid>,
    words: VecDeque<Word>,
    /// Most words that may wait, ends not counted.
    room: usize,
}

impl Feeds {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many words may wait from now on; none before.
    pub fn make_room(&self, words: usize) {
        self.inner().room = words;
    }

    /// Follows a job, best before it is submitted.
    pub fn follow(&self, job: Uuid) {
        self.inner().followed.insert(job);
    }

    /// Follows it no more.
    pub fn leave(&self, job: Uuid) {
        self.inner().followed.remove(&job);
    }

    /// Waits for words; at most `most` of them, in their order.
    pub async fn take(&self, most: usize) -> Vec<Word> {
        loop {
            let rung = self.bell.notified();
            let words: Vec<Word> = {
                let mut inner = self.inner();
                let count = inner.words.len().min(most);
                inner.words.drain(..count).collect()
            };
            if !words.is_empty() {
                return words;
            }
            rung.await;
        }
    }

    pub(super) fn frames(&self, job: Uuid, frames: Vec<Frame>) {
        self.tell(job, || Word::Frames(job, frames));
    }

    pub(super) fn preview(&self, job: Uuid, preview: &Preview) {
        self.tell(job, || Word::Preview(job, Arc::new(preview.clone())));
    }

    pub(super) fn waits_again(&self, job: Uuid) {
        self.tell(job, || Word::WaitsAgain(job));
    }

    pub(super) fn ended(&self, job: Uuid) {
        let mut inner = self.inner();
        if inner.followed.remove(&job) {
            inner.words.push_back(Word::Ended(job));
            drop(inner);
            self.bell.notify_one();
        }
    }

    fn tell(&self, job: Uuid, word: impl FnOnce() -> Word) {
        let mut inner = self.inner();
        if inner.followed.contains(&job) && inner.words.len() < inner.room {
            inner.words.push_back(word());
            drop(inner);
            self.bell.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_followed_jobs_are_heard_and_an_end_is_never_lost() {
        let feeds = Feeds::default();
        feeds.make_room(1);
        let (ours, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        feeds.follow(ours);
        feeds.waits_again(other);
        feeds.waits_again(ours);
        feeds.waits_again(ours);
        feeds.ended(ours);
        feeds.ended(ours);
        assert_eq!(feeds.take(10).await, [Word::WaitsAgain(ours), Word::Ended(ours)]);
    }
}
