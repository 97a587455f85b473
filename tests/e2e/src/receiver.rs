//! A receiver of webhooks that outlives the gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What a receiver does with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Takes it.
    Takes,
    /// Answers 500.
    Fails,
    /// Says nothing until its mood changes, then fails.
    Holds,
}

/// An event as it came.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The job's internal id.
    pub job: String,
    /// The event's revision.
    pub revision: u64,
    /// The event's type.
    pub kind: String,
    /// Whether the answer was yes.
    pub taken: bool,
}

#[derive(Clone)]
struct Shared {
    mood: watch::Sender<Mood>,
    heard: Arc<Mutex<Vec<Heard>>>,
}

/// A listening receiver.
pub struct Receiver {
    address: SocketAddr,
    shared: Shared,
}

impl Receiver {
    /// Listens on loopback.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn start(mood: Mood) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for a receiver")?;
        let address = listener.local_addr()?;
        let shared = Shared { mood: watch::Sender::new(mood), heard: Arc::default() };
        let app = Router::new().fallback(hear).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { address, shared })
    }

    /// Where events go.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Changes its mood.
    pub fn become_of(&self, mood: Mood) {
        self.shared.mood.send_replace(mood);
    }

    /// Everything that came, in order.
    #[must_use]
    pub fn heard(&self) -> Vec<Heard> {
        self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Jobs whose end was taken.
    #[must_use]
    pub fn ended(&self) -> BTreeSet<String> {
        let heard = self.heard().into_iter();
        heard.filter(|one| one.taken && one.kind == "job.succeeded").map(|one| one.job).collect()
    }

    /// Checks that everything that was taken came in order for each job, repeats allowed, and returns it as id and
    /// type.
    ///
    /// # Errors
    /// When an event came before an earlier one of its job.
    pub fn in_order(&self) -> anyhow::Result<BTreeSet<(String, String)>> {
        let mut jobs: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        let mut all = BTreeSet::new();
        for one in self.heard().into_iter().filter(|one| one.taken) {
            let known = jobs.entry(one.job.clone()).or_default();
            let newest = known.last().copied().unwrap_or(0);
            ensure!(one.revision > newest || known.contains(&one.revision), "{one:?} after {known:?}");
            known.insert(one.revision);
            all.insert((format!("{}.{}", one.job, one.revision), one.kind));
        }
        Ok(all)
    }
}

async fn hear(State(shared): State<Shared>, body: String) -> StatusCode {
    let mut moods = shared.mood.subscribe();
    let mood = *moods.borrow_and_update();
    let event: Value = serde_json::from_str(&body).unwrap_or_default();
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let heard = Heard {
        job: text("job_id"),
        revision: event["revision"].as_u64().unwrap_or_default(),
        kind: text("type"),
        taken: mood == Mood::Takes,
    };
    shared.heard.lock().unwrap_or_else(PoisonError::into_inner).push(heard);
    match mood {
        Mood::Takes => StatusCode::NO_CONTENT,
        Mood::Fails => StatusCode::INTERNAL_SERVER_ERROR,
        Mood::Holds => {
            let _ = moods.changed().await;
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}
