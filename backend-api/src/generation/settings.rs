//! What can be set about generation.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Url;

use super::{GatewayKeys, LiveOptions};
use crate::domain::money::Credits;
use crate::wechat::platform::Scene;

/// Bounds and offers of generation.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is offered, by the gateway's names of templates.
    pub offers: BTreeMap<String, Offer>,
    /// Whether words are checked before anything is made of them.
    pub checks_text: bool,
    /// As what they are checked.
    pub scene: Scene,
    /// Whether words that a person should look at are refused.
    pub refuses_review: bool,
    /// Whether pictures are checked before anybody sees them.
    pub checks_pictures: bool,
    /// Our `/internal/upload-tickets`, as the gateway reaches it; without it files stay at the gateway.
    pub ticket_url: Option<Url>,
    /// Our `/callbacks/gateway`, as the gateway reaches it; without it only the feed and looks tell of ends.
    pub webhook_url: Option<Url>,
    /// By which the gateway signs both.
    pub keys: GatewayKeys,
    /// A job that has not ended after this is given up by the gateway.
    pub finish_within: Duration,
    /// Artworks that one person may have in the making.
    pub max_open: u64,
    /// Bounds of the photos that people give.
    pub photos: PhotoOptions,
    /// An artwork in the making is looked at this often at first, when nobody tells of it.
    pub look_every: Duration,
    /// A check of pictures that nobody told the end of is asked for again after this.
    pub recheck_after: Duration,
    /// The gateway's templates are asked for again after this.
    pub catalog_for: Duration,
    /// Bounds of sockets.
    pub live: LiveOptions,
    /// The message that tells a person of their artwork; `None`: none is sent.
    pub message: Option<MessageOptions>,
}

/// Bounds of the photos that people give.
#[derive(Debug, Clone, Copy)]
pub struct PhotoOptions {
    /// Bytes of one.
    pub max_bytes: usize,
    /// Its pixels.
    pub max_pixels: u64,
    /// One person's in 24 hours.
    pub per_day: u64,
    /// Then they are forgotten; six days at most, since the gateway keeps a file for a week.
    pub keep_for: Duration,
    /// Bytes that were sent to the bucket lie there within this or never will; longer than any request lasts.
    pub upload_for: Duration,
}

/// What one template costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its title; without one the template's own stands.
    pub title: Option<String>,
    /// Its price.
    pub credits: Credits,
}

/// A subscribe message (FACTS §7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageOptions {
    /// Its template in the console.
    pub template: String,
    /// What opens when it is touched; the artwork's id is appended as `id`.
    pub page: Option<String>,
    /// Its fields with their texts, in which `{title}`, `{outcome}` and `{time}` stand for the artwork's.
    pub fields: Vec<(String, String)>,
}
