//! A work: one generation request of a user, from the record to its pictures.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An instant in milliseconds since the Unix epoch, the only form of time in tables.
pub type Millis = i64;

/// Names a work; UUIDv7, so ids sort by creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkId(pub Uuid);

impl fmt::Display for WorkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a work stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkStatus {
    /// Recorded; whether the gateway has it is not known yet.
    Submitting,
    /// The gateway has it, no device runs it.
    Queued,
    /// A device runs it or its pictures are being collected.
    Running,
    /// Ended with pictures.
    Succeeded,
    /// Ended without; `error_code` says why.
    Failed,
    /// Ended by its owner's will.
    Canceled,
    /// Ended by its deadline or by retention.
    Expired,
}

impl WorkStatus {
    /// Whether nothing can change any more.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled | Self::Expired)
    }

    /// The name used in tables and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submitting => "submitting",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Expired => "expired",
        }
    }
}

impl FromStr for WorkStatus {
    type Err = String;

    /// Reads what [`Self::as_str`] wrote; the error is the unknown name.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [
            Self::Submitting,
            Self::Queued,
            Self::Running,
            Self::Succeeded,
            Self::Failed,
            Self::Canceled,
            Self::Expired,
        ]
        .into_iter()
        .find(|status| status.as_str() == name)
        .ok_or_else(|| name.to_owned())
    }
}

/// One file of an ended work. Field meanings are the gateway's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Identifies the file at the gateway.
    pub id: String,
    /// File name as the caller's workflow would have produced it.
    pub name: String,
    /// Media type, if known.
    pub content_type: Option<String>,
    /// Size in bytes, if known.
    pub size_bytes: Option<u64>,
    /// Content hash with its algorithm, if known.
    pub hash: Option<String>,
    /// Where the bytes lie in the artifact store; valid until retention ends.
    pub object_key: Option<String>,
    /// Where the gateway served them when the work ended; may be short-lived.
    pub url: Option<String>,
}

/// What the gateway said about a work's job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Its status; `None` when the gateway used a word we do not know.
    pub status: Option<WorkStatus>,
    /// Its files so far.
    pub outputs: Vec<Output>,
    /// Why it failed.
    pub error_code: Option<String>,
}

/// One generation request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Its name.
    pub id: WorkId,
    /// Whose it is, in the caller's own words; never interpreted.
    pub user_key: Option<String>,
    /// The exact bytes for the gateway: a repeat must equal the first attempt.
    pub request: String,
    /// The gateway's job, once known.
    pub job_id: Option<String>,
    /// Where it stands.
    pub status: WorkStatus,
    /// Its files; complete once it succeeded.
    pub outputs: Vec<Output>,
    /// Why it failed.
    pub error_code: Option<String>,
    /// Grows by one with each stored change.
    pub revision: i64,
    /// When it was recorded.
    pub created_at: Millis,
    /// When it last changed.
    pub updated_at: Millis,
}

impl Work {
    /// How long after its creation a work may be submitted again. The gateway replays an idempotency key for 24 h; an
    /// hour is left for clocks and slow requests, because a repeat after the replay window would be a second job.
    pub const RESUBMIT_FOR: Millis = 23 * 3_600_000;

    /// A work about to be recorded.
    pub fn new(id: WorkId, user_key: Option<String>, request: String, now: Millis) -> Self {
        Self {
            id,
            user_key,
            request,
            job_id: None,
            status: WorkStatus::Submitting,
            outputs: Vec::new(),
            error_code: None,
            revision: 1,
            created_at: now,
            updated_at: now,
        }
    }

    /// The same for every submission of this work, so that the gateway makes one job of all of them.
    pub fn idempotency_key(&self) -> String {
        format!("work-{}", self.id)
    }

    /// Whether a repeated submission is still certain to find the first one.
    pub fn may_resubmit(&self, now: Millis) -> bool {
        now - self.created_at < Self::RESUBMIT_FOR
    }

    /// The gateway took it.
    #[must_use]
    pub fn submitted(self, job_id: String) -> Self {
        if self.status != WorkStatus::Submitting {
            return self;
        }
        Self { job_id: Some(job_id), status: WorkStatus::Queued, ..self }
    }

    /// It ended without a job or with a lost one.
    #[must_use]
    pub fn failed(self, code: &str) -> Self {
        self.ended(WorkStatus::Failed, code)
    }

    /// The gateway no longer knows its job.
    #[must_use]
    pub fn expired(self, code: &str) -> Self {
        self.ended(WorkStatus::Expired, code)
    }

    /// The gateway showed its job. An ended work never changes again.
    #[must_use]
    pub fn observed(self, seen: Sighting) -> Self {
        if self.status.is_ended() {
            return self;
        }
        Self {
            status: seen.status.unwrap_or(self.status),
            outputs: seen.outputs,
            error_code: seen.error_code,
            ..self
        }
    }

    fn ended(self, status: WorkStatus, code: &str) -> Self {
        if self.status.is_ended() {
            return self;
        }
        Self { status, error_code: Some(code.to_owned()), ..self }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]
    use super::*;

    fn work() -> Work {
        Work::new(WorkId(Uuid::from_u128(7)), None, "{}".to_owned(), 1_000)
    }

    fn seen(status: WorkStatus) -> Sighting {
        Sighting { status: Some(status), outputs: Vec::new(), error_code: None }
    }

    #[test]
    fn an_ended_work_never_changes_again() {
        let done = work().submitted("j".to_owned()).observed(seen(WorkStatus::Succeeded));
        assert_eq!(done.clone().observed(seen(WorkStatus::Running)), done);
        assert_eq!(done.clone().failed("late"), done);
        assert_eq!(done.clone().submitted("other".to_owned()), done);
    }

    #[test]
    fn a_status_word_we_do_not_know_keeps_the_known_one() {
        let running = work().submitted("j".to_owned()).observed(seen(WorkStatus::Running));
        let unknown = Sighting { status: None, outputs: Vec::new(), error_code: None };
        assert_eq!(running.observed(unknown).status, WorkStatus::Running);
    }

    #[test]
    fn a_work_is_not_submitted_again_after_the_gateway_may_have_forgotten_its_key() {
        let work = work();
        assert!(work.may_resubmit(work.created_at + Work::RESUBMIT_FOR - 1));
        assert!(!work.may_resubmit(work.created_at + Work::RESUBMIT_FOR));
    }

    #[test]
    fn every_status_is_read_back_from_its_name() {
        for name in ["submitting", "queued", "running", "succeeded", "failed", "canceled", "expired"] {
            assert_eq!(name.parse::<WorkStatus>().unwrap().as_str(), name);
            assert_eq!(serde_json::from_value::<WorkStatus>(name.into()).unwrap().as_str(), name);
        }
        assert_eq!("paused".parse::<WorkStatus>(), Err("paused".to_owned()));
    }
}
