//! What can be made, making it, and what was made.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;
use uuid::Uuid;

use super::door::{Access, Door, Rate, Side};
use super::doors::Table;
use super::orders::{idempotency_key, timestamp};
use super::{ApiError, AppState, Caller, codes};
use crate::domain::{ArtworkId, ArtworkState, Picture};
use crate::generation::{Offered, Seen, Wish};

/// Longest name of a template, in bytes.
const TEMPLATE_MAX: usize = 64;
/// Artworks of a page, unless asked for fewer, and at most: with all pictures far below 1000 KiB (FACTS 2.3).
const PAGE: u64 = 20;
const PAGE_MAX: u64 = 50;

/// Nobody means to wait longer; what is really waited is the configuration's.
const WAIT_MAX: u32 = 3_600;

pub(super) fn doors(table: &mut Table) {
    let stranger = Door { access: Access::Open, side: Side::App, rate: Rate::Read };
    table.add(stranger, routes!(templates));
    table.add(Door::user(Rate::Write), routes!(create));
    table.add(Door::user(Rate::Read), routes!(list));
    table.add(Door::user(Rate::Read), routes!(read));
}

/// Something that can be made.
#[derive(Serialize, ToSchema)]
struct TemplateView {
    #[schema(example = "portrait")]
    name: String,
    /// Text, or texts by language, as its author wrote it.
    #[schema(value_type = Value)]
    title: Option<Value>,
    /// What else its author tells.
    #[schema(value_type = Object)]
    meta: Map<String, Value>,
    /// What one costs.
    #[schema(example = 3)]
    credits: i64,
    /// What may be set: `name`, `type` (`int`, `float`, `text`, `bool`, `choice`, `image`, `seed`, `size`) and bounds.
    /// An `image` is the id of a photo of yours.
    #[schema(value_type = Vec<Object>)]
    parameters: Vec<Map<String, Value>>,
    /// Whether it can be made now.
    available: bool,
}

impl TemplateView {
    fn of(offered: Offered) -> Self {
        Self {
            name: offered.name,
            title: offered.title,
            meta: offered.meta,
            credits: offered.credits.get(),
            parameters: offered.parameters,
            available: offered.is_available,
        }
    }
}

/// All that can be made here.
#[derive(Serialize, ToSchema)]
struct Templates {
    templates: Vec<TemplateView>,
}

/// What somebody wants made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewArtwork {
    /// By its name.
    #[schema(max_length = 64, example = "portrait")]
    template: String,
    /// Values of its parameters, by name.
    #[serde(default)]
    #[schema(value_type = Object)]
    inputs: Map<String, Value>,
}

/// An artwork.
#[derive(Serialize, ToSchema)]
pub(super) struct ArtworkView {
    #[schema(value_type = Uuid)]
    id: ArtworkId,
    template: String,
    credits: i64,
    /// `created`, `submitted`, `running`, `made` and `checking` (nobody sees it yet), `visible`, `hidden`, `failed` and
    /// `canceled` (the credits are back).
    #[schema(value_type = String, example = "visible")]
    state: ArtworkState,
    /// Why it failed or is hidden.
    reason: Option<String>,
    favourite: bool,
    /// The token of its link, while it is shared.
    share_token: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    updated_at: Option<Timestamp>,
    /// From 0 to 1, while it runs.
    progress: Option<f64>,
    /// Others before it, while it waits.
    position: Option<u64>,
    /// Empty until it is visible.
    pictures: Vec<PictureView>,
    /// Whether this may be older than now, because the gateway could not be asked.
    stale: bool,
}

/// A picture.
#[derive(Serialize, ToSchema)]
pub(super) struct PictureView {
    /// For the mini program's `image` and `wx.cloud`.
    file_id: Option<String>,
    /// For everybody, for a while; lists have none.
    url: Option<String>,
    content_type: Option<String>,
    width: Option<i64>,
    height: Option<i64>,
    size_bytes: Option<i64>,
}

impl PictureView {
    pub(super) fn of(picture: Picture, url: Option<reqwest::Url>) -> Self {
        Self {
            file_id: picture.file_id,
            url: url.map(Into::into),
            content_type: picture.content_type,
            width: picture.width,
            height: picture.height,
            size_bytes: picture.size_bytes,
        }
    }
}

impl ArtworkView {
    pub(super) fn of(seen: Seen) -> Self {
        let Seen { artwork, pictures, progress, position, is_stale } = seen;
        Self {
            id: artwork.id,
            template: artwork.template,
            credits: artwork.credits.get(),
            state: artwork.state,
            reason: artwork.reason,
            favourite: artwork.is_favourite,
            share_token: artwork.share_token,
            created_at: timestamp(artwork.created_at),
            updated_at: timestamp(artwork.updated_at),
            progress,
            position,
            pictures: pictures.into_iter().map(|(picture, url)| PictureView::of(picture, url)).collect(),
            stale: is_stale,
        }
    }

