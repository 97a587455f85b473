//! Photos that people give: kept in the bucket for the check and at the gateway for the fleet, named by nobody but their
//! owner, and only once the check has passed.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Url;
use serde_json::{Map, Value};
use tracing::{info, warn};
use uuid::Uuid;

use super::{CreateError, Generation, PhotoError, Wish};
use crate::clock::{millis, now};
use crate::db::artworks::doom_files_in;
use crate::db::photos::{ASSET, delete_photo_in, insert_photo_in, photos_since_in};
use crate::db::{self, take_turn_in};
use crate::domain::{Millis, OpenId, Photo, PhotoFile, PhotoId, PhotoState, UserId};
use crate::error_chain::chain;
use crate::gateway_client::NewAsset;
use crate::wechat::Platform;
use crate::wechat::platform::CheckError;
use crate::wechat::storage::UploadTicket;

const DAY: Millis = 24 * 3_600_000;
/// The gateway keeps a photo so much longer than it may be named: an artwork may be submitted late.
const LONGER_AT_GATEWAY: Duration = Duration::from_secs(24 * 3_600);
/// A check that could not be had is not asked for again sooner than this.
const ASK_AGAIN_AFTER: Millis = 10_000;
/// Photos of one person that are listed.
pub(super) const PHOTOS_MAX: u64 = 200;

/// A file that may be kept, and where.
struct Draft {
    photo: Photo,
    file: PhotoFile,
    bytes: Bytes,
    ticket: Option<UploadTicket>,
}

impl Generation {
    /// Whether people may give photos: a check needs a link to them, so it needs a bucket.
    pub(super) fn takes_photos(&self) -> bool {
        let has_bucket = || self.inner.wechat.as_ref().is_some_and(Platform::has_storage);
        !self.inner.options.checks_pictures || has_bucket()
    }

    /// Keeps a picture of this person and has it checked.
    ///
    /// # Errors
    /// See [`PhotoError`].
    pub async fn give_photo(&self, user: UserId, bytes: Bytes) -> Result<Photo, PhotoError> {
        let file = self.judge_photo_file(&bytes)?;
        let openid = self.openid_of(user).await?;
        if self.inner.options.checks_pictures && openid.is_none() {
            return Err(PhotoError::LoginAgain);
        }
        let database = &self.inner.database;
        if database.retry(|| database.photos_since(user, now() - DAY)).await?
            >= self.inner.options.photos.per_day
        {
            return Err(PhotoError::TooMany);
        }
        let draft = self.draft_photo(user, file, bytes).await?;
        database.retry(|| self.try_to_record_photo(&draft.photo)).await?;
        let photo = self.keep(draft).await?;
        info!(photo = %photo.id, "photo given");
        match (photo.state, openid) {
            (PhotoState::Checking, Some(openid)) => Ok(self.ask_about_kept_photo(photo, &openid).await),
            _ => Ok(photo),
        }
    }

    /// One of the user's photos, and a link to it once the check has passed. A check whose end nobody told is asked
    /// for again.
    ///
    /// # Errors
    /// See [`PhotoError`].
    pub async fn photo(&self, user: UserId, id: PhotoId) -> Result<(Photo, Option<Url>), PhotoError> {
        let mut photo = self.photo_of(user, id).await?.ok_or(PhotoError::NotFound)?;
        let overdue = self.checks_overdue();
        if photo.state == PhotoState::Checking && photo.asked_at.is_none_or(|asked| asked <= overdue) {
            let openid = self.openid_of(user).await?.ok_or(PhotoError::LoginAgain)?;
            photo = self.ask_about_photo(photo, &openid).await?;
        }
        let link = match (&self.inner.wechat, &photo.file_id) {
            (Some(wechat), Some(file)) if photo.state == PhotoState::Ready => link_to(wechat, file).await,
            _ => None,
        };
        Ok((photo, link))
    }

