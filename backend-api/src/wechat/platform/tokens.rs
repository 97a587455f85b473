//! The access token (FACTS 1.13, `stable_token`): cached, fetched by one for all who wait, renewed before it ends.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Call, Platform};
use crate::error_chain::chain;
use crate::wechat::{CallError, TransportError};

/// In its last five minutes a token still counts, and the platform gives out the next one (FACTS 1.13).
const OVERLAP: Duration = Duration::from_secs(300);
/// After a renewal that failed while the old token counts, calls do without another try for this long.
const RENEWAL_PAUSE: Duration = Duration::from_secs(10);
/// The platform takes 20 forced renewals a day (FACTS 1.13); with this between them we stay below.
const FORCE_INTERVAL: Duration = Duration::from_secs(75 * 60);
/// A lifetime that nobody promised is not believed.
const LIFETIME_MAX: Duration = Duration::from_secs(7_200);

/// The token of one app, shared by all its calls. The lock is held over the fetch: whoever waits for it finds what
/// the fetch brought, a failure included, so that nobody waits for more than one of them.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    failed: Option<(Instant, CallError)>,
    forced_at: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Held {
    token: SecretString,
    renew_at: Instant,
    ends_at: Instant,
}

impl Tokens {
    /// A token that should count now.
    pub(super) async fn get(&self, platform: &Platform) -> Result<SecretString, CallError> {
        let asked_at = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(held) = state.held.as_ref().filter(|held| Instant::now() < held.renew_at) {
            return Ok(held.token.clone());
        }
        match state.fetch(platform, asked_at, false).await {
            Ok(token) => Ok(token),
            Err(error) => state.make_do(&error).ok_or(error),
        }
    }

    /// A token other than `refused`, if the platform has one.
    pub(super) async fn renew(
        &self,
        platform: &Platform,
        refused: &SecretString,
    ) -> Result<SecretString, CallError> {
        let asked_at = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(held) = state.held.as_ref().filter(|held| !is_same(&held.token, refused)) {
            return Ok(held.token.clone()); // somebody else was faster
        }
        state.held = None;
        let token = state.fetch(platform, asked_at, false).await?;
        let may_force = state.forced_at.is_none_or(|at| at.elapsed() >= FORCE_INTERVAL);
        if !is_same(&token, refused) || !may_force {
            return Ok(token);
        }
        state.forced_at = Some(Instant::now());
        info!("the platform gives out a token that its calls refuse, so a new one is forced");
        state.fetch(platform, asked_at, true).await
    }
}

impl State {
    /// Fetches a token, unless somebody failed to while we waited for the lock.
    async fn fetch(
        &mut self,
        platform: &Platform,
        asked_at: Instant,
        force: bool,
    ) -> Result<SecretString, CallError> {
        if let Some((at, error)) = &self.failed
            && *at >= asked_at
        {
            return Err(error.clone());
        }
        match fetch(platform, force).await {
            Ok(held) => {
                let token = held.token.clone();
                (self.held, self.failed) = (Some(held), None);
                Ok(token)
            }
            Err(error) => {
                self.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// The token in its last minutes, when no new one came.
    fn make_do(&mut self, error: &CallError) -> Option<SecretString> {
        let now = Instant::now();
        let held = self.held.as_mut().filter(|held| now < held.ends_at)?;
        held.renew_at = now + RENEWAL_PAUSE;
        warn!(error = %chain(error), "the access token could not be renewed in time, the old one is used");
        Some(held.token.clone())
    }
}

async fn fetch(platform: &Platform, force: bool) -> Result<Held, CallError> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        access_token: SecretString,
        #[serde(default)]
        expires_in: u64,
    }
    let options = &platform.inner.options;
    let call = Call::post_json(
        "/cgi-bin/stable_token",
        &json!({
            "grant_type": "client_credential",
            "appid": options.app_id,
            "secret": options.secret.expose_secret(),
            "force_refresh": force,
        }),
    );
    let started_at = Instant::now();
    let answer: Answer = platform.call_bare(&call).await?;
    if answer.access_token.expose_secret().is_empty() {
        return Err(TransportError::Incomplete("access_token").into());
    }
    let lifetime = Duration::from_secs(answer.expires_in).min(LIFETIME_MAX);
    Ok(Held {
        token: answer.access_token,
        renew_at: started_at + lifetime - OVERLAP.min(lifetime / 2),
        ends_at: started_at + lifetime,
    })
}

fn is_same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}
