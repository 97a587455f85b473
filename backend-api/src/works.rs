//! What can be done with works: record, submit exactly once, follow.
//!
//! The order is the promise: record → submit → store the job id. Whatever is lost in between, the work stays
//! `submitting` and the next reader submits the same bytes under the same key, which the gateway answers with the first job.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::clock::now;
use crate::db::{self, Database, Saved};
use crate::domain::{Output, Sighting, Work, WorkId, WorkStatus};
use crate::error_chain::chain;
use crate::gateway_client::{
    AskError, FollowError, GatewayClient, Job, JobStatus, Readiness, Refusal, SubmitError, SubmitJob,
};

/// Error code of a work whose submission stayed in doubt longer than the gateway remembers keys.
const SUBMISSION_LOST: &str = "submission_lost";
/// Error code of a work whose job the gateway no longer has.
const JOB_FORGOTTEN: &str = "job_forgotten";

/// The works of all users.
#[derive(Debug)]
pub struct Works {
    database: Database,
    gateway: GatewayClient,
}

/// A work and how fresh it is.
#[derive(Debug)]
pub struct Seen {
    /// The work as stored.
    pub work: Work,
    /// Whether the gateway could not be asked just now.
    pub is_stale: bool,
}

/// Why a new work did not begin. In each case it is recorded as failed or not at all.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The gateway will never take it.
    #[error("the gateway refuses the work: {}", .0.code)]
    Refused(Refusal),
    /// The gateway is full.
    #[error("the gateway is full")]
    Busy {
        /// Not before this long.
        retry_after: Duration,
    },
    /// Our own key is wrong.
    #[error("the gateway does not accept our key")]
    GatewayKey,
    /// Nothing was submitted.
    #[error(transparent)]
    Database(#[from] db::Error),
}

impl Works {
    /// Works kept in `database` and carried out by `gateway`.
    pub fn new(database: Database, gateway: GatewayClient) -> Self {
        Self { database, gateway }
    }

    /// Records a work and submits it. When the fate of the submission is unknown, the work is returned as `submitting`.
    ///
    /// # Errors
    /// When it surely was not submitted.
    pub async fn create(&self, user_key: Option<String>, job: &SubmitJob) -> Result<Work, CreateError> {
        let work = Work::new(WorkId(Uuid::now_v7()), user_key, job.encode(), now());
        self.database.insert_work(&work).await?;
        match self.gateway.submit_encoded(work.request.clone(), &work.idempotency_key()).await {
            Ok(job) => Ok(self.remember_job(work, job).await),
            Err(SubmitError::Invalid(refusal)) => {
                self.save(work.failed(&refusal.code)).await?;
                Err(CreateError::Refused(refusal))
            }
            Err(SubmitError::Busy { retry_after }) => {
                self.save(work.failed("queue_full")).await?;
                Err(CreateError::Busy { retry_after })
            }
            Err(SubmitError::Unauthorized) => {
                self.save(work.failed("gateway_unauthorized")).await?;
                Err(CreateError::GatewayKey)
            }
            Err(in_doubt @ SubmitError::Unreachable { .. }) => {
                warn!(work = %work.id, error = %chain(&in_doubt), "submission is in doubt");
                Ok(work)
            }
        }
    }

    /// The work, refreshed from the gateway; waits up to `wait` for its end. `None` if there is no such work.
    ///
    /// # Errors
    /// When the database fails. A silent gateway only makes the answer stale.
    pub async fn read(&self, id: WorkId, wait: Duration) -> Result<Option<Seen>, db::Error> {
        let deadline = Instant::now() + wait;
        let Some(work) = self.database.find_work(id).await? else {
            return Ok(None);
        };
        let work = match work.status {
            WorkStatus::Submitting => self.submit_again(work).await?,
            _ => work,
        };
        let seen = match &work.job_id {
            Some(job_id) if !work.status.is_ended() => {
                let job_id = job_id.clone();
                self.follow(work, &job_id, deadline).await?
            }
            _ => Seen { is_stale: work.status == WorkStatus::Submitting, work },
        };
        Ok(Some(seen))
    }