    /// As it is in the books.
    pub(super) fn known(artwork: crate::domain::Artwork) -> Self {
        Self::of(Seen { artwork, pictures: Vec::new(), progress: None, position: None, is_stale: false })
    }
}

/// A page of artworks.
#[derive(Serialize, ToSchema)]
struct Artworks {
    artworks: Vec<ArtworkView>,
}

/// Which part of the list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct WhichArtworks {
    /// Only what is older than this id.
    before: Option<Uuid>,
    /// At most so many: 20, or up to 50.
    #[param(minimum = 1, maximum = 50)]
    limit: Option<u64>,
    /// Only what its owner likes.
    #[serde(default)]
    favourites: bool,
}

/// How to read.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct HowToRead {
    /// Wait this long for the end of the making; capped by configuration.
    #[serde(default)]
    #[param(maximum = 3600)]
    wait_seconds: u32,
}

/// What can be made here, and what it costs.
#[utoipa::path(get, path = "/templates", tag = "generation", responses(
    (status = 200, description = "All that is offered, by name.", body = Templates),
    (status = 503, description = "`generation_not_configured`; `gateway_unavailable`: repeat.")))]
async fn templates(State(state): State<AppState>) -> Result<Json<Templates>, ApiError> {
    let offered = state.generation()?.offered().await?;
    Ok(Json(Templates { templates: offered.into_iter().map(TemplateView::of).collect() }))
}

/// Has a picture made. A repeat with the same `Idempotency-Key` gives the same artwork.
#[utoipa::path(post, path = "/artworks", tag = "generation", request_body = NewArtwork, params(
    ("Idempotency-Key" = Option<String>, Header, description = "Names this wish; up to 128 visible characters.")),
    responses(
    (status = 201, description = "Recorded, its credits held. `created`: the gateway gets it as soon as it can.",
        body = ArtworkView),
    (status = 404, description = "`no_such_template`, `no_such_photo`."),
    (status = 409, description = "`not_enough_credits`; `photo_not_ready`; `login_again`: call `wx.login` and log in, then repeat with \
        the same key; `key_reused`; `too_many_open_artworks`."),
    (status = 422, description = "`content_refused`; else the gateway will never make it; code and message are its own."),
    (status = 503, description = "`check_unavailable`, `gateway_unavailable`, `template_unavailable`: repeat with the \
        same key; `generation_not_configured`.")))]
async fn create(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Json<NewArtwork>, JsonRejection>,
) -> Result<(StatusCode, Json<ArtworkView>), ApiError> {
    let Json(NewArtwork { template, inputs }) = body?;
    let key = idempotency_key(&headers)?.map(str::to_owned);
    if !(1..=TEMPLATE_MAX).contains(&template.len()) {
        return Err(ApiError::of(codes::NO_SUCH_TEMPLATE, "there is no such template"));
    }
    let wish = Wish { user: caller.user, template, inputs, key };
    let artwork = state.generation()?.create(&wish).await?;
    Ok((StatusCode::CREATED, Json(ArtworkView::known(artwork))))
}

/// Your artworks, newest first, as we know them.
#[utoipa::path(get, path = "/artworks", tag = "generation", params(WhichArtworks), responses(
    (status = 200, description = "A page of artworks.", body = Artworks)))]
async fn list(
    State(state): State<AppState>,
    caller: Caller,
    query: Result<Query<WhichArtworks>, QueryRejection>,
) -> Result<Json<Artworks>, ApiError> {
    let Query(WhichArtworks { before, limit, favourites }) = query?;
    let limit = limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(ApiError::of(codes::INVALID_REQUEST, "limit: 1 to 50 is expected"));
    }
    let generation = state.generation()?;
    let seen = generation.list(caller.user, favourites, before.map(ArtworkId), limit).await?;
    Ok(Json(Artworks { artworks: seen.into_iter().map(ArtworkView::of).collect() }))
}

/// One of your artworks. While it is being made the gateway is asked.
#[utoipa::path(get, path = "/artworks/{id}", tag = "generation",
    params(("id" = Uuid, Path, description = "Which."), HowToRead), responses(
    (status = 200, description = "The artwork.", body = ArtworkView),
    (status = 404, description = "There is no such artwork, or it is not yours.")))]
async fn read(
    State(state): State<AppState>,
    caller: Caller,
    id: Result<Path<ArtworkId>, PathRejection>,
    query: Result<Query<HowToRead>, QueryRejection>,
) -> Result<Json<ArtworkView>, ApiError> {
    let (Path(id), Query(query)) = (id?, query?);
    if query.wait_seconds > WAIT_MAX {
        return Err(ApiError::of(codes::INVALID_REQUEST, "wait_seconds: 0 to 3600 is expected"));
    }
    let wait = Duration::from_secs(query.wait_seconds.into()).min(state.options.max_wait);
    match state.generation()?.read(caller.user, id, wait).await? {
        Some(seen) => Ok(Json(ArtworkView::of(seen))),
        None => Err(ApiError::of(codes::NOT_FOUND, "there is no such picture")),
    }
}
