//! Artworks for those who review.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;
use uuid::Uuid;

use super::artworks::ArtworkView;
use super::door::{Door, Rate};
use super::doors::Table;
use super::{ApiError, AppState, Caller, codes};
use crate::domain::ArtworkId;
use crate::generation::Review;

/// Artworks of a page, unless asked for fewer, and at most: each costs a look at the bucket.
const PAGE: u64 = 10;
const PAGE_MAX: u64 = 20;

pub(super) fn doors(table: &mut Table) {
    table.add(Door::admin(Rate::Read), routes!(list));
    table.add(Door::admin(Rate::Write), routes!(approve));
    table.add(Door::admin(Rate::Write), routes!(take_down));
}

/// Which part of the queue.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct WhichReviews {
    /// Only what is newer than this id.
    after: Option<Uuid>,
    /// At most so many: 10, or up to 20.
    #[param(minimum = 1, maximum = 20)]
    limit: Option<u64>,
}

/// What has to be looked at.
#[derive(Serialize, ToSchema)]
struct Reviews {
    reviews: Vec<ReviewView>,
}

/// An artwork to be looked at.
#[derive(Serialize, ToSchema)]
struct ReviewView {
    /// With its pictures, whether or not its owner sees them.
    artwork: ArtworkView,
    /// What was asked for.
    #[schema(value_type = Object)]
    inputs: Value,
    /// How many people reported it.
    reports: i64,
    /// What they wrote, newest first.
    reasons: Vec<String>,
}

impl ReviewView {
    fn of(review: Review) -> Self {
        let Review { seen, inputs, reasons } = review;
        let reports = seen.artwork.reports;
        Self { artwork: ArtworkView::of(seen), inputs, reports, reasons }
    }
}

/// The queue, oldest first: what a check was unsure of, and what people reported.
#[utoipa::path(get, path = "/admin/reviews", tag = "admin", params(WhichReviews), responses(
    (status = 200, description = "A page of the queue.", body = Reviews)))]
async fn list(
    State(state): State<AppState>,
    query: Result<Query<WhichReviews>, QueryRejection>,
) -> Result<Json<Reviews>, ApiError> {
    let Query(WhichReviews { after, limit }) = query?;
    let limit = limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(ApiError::of(codes::INVALID_REQUEST, "limit: 1 to 20 is expected"));
    }
    let reviews = state.generation()?.reviews(after.map(ArtworkId), limit).await?;
    Ok(Json(Reviews { reviews: reviews.into_iter().map(ReviewView::of).collect() }))
}

/// Lets an artwork be seen.
#[utoipa::path(post, path = "/admin/artworks/{id}/approve", tag = "admin",
    params(("id" = Uuid, Path, description = "Which.")), responses(
    (status = 200, description = "The artwork.", body = ArtworkView),
    (status = 404, description = "There is no such artwork."),
    (status = 409, description = "`artwork_not_visible`: it is not checked, or was taken down for good.")))]
async fn approve(
    State(state): State<AppState>,
    caller: Caller,
    id: Result<Path<ArtworkId>, PathRejection>,
) -> Result<Json<ArtworkView>, ApiError> {
    let Path(id) = id?;
    let artwork = state.generation()?.approve(caller.user, id).await?;
    Ok(Json(ArtworkView::known(artwork)))
}

/// Takes an artwork away for good; its files are removed.
#[utoipa::path(post, path = "/admin/artworks/{id}/takedown", tag = "admin",
    params(("id" = Uuid, Path, description = "Which.")), responses(
    (status = 200, description = "The artwork, hidden.", body = ArtworkView),
    (status = 404, description = "There is no such artwork, or nothing was made.")))]
async fn take_down(
    State(state): State<AppState>,
    caller: Caller,
    id: Result<Path<ArtworkId>, PathRejection>,
) -> Result<Json<ArtworkView>, ApiError> {
    let Path(id) = id?;
    let artwork = state.generation()?.take_down(caller.user, id).await?;
    Ok(Json(ArtworkView::known(artwork)))
}
