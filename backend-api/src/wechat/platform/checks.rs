//! Whether a text or a picture may be shown (FACTS §8).

use serde::Deserialize;
use serde_json::json;

use super::{Call, Platform};
use crate::domain::OpenId;
use crate::wechat::CallError;

/// The longest text that one check takes.
pub const MAX_TEXT_CHARACTERS: usize = 2_500;
/// The second form of both checks; the first one is retired.
const VERSION: u8 = 2;
const MEDIA_IMAGE: u8 = 2;

/// Where the text or picture would be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Scene {
    /// A profile.
    Profile = 1,
    /// A comment.
    Comment = 2,
    /// A forum.
    Forum = 3,
    /// A social log.
    Social = 4,
}

/// What the platform advises. A word we do not know counts as [`Suggestion::Review`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum Suggestion {
    /// Show it.
    Pass,
    /// Let a person look first.
    Review,
    /// Do not show it.
    Risky,
}

impl From<String> for Suggestion {
    fn from(word: String) -> Self {
        match word.as_str() {
            "pass" => Self::Pass,
            "risky" => Self::Risky,
            _ => Self::Review,
        }
    }
}

/// Names a check of the platform; its result comes with the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub struct TraceId(pub String);

/// The end of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What to do.
    pub suggestion: Suggestion,
    /// Why: 100 normal, 10001 advertisement, 20001 politics, 20002 pornography, 20003 abuse, 20006 crime, 20008 fraud,
    /// 20012 vulgar, 20013 copyright, 21000 other.
    pub label: i64,
    /// To be kept with what was checked.
    pub trace_id: TraceId,
}

/// Why there was no check.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CheckError {
    /// The person has not used the mini program within two hours: check again at the next visit.
    #[error("the person has not used the mini program within two hours")]
    UserInactive,
    /// The platform does not know the person under our app.
    #[error("the platform does not know the person")]
    UserUnknown,
    /// More than [`MAX_TEXT_CHARACTERS`].
    #[error("the text is longer than {MAX_TEXT_CHARACTERS} characters")]
    TooLong,
    /// Not about this person or text.
    #[error(transparent)]
    Platform(CallError),
}

impl From<CallError> for CheckError {
    /// 61010 is from memory, the rest FACTS §8.
    fn from(error: CallError) -> Self {
        match error.code() {
            Some(61010) => Self::UserInactive,
            Some(40003 | 43104) => Self::UserUnknown,
            _ => Self::Platform(error),
        }
    }
}

impl Platform {
    /// Asks about a text of `openid`, who has to have used the mini program within two hours.
    ///
    /// # Errors
    /// See [`CheckError`].
    pub async fn check_text(&self, openid: &OpenId, text: &str, scene: Scene) -> Result<Verdict, CheckError> {
        #[derive(Deserialize)]
        struct Answer {
            result: Result,
            trace_id: TraceId,
        }
        #[derive(Deserialize)]
        struct Result {
            suggest: Suggestion,
            label: i64,
        }
        if text.chars().count() > MAX_TEXT_CHARACTERS {
            return Err(CheckError::TooLong);
        }
        let call = Call::post_json(
            "/wxa/msg_sec_check",
            &json!({ "version": VERSION, "openid": openid, "scene": scene as u8, "content": text }),
        );
        let Answer { result, trace_id } = self.call(&call).await?;
        Ok(Verdict { suggestion: result.suggest, label: result.label, trace_id })
    }

    /// Asks about a picture of `openid` at `url`, which anybody has to be able to fetch. The result is pushed to us
    /// within half an hour as [`crate::wechat::events::Event::ContentChecked`].
    ///
    /// # Errors
    /// See [`CheckError`].
    pub async fn check_image(&self, openid: &OpenId, url: &str, scene: Scene) -> Result<TraceId, CheckError> {
        #[derive(Deserialize)]
        struct Answer {
            trace_id: TraceId,
        }
        let call = Call::post_json(
            "/wxa/media_check_async",
            &json!({
                "version": VERSION, "openid": openid, "scene": scene as u8,
                "media_url": url, "media_type": MEDIA_IMAGE,
            }),
        );
        Ok(self.call::<Answer>(&call).await?.trace_id)
    }
}
