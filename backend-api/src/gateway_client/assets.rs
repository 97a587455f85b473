//! Files that jobs may use: `/api/v2/assets`, the one way to bring them to the gateway.

use std::time::Duration;

use bytes::Bytes;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::{AskError, GatewayClient, TransportError, decode};

/// A file on its way to the gateway.
#[derive(Clone)]
pub struct NewAsset {
    /// Its bytes, few enough to be held.
    pub bytes: Bytes,
    /// Media type.
    pub content_type: &'static str,
    /// What the gateway calls it, a relative path.
    pub path: String,
    /// Forgotten after this: from a minute to a week.
    pub keep_for: Duration,
}

/// What became of a file that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssetGone {
    /// The gateway has none.
    Yes,
    /// A job uses it: ask again later.
    InUse,
}

impl GatewayClient {
    /// Stores a file; gives the gateway's id of it. A repeat stores it again under another id.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn store(&self, asset: NewAsset) -> Result<String, AskError> {
        #[derive(Deserialize)]
        struct Answer {
            id: String,
        }
        let file = Part::stream_with_length(asset.bytes.clone(), asset.bytes.len() as u64).file_name("file");
        let form = Form::new()
            .text("content_type", asset.content_type)
            .text("file_path", asset.path)
            .text("expires_in", asset.keep_for.as_secs().to_string())
            .part("file", file);
        let request = self.transport.request(Method::POST, &["api", "v2", "assets"]).multipart(form);
        let reply = self.transport.send(request).await?;
        match reply.status {
            status if status.is_success() => Ok(decode::<Answer>(&reply)?.id),
            status => Err(AskError::from_refusal(status, reply.retry_after, reply.refusal())),
        }
    }

    /// Deletes a file. One that does not exist counts as deleted, so a repeat is harmless.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn delete_asset(&self, id: &str) -> Result<AssetGone, AskError> {
        let request = self.transport.request(Method::DELETE, &["api", "v2", "assets", id]);
        match self.transport.send(request).await?.status {
            StatusCode::NOT_FOUND => Ok(AssetGone::Yes),
            StatusCode::CONFLICT => Ok(AssetGone::InUse),
            status if status.is_success() => Ok(AssetGone::Yes),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(AskError::Unauthorized),
            status => Err(TransportError::Status { status }.into()),
        }
    }
}
