//! What is done with artworks that were made: liked, shared, reported, deleted.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::artworks::{ArtworkView, PictureView};
use super::door::{Access, Door, Rate, Side};
use super::doors::Table;
use super::{ApiError, AppState, Caller, codes};
use crate::domain::ArtworkId;
use crate::generation::Seen;

/// Longest reason of a report, in characters.
const REASON_MAX: usize = 200;
/// Longest token of a link.
const TOKEN_MAX: usize = 64;

pub(super) fn doors(table: &mut Table) {
    let stranger = Door { access: Access::Open, side: Side::App, rate: Rate::Read };
    table.add(Door::user(Rate::Write), routes!(cancel));
    table.add(Door::user(Rate::Write), routes!(delete));
    table.add(Door::user(Rate::Write), routes!(favourite));
    table.add(Door::user(Rate::Write), routes!(share));
    table.add(Door::user(Rate::Write), routes!(unshare));
    table.add(Door::user(Rate::Write), routes!(report));
    table.add(stranger, routes!(shared));
    table.add(Door::user(Rate::Write), routes!(report_shared));
}

/// Whether you like it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Favourite {
    favourite: bool,
}

/// A link to an artwork.
#[derive(Serialize, ToSchema)]
struct Link {
    /// `GET /shared/{token}` shows the artwork to everybody who has it.
    token: String,
}

/// What is wrong with it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Report {
    #[schema(min_length = 1, max_length = 200)]
    reason: String,
}

impl Report {
    fn reason(&self) -> Result<&str, ApiError> {
        match self.reason.trim() {
            reason if (1..=REASON_MAX).contains(&reason.chars().count()) => Ok(reason),
            _ => Err(ApiError::of(codes::INVALID_REQUEST, "reason: 1 to 200 characters are expected")),
        }
    }
}

/// An artwork as strangers see it.
#[derive(Serialize, ToSchema)]
struct SharedView {
    template: String,
    pictures: Vec<PictureView>,
}

impl SharedView {
    fn of(seen: Seen) -> Self {
        let pictures = seen.pictures.into_iter().map(|(picture, url)| PictureView::of(picture, url));
        Self { template: seen.artwork.template, pictures: pictures.collect() }
    }
}

/// Stops the making of an artwork. Its credits are back once it is `canceled`.
#[utoipa::path(post, path = "/artworks/{id}/cancel", tag = "generation",
    params(("id" = Uuid, Path, description = "Which.")), responses(
    (status = 200, description = "The artwork, as it is now: perhaps still stopping.", body = ArtworkView),
    (status = 404, description = "There is no such artwork, or it is not yours."),
    (status = 409, description = "`artwork_ended`; `artwork_open`: it is on its way to the gateway, repeat."),
    (status = 503, description = "`gateway_unavailable`: repeat.")))]
async fn cancel(
    State(state): State<AppState>,
    caller: Caller,
    id: Result<Path<ArtworkId>, PathRejection>,
) -> Result<Json<ArtworkView>, ApiError> {
    let Path(id) = id?;
    let artwork = state.generation()?.cancel(caller.user, id).await?;
    Ok(Json(ArtworkView::known(artwork)))
}

/// Deletes an artwork: what you asked for is forgotten now, its files are removed.
#[utoipa::path(delete, path = "/artworks/{id}", tag = "generation",
    params(("id" = Uuid, Path, description = "Which.")), responses(
    (status = 204, description = "Deleted."),
    (status = 404, description = "There is no such artwork, or it is not yours."),
    (status = 409, description = "`artwork_open`: cancel it first.")))]
async fn delete(
    State(state): State<AppState>,
    caller: Caller,
    id: Result<Path<ArtworkId>, PathRejection>,
) -> Result<StatusCode, ApiError> {
    let Path(id) = id?;
    state.generation()?.delete(caller.user, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Says whether you like an artwork.
#[utoipa::path(post, path = "/artworks/{id}/favourite", tag = "generation", request_body = Favourite,
    params(("id" = Uuid, Path, description = "Which.")), responses(
    (status = 204, description = "Noted."),
    (status = 404, description = "There is no such artwork, or it is not yours.")))]
