//! Signatures of the platform over replies and callbacks (FACTS 3.3).

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use reqwest::header::HeaderMap;

use crate::wechat::crypto::{BadSignature, VerifyingKey};

/// A message is refused when its clock and ours differ by this many seconds or more.
pub const CLOCK_WINDOW: u64 = 300;

/// Bytes that the platform signed. There is no other way to get one than to verify.
#[derive(Debug, Clone, Copy)]
pub struct Verified<'a>(&'a [u8]);

impl<'a> Verified<'a> {
    /// What was signed, unchanged.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }
}

/// Why a message is not believed. Probes of the platform (`WECHATPAY/SIGNTEST/…`) end here too, like any signature that
/// does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// A header is missing, doubled or unreadable.
    #[error("the header {0} is missing, doubled or unreadable")]
    Header(&'static str),
    /// It is from another time: replayed, or a clock is wrong.
    #[error("the message is {off_by_seconds} s off our clock")]
    Clock {
        /// How far, in either direction.
        off_by_seconds: u64,
    },
    /// No key with this serial is known.
    #[error("the message is signed with an unknown key")]
    UnknownKey,
    /// The signature is not the key's over these bytes.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

/// The platform's keys by serial or id. Both modes occur during a migration.
#[derive(Debug, Default)]
pub struct PlatformKeys {
    keys: RwLock<HashMap<String, Arc<VerifyingKey>>>,
}

impl PlatformKeys {
    /// Takes a key in; one of the same name is replaced.
    pub fn add(&self, name: &str, key: VerifyingKey) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.insert(name.to_owned(), Arc::new(key));
    }

    /// Takes all keys of `others` in; says how many.
    pub(super) fn take_in(&self, others: Self) -> usize {
        let others = others.keys.into_inner().unwrap_or_else(PoisonError::into_inner);
        let count = others.len();
        self.keys.write().unwrap_or_else(PoisonError::into_inner).extend(others);
        count
    }

    /// Whether `body`, as it came, is signed by the platform and of about `now`.
    ///
    /// # Errors
    /// See [`Unverified`].
    pub fn verify<'a>(
        &self,
        headers: &HeaderMap,
        body: &'a [u8],
        now: Timestamp,
    ) -> Result<Verified<'a>, Unverified> {
        let timestamp = only(headers, "wechatpay-timestamp")?;
        let at: i64 = timestamp.parse().map_err(|_| Unverified::Header("wechatpay-timestamp"))?;
        let off_by_seconds = now.as_second().abs_diff(at);
        if off_by_seconds >= CLOCK_WINDOW {
            return Err(Unverified::Clock { off_by_seconds });
        }
        let key = self.key(only(headers, "wechatpay-serial")?).ok_or(Unverified::UnknownKey)?;
        let message = signed_message(timestamp, only(headers, "wechatpay-nonce")?, body);
        key.verify(&message, only(headers, "wechatpay-signature")?)?;
        Ok(Verified(body))
    }

    fn key(&self, name: &str) -> Option<Arc<VerifyingKey>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

/// The three lines that the platform signs, each with its line feed.
pub fn signed_message(timestamp: &str, nonce: &str, body: &[u8]) -> Vec<u8> {
    [format!("{timestamp}\n{nonce}\n").as_bytes(), body, b"\n"].concat()
}

/// The value of a header that occurs exactly once.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Unverified> {
    let mut values = headers.get_all(name).iter();
    match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(Unverified::Header(name)),
    }
}
