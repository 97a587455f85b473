//! Files to where their tickets say: one request, a form, or pieces; again and again until they are there.
//!
//! What a bucket says of the bytes that arrived is compared with what was sent. No file is ever whole in memory, and no
//! wait is without an end.

mod body;
mod desk;
mod parts;
mod record;
mod reply;
mod session;
mod stream;
mod whole;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use tokio::sync::Semaphore;

pub(crate) use self::stream::{StreamError, stream};
use crate::link::message::Ticket;
use crate::link::ticket::{Answer, Ask, Desk, DeskError, Pieces};
use crate::runner::config::{Config, Times};

/// A bucket may ask for a pause of at most this.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(5);
/// So often in a row a bucket may hold other bytes than it was sent; then it is not the way that is at fault.
const DIFFERENT_MAX: u32 = 3;

/// Why an upload has not worked yet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// Its time is over: ask for another.
    #[error("the ticket has expired")]
    Expired,
    /// The bucket does not take the ticket, though it has not expired: another may not help at once.
    #[error("{0}")]
    Refused(String),
    /// The file cannot be read here.
    #[error("the spooled file cannot be read")]
    Unreadable(#[source] io::Error),
    /// The bucket or the way to it: try again.
    #[error("{0}")]
    Retry(String),
}

/// What uploads are made with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Means<'a> {
    /// From [`client`].
    pub(crate) http: &'a Client,
    /// For tickets whose desk is in this process.
    pub(crate) desk: Option<&'a dyn Desk>,
    /// Bounds how many files are on their way.
    pub(crate) lanes: &'a Semaphore,
    pub(crate) times: &'a Times,
}

/// A file in the spool.
#[derive(Debug, Clone, Copy)]
struct Spooled<'a> {
    path: &'a Path,
    size_bytes: u64,
}

/// Why one try did not work.
#[derive(Debug)]
enum Fault {
    Expired,
    Refused(String),
    Unreadable(io::Error),
    /// Not now; after a pause where one was asked for.
    Again(String, Option<Duration>),
    /// The bucket holds other bytes than were sent.
    Different(String),
}

impl Fault {
    fn again(why: impl Into<String>) -> Self {
        Self::Again(why.into(), None)
    }
}

impl From<Fault> for UploadError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Expired => Self::Expired,
            Fault::Refused(why) | Fault::Different(why) => Self::Refused(why),
            Fault::Unreadable(error) => Self::Unreadable(error),
            Fault::Again(why, _) => Self::Retry(why),
        }
    }
}

impl From<DeskError> for Fault {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Expired => Self::Expired,
            DeskError::Refused(why) => Self::Refused(why),
            DeskError::Gone(why) | DeskError::NotNow(why) => Self::again(why),
        }
    }
}

/// Sends the file as the ticket says; tried again with back-off until it works or the ticket is worth nothing. In
/// pieces it goes on where an earlier call of this or of an earlier process ended.
pub(crate) async fn put(
    means: Means<'_>,
    ticket: &Ticket,
    path: &Path,
    size_bytes: u64,
) -> Result<(), UploadError> {
    let file = Spooled { path, size_bytes };
    let (mut pause, longest) = means.times.upload_backoff;
    let (mut may_be_there, mut different) = (false, 0);
    loop {
        let lane = means.lanes.acquire().await.map_err(|error| UploadError::Retry(error.to_string()))?;
        let sent = put_once(means, ticket, file, may_be_there).await;
        drop(lane);
        let fault = match sent {
            Ok(()) => return Ok(()),
            Err(fault) => fault,
        };
        let wanted = match &fault {
            Fault::Again(_, wanted) => wanted.unwrap_or_default().min(RETRY_AFTER_MAX),
            Fault::Different(_) if different + 1 < DIFFERENT_MAX => {
                different += 1;
                Duration::ZERO
            }
            _ => return Err(fault.into()),
        };
        // an answer that did not come may have been a yes
        may_be_there = true;
        let wait = jittered(pause).max(wanted);
        pause = (pause * 2).min(longest);
        let error = UploadError::from(fault);
        tracing::warn!(%error, pause = ?wait, "upload failed, trying again");
        tokio::time::sleep(wait).await;
    }
}