async fn favourite(
    State(state): State<AppState>,
    caller: Caller,
    id: Result<Path<ArtworkId>, PathRejection>,
    body: Result<Json<Favourite>, JsonRejection>,
) -> Result<StatusCode, ApiError> {
    let (Path(id), Json(body)) = (id?, body?);
    state.generation()?.favour(caller.user, id, body.favourite).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a link by which others see the artwork; the same until it is taken back.
#[utoipa::path(post, path = "/artworks/{id}/share", tag = "generation",
    params(("id" = Uuid, Path, description = "Which.")), responses(
    (status = 200, description = "The link.", body = Link),
    (status = 404, description = "There is no such artwork, or it is not yours."),
    (status = 409, description = "`artwork_not_visible`.")))]
async fn share(
    State(state): State<AppState>,
    caller: Caller,
    id: Result<Path<ArtworkId>, PathRejection>,
) -> Result<Json<Link>, ApiError> {
    let Path(id) = id?;
    Ok(Json(Link { token: state.generation()?.share(caller.user, id).await? }))
}

/// Takes the link back.
#[utoipa::path(delete, path = "/artworks/{id}/share", tag = "generation",
    params(("id" = Uuid, Path, description = "Which.")), responses(
    (status = 204, description = "It leads nowhere now."),
    (status = 404, description = "There is no such artwork, or it is not yours.")))]
async fn unshare(
    State(state): State<AppState>,
    caller: Caller,
    id: Result<Path<ArtworkId>, PathRejection>,
) -> Result<StatusCode, ApiError> {
    let Path(id) = id?;
    state.generation()?.unshare(caller.user, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tells reviewers that something is wrong with an artwork of yours.
#[utoipa::path(post, path = "/artworks/{id}/report", tag = "generation", request_body = Report,
    params(("id" = Uuid, Path, description = "Which.")), responses(
    (status = 204, description = "They will look."),
    (status = 404, description = "There is no such artwork, or it is not yours.")))]
async fn report(
    State(state): State<AppState>,
    caller: Caller,
    id: Result<Path<ArtworkId>, PathRejection>,
    body: Result<Json<Report>, JsonRejection>,
) -> Result<StatusCode, ApiError> {
    let (Path(id), Json(body)) = (id?, body?);
    state.generation()?.report(caller.user, id, body.reason()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a link leads to.
#[utoipa::path(get, path = "/shared/{token}", tag = "generation",
    params(("token" = String, Path, description = "Of the link.")), responses(
    (status = 200, description = "The artwork.", body = SharedView),
    (status = 404, description = "The link leads nowhere, or not any more.")))]
async fn shared(
    State(state): State<AppState>,
    token: Result<Path<String>, PathRejection>,
) -> Result<Json<SharedView>, ApiError> {
    let Path(token) = token?;
    let seen = state.generation()?.shared(known_form(&token)?).await?;
    seen.map(SharedView::of).map(Json).ok_or_else(nowhere)
}

/// Tells reviewers that something is wrong with what a link leads to.
#[utoipa::path(post, path = "/shared/{token}/report", tag = "generation", request_body = Report,
    params(("token" = String, Path, description = "Of the link.")), responses(
    (status = 204, description = "They will look."),
    (status = 404, description = "The link leads nowhere, or not any more.")))]
async fn report_shared(
    State(state): State<AppState>,
    caller: Caller,
    token: Result<Path<String>, PathRejection>,
    body: Result<Json<Report>, JsonRejection>,
) -> Result<StatusCode, ApiError> {
    let (Path(token), Json(body)) = (token?, body?);
    state.generation()?.report_shared(caller.user, known_form(&token)?, body.reason()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn known_form(token: &str) -> Result<&str, ApiError> {
    let is_fine = token.len() <= TOKEN_MAX && token.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_fine { Ok(token) } else { Err(nowhere()) }
}

fn nowhere() -> ApiError {
    ApiError::of(codes::NOT_FOUND, "the link leads nowhere")
}
