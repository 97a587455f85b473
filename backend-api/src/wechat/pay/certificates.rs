//! Platform certificates: fetched, opened with the APIv3 key, renewed every twelve hours (FACTS 3.3).

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use super::call::Call;
use super::callback::Resource;
use super::{Merchant, PayError, PlatformKeys, Unverified, Verified};
use crate::error_chain::chain;
use crate::wechat::TransportError;
use crate::wechat::crypto::Certificate;

/// Certificates older than this are fetched anew before a call.
const REFRESH_AFTER: Duration = Duration::from_secs(12 * 3_600);
/// An unknown serial, which anybody can send, has them fetched this often at most.
const REFRESH_INTERVAL: Duration = Duration::from_secs(60);

/// When certificates were asked for. The lock is held over the call, so one call serves all who wait.
#[derive(Debug, Default)]
pub(super) struct Certificates(Mutex<Fetched>);

#[derive(Debug, Default)]
struct Fetched {
    tried_at: Option<Instant>,
    done_at: Option<Instant>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    data: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    serial_no: String,
    encrypt_certificate: Resource,
}

impl Merchant {
    /// Whether `body`, as it came, is signed by the platform and of about `now`. With certificates, an unknown serial
    /// has them fetched first, if that was not done a moment ago.
    ///
    /// # Errors
    /// See [`Unverified`].
    pub async fn verify<'a>(
        &self,
        headers: &HeaderMap,
        body: &'a [u8],
        now: Timestamp,
    ) -> Result<Verified<'a>, Unverified> {
        match self.inner.platform_keys.verify(headers, body, now) {
            Err(Unverified::UnknownKey) if self.inner.options.fetch_certificates => {
                self.refresh(REFRESH_INTERVAL).await;
                self.inner.platform_keys.verify(headers, body, now)
            }
            outcome => outcome,
        }
    }

    /// Before a call: fetches certificates that are missing or old.
    pub(super) async fn prepare_keys(&self) {
        if self.inner.options.fetch_certificates {
            self.refresh(REFRESH_AFTER).await;
        }
    }

    /// Fetches the certificates unless that was done within `age`. A failure leaves the known ones.
    async fn refresh(&self, age: Duration) {
        let mut fetched = self.inner.certificates.0.lock().await;
        let is_recent = |at: Option<Instant>, age| at.is_some_and(|at: Instant| at.elapsed() < age);
        if is_recent(fetched.done_at, age) || is_recent(fetched.tried_at, REFRESH_INTERVAL) {
            return;
        }
        fetched.tried_at = Some(Instant::now());
        match self.certificates().await {
            Ok(count) => {
                fetched.done_at = Some(Instant::now());
                info!(count, "platform certificates fetched");
            }
            Err(error) => warn!(error = %chain(&error), "platform certificates could not be fetched"),
        }
    }

    /// Fetches the certificates and takes them in; says how many. The answer is signed with a key that is known, or with
    /// one of those that it brings: here alone something is opened before the signature is verified, with a key that only
    /// the platform and we have.
    ///
    /// # Errors
    /// See [`PayError`]; the known keys stay.
    pub async fn certificates(&self) -> Result<usize, PayError> {
        let reply = self.exchange(&Call::get(&["v3", "certificates"])).await?;
        let answer: Answer = serde_json::from_slice(&reply.body).map_err(TransportError::from)?;
        let brought = PlatformKeys::default();
        for listed in &answer.data {
            let Certificate { serial, key } = self.open_certificate(listed)?;
            brought.add(&serial, key);
        }
        let now = Timestamp::now();
        match self.inner.platform_keys.verify(&reply.headers, &reply.body, now) {
            Err(Unverified::UnknownKey) => brought.verify(&reply.headers, &reply.body, now)?,
            outcome => outcome?,
        };
        Ok(self.inner.platform_keys.take_in(brought))
    }

    fn open_certificate(&self, listed: &Listed) -> Result<Certificate, TransportError> {
        let wrapped = &listed.encrypt_certificate;
        let pem =
            self.open(wrapped).map_err(|_| TransportError::Incomplete("certificate that our key opens"))?;
        str::from_utf8(&pem)
            .ok()
            .and_then(|pem| Certificate::from_pem(pem).ok())
            .filter(|certificate| certificate.serial.eq_ignore_ascii_case(&listed.serial_no))
            .ok_or(TransportError::Incomplete("certificate with the serial that it announces"))
    }
}
