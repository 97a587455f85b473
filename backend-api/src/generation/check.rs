//! Whether what was made may be shown (FACTS §8). A picture is asked about by a link that anybody can fetch for a while;
//! the word comes as an event. Until it has come nobody sees the picture.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use tracing::{info, warn};

use super::Generation;
use super::follow::Change;
use crate::clock::now;
use crate::db;
use crate::domain::artwork::{Signal, Verdict};
use crate::domain::{Artwork, ArtworkState, Millis, OpenId, Picture};
use crate::error_chain::{BoxError, chain};
use crate::wechat::Platform;
use crate::wechat::platform::{Audience, CheckError, Message, MessageError};

/// Checks of one artwork whose end nobody told; then a person decides.
const RECHECKS_MAX: i32 = 5;
/// Longest title in a message, in characters (FACTS §7).
const TITLE_MAX: usize = 20;
/// The time that people read.
const BEIJING: Offset = jiff::tz::offset(8);
/// How it ended, as a message says it.
const MADE: &str = "已完成";
const NOT_MADE: &str = "未成功";

/// Why a picture could not be asked about.
enum NotAsked {
    /// Not before the person comes by again.
    Visit,
    Later(BoxError),
    Database(db::Error),
}

impl From<db::Error> for NotAsked {
    fn from(error: db::Error) -> Self {
        Self::Database(error)
    }
}

impl Generation {
    /// Brings an artwork that was made nearer to being seen: asks about its pictures, or takes what was said of them.
    pub(super) async fn show(&self, artwork: Artwork) -> Result<Artwork, db::Error> {
        if !matches!(artwork.state, ArtworkState::Made | ArtworkState::Checking) {
            return Ok(artwork);
        }
        let Some(wechat) = self.inner.wechat.as_ref().filter(|_| self.inner.options.checks_pictures) else {
            return self.decide(artwork, Verdict::Pass).await;
        };
        if artwork.state == ArtworkState::Checking && artwork.tries > RECHECKS_MAX {
            warn!(artwork = %artwork.id, "checks of an artwork never end");
            return self.decide(artwork, Verdict::Review).await;
        }
        match self.ask(wechat, &artwork).await {
            Ok(()) => {
                let change = Change::of(Signal::CheckAsked, Some(self.next_recheck()));
                let artwork = self.shift(artwork, &change).await?;
                self.conclude(artwork).await
            }
            Err(NotAsked::Visit) => {
                info!(artwork = %artwork.id, "pictures are checked at the next visit");
                let database = &self.inner.database;
                database.retry(|| database.await_visit(artwork.id)).await?;
                Ok(artwork)
            }
            Err(NotAsked::Later(error)) => {
                warn!(artwork = %artwork.id, error = %chain(&*error), "pictures cannot be checked now");
                Ok(artwork)
            }
            Err(NotAsked::Database(error)) => Err(error),
        }
    }

    /// When a check is asked for again whose end nobody told.
    pub(super) fn next_recheck(&self) -> Millis {
        let after = Millis::try_from(self.inner.options.recheck_after.as_millis());
        now().saturating_add(after.unwrap_or(Millis::MAX))
    }

    /// Asks about every picture that has no verdict.
    async fn ask(&self, wechat: &Platform, artwork: &Artwork) -> Result<(), NotAsked> {
        let database = &self.inner.database;
        let pictures = database.retry(|| database.pictures_of(artwork.id)).await?;
        let openid = self.openid_of(artwork.user).await?.ok_or(NotAsked::Visit)?;
        for picture in &pictures {
            if picture.verdict.is_some() {
                continue;
            }
            let is_image = picture.content_type.as_deref().is_none_or(|kind| kind.starts_with("image/"));
            if !is_image {
                // The platform checks pictures alone: what else was made is for a person to look at.
                let (id, position) = (artwork.id, picture.position);
                database.retry(|| database.judge_picture(id, position, Verdict::Review)).await?;
                continue;
            }
            let trace = self.ask_about(wechat, &openid, picture).await?;
            let (id, position) = (artwork.id, picture.position);
            database.retry(|| database.note_check(id, position, Some(&trace))).await?;
            database.retry(|| database.apply_verdict(&trace)).await?; // it may have been told already
        }
        Ok(())
    }