    /// The user's photos, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn photos(&self, user: UserId) -> Result<Vec<Photo>, db::Error> {
        let database = &self.inner.database;
        database.retry(|| database.photos_of(user, PHOTOS_MAX)).await
    }

    /// Forgets a photo, its bytes included. What was made of it stays.
    ///
    /// # Errors
    /// See [`PhotoError`].
    pub async fn delete_photo(&self, user: UserId, id: PhotoId) -> Result<(), PhotoError> {
        self.photo_of(user, id).await?.ok_or(PhotoError::NotFound)?;
        let database = &self.inner.database;
        database
            .retry(|| async {
                let transaction = database.begin().await?;
                let remains = delete_photo_in(&transaction, id).await?;
                self.doom_photos_in(&transaction, remains).await?;
                database.commit(transaction).await
            })
            .await?;
        self.inner.metrics.photo_came_into(PhotoState::Deleted);
        info!(photo = %id, "photo deleted");
        Ok(())
    }

    /// The wish's inputs in the gateway's words: its own names in the place of photos.
    pub(super) async fn exchange_photos(
        &self,
        wish: &Wish,
        photos: &[String],
    ) -> Result<Map<String, Value>, CreateError> {
        let mut inputs = wish.inputs.clone();
        for name in photos {
            let named = inputs.get(name).and_then(Value::as_str).and_then(|id| Uuid::try_parse(id).ok());
            let id = named.map(PhotoId).ok_or(CreateError::NoSuchPhoto)?;
            let photo = self.photo_of(wish.user, id).await?.ok_or(CreateError::NoSuchPhoto)?;
            let asset = match (photo.state, photo.asset_id) {
                (PhotoState::Ready, Some(asset)) => asset,
                (PhotoState::Refused, _) => return Err(CreateError::PhotoRefused),
                _ => return Err(CreateError::PhotoNotReady),
            };
            inputs.insert(name.clone(), asset.into());
        }
        Ok(inputs)
    }

    /// A photo of theirs that still counts; those of others are none.
    async fn photo_of(&self, user: UserId, id: PhotoId) -> Result<Option<Photo>, db::Error> {
        let database = &self.inner.database;
        let found = database.retry(|| database.find_photo(id)).await?;
        let counts =
            |photo: &Photo| photo.user == user && photo.state != PhotoState::Deleted && photo.ends_at > now();
        Ok(found.filter(counts))
    }

    fn judge_photo_file(&self, bytes: &Bytes) -> Result<PhotoFile, PhotoError> {
        let bounds = &self.inner.options.photos;
        if !self.takes_photos() {
            return Err(PhotoError::NotConfigured);
        }
        if bytes.len() > bounds.max_bytes {
            return Err(PhotoError::TooLarge);
        }
        let file = PhotoFile::read(bytes).ok_or(PhotoError::Unfit("a PNG or JPEG picture is expected"))?;
        if file.pixels() > bounds.max_pixels {
            return Err(PhotoError::Unfit("the picture has too many pixels"));
        }
        Ok(file)
    }

    /// With a place in the bucket, where there is one: it is recorded before anything is sent there.
    async fn draft_photo(&self, user: UserId, file: PhotoFile, bytes: Bytes) -> Result<Draft, PhotoError> {
        let (id, at) = (PhotoId(Uuid::now_v7()), now());
        let ticket = match self.inner.wechat.as_ref().filter(|wechat| wechat.has_storage()) {
            Some(wechat) => {
                let path = self.inner.names.photo(id, file.kind.content_type());
                wechat.upload_tickets(&[path]).await?.pop()
            }
            None => None,
        };
        let photo = Photo {
            id,
            user,
            state: PhotoState::Storing,
            file_id: ticket.as_ref().map(|ticket| ticket.file_id.clone()),
            asset_id: None,
            content_type: file.kind.content_type().to_owned(),
            size_bytes: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
            width: file.width.into(),
            height: file.height.into(),
            trace_id: None,
            asked_at: None,
            created_at: at,
            ends_at: at.saturating_add(millis(self.inner.options.photos.keep_for)),
        };
        Ok(Draft { photo, file, bytes, ticket })
    }

    /// A person's photos take turns, so that each sees all before it. A repeat finds itself.
    async fn try_to_record_photo(&self, photo: &Photo) -> Result<(), PhotoError> {
        let database = &self.inner.database;
        let transaction = database.begin().await?; // undone when it is dropped
        if !take_turn_in(&transaction, photo.user).await? {
            return Err(PhotoError::LoginAgain);
        }
        match insert_photo_in(&transaction, photo).await {
            Err(db::Error::Duplicate(_)) => return Ok(()),
            inserted => inserted?,
        }
        let given = photos_since_in(&transaction, photo.user, photo.created_at - DAY).await?;
        if given > self.inner.options.photos.per_day {
            return Err(PhotoError::TooMany);
        }
        Ok(database.commit(transaction).await?)
    }

    /// Sends the bytes where they have to be. One that is cut off here stays as it is, until its time is over; what it
    /// may have sent by then is noted with its end ([`Self::doom_photos_in`]), not here.
    async fn keep(&self, draft: Draft) -> Result<Photo, PhotoError> {
        let Draft { photo, file, bytes, ticket } = draft;
        let content_type = file.kind.content_type();
        if let (Some(wechat), Some(ticket)) = (&self.inner.wechat, &ticket) {
            wechat.upload(ticket, content_type, bytes.clone()).await?;
        }
        let path = self.inner.names.photo(photo.id, content_type);
        let keep_for = self.inner.options.photos.keep_for + LONGER_AT_GATEWAY;
        let asset = self.inner.gateway.store(NewAsset { bytes, content_type, path, keep_for }).await?;
        let state = match self.inner.options.checks_pictures {
            true => PhotoState::Checking,
            false => PhotoState::Ready,
        };
        let database = &self.inner.database;
        if !database.retry(|| database.note_photo_kept(photo.id, &asset, state)).await? {
            self.give_up([photo.file_id, Some(format!("{ASSET}{asset}"))]).await?;
            return Err(PhotoError::NotFound);
        }
        self.inner.metrics.photo_came_into(state);
        Ok(Photo { state, asset_id: Some(asset), ..photo })
    }

    /// Takes what a check said of a photo, once both are known.
    pub(super) async fn conclude_photo(&self, trace: &str) -> Result<Option<PhotoState>, db::Error> {
        let database = &self.inner.database;
        let judged = database.retry(|| database.judge_photo(trace)).await?;
        if let Some(state) = judged {
            info!(state = state.as_str(), "photo checked");
            self.inner.metrics.photo_came_into(state);
        }
        Ok(judged)
    }

    /// Notes that what was sent has come and has to go again, now.
    async fn give_up(&self, names: impl IntoIterator<Item = Option<String>>) -> Result<(), db::Error> {
        let names: Vec<_> = names.into_iter().flatten().collect();
        let database = &self.inner.database;
        database
            .retry(|| async {
                let transaction = database.begin().await?;
                doom_files_in(&transaction, &names, now()).await?;
                database.commit(transaction).await
            })
            .await
    }

    /// A check that was asked for before this should have ended.
    fn checks_overdue(&self) -> Millis {
        now() - millis(self.inner.options.recheck_after)
    }

    /// Has a photo checked that was just kept. Whatever comes in between is told by a later look at it: whoever gave it
    /// would give it again.
    async fn ask_about_kept_photo(&self, photo: Photo, openid: &OpenId) -> Photo {
        let id = photo.id;
        self.ask_about_photo(photo.clone(), openid).await.unwrap_or_else(|error| {
            warn!(photo = %id, error = %chain(&error), "photo is checked when it is looked at");
            photo
        })
    }

    /// Has a photo checked, unless somebody does. When that cannot be asked for now, a later look at it asks.
    async fn ask_about_photo(&self, photo: Photo, openid: &OpenId) -> Result<Photo, PhotoError> {
        let (Some(wechat), Some(file)) = (&self.inner.wechat, &photo.file_id) else { return Ok(photo) };
        let (database, at, overdue) = (&self.inner.database, now(), self.checks_overdue());
        // Not repeated: a lost answer leaves it asked for, and it is asked for again when that is overdue.
        if !database.claim_photo_check(photo.id, overdue, at).await? {
            return Ok(photo);
        }
        let asked = match link_to(wechat, file).await {
            Some(url) => wechat.check_image(openid, url.as_str(), self.inner.options.scene).await.map(Some),
            None => Ok(None),
        };
        let trace = match asked {
            Ok(Some(trace)) => trace.0,
            not_asked => {
                let soon = overdue.saturating_add(ASK_AGAIN_AFTER);
                database.retry(|| database.date_photo_check(photo.id, soon)).await?;
                return match not_asked {
                    Err(CheckError::UserInactive | CheckError::UserUnknown) => Err(PhotoError::LoginAgain),
                    Err(error) => {
                        warn!(photo = %photo.id, error = %chain(&error), "photo cannot be checked now");
                        Ok(photo)
                    }
                    Ok(_) => Ok(photo),
                };
            }
        };
        database.retry(|| database.note_photo_check(photo.id, &trace)).await?;
        let state = self.conclude_photo(&trace).await?.unwrap_or(photo.state); // it may have been told already
        Ok(Photo { state, trace_id: Some(trace), asked_at: Some(at), ..photo })
    }
}

async fn link_to(wechat: &Platform, file: &str) -> Option<Url> {
    match wechat.download_links(&[file.to_owned()]).await {
        Ok(links) => links.into_iter().next(),
        Err(error) => {
            warn!(error = %chain(&error), "no link to a photo");
            None
        }
    }
}
