//! A picture that a person asked for: what may follow what in its life, as a pure function.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::money::Credits;
use super::{Millis, UserId};

#[cfg(test)]
mod tests;

/// Reason of an artwork that a person took away for good.
pub const TAKEN_DOWN: &str = "taken_down";

/// Names an artwork, and the credits held for it; UUIDv7, so ids sort by creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ArtworkId(pub Uuid);

impl fmt::Display for ArtworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where an artwork stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArtworkState {
    /// Recorded, its credits held; whether the gateway has it is not known.
    Created,
    /// The gateway has it.
    Submitted,
    /// A device works on it.
    Running,
    /// Made and paid; nobody has looked at the pictures.
    Made,
    /// WeChat looks at the pictures.
    Checking,
    /// Its owner sees it.
    Visible,
    /// Nobody sees it but those who review.
    Hidden,
    /// It was not made; the credits are back.
    Failed,
    /// Its owner did not want it any more; the credits are back.
    Canceled,
}

/// What the state means for the credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// They are held.
    Held,
    /// They are spent.
    Settled,
    /// They are back.
    Released,
}

/// Something that became known about an artwork.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// The gateway has a job for it.
    Taken,
    /// The job runs.
    Started,
    /// The job gave pictures.
    Succeeded,
    /// There will be no pictures.
    Failed,
    /// The job was stopped by its owner's will.
    Canceled,
    /// WeChat was asked about all its pictures.
    CheckAsked,
    /// They may be shown.
    Passed,
    /// They may not be shown, or a person has to look first.
    Stopped,
    /// A person who reviews lets them be shown.
    Approved,
    /// A person who reviews takes them away.
    TakenDown,
}

/// What becomes of an artwork.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// It moves on.
    To(ArtworkState),
    /// It knew that already, or knows better.
    Stay,
}

/// Something was said of an artwork that cannot be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an artwork that is {from} cannot be told {signal:?}")]
pub struct IllegalStep {
    /// Where it stands.
    pub from: ArtworkState,
    /// What was said.
    pub signal: Signal,
}

impl ArtworkState {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Created,
        Self::Submitted,
        Self::Running,
        Self::Made,
        Self::Checking,
        Self::Visible,
        Self::Hidden,
        Self::Failed,
        Self::Canceled,
    ];

    /// The name used in tables and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Submitted => "submitted",
            Self::Running => "running",
            Self::Made => "made",
            Self::Checking => "checking",
            Self::Visible => "visible",
            Self::Hidden => "hidden",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// What it means for the credits.
    pub fn fate(self) -> Fate {
        match self {
            Self::Created | Self::Submitted | Self::Running => Fate::Held,
            Self::Made | Self::Checking | Self::Visible | Self::Hidden => Fate::Settled,
            Self::Failed | Self::Canceled => Fate::Released,
        }
    }

    /// Whether the gateway may still be at it.
    pub fn is_open(self) -> bool {
        self.fate() == Fate::Held
    }

    /// What `signal` makes of it. What is not listed is illegal; what comes late or again changes nothing.
    ///
    /// # Errors
    /// [`IllegalStep`] when the signal cannot be true of such an artwork.
    pub fn next(self, signal: Signal) -> Result<Step, IllegalStep> {
        use ArtworkState::*;
        Ok(match (self, signal) {
            (Created, Signal::Taken) => Step::To(Submitted),
            (Created | Submitted, Signal::Started) => Step::To(Running),
            (_, Signal::Taken | Signal::Started) => Step::Stay,

            // A webhook may overtake the reply to the submission.
            (Created | Submitted | Running, Signal::Succeeded) => Step::To(Made),
            (Created | Submitted | Running, Signal::Failed) => Step::To(Failed),
            (Created | Submitted | Running, Signal::Canceled) => Step::To(Canceled),
            (Made | Checking | Visible | Hidden, Signal::Succeeded) => Step::Stay,
            (Failed | Canceled, Signal::Failed | Signal::Canceled) => Step::Stay,

            (Made, Signal::CheckAsked) => Step::To(Checking),
            (Checking | Visible | Hidden, Signal::CheckAsked) => Step::Stay,
            (Made | Checking, Signal::Passed) => Step::To(Visible),
            // Whoever took it away knew more than a check that ends late.
            (Visible | Hidden, Signal::Passed) => Step::Stay,
            (Made | Checking | Visible, Signal::Stopped | Signal::TakenDown) => Step::To(Hidden),
            (Hidden, Signal::Stopped | Signal::TakenDown) => Step::Stay,
            (Hidden, Signal::Approved) => Step::To(Visible),
            (Visible, Signal::Approved) => Step::Stay,
            (from, signal) => return Err(IllegalStep { from, signal }),
        })
    }
}

