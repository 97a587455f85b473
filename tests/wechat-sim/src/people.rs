//! People: who they are here, their codes, session keys, consents, and when they were last seen.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::clock::{Millis, millis};
use crate::crypt;

/// A code of `wx.login` or of the phone button (FACTS 1.1, 1.9).
const CODE_FOR: Duration = Duration::from_secs(5 * 60);
/// Logins of one person a minute (FACTS 1.12).
const LOGINS_PER_MINUTE: usize = 100;
/// Checks are for people who were here within this time (FACTS §8).
const ACTIVE_FOR: Duration = Duration::from_secs(2 * 3600);

/// What a code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Login,
    Phone,
}

/// Why a code gives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadCode {
    Unknown,
    Used,
}

#[derive(Debug)]
struct Code {
    openid: String,
    purpose: Purpose,
    until: Millis,
    is_used: bool,
}

#[derive(Debug)]
pub(crate) struct Somebody {
    pub(crate) unionid: Option<String>,
    /// 11 digits, without a country code.
    pub(crate) phone: String,
    /// As the server gets it: base64 of 16 bytes.
    pub(crate) session_key: Option<String>,
    pub(crate) is_blocked: bool,
    /// Whether virtual payment of this person goes through Apple.
    pub(crate) on_ios: bool,
    /// Messages that may still be sent, by template.
    pub(crate) consents: BTreeMap<String, u32>,
    pub(crate) coins: i64,
    pub(crate) present_coins: i64,
    last_active: Millis,
    logins: VecDeque<Millis>,
}

/// Everybody who ever opened the mini program.
#[derive(Debug, Default)]
pub(crate) struct People {
    all: BTreeMap<String, Somebody>,
    codes: BTreeMap<String, Code>,
}

impl People {
    /// Somebody opens the mini program for the first time; returns the openid.
    pub(crate) fn add(&mut self, has_unionid: bool, now: Millis) -> String {
        let openid = format!("o{}", crypt::letters(27));
        let somebody = Somebody {
            unionid: has_unionid.then(|| format!("u{}", crypt::letters(27))),
            phone: format!("138{}", crypt::digits(8)),
            session_key: None,
            is_blocked: false,
            on_ios: false,
            consents: BTreeMap::new(),
            coins: 0,
            present_coins: 0,
            last_active: now,
            logins: VecDeque::new(),
        };
        self.all.insert(openid.clone(), somebody);
        openid
    }

    pub(crate) fn get(&self, openid: &str) -> Option<&Somebody> {
        self.all.get(openid)
    }

    pub(crate) fn get_mut(&mut self, openid: &str) -> Option<&mut Somebody> {
        self.all.get_mut(openid)
    }

    /// A fresh code, as the client gets it. The person is here now.
    pub(crate) fn code(&mut self, openid: &str, purpose: Purpose, now: Millis) -> String {
        if let Some(somebody) = self.all.get_mut(openid) {
            somebody.last_active = now;
        }
        let code = format!("0{}", crypt::letters(31));
        let openid = openid.to_owned();
        let until = now + millis(CODE_FOR);
        self.codes.insert(code.clone(), Code { openid, purpose, until, is_used: false });
        code
    }

    /// Uses a code up; whose it is.
    pub(crate) fn redeem(&mut self, code: &str, purpose: Purpose, now: Millis) -> Result<String, BadCode> {
        let known = self.codes.get_mut(code).filter(|known| known.purpose == purpose && now < known.until);
        match known {
            None => Err(BadCode::Unknown),
            Some(known) if known.is_used => Err(BadCode::Used),
            Some(known) => {
                known.is_used = true;
                Ok(known.openid.clone())
            }
        }
    }

    /// Counts a login; false when there were too many within a minute.
    pub(crate) fn may_log_in(&mut self, openid: &str, now: Millis) -> bool {
        let Some(somebody) = self.all.get_mut(openid) else { return false };
        while somebody.logins.front().is_some_and(|at| *at <= now - 60_000) {
            somebody.logins.pop_front();
        }
        if somebody.logins.len() >= LOGINS_PER_MINUTE {
            return false;
        }
        somebody.logins.push_back(now);
        true
    }

    pub(crate) fn is_active(&self, openid: &str, now: Millis) -> bool {
        self.all.get(openid).is_some_and(|somebody| now - somebody.last_active <= millis(ACTIVE_FOR))
    }
}

impl Somebody {
    /// Another session key; the one before is no longer valid.
    pub(crate) fn new_session_key(&mut self) -> String {
        let key = crypt::base64(&crypt::bytes::<16>());
        self.session_key = Some(key.clone());
        key
    }
}
