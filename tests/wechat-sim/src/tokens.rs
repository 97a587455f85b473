//! Access tokens of both kinds (FACTS §1.13).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::{Millis, millis};
use crate::crypt;

const TOKEN_FOR: Duration = Duration::from_secs(7200);
/// Before its end a stable token gets a successor; an ordinary one that was replaced lives on as long.
const OVERLAP: Duration = Duration::from_secs(5 * 60);
const FORCED_PER_DAY: u32 = 20;
const FORCED_PAUSE: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(86_400);
const TOKEN_LETTERS: usize = 136;

/// What a token is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    Good,
    Expired,
    Unknown,
}

/// All tokens that were handed out.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    /// Token → its end.
    ends: BTreeMap<String, Millis>,
    stable: Option<String>,
    plain: Option<String>,
    forced: Vec<Millis>,
}

impl Tokens {
    /// The stable token and its seconds left.
    pub(crate) fn stable(&mut self, now: Millis) -> (String, i64) {
        if let Some(token) = &self.stable {
            let left = self.ends.get(token).map_or(0, |end| end - now);
            if left > millis(OVERLAP) {
                return (token.clone(), left / 1000);
            }
        }
        let token = self.fresh(now);
        self.stable = Some(token.clone());
        (token, millis(TOKEN_FOR) / 1000)
    }

    /// Another stable token; the one before ends at once. `None` when that was asked too often.
    pub(crate) fn stable_forced(&mut self, now: Millis) -> Option<(String, i64)> {
        self.forced.retain(|at| now - at < millis(DAY));
        let is_soon = self.forced.last().is_some_and(|last| now - last < millis(FORCED_PAUSE));
        if is_soon || self.forced.len() >= FORCED_PER_DAY as usize {
            return None;
        }
        self.forced.push(now);
        if let Some(old) = self.stable.take() {
            self.ends.insert(old, now);
        }
        Some(self.stable(now))
    }

    /// An ordinary token; the one before lives on for minutes.
    pub(crate) fn plain(&mut self, now: Millis) -> (String, i64) {
        if let Some(old) = self.plain.take() {
            let end = self.ends.entry(old).or_insert(now);
            *end = (*end).min(now + millis(OVERLAP));
        }
        let token = self.fresh(now);
        self.plain = Some(token.clone());
        (token, millis(TOKEN_FOR) / 1000)
    }

    pub(crate) fn worth(&self, token: &str, now: Millis) -> Worth {
        match self.ends.get(token) {
            None => Worth::Unknown,
            Some(end) if now < *end => Worth::Good,
            Some(_) => Worth::Expired,
        }
    }

    /// Ends every token now.
    pub(crate) fn expire(&mut self, now: Millis) {
        self.ends.values_mut().for_each(|end| *end = (*end).min(now));
    }

    /// Forgets every token, as when the secret was changed.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    fn fresh(&mut self, now: Millis) -> String {
        let token = crypt::letters(TOKEN_LETTERS);
        self.ends.insert(token.clone(), now + millis(TOKEN_FOR));
        token
    }
}