    async fn ask_about(
        &self,
        wechat: &Platform,
        openid: &OpenId,
        picture: &Picture,
    ) -> Result<String, NotAsked> {
        let url = match (&picture.file_id, &picture.url) {
            (Some(file), _) => {
                let links = wechat.download_links(std::slice::from_ref(file)).await;
                let links = links.map_err(|error| NotAsked::Later(error.into()))?;
                links.first().map(ToString::to_string)
            }
            (None, url) => url.clone(),
        };
        let url = url.ok_or_else(|| NotAsked::Later("a picture without an address".into()))?;
        match wechat.check_image(openid, &url, self.inner.options.scene).await {
            Ok(trace) => Ok(trace.0),
            Err(CheckError::UserInactive | CheckError::UserUnknown) => Err(NotAsked::Visit),
            Err(error) => Err(NotAsked::Later(error.into())),
        }
    }

    /// Takes what was said of all pictures, once it is all said.
    pub(super) async fn conclude(&self, artwork: Artwork) -> Result<Artwork, db::Error> {
        let database = &self.inner.database;
        let pictures = database.retry(|| database.pictures_of(artwork.id)).await?;
        match Verdict::of_all(pictures.iter().map(|picture| picture.verdict)) {
            Some(verdict) => self.decide(artwork, verdict).await,
            None => Ok(artwork),
        }
    }

    async fn decide(&self, artwork: Artwork, verdict: Verdict) -> Result<Artwork, db::Error> {
        let change = match verdict {
            Verdict::Pass => Change::of(Signal::Passed, None),
            Verdict::Review | Verdict::Risky => {
                let reason = Some(verdict.as_str().to_owned());
                Change { reason, ..Change::of(Signal::Stopped, None) }
            }
        };
        let artwork = self.shift(artwork, &change).await?;
        if artwork.state == ArtworkState::Visible {
            self.tell(&artwork).await;
        }
        Ok(artwork)
    }

    /// Tells the owner how it ended, if they asked for that. At most once, also over a crash: a message cannot be taken
    /// back.
    pub(super) async fn tell(&self, artwork: &Artwork) {
        if let Err(error) = self.try_to_tell(artwork).await {
            warn!(artwork = %artwork.id, error = %chain(&*error), "owner is not told");
        }
    }

    async fn try_to_tell(&self, artwork: &Artwork) -> Result<(), BoxError> {
        let options = &self.inner.options;
        let (Some(wechat), Some(settings)) = (&self.inner.wechat, &options.message) else { return Ok(()) };
        let database = &self.inner.database;
        let Some(openid) = self.openid_of(artwork.user).await? else { return Ok(()) };
        if !database.retry(|| database.claim_telling(artwork.id, now())).await? {
            return Ok(());
        }
        let fields: Vec<(&str, String)> = settings
            .fields
            .iter()
            .map(|(name, text)| (name.as_str(), self.filled_in(text, artwork)))
            .collect();
        let page = settings.page.as_ref().map(|page| format!("{page}?id={}", artwork.id));
        let message = Message {
            to: &openid,
            template: &settings.template,
            page: page.as_deref(),
            fields: &fields,
            audience: Audience::Formal,
        };
        match wechat.subscribe_message(&message).await {
            Ok(()) | Err(MessageError::NotConsented) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A text of a message with what is true of the artwork.
    fn filled_in(&self, text: &str, artwork: &Artwork) -> String {
        let offer = self.inner.options.offers.get(&artwork.template);
        let title = offer.and_then(|offer| offer.title.as_deref()).unwrap_or(&artwork.template);
        let title: String = title.chars().take(TITLE_MAX).collect();
        let outcome = if artwork.state == ArtworkState::Visible { MADE } else { NOT_MADE };
        let time = Timestamp::from_millisecond(artwork.created_at).unwrap_or(Timestamp::UNIX_EPOCH);
        let time = time.to_zoned(TimeZone::fixed(BEIJING)).strftime("%Y-%m-%d %H:%M").to_string();
        text.replace("{title}", &title).replace("{outcome}", outcome).replace("{time}", &time)
    }
}
