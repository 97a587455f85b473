//! Files that have to go: those in the bucket, and photos at the gateway. Each was noted in the transaction that gave it
//! up, and is forgotten when it is gone.

use tracing::{error, warn};

use super::Generation;
use super::chores::Done;
use crate::clock::now;
use crate::db::artworks::doom_files_in;
use crate::db::photos::{ASSET, forget_photo_in};
use crate::db::{self, Database};
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
            self.remove_from_bucket(database, files, done).await?;
            self.remove_from_gateway(database, assets, done).await
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
            let files = forget_photo_in(&transaction, photo.id).await?;
            doom_files_in(&transaction, &files, now()).await?;
            database.commit(transaction).await?;
        }
        Ok(())
    }

    async fn remove_from_bucket(
        &self,
        database: &Database,
        files: Vec<String>,
        done: &mut Done,
    ) -> Result<(), db::Error> {
        let Some(wechat) = self.inner.wechat.as_ref().filter(|_| !files.is_empty()) else { return Ok(()) };
        match wechat.delete_files(&files).await {
            Ok(()) => forgotten(database, &files, done).await,
            Err(error) => {
                warn!(error = %chain(&error), "files are removed later");
                done.later += 1;
                Ok(())
            }
        }
    }

    async fn remove_from_gateway(
        &self,
        database: &Database,
        assets: Vec<String>,
        done: &mut Done,
    ) -> Result<(), db::Error> {
        for name in assets {
            match self.inner.gateway.delete_asset(name.trim_start_matches(ASSET)).await {
                Ok(AssetGone::Yes) => forgotten(database, &[name], done).await?,
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

async fn forgotten(database: &Database, names: &[String], done: &mut Done) -> Result<(), db::Error> {
    database.forget_doomed_files(names).await?;
    done.files += u64::try_from(names.len()).unwrap_or(0);
    Ok(())
}
