//! A person with a phone: what the WeChat client does when the mini program asks it to.

mod pay;
mod pay_virtually;

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::people::{Purpose, Somebody};
use crate::platform::Platform;

/// Why the client says no: what the mini program gets in `fail`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientError {
    /// `errCode`; 0 where the interface has none.
    pub code: i64,
    /// `errMsg`.
    pub message: String,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for ClientError {}

fn fail<T>(code: i64, message: impl Into<String>) -> Result<T, ClientError> {
    Err(ClientError { code, message: message.into() })
}

/// Somebody who uses the mini program.
#[derive(Clone)]
pub struct Person {
    platform: Arc<Platform>,
    openid: String,
}

impl Person {
    pub(crate) fn new(platform: &Arc<Platform>, openid: String) -> Self {
        Self { platform: Arc::clone(platform), openid }
    }

    /// Who they are to this mini program.
    pub fn openid(&self) -> &str {
        &self.openid
    }

    /// Their phone number, 11 digits.
    pub fn phone(&self) -> String {
        self.with(|somebody| somebody.phone.clone())
    }

    /// The session key the server was given last.
    pub fn session_key(&self) -> Option<String> {
        self.with(|somebody| somebody.session_key.clone())
    }

    /// `wx.login()`
    pub fn login_code(&self) -> String {
        self.code(Purpose::Login)
    }

    /// What the phone button gives; another code than that of a login.
    pub fn phone_code(&self) -> String {
        self.code(Purpose::Phone)
    }

    fn code(&self, purpose: Purpose) -> String {
        let now = self.platform.clock.now();
        self.platform.state().people.code(&self.openid, purpose, now)
    }

    /// Is in the mini program now; without that for two hours nothing of theirs can be checked.
    pub fn visits(&self) {
        self.login_code();
    }

    /// Says yes to one more message by this template.
    pub fn consents(&self, template: &str) {
        self.with(|somebody| *somebody.consents.entry(template.to_owned()).or_default() += 1);
    }

    /// Is held for a risk by the platform: logins are refused.
    pub fn is_blocked(&self, blocked: bool) {
        self.with(|somebody| somebody.is_blocked = blocked);
    }

    /// Pays through Apple from now on.
    pub fn uses_ios(&self) {
        self.with(|somebody| somebody.on_ios = true);
    }

    /// Coins of virtual payment they hold.
    pub fn coins(&self) -> i64 {
        self.with(|somebody| somebody.coins)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Somebody) -> T) -> T {
        let mut state = self.platform.state();
        act(state.people.get_mut(&self.openid).expect("people are never forgotten"))
    }
}
