//! Messages that a person has consented to, one consent for one message (FACTS §7).

use std::fmt;

use serde_json::{Map, Value, json};

use super::{Call, Platform};
use crate::domain::OpenId;
use crate::wechat::CallError;

/// Which edition of the mini program a message opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Audience {
    /// The one in development.
    Developer,
    /// The one on trial.
    Trial,
    /// The published one.
    #[default]
    Formal,
}

impl Audience {
    fn word(self) -> &'static str {
        match self {
            Self::Developer => "developer",
            Self::Trial => "trial",
            Self::Formal => "formal",
        }
    }
}

/// One message.
#[derive(Clone)]
pub struct Message<'a> {
    /// Who gets it.
    pub to: &'a OpenId,
    /// Which of the templates chosen in the console.
    pub template: &'a str,
    /// What opens when it is touched: a path with its query.
    pub page: Option<&'a str>,
    /// The template's fields, such as `thing1`, with their texts.
    pub fields: &'a [(&'a str, String)],
    /// Which edition opens.
    pub audience: Audience,
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("template", &self.template).finish_non_exhaustive()
    }
}

/// Why a message was not sent.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MessageError {
    /// The person has not consented, or the consent is used up. Normal: no repeat.
    #[error("the person has not consented to this message")]
    NotConsented,
    /// The platform does not know the person under our app.
    #[error("the platform does not know the person")]
    UserUnknown,
    /// A field does not fit the template: a fault of ours, the message says which.
    #[error("the message does not fit its template")]
    Unfitting(#[source] CallError),
    /// There is no such template or page: an operator has to act.
    #[error("the template or the page of the message does not exist")]
    Misconfigured(#[source] CallError),
    /// Not about this message.
    #[error(transparent)]
    Platform(CallError),
}

impl From<CallError> for MessageError {
    fn from(error: CallError) -> Self {
        match error.code() {
            Some(43101) => Self::NotConsented,
            Some(40003) => Self::UserUnknown,
            Some(47003) => Self::Unfitting(error),
            Some(40037 | 41030) => Self::Misconfigured(error),
            _ => Self::Platform(error),
        }
    }
}

impl Platform {
    /// Sends a subscribe message. After [`CallError::Unreachable`] it may have been sent.
    ///
    /// # Errors
    /// See [`MessageError`].
    pub async fn subscribe_message(&self, message: &Message<'_>) -> Result<(), MessageError> {
        let data: Map<String, Value> = message
            .fields
            .iter()
            .map(|(name, text)| ((*name).to_owned(), json!({ "value": text })))
            .collect();
        let mut body = json!({
            "touser": message.to, "template_id": message.template, "data": data,
            "miniprogram_state": message.audience.word(), "lang": "zh_CN",
        });
        if let Some(page) = message.page {
            body["page"] = page.into();
        }
        let call = Call::post_json("/cgi-bin/message/subscribe/send", &body);
        self.call::<serde::de::IgnoredAny>(&call).await?;
        Ok(())
    }
}
