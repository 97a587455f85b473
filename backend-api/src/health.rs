//! Whether anything could be recorded now, and whether the gateway would take it. Asked every few seconds for ever, so
//! the log has a line when that changes, and no other.

use std::sync::{Arc, Mutex, PoisonError};

use tracing::{error, info, warn};

use crate::db::{self, Database};
use crate::error_chain::chain;
use crate::gateway_client::{GatewayClient, Readiness};

/// Looks after what we live on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Health {
    database: Database,
    gateway: GatewayClient,
    last: Arc<Mutex<State>>,
}

/// How we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Everything answers.
    Ready,
    /// Artworks are recorded, but not submitted now.
    Degraded {
        /// What the gateway says of itself.
        gateway: Readiness,
    },
    /// Nothing can be recorded.
    Unready {
        /// What the gateway says of itself.
        gateway: Readiness,
    },
}

impl State {
    /// What the gateway says of itself.
    pub fn gateway(self) -> Readiness {
        match self {
            Self::Ready => Readiness::Ready,
            Self::Degraded { gateway } | Self::Unready { gateway } => gateway,
        }
    }
}

impl Health {
    /// Of a process that lives on these. It counts as ready until somebody has looked.
    pub fn new(database: Database, gateway: GatewayClient) -> Self {
        Self { database, gateway, last: Arc::new(Mutex::new(State::Ready)) }
    }

    /// Asks both.
    pub async fn look(&self) -> State {
        let (database, gateway) = tokio::join!(self.database.probe(), self.gateway.readiness());
        let state = match (&database, gateway) {
            (Err(_), gateway) => State::Unready { gateway },
            (Ok(()), Readiness::Ready) => State::Ready,
            (Ok(()), gateway) => State::Degraded { gateway },
        };
        if self.is_news(state) {
            report(state, database.err().as_ref());
        }
        state
    }

    fn is_news(&self, state: State) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *last, state) != state
    }
}

fn report(state: State, error: Option<&db::Error>) {
    let gateway = state.gateway().as_str();
    match (state, error) {
        (State::Ready, _) => info!("everything answers again"),
        (State::Degraded { .. }, _) => warn!(gateway, "gateway takes nothing now"),
        (State::Unready { .. }, Some(cause)) => {
            error!(gateway, error = %chain(cause), "database is not ready");
        }
        (State::Unready { .. }, None) => error!(gateway, "database is not ready"),
    }
}
