//! How often one caller may, in bounded memory.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::door::Rate;
use crate::clock::now;
use crate::domain::{UserId, WechatAccount};

/// Full tables are swept at most this often.
const SWEEP_PAUSE_MILLIS: i64 = 1_000;

/// Requests a minute of one caller, and how many callers are told apart.
#[derive(Debug, Clone, Copy)]
pub struct RateOptions {
    /// Logins and their like.
    pub logins_per_minute: NonZeroU32,
    /// Looking.
    pub reads_per_minute: NonZeroU32,
    /// Changing.
    pub writes_per_minute: NonZeroU32,
    /// Callers of each kind that are told apart; when there are more, the others share one allowance.
    pub max_callers: usize,
}

/// By what callers are told apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A person.
    User(UserId),
    /// A person who has not logged in, by WeChat's word.
    Account(WechatAccount),
    /// A stranger.
    Address(IpAddr),
    /// A machine with a credential of its own; not counted.
    Machine,
    /// All for whom there was no room.
    Others,
}

/// The allowances of all callers.
pub(super) struct Limits {
    logins: Allowance,
    reads: Allowance,
    writes: Allowance,
    max_callers: usize,
}

struct Allowance {
    limiter: DefaultKeyedRateLimiter<Key>,
    swept_at: AtomicI64,
}

impl Limits {
    pub(super) fn new(options: &RateOptions) -> Self {
        Self {
            logins: Allowance::new(options.logins_per_minute),
            reads: Allowance::new(options.reads_per_minute),
            writes: Allowance::new(options.writes_per_minute),
            max_callers: options.max_callers,
        }
    }

    /// Counts one request.
    ///
    /// # Errors
    /// How long to wait, when it is one too many.
    pub(super) fn check(&self, rate: Rate, key: Key) -> Result<(), Duration> {
        let allowance = match rate {
            Rate::Login => &self.logins,
            Rate::Read => &self.reads,
            Rate::Write => &self.writes,
            Rate::Unlimited => return Ok(()),
        };
        if key == Key::Machine {
            return Ok(());
        }
        allowance.check(key, self.max_callers)
    }
}

impl Allowance {
    fn new(per_minute: NonZeroU32) -> Self {
        Self { limiter: RateLimiter::keyed(Quota::per_minute(per_minute)), swept_at: AtomicI64::new(0) }
    }

    fn check(&self, key: Key, max: usize) -> Result<(), Duration> {
        if self.limiter.len() >= max {
            self.sweep();
        }
        let key = if self.limiter.len() >= max { Key::Others } else { key };
        let refused = self.limiter.check_key(&key).err();
        match refused {
            None => Ok(()),
            Some(until) => Err(until.wait_time_from(DefaultClock::default().now())),
        }
    }

    /// Forgets those whose allowance is whole again.
    fn sweep(&self) {
        let (at, last) = (now(), self.swept_at.load(Ordering::Relaxed));
        let is_mine = at - last >= SWEEP_PAUSE_MILLIS
            && self.swept_at.compare_exchange(last, at, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_mine {
            self.limiter.retain_recent();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use uuid::Uuid;

    use super::*;

    fn limits(max_callers: usize) -> Limits {
        let few = NonZeroU32::new(2).unwrap();
        Limits::new(&RateOptions {
            logins_per_minute: few,
            reads_per_minute: few,
            writes_per_minute: few,
            max_callers,
        })
    }

    fn user(number: u128) -> Key {
        Key::User(UserId(Uuid::from_u128(number)))
    }

    #[test]
    fn each_caller_has_an_allowance_of_their_own_for_each_kind() {
        let limits = limits(10);
        for _ in 0..2 {
            limits.check(Rate::Write, user(1)).unwrap();
        }
        let wait = limits.check(Rate::Write, user(1)).unwrap_err();
        assert!(wait <= Duration::from_secs(60) && !wait.is_zero(), "{wait:?}");
        limits.check(Rate::Write, user(2)).unwrap();
        limits.check(Rate::Read, user(1)).unwrap();
        limits.check(Rate::Unlimited, user(1)).unwrap();
    }

    #[test]
    fn over_the_bound_of_callers_the_others_share_one_allowance_and_memory_stays_bounded() {
        let limits = limits(3);
        let passed = (0..1_000).filter(|&number| limits.check(Rate::Write, user(number)).is_ok()).count();
        assert_eq!(passed, 3 + 2);
        assert!(limits.writes.limiter.len() <= 4);
    }
}
