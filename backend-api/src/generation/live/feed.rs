//! Reading the gateway's feed: one stream for all who watch, for as long as somebody does. It is resumed where it broke
//! off. While it cannot be had, the standings of jobs are asked for instead ([`super::standings`]).

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::audience::Audience;
use super::standings::Standings;
use crate::error_chain::chain;
use crate::gateway_client::{AskError, Event, Feed, Word};
use crate::generation::Generation;

/// A feed that broke off is opened again after this; the pause doubles …
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// … up to this.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Who reads.
pub(super) struct Reader {
    pub(super) generation: Generation,
    pub(super) audience: Arc<Audience>,
    pub(super) standings: Arc<Standings>,
}

impl Reader {
    /// Reads on until nobody watches any more.
    pub(super) async fn run(self, until: CancellationToken) {
        until.run_until_cancelled(self.read_on()).await;
        debug!("feed is not read any more");
    }

    async fn read_on(&self) {
        let (mut cursor, mut pause) = (None, PAUSE_FIRST);
        loop {
            match self.generation.inner.gateway.feed(cursor.as_deref()).await {
                Ok(mut feed) => {
                    if self.follow(&mut feed).await {
                        pause = PAUSE_FIRST;
                    }
                    cursor = feed.cursor().map(str::to_owned);
                }
                // Jobs that are watched are asked about when the next one opens.
                Err(AskError::Refused(refusal)) if refusal.code == "cursor_expired" => cursor = None,
                Err(error) if pause == PAUSE_FIRST => {
                    warn!(error = %chain(&error), "feed cannot be had, jobs are asked about instead");
                }
                Err(error) => debug!(error = %chain(&error), "feed cannot be had yet"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Hands on what a feed says until it breaks off; whether it said anything.
    async fn follow(&self, feed: &mut Feed) -> bool {
        let _followed = self.standings.follow();
        debug!("feed is read");
        let mut has_spoken = false;
        loop {
            match feed.next().await {
                Ok(Some(Word::Event(event))) => self.tell(&event).await,
                Ok(Some(Word::Still)) => {}
                Ok(Some(Word::Expired) | None) => return has_spoken,
                Err(error) => {
                    debug!(error = %chain(&error), "feed broke off");
                    return has_spoken;
                }
            }
            has_spoken = true;
        }
    }

    /// Brings an event about a job that somebody watches into our books, and tells them.
    async fn tell(&self, event: &Event) {
        if !self.standings.note(event) {
            return;
        }
        match self.generation.told_by_gateway(event).await {
            Ok(Some(artwork)) => self.audience.ring(artwork.user),
            Ok(None) => {}
            Err(error) => warn!(error = %chain(&error), "event of the feed is left to the next look"),
        }
    }
}