async fn put_once(
    means: Means<'_>,
    ticket: &Ticket,
    file: Spooled<'_>,
    may_be_there: bool,
) -> Result<(), Fault> {
    match ticket {
        Ticket::File { .. } => Err(Fault::Expired),
        Ticket::Http { .. } | Ticket::Form { .. } => {
            let check = if may_be_there { whole::Check::Believe } else { whole::Check::Impossible };
            whole::put(means, ticket, file, check).await
        }
        Ticket::BySize { whole: Some(whole), pieces } if file.size_bytes <= pieces.above_bytes => {
            whole::put(means, whole, file, whole::Check::Ask(pieces)).await
        }
        Ticket::BySize { pieces, .. } => in_pieces(means, pieces, file).await,
    }
}

/// Goes on with what the record beside the file says, or begins.
async fn in_pieces(means: Means<'_>, pieces: &Pieces, file: Spooled<'_>) -> Result<(), Fault> {
    in_time(pieces.expires_at)?;
    let record = match record::load(file.path, file.size_bytes).await {
        Some(record) => record,
        None => {
            let begun = ask(means, pieces, Ask::Begin { size_bytes: Some(file.size_bytes) }).await?;
            if let Answer::There { .. } = begun {
                return whole::compare(file, &begun).await;
            }
            record::begin(file.path, file.size_bytes, begun).await?
        }
    };
    let sent = match &record.place {
        record::Place::Parts { .. } => parts::put(means, pieces, file, &record).await,
        record::Place::Session { .. } => session::put(means, file, &record).await,
    };
    match sent {
        Ok(()) => record::forget(file.path).await,
        Err(pieces::Lost::Begun(why)) => {
            record::forget(file.path).await;
            return Err(Fault::Different(why));
        }
        Err(pieces::Lost::Nothing(fault)) => return Err(fault),
    }
    Ok(())
}

/// How an upload in pieces stopped.
mod pieces {
    use super::{DeskError, Fault};

    #[derive(Debug)]
    pub(super) enum Lost {
        /// What was uploaded so far is of no use: begin anew.
        Begun(String),
        /// What was uploaded so far stays.
        Nothing(Fault),
    }

    impl From<Fault> for Lost {
        fn from(fault: Fault) -> Self {
            Self::Nothing(fault)
        }
    }

    impl From<DeskError> for Lost {
        fn from(error: DeskError) -> Self {
            match error {
                DeskError::Gone(why) => Self::Begun(why),
                error => Self::Nothing(error.into()),
            }
        }
    }
}

/// Asks the desk of a ticket, here or there.
async fn ask(means: Means<'_>, pieces: &Pieces, ask: Ask) -> Result<Answer, DeskError> {
    match (&pieces.desk, means.desk) {
        (Some(url), _) => desk::ask(means, url, &ask).await,
        (None, Some(desk)) => desk.ask(&pieces.token, ask).await,
        (None, None) => Err(DeskError::Refused("the ticket's desk is in another process".to_owned())),
    }
}

fn in_time(expires_at: i64) -> Result<(), Fault> {
    let is_over = jiff::Timestamp::now().as_millisecond() >= expires_at;
    if is_over { Err(Fault::Expired) } else { Ok(()) }
}

/// Between the pause and one and a half of it, so that many do not come at once.
fn jittered(pause: Duration) -> Duration {
    let share = u32::from(uuid::Uuid::new_v4().as_bytes()[0]);
    pause + pause * share / 510
}

/// The client for uploads to stores of ours: its waits are bounded by progress, which a time-out of requests does not
/// see.
pub(crate) fn client(config: &Config) -> Result<Client, reqwest::Error> {
    client_by(config, Arc::new(crate::names::Names))
}

/// The same for buckets of callers: names that callers choose lead only where outside URLs may lead.
pub(crate) fn outside_client(config: &Config) -> Result<Client, reqwest::Error> {
    match &config.outside {
        Some(outside) => client_by(config, outside.resolver()),
        None => client(config),
    }
}

fn client_by(config: &Config, resolver: Arc<dyn reqwest::dns::Resolve>) -> Result<Client, reqwest::Error> {
    let builder = || {
        Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .tcp_nodelay(true)
            .dns_resolver(resolver.clone())
            .connect_timeout(config.times.connect_timeout)
            .pool_max_idle_per_host(8)
    };
    builder().build().or_else(|error| {
        tracing::warn!(%error, "no certificate authorities, buckets behind TLS will not work");
        builder().tls_certs_only([]).build()
    })
}

/// A URL that must not show.
fn hidden(error: reqwest::Error) -> String {
    crate::artifacts::http::words(&error.without_url())
}

#[cfg(test)]
mod tests;
