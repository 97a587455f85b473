//! Events of jobs, and their way to receivers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{JobRow, OutputRow};

/// What happened to a job. Only what is committed is an event.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
pub enum EventKind {
    /// It is on disk and admitted.
    #[serde(rename = "job.accepted")]
    Accepted,
    /// It was given to an instance.
    #[serde(rename = "job.placed")]
    Placed,
    /// An attempt ended without ending it: it waits again.
    #[serde(rename = "job.requeued")]
    Requeued,
    /// It ended.
    #[serde(rename = "job.succeeded")]
    Succeeded,
    /// It ended.
    #[serde(rename = "job.failed")]
    Failed,
    /// It ended.
    #[serde(rename = "job.canceled")]
    Canceled,
    /// It ended: a deadline passed.
    #[serde(rename = "job.expired")]
    Expired,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Accepted,
        Self::Placed,
        Self::Requeued,
        Self::Succeeded,
        Self::Failed,
        Self::Canceled,
        Self::Expired,
    ];

    /// Its name, as everybody outside sees it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "job.accepted",
            Self::Placed => "job.placed",
            Self::Requeued => "job.requeued",
            Self::Succeeded => "job.succeeded",
            Self::Failed => "job.failed",
            Self::Canceled => "job.canceled",
            Self::Expired => "job.expired",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether the job has ended with it.
    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled | Self::Expired)
    }
}

/// A set of kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventKinds(u8);

impl EventKinds {
    /// All kinds.
    pub const ALL: Self = Self(0x7f);

    /// The ends of jobs.
    #[must_use]
    pub fn ends() -> Self {
        EventKind::ALL.into_iter().filter(|kind| kind.is_end()).collect()
    }

    /// Whether this kind is in it.
    #[must_use]
    pub fn contains(self, kind: EventKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One bit a kind, in the order of [`EventKind::ALL`].
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The set of these bits; unknown ones are dropped.
    #[must_use]
    pub fn of_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }
}

impl FromIterator<EventKind> for EventKinds {
    fn from_iter<T: IntoIterator<Item = EventKind>>(kinds: T) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | 1 << kind as u8))
    }
}

/// Where events of one job go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The whole URL.
    pub url: Arc<str>,
    /// The URL without its query: what makes the receiver, with the tenant.
    pub receiver: Arc<str>,
    /// Which events.
    pub events: EventKinds,
}

/// An event, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place in the feed: counts up over all tenants, never used twice.
    pub cursor: i64,
    /// Whose job.
    pub tenant: u32,
    /// Internal id of the job.
    pub job: Uuid,
    /// The job's revision.
    pub revision: u64,
    /// What happened.
    pub kind: EventKind,
    /// Milliseconds since the epoch.
    pub at: i64,
}

impl Event {
    /// Its id: the same for every repeat.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}.{}", self.job, self.revision)
    }
}

/// Which events to read.
#[derive(Debug, Clone, Copy)]
pub struct EventQuery {
    /// Whose.
    pub tenant: u32,
    /// Those after this cursor; `None`: from the oldest that is kept.
    pub after: Option<i64>,
    /// Of these kinds.
    pub kinds: EventKinds,
    /// At most so many.
    pub limit: u32,
}

/// Events read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventPage {
    /// Events in order.
    Events {
        /// What was found.
        events: Vec<Event>,
        /// Where to go on.
        next: i64,
        /// Nothing is committed after `next`.
        at_head: bool,
    },
    /// Events after the cursor are forgotten, or it is of another store.
    Expired {
        /// The oldest cursor that can be gone on from.
        oldest: i64,
    },
}

/// An event on its way to a receiver.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The event.
    pub event: Event,
    /// Where to.
    pub url: String,
    /// The tenant's name.
    pub tenant_name: String,
    /// From when on its patience counts: the event, or its replay. Milliseconds since the epoch.
    pub since: i64,
    /// Times it was sent in vain.
    pub tries: u32,
}

/// An event that its receiver does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// The event.
    pub event: Event,
    /// The receiver's URL, without its query; empty: it is forgotten.
    pub receiver: String,
    /// Times it was sent in vain.
    pub tries: u32,
    /// When it was given up, milliseconds since the epoch; `None`: it waits.
    pub dead_at: Option<i64>,
    /// Why it was not taken the last time.
    pub reason: Option<String>,
}

/// A receiver for which something waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueReceiver {
    /// Its row.
    pub receiver: i64,
    /// Whose.
    pub tenant: u32,
    /// When the first of its events is due, milliseconds since the epoch.
    pub next_at: i64,
}

/// What became of deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The receiver has it.
    Delivered {
        /// The event.
        cursor: i64,
    },
    /// It is to be sent again.
    Again {
        /// The event.
        cursor: i64,
        /// When, milliseconds since the epoch.
        next_at: i64,
        /// Why it was in vain.
        reason: String,
    },
    /// It is not sent any more.
    Dead {
        /// The event.
        cursor: i64,
        /// Why.
        reason: String,
    },
    /// All events of a failing receiver that are too old.
    TooOld {
        /// The receiver.
        receiver: i64,
        /// Those whose patience began before, milliseconds since the epoch.
        before: i64,
        /// Why the receiver fails.
        reason: String,
    },
    /// A receiver is back: what waits for it is due now.
    Back {
        /// The receiver.
        receiver: i64,
    },
}

/// A delivery that was given up.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The event.
    pub event: Event,
    /// The tenant's name.
    pub tenant_name: String,
    /// The receiver: its URL without the query.
    pub receiver: String,
    /// Times it was sent in vain.
    pub tries: u32,
    /// When it was given up, milliseconds since the epoch.
    pub dead_at: i64,
    /// Why.
    pub reason: String,
}

/// Which dead letters.
#[derive(Debug, Clone, Default)]
pub struct DeadQuery {
    /// Whose; `None`: everybody's.
    pub tenant: Option<u32>,
    /// Of this receiver (its URL without the query).
    pub receiver: Option<String>,
    /// These events: job and revision; empty: all.
    pub events: Vec<(Uuid, u64)>,
    /// After this cursor.
    pub after: i64,
    /// At most so many.
    pub limit: u32,
}

/// How a receiver stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverLag {
    /// Its row.
    pub receiver: i64,
    /// The tenant's name.
    pub tenant_name: String,
    /// Its URL without the query.
    pub url: String,
    /// Events that wait.
    pub pending: u64,
    /// The oldest of them, milliseconds since the epoch.
    pub oldest_at: Option<i64>,
    /// When the next is due, milliseconds since the epoch.
    pub next_at: Option<i64>,
    /// Why the oldest was sent in vain last.
    pub reason: Option<String>,
    /// Dead letters.
    pub dead: u64,
}

/// All of the outbox in figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutboxFigures {
    /// Events that wait for their receivers.
    pub pending: u64,
    /// The oldest of them, milliseconds since the epoch.
    pub oldest_at: Option<i64>,
    /// Dead letters.
    pub dead: u64,
}

/// A job as an event shows it; `None` once it is forgotten.
pub type EventSubject = Option<(JobRow, Vec<OutputRow>)>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_kinds_lead_to_each_other() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::of_name(kind.name()), Some(kind));
            assert_eq!(serde_json::to_value(kind).ok(), Some(kind.name().into()));
            assert!(EventKinds::ALL.contains(kind));
            assert_eq!(EventKinds::ends().contains(kind), kind.is_end());
        }
        assert_eq!(EventKinds::of_bits(0xff), EventKind::ALL.into_iter().collect());
    }
}