impl fmt::Display for ArtworkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a person asked for.
#[derive(Clone, PartialEq, Eq)]
pub struct Artwork {
    /// Its name.
    pub id: ArtworkId,
    /// Whose it is.
    pub user: UserId,
    /// By which template.
    pub template: String,
    /// What it costs.
    pub credits: Credits,
    /// The exact bytes for the gateway: a repeat must equal the first attempt. Empty once it is deleted.
    pub request: String,
    /// What the person wrote, where the request has the gateway's names of their photos instead.
    pub inputs: Option<String>,
    /// The gateway's job, once known.
    pub job_id: Option<String>,
    /// Where it stands.
    pub state: ArtworkState,
    /// Why it failed or is hidden: a word for programs.
    pub reason: Option<String>,
    /// Whether its owner likes it.
    pub is_favourite: bool,
    /// By which link others may see it.
    pub share_token: Option<String>,
    /// How many people reported it.
    pub reports: i64,
    /// When it was recorded.
    pub created_at: Millis,
    /// When it last moved on.
    pub updated_at: Millis,
    /// When the background has to look at it next; `None`: never again by itself.
    pub due_at: Option<Millis>,
    /// Looks of the background since the last step.
    pub tries: i32,
    /// When its owner or a reviewer deleted it.
    pub deleted_at: Option<Millis>,
}

impl fmt::Debug for Artwork {
    /// Without what the person wrote.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Artwork").field("id", &self.id).field("state", &self.state).finish_non_exhaustive()
    }
}

impl Artwork {
    /// How long after its creation an artwork may be submitted again. The gateway replays an idempotency key for 24 h;
    /// an hour is left for clocks and slow requests, because a repeat after that would be a second job.
    pub const RESUBMIT_FOR: Millis = 23 * 3_600_000;

    /// The same for every submission of it, so that the gateway makes one job of all of them.
    pub fn idempotency_key(&self) -> String {
        format!("artwork-{}", self.id)
    }

    /// Whether a repeated submission is still certain to find the first one.
    pub fn may_resubmit(&self, now: Millis) -> bool {
        now - self.created_at < Self::RESUBMIT_FOR
    }
}

/// What a check says of one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Show it.
    Pass,
    /// A person has to look first.
    Review,
    /// Do not show it.
    Risky,
}

impl Verdict {
    /// The name used in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Review => "review",
            Self::Risky => "risky",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Pass, Self::Review, Self::Risky].into_iter().find(|verdict| verdict.as_str() == name)
    }

    /// The worst of all pictures' verdicts; `None` while one is missing.
    pub fn of_all(verdicts: impl IntoIterator<Item = Option<Self>>) -> Option<Self> {
        verdicts.into_iter().try_fold(Self::Pass, |worst, verdict| Some(worst.max(verdict?)))
    }
}

/// One picture of an artwork.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Its place among the others, from 0.
    pub position: i32,
    /// What the gateway calls it.
    pub output_id: String,
    /// What the mini program calls it, if it lies in our bucket.
    pub file_id: Option<String>,
    /// Where the gateway serves it, if it does.
    pub url: Option<String>,
    /// Media type.
    pub content_type: Option<String>,
    /// Size in bytes.
    pub size_bytes: Option<i64>,
    /// In pixels.
    pub width: Option<i64>,
    /// In pixels.
    pub height: Option<i64>,
    /// The check of it that is under way or ended.
    pub trace_id: Option<String>,
    /// What that said.
    pub verdict: Option<Verdict>,
}
