//! Files that have to go: those in the bucket, and photos at the gateway. Each was noted in the transaction that gave it
//! up, and is forgotten when it is gone.

use tracing::{error, warn};

use super::Generation;
use super::chores::Done;
use crate::clock::{millis, now};
use crate::db::artworks::doom_files_in;
use crate::db::photos::{ASSET, Remains, forget_photo_in};
use crate::db::{self, Database, Transaction};
use crate::domain::Millis;
use crate::error_chain::chain;
use crate::gateway_client::AssetGone;
use crate::wechat::storage::MAX_FILES;

impl Generation {
    /// Gives up photos whose time is over, and removes what was given up. What cannot be removed now is left until
    /// then.
    pub(super) async fn remove_files(&self, until: Millis, done: &mut Done) {
        let removed = async {
            self.end_photos(done).await?;
            let database = &self.inner.database;
            let limit = u64::try_from(MAX_FILES).unwrap_or(1);
            let names = database.claim_doomed_files(now(), until, limit).await?;
            done.more |= names.len() >= MAX_FILES;
            let (assets, files): (Vec<_>, Vec<_>) =
                names.into_iter().partition(|name| name.starts_with(ASSET));
            let claim = Claim { database, until };
            self.remove_from_bucket(claim, files, done).await?;
            self.remove_from_gateway(claim, assets, done).await
        };
        if let Err(error) = removed.await {
            error!(error = %chain(&error), "background step failed");
        }
    }

    async fn end_photos(&self, done: &mut Done) -> Result<(), db::Error> {
        let database = &self.inner.database;
        let limit = u64::try_from(MAX_FILES).unwrap_or(1);
        let ended = database.ended_photos(now(), limit).await?;
        done.more |= ended.len() >= MAX_FILES;
        for photo in ended {
            let transaction = database.begin().await?;
            let remains = forget_photo_in(&transaction, photo.id).await?;
            self.doom_photos_in(&transaction, remains).await?;
            database.commit(transaction).await?;
        }
        Ok(())
    }

    /// Notes what photos leave behind. What may still come to the bucket is left until it has come or never will: nobody
    /// may be there then to say so.
    pub(super) async fn doom_photos_in(
        &self,
        transaction: &Transaction,
        remains: Remains,
    ) -> Result<(), db::Error> {
        let come_by = now() + millis(self.inner.options.photos.upload_for);
        doom_files_in(transaction, &remains.here, now()).await?;
        doom_files_in(transaction, &remains.coming, come_by).await
    }

    async fn remove_from_bucket(
        &self,
        claim: Claim<'_>,
        files: Vec<String>,
        done: &mut Done,
    ) -> Result<(), db::Error> {
        let Some(wechat) = self.inner.wechat.as_ref().filter(|_| !files.is_empty()) else { return Ok(()) };
        match wechat.delete_files(&files).await {
            Ok(()) => claim.forget(&files, done).await,
            Err(error) => {
                warn!(error = %chain(&error), "files are removed later");
                done.later += 1;
                Ok(())
            }
        }
    }

    async fn remove_from_gateway(
        &self,
        claim: Claim<'_>,
        assets: Vec<String>,
        done: &mut Done,
    ) -> Result<(), db::Error> {
        for name in assets {
            match self.inner.gateway.delete_asset(name.trim_start_matches(ASSET)).await {
                Ok(AssetGone::Yes) => claim.forget(&[name], done).await?,
                Ok(AssetGone::InUse) => done.later += 1,
                Err(error) => {
                    warn!(error = %chain(&error), "photos are removed later");
                    done.later += 1;
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// What was taken on to be removed, until when.
#[derive(Clone, Copy)]
struct Claim<'a> {
    database: &'a Database,
    until: Millis,
}

impl Claim<'_> {
    /// They were removed.
    async fn forget(self, names: &[String], done: &mut Done) -> Result<(), db::Error> {
        self.database.forget_doomed_files(names, self.until).await?;
        done.files += u64::try_from(names.len()).unwrap_or(0);
        Ok(())
    }
}
