//! What goes wrong on command: with requests, and with callbacks.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// Something that goes wrong with requests.
///
/// As JSON: `{"matching": "POST /v3/pay", "times": 2, "trouble": "drop_after"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// A part of the request's line, `METHOD /path`; empty matches all.
    pub matching: String,
    /// How many requests it meets.
    #[serde(default = "once")]
    pub times: u32,
    /// What happens to them.
    #[serde(flatten)]
    pub trouble: Trouble,
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "trouble", rename_all = "snake_case")]
pub enum Trouble {
    /// Carried out and answered this much later.
    Slow {
        /// Milliseconds.
        ms: u64,
    },
    /// The connection breaks, nothing was done.
    DropBefore,
    /// Carried out, then the connection breaks.
    DropAfter,
    /// Not carried out; answered with this status and no body.
    Status {
        /// The status.
        status: u16,
    },
    /// Carried out; the answer is 200 and not JSON.
    Garbage,
    /// Not carried out; the answer never ends.
    Endless,
    /// Not carried out; answered as the open platform does: quota (45009), busy (-1), a token that ended (42001), …
    Wx {
        /// The error code.
        errcode: i64,
    },
    /// Not carried out; answered as WeChat Pay does.
    Pay {
        /// The status.
        status: u16,
        /// The error code.
        code: String,
    },
    /// Carried out; the answer of WeChat Pay is sealed so.
    Seal {
        /// How.
        seal: Seal,
    },
    /// A bill is promised with the digest of another file.
    WrongDigest,
}

/// How a message of WeChat Pay is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seal {
    /// As it should be.
    #[default]
    Good,
    /// By another key.
    Forged,
    /// A probe: `WECHATPAY/SIGNTEST/…` (FACTS §3.3).
    SignTest,
    /// Correctly, under a serial that nobody knows.
    WrongSerial,
    /// Correctly, six minutes ago.
    Stale,
    /// Correctly, six minutes ahead.
    Early,
    /// Correctly, for another body.
    Tampered,
    /// Not at all.
    Missing,
}

impl Seal {
    /// All that have to be refused.
    pub const BAD: [Seal; 7] = [
        Seal::Forged,
        Seal::SignTest,
        Seal::WrongSerial,
        Seal::Stale,
        Seal::Early,
        Seal::Tampered,
        Seal::Missing,
    ];
}

/// Something that goes wrong with callbacks and pushed events.
///
/// As JSON: `{"matching": "TRANSACTION.SUCCESS", "mishap": "copies", "count": 50}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CourierFault {
    /// A part of the event's type (`TRANSACTION.SUCCESS`, `wxa_media_check`); empty matches all.
    pub matching: String,
    /// How many callbacks it meets.
    #[serde(default = "once")]
    pub times: u32,
    /// What happens to them.
    #[serde(flatten)]
    pub mishap: Mishap,
}

/// What happens to a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mishap", rename_all = "snake_case")]
pub enum Mishap {
    /// It is never sent.
    Lose,
    /// Sent so many times at once.
    Copies {
        /// How many.
        count: u32,
    },
    /// Sent this much later.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// Kept until `release`.
    Hold,
    /// Sealed so once, then sent as it should be.
    SealedFirst {
        /// How.
        seal: Seal,
    },
    /// Only ever sealed so, and sent once.
    SealedOnly {
        /// How.
        seal: Seal,
    },
}

fn once() -> u32 {
    1
}

/// What is still to go wrong.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    requests: VecDeque<Fault>,
    couriers: VecDeque<CourierFault>,
}

impl Faults {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, fault: Fault) {
        self.inner().requests.push_back(fault);
    }

    pub(crate) fn add_courier(&self, fault: CourierFault) {
        self.inner().couriers.push_back(fault);
    }

    pub(crate) fn clear(&self) {
        *self.inner() = Inner::default();
    }

    /// What is to happen to this request, counted.
    pub(crate) fn of_request(&self, line: &str) -> Option<Trouble> {
        let mut inner = self.inner();
        let at = inner.requests.iter().position(|fault| line.contains(&fault.matching) && fault.times > 0)?;
        let fault = &mut inner.requests[at];
        fault.times -= 1;
        Some(fault.trouble.clone())
    }

    /// What is to happen to this callback, counted.
    pub(crate) fn of_callback(&self, kind: &str) -> Option<Mishap> {
        let mut inner = self.inner();
        let at = inner.couriers.iter().position(|fault| kind.contains(&fault.matching) && fault.times > 0)?;
        let fault = &mut inner.couriers[at];
        fault.times -= 1;
        Some(fault.mishap)
    }
}
