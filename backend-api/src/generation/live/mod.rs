//! Live progress over sockets. A socket is opened by a ticket that is good once and for a moment. While sockets are open
//! one feed of the gateway is read for all of them, and each is told at once of what it says; the progress of what runs,
//! and everything while the feed cannot be had, is asked for in one request a period, however many sockets there are.
//! What they show beyond that is in our own books.

mod audience;
mod feed;
mod standings;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use watch::Watch;

use super::Generation;
use crate::clock::now;
use crate::db;
use crate::domain::{Millis, UserId};
use audience::{Audience, Presence};
use feed::Reader;
use standings::Standings;

/// How long a ticket is good.
const TICKET_FOR: Duration = Duration::from_secs(30);

/// Bounds of sockets.
#[derive(Debug, Clone)]
pub struct LiveOptions {
    /// Sockets that are open at once.
    pub max_sockets: usize,
    /// How often a socket looks for news.
    pub look_every: Duration,
    /// After this a socket is closed; its owner comes with a new ticket.
    pub socket_for: Duration,
}

/// Everybody who watches. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    generation: Generation,
    options: LiveOptions,
    seats: Arc<Semaphore>,
    audience: Arc<Audience>,
    standings: Arc<Standings>,
    stop: CancellationToken,
}

/// Why a socket is not opened.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// The ticket is none of ours, was used, or its moment has passed.
    #[error("the ticket is not good")]
    Ticket,
    /// All seats are taken.
    #[error("too many sockets are open")]
    Full,
    /// Whether the ticket was used is not known.
    #[error(transparent)]
    Database(#[from] db::Error),
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}

impl Live {
    /// Nobody watches yet.
    pub fn new(generation: Generation) -> Self {
        let options = generation.inner.options.live.clone();
        let seats = Arc::new(Semaphore::new(options.max_sockets));
        let standings = Arc::new(Standings::new(options.look_every));
        let (audience, stop) = (Arc::default(), CancellationToken::new());
        Self { generation, options, seats, audience, standings, stop }
    }

    /// A ticket for one socket, and how long it is good.
    pub fn ticket(&self, user: UserId) -> (String, Duration) {
        let lifetime = Millis::try_from(TICKET_FOR.as_millis()).unwrap_or(0);
        (self.generation.inner.names.ticket(user, now().saturating_add(lifetime)), TICKET_FOR)
    }

    /// Lets who has a good ticket watch, and uses it up.
    ///
    /// # Errors
    /// See [`AdmitError`].
    pub async fn admit(&self, ticket: &str) -> Result<Watch, AdmitError> {
        let inner = &self.generation.inner;
        let (user, ends_at) = inner.names.ticket_of(ticket).ok_or(AdmitError::Ticket)?;
        if ends_at < now() {
            return Err(AdmitError::Ticket);
        }
        let seat = self.seats.clone().try_acquire_owned().map_err(|_| AdmitError::Full)?;
        let mut noted = [0; 32];
        noted.copy_from_slice(digest(&SHA256, ticket.as_bytes()).as_ref());
        // Not repeated: a lost answer leaves the ticket used up, and its owner gets another.
        if !inner.database.note_nonce(noted, now()).await? {
            return Err(AdmitError::Ticket);
        }
        Ok(Watch::new(self.clone(), user, (seat, self.enter(user))))
    }

    /// Whoever comes first has the feed read beside everybody, until the last has gone.
    fn enter(&self, user: UserId) -> Presence {
        let (presence, reading) = self.audience.enter(user, &self.stop);
        if let Some(until) = reading {
            let (audience, standings) = (self.audience.clone(), self.standings.clone());
            let reader = Reader { generation: self.generation.clone(), audience, standings };
            tokio::spawn(reader.run(until));
        }
        presence
    }

    /// Bounds of sockets.
    pub fn options(&self) -> &LiveOptions {
        &self.options
    }

    /// Closes every socket.
    pub fn end(&self) {
        self.stop.cancel();
    }

    /// Ends when sockets have to close.
    pub async fn ended(&self) {
        self.stop.cancelled().await;
    }
}
