//! Who somebody is: login codes, session keys, phone numbers (FACTS §1).

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;

use super::{Call, Platform};
use crate::domain::OpenId;
use crate::wechat::crypto::hmac_sha256_hex;
use crate::wechat::{CallError, Refusal, TransportError};

/// What a login code stands for.
#[derive(Clone, Deserialize)]
pub struct Session {
    /// The person, under this app.
    pub openid: OpenId,
    /// The person over all apps of one Open Platform account, if the app is bound to one.
    #[serde(default)]
    pub unionid: Option<String>,
    /// Signs virtual payments. Replaced by the platform at some later login; never leaves the server.
    pub session_key: SecretString,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session(…)")
    }
}

/// Why a login code brought no session.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoginError {
    /// Wrong, used or older than five minutes: the client calls `wx.login` again.
    #[error("the login code does not count")]
    CodeRefused,
    /// More than 100 a minute of one person: later.
    #[error("too many logins of this person")]
    TooFrequent,
    /// The platform takes the person for a risk: no login, and no repeat.
    #[error("the platform blocks this person")]
    Blocked,
    /// Not about the code. After [`CallError::Unreachable`] the code may be used up: the client calls `wx.login` again.
    #[error(transparent)]
    Platform(CallError),
}

impl From<CallError> for LoginError {
    /// FACTS 1.12.
    fn from(error: CallError) -> Self {
        match error.code() {
            Some(40029 | 40163) => Self::CodeRefused,
            Some(45011) => Self::TooFrequent,
            Some(40226) => Self::Blocked,
            _ => Self::Platform(error),
        }
    }
}

/// A telephone number that its owner chose to tell.
#[derive(Clone)]
pub struct PhoneNumber {
    /// Without the country's code.
    pub number: SecretString,
    /// `86`.
    pub country_code: String,
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneNumber(…)")
    }
}

/// Why a phone code brought no number.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PhoneError {
    /// Wrong, used, older than five minutes, or a login code: the person presses the button again.
    #[error("the phone code does not count")]
    CodeRefused,
    /// Not about the code.
    #[error(transparent)]
    Platform(CallError),
}

impl From<CallError> for PhoneError {
    fn from(error: CallError) -> Self {
        match error.code() {
            Some(40029 | 40163) => Self::CodeRefused,
            _ => Self::Platform(error),
        }
    }
}

/// `errcode` of a session key that no longer counts (FACTS 1.6).
const SESSION_STALE: i64 = 87009;

impl Platform {
    /// Exchanges a code of `wx.login` (FACTS 1.2). A busy platform (`-1`) is asked a second time after a pause, as
    /// FACTS 1.12 allows; a lost reply is not, since the code may be used up.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn code2session(&self, code: &str) -> Result<Session, LoginError> {
        let options = &self.inner.options;
        let call = Call::get("/sns/jscode2session")
            .with("appid", options.app_id.as_str())
            .with("secret", options.secret.expose_secret())
            .with("js_code", code)
            .with("grant_type", "authorization_code");
        match self.call_bare(&call).await {
            Err(CallError::Busy(Refusal { code: -1, .. })) => {
                sleep(options.retry_pause).await;
                Ok(self.call_bare(&call).await?)
            }
            outcome => Ok(outcome?),
        }
    }

    /// Whether the platform still takes this session key (FACTS 1.6).
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn check_session(
        &self,
        openid: &OpenId,
        session_key: &SecretString,
    ) -> Result<bool, CallError> {
        match self
            .call::<serde::de::IgnoredAny>(&about_session("/wxa/checksession", openid, session_key))
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some(SESSION_STALE) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Has the platform replace a session key that still counts (FACTS 1.7); gives the new one.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn reset_session(
        &self,
        openid: &OpenId,
        session_key: &SecretString,
    ) -> Result<SecretString, CallError> {
        #[derive(Deserialize)]
        struct Answer {
            session_key: SecretString,
        }
        let call = about_session("/wxa/resetusersessionkey", openid, session_key);
        self.call::<Answer>(&call).await.map(|answer| answer.session_key)
    }

    /// Exchanges a code of the phone button (FACTS 1.10), which is another than that of `wx.login`.
    ///
    /// # Errors
    /// See [`PhoneError`].
    pub async fn phone_number(&self, code: &str) -> Result<PhoneNumber, PhoneError> {
        #[derive(Deserialize)]
        struct Answer {
            phone_info: Info,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Info {
            pure_phone_number: SecretString,
            #[serde(deserialize_with = "crate::wechat::lenient::text")]
            country_code: String,
            watermark: Watermark,
        }
        #[derive(Deserialize)]
        struct Watermark {
            appid: String,
        }
        let call = Call::post_json("/wxa/business/getuserphonenumber", &json!({ "code": code }));
        let Info { pure_phone_number, country_code, watermark } =
            self.call::<Answer>(&call).await?.phone_info;
        if watermark.appid != self.inner.options.app_id {
            return Err(PhoneError::Platform(TransportError::Incomplete("number of this app").into()));
        }
        Ok(PhoneNumber { number: pure_phone_number, country_code })
    }
}

fn about_session(path: &'static str, openid: &OpenId, session_key: &SecretString) -> Call {
    Call::get(path)
        .with("openid", openid.as_str())
        .with("signature", hmac_sha256_hex(session_key.expose_secret().as_bytes(), b""))
        .with("sig_method", "hmac_sha256")
}
