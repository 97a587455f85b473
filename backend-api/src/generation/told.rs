//! What others tell us unasked: the gateway of a job's end and of files that want a place, WeChat of a check's end. Each
//! may come twice, late, or before we know what it is about.

use tracing::warn;
use uuid::Uuid;

use super::Generation;
use super::create::LABEL;
use crate::clock::now;
use crate::db;
use crate::domain::artwork::Verdict;
use crate::domain::{Artwork, ArtworkId};
use crate::gateway_client::{Event, Job, Ticket, TicketMeta, TicketRequest, TicketedFile, Tickets};
use crate::wechat::events::ContentChecked;
use crate::wechat::platform::Suggestion;
use crate::wechat::storage::{StorageError, Upload, UploadTicket};

/// Longest name of a check.
const TRACE_MAX: usize = 128;

impl Generation {
    /// An event of the gateway; gives the artwork as it is then. One about a job that is none of ours changes nothing.
    ///
    /// # Errors
    /// When the database fails; the same event may come again.
    pub async fn told_by_gateway(&self, event: &Event) -> Result<Option<Artwork>, db::Error> {
        let Some(job) = &event.job else { return Ok(None) };
        match self.artwork_of(job).await? {
            Some(artwork) => self.apply(artwork, job).await.map(Some),
            None => Ok(None),
        }
    }

    /// By its label: the reply that told us the job's id may have been lost.
    async fn artwork_of(&self, job: &Job) -> Result<Option<Artwork>, db::Error> {
        let label = job.labels.get(LABEL).and_then(|label| Uuid::try_parse(label).ok());
        let Some(id) = label.map(ArtworkId) else { return Ok(None) };
        let database = &self.inner.database;
        database.retry(|| database.find_artwork(id)).await
    }

    /// The end of a check of a picture.
    ///
    /// # Errors
    /// When the database fails; the same event may come again.
    pub async fn told_of_check(&self, checked: &ContentChecked) -> Result<(), db::Error> {
        let trace = checked.verdict.trace_id.0.as_str();
        if trace.is_empty() || trace.len() > TRACE_MAX {
            warn!("check has no usable name");
            return Ok(());
        }
        let verdict = match checked.verdict.suggestion {
            Suggestion::Pass => Verdict::Pass,
            Suggestion::Review => Verdict::Review,
            Suggestion::Risky => Verdict::Risky,
        };
        let (database, label) = (&self.inner.database, checked.verdict.label);
        database.retry(|| database.note_verdict(trace, verdict, label, now())).await?;
        let Some(id) = database.retry(|| database.apply_verdict(trace)).await? else {
            return self.conclude_photo(trace).await.map(drop);
        };
        match database.retry(|| database.find_artwork(id)).await? {
            Some(artwork) if artwork.deleted_at.is_none() => self.conclude(artwork).await.map(drop),
            _ => Ok(()),
        }
    }

    /// Places in our bucket for the files of an attempt: for the same question the same places, under names that
    /// nobody can guess.
    ///
    /// # Errors
    /// See [`StorageError`]; the gateway asks again.
    pub async fn places(&self, request: &TicketRequest) -> Result<Tickets, StorageError> {
        let wechat = self.inner.wechat.as_ref().ok_or(StorageError::NotConfigured)?;
        let paths: Vec<String> = request
            .files
            .iter()
            .map(|file| {
                let names = &self.inner.names;
                names.file(&request.job_id, request.attempt, file.index, &file.content_type)
            })
            .collect();
        let granted = wechat.upload_tickets(&paths).await?;
        let tickets = request.files.iter().zip(paths).zip(granted);
        Ok(Tickets { tickets: tickets.map(|((file, key), granted)| ticket(file, key, granted)).collect() })
    }
}

fn ticket(file: &TicketedFile, key: String, granted: UploadTicket) -> Ticket {
    let (method, headers, fields) = match granted.upload {
        Upload::Put { headers } => {
            let kind = ("content-type".to_owned(), file.content_type.clone());
            ("PUT", Some(headers.into_iter().chain([kind]).collect()), None)
        }
        Upload::Form { fields } => ("POST", None, Some(fields)),
    };
    Ticket {
        index: file.index,
        method,
        url: granted.url.to_string(),
        headers,
        fields,
        expires_at: granted.expires_at,
        key,
        meta: TicketMeta { fileid: granted.file_id },
    }
}
