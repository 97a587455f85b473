//! Files of the mini program: tickets to upload them, links to see them, and their end (FACTS §6.1).
//!
//! Inside the container the platform lends keys of the bucket, and everything is signed here; no key leaves this
//! process, only what is signed for one object and a short time. Outside, `tcb/*` does it with the access token.

mod bucket;
mod cloud;
mod send;
mod sign;

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Url;

pub(super) use bucket::KeyCache;
pub use sign::{Keys, Request, Term, authorization, presigned};

use super::{CallError, Platform};

/// Files of one call; the platform takes no more (FACTS §6.1, from memory).
pub const MAX_FILES: usize = 50;

/// Which bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The cloud environment's id.
    pub env: String,
    /// The bucket with its number, such as `7072-prod-xxxx-1300000000`.
    pub bucket: String,
    /// Such as `ap-shanghai`.
    pub region: String,
    /// Another address of the bucket than the usual one.
    pub endpoint: Option<Url>,
    /// How long a ticket or a link counts.
    pub lifetime: Duration,
}

impl Place {
    /// What the mini program calls the file at `path`.
    pub fn file_id(&self, path: &str) -> String {
        format!("cloud://{}.{}/{path}", self.env, self.bucket)
    }

    /// The path of a file of this bucket.
    pub fn path_of<'a>(&self, file_id: &'a str) -> Option<&'a str> {
        let rest = file_id.strip_prefix("cloud://")?.strip_prefix(self.env.as_str())?.strip_prefix('.')?;
        rest.strip_prefix(self.bucket.as_str())?.strip_prefix('/').filter(|path| !path.is_empty())
    }
}

/// How the bytes are sent.
#[derive(Clone, PartialEq, Eq)]
pub enum Upload {
    /// `PUT` with these headers.
    Put {
        /// Names in lower case.
        headers: Vec<(String, String)>,
    },
    /// `POST` of a form: these fields in this order, the field `file` last.
    Form {
        /// Names and values.
        fields: Vec<(String, String)>,
    },
}

/// Lets whoever holds it upload one file, once, for a while.
#[derive(Clone, PartialEq, Eq)]
pub struct UploadTicket {
    /// What the mini program will call the file.
    pub file_id: String,
    /// Where to.
    pub url: Url,
    /// How.
    pub upload: Upload,
    /// Until when.
    pub expires_at: Timestamp,
}

impl fmt::Debug for UploadTicket {
    /// Who reads it could upload: only the end of it shows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadTicket").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Why storage did not do what it should.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    /// No bucket is configured: an operator has to act.
    #[error("no bucket is configured")]
    NotConfigured,
    /// More than [`MAX_FILES`], or a name that is no file of this bucket: a fault of ours.
    #[error("the list of files cannot be asked for")]
    Unfitting,
    /// The platform has no such file.
    #[error("there is no such file")]
    NotFound,
    /// Not about these files.
    #[error(transparent)]
    Platform(#[from] CallError),
}

impl From<super::TransportError> for StorageError {
    fn from(error: super::TransportError) -> Self {
        Self::Platform(error.into())
    }
}

impl Platform {
    /// Tickets for new files at `paths` (without a first slash), in their order. An object that exists is not
    /// overwritten where the bucket can tell, so paths have to be new, and they should not be guessable.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn upload_tickets(&self, paths: &[String]) -> Result<Vec<UploadTicket>, StorageError> {
        let place = self.place(paths)?;
        match self.is_inside_container() {
            true => bucket::tickets(self, place, paths).await,
            false => cloud::tickets(self, place, paths).await,
        }
    }

    /// Links by which anybody can see the files for a while, in their order.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] if one of them does not exist, where the platform looks; the rest as it says.
    pub async fn download_links(&self, file_ids: &[String]) -> Result<Vec<Url>, StorageError> {
        let place = self.place(file_ids)?;
        match self.is_inside_container() {
            true => bucket::links(self, place, file_ids).await,
            false => cloud::links(self, place, file_ids).await,
        }
    }

    /// Deletes the files. One that does not exist counts as deleted, so a repeat is harmless.
    ///
    /// # Errors
    /// See [`StorageError`]; some may have been deleted.
    pub async fn delete_files(&self, file_ids: &[String]) -> Result<(), StorageError> {
        let place = self.place(file_ids)?;
        match self.is_inside_container() {
            true => bucket::delete(self, place, file_ids).await,
            false => cloud::delete(self, place, file_ids).await,
        }
    }

    /// Whether there is a bucket.
    pub fn has_storage(&self) -> bool {
        self.inner().options.storage.is_some()
    }

    fn place(&self, files: &[String]) -> Result<&Place, StorageError> {
        let place = self.inner().options.storage.as_ref().ok_or(StorageError::NotConfigured)?;
        match files.len() {
            0..=MAX_FILES => Ok(place),
            _ => Err(StorageError::Unfitting),
        }
    }
}