    /// Whether a work could be recorded now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn probe_database(&self) -> Result<(), db::Error> {
        self.database.probe().await
    }

    /// Whether the gateway would take a job now.
    pub async fn gateway_readiness(&self) -> Readiness {
        self.gateway.readiness().await
    }

    async fn submit_again(&self, work: Work) -> Result<Work, db::Error> {
        if !work.may_resubmit(now()) {
            error!(work = %work.id, "submission stayed in doubt for too long");
            return self.save(work.failed(SUBMISSION_LOST)).await;
        }
        match self.gateway.submit_encoded(work.request.clone(), &work.idempotency_key()).await {
            Ok(job) => {
                info!(work = %work.id, job = %job.id, "submission was repeated");
                Ok(self.remember_job(work, job).await)
            }
            // The gateway replays what it took, so a refusal now means that it never took the work.
            Err(SubmitError::Invalid(refusal)) => self.save(work.failed(&refusal.code)).await,
            Err(error) => {
                warn!(work = %work.id, error = %chain(&error), "submission was repeated in vain");
                Ok(work)
            }
        }
    }

    async fn follow(&self, work: Work, job_id: &str, deadline: Instant) -> Result<Seen, db::Error> {
        let next = match self.gateway.follow(job_id, deadline).await {
            Ok(job) => work.clone().observed(sighting(job)),
            Err(FollowError::StillOpen { last }) => work.clone().observed(sighting(*last)),
            Err(FollowError::Ask(AskError::NotFound)) => {
                error!(work = %work.id, job = job_id, "gateway does not know the job");
                work.clone().expired(JOB_FORGOTTEN)
            }
            Err(FollowError::Ask(error)) => {
                warn!(work = %work.id, job = job_id, error = %chain(&error), "work cannot be refreshed");
                return Ok(Seen { work, is_stale: true });
            }
        };
        let work = if next == work { work } else { self.save(next).await? };
        Ok(Seen { work, is_stale: false })
    }

    /// Stores the job's id. Should the database fail now, the work stays `submitting`, which the next reader resolves.
    async fn remember_job(&self, work: Work, job: Job) -> Work {
        match self.save(work.clone().submitted(job.id)).await {
            Ok(saved) => saved,
            Err(error) => {
                error!(work = %work.id, error = %chain(&error), "job id could not be stored");
                work
            }
        }
    }

    /// Stores the change, or takes what somebody else stored first.
    async fn save(&self, work: Work) -> Result<Work, db::Error> {
        let id = work.id;
        match self.database.save_work(work.clone(), now()).await? {
            Saved::Written(written) => Ok(*written),
            Saved::Superseded => Ok(self.database.find_work(id).await?.unwrap_or(work)),
        }
    }
}

fn sighting(job: Job) -> Sighting {
    Sighting {
        status: match job.status {
            JobStatus::Queued | JobStatus::Dispatching => Some(WorkStatus::Queued),
            JobStatus::Running | JobStatus::InDoubt | JobStatus::Collecting | JobStatus::Canceling => {
                Some(WorkStatus::Running)
            }
            JobStatus::Succeeded => Some(WorkStatus::Succeeded),
            JobStatus::Failed => Some(WorkStatus::Failed),
            JobStatus::Canceled => Some(WorkStatus::Canceled),
            JobStatus::Expired => Some(WorkStatus::Expired),
            JobStatus::Unknown => None,
        },
        outputs: job
            .outputs
            .into_iter()
            .map(|output| Output {
                id: output.id,
                name: output.name,
                content_type: output.content_type,
                size_bytes: output.size_bytes,
                hash: output.hash,
                object_key: output.object_key,
                url: output.url,
            })
            .collect(),
        error_code: job.error.map(|error| error.code),
    }
}
