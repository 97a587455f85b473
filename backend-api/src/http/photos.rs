//! Photos that people give, for pictures to be made of them.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::door::{Door, Rate};
use super::doors::Table;
use super::orders::timestamp;
use super::{ApiError, AppState, Caller};
use crate::domain::{Photo, PhotoId, PhotoState};

pub(super) fn doors(table: &mut Table) {
    table.add(Door::user(Rate::Write), routes!(give));
    table.add(Door::user(Rate::Read), routes!(list));
    table.add(Door::user(Rate::Read), routes!(read));
    table.add(Door::user(Rate::Write), routes!(delete));
}

/// The bytes of a file.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "its shape is documented; the handler takes bytes")]
struct PhotoBytes(Vec<u8>);

/// A picture that you gave.
#[derive(Serialize, ToSchema)]
struct PhotoView {
    /// For inputs of type `image`.
    #[schema(value_type = uuid::Uuid)]
    id: PhotoId,
    /// `storing` (cut off: give it again), `checking`, `ready` (pictures may be made of it) or `refused`.
    #[schema(value_type = String, example = "ready")]
    state: PhotoState,
    #[schema(example = "image/jpeg")]
    content_type: String,
    size_bytes: i64,
    width: i64,
    height: i64,
    /// For everybody, for a while; once it is ready, and not in lists.
    url: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
    /// When it is forgotten.
    #[schema(value_type = Option<String>, format = DateTime)]
    ends_at: Option<Timestamp>,
}

impl PhotoView {
    fn of(photo: Photo, url: Option<reqwest::Url>) -> Self {
        Self {
            id: photo.id,
            state: photo.state,
            content_type: photo.content_type,
            size_bytes: photo.size_bytes,
            width: photo.width,
            height: photo.height,
            url: url.map(Into::into),
            created_at: timestamp(photo.created_at),
            ends_at: timestamp(photo.ends_at),
        }
    }
}

/// Your photos.
#[derive(Serialize, ToSchema)]
struct Photos {
    photos: Vec<PhotoView>,
}

/// Gives a picture, as it is in its file. It is known by its bytes, whatever its media type says.
#[utoipa::path(post, path = "/photos", tag = "generation",
    request_body(content((PhotoBytes = "image/jpeg"), (PhotoBytes = "image/png"))), responses(
    (status = 201, description = "Kept, and being checked; read it until it is `ready`: what its check wants of you is \
        told there.", body = PhotoView),
    (status = 404, description = "It was deleted while it came."),
    (status = 409, description = "`login_again`: nothing was kept; call `wx.login` and log in, then repeat."),
    (status = 413, description = "`too_large`."),
    (status = 422, description = "`photo_unfit`: it is no picture that is taken, or has too many pixels."),
    (status = 429, description = "`too_many_photos` in a day."),
    (status = 503, description = "`wechat_unavailable`, `gateway_unavailable`: repeat; `photos_not_configured`, \
        `generation_not_configured`.")))]
async fn give(
    State(state): State<AppState>,
    caller: Caller,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<PhotoView>), ApiError> {
    let photo = state.generation()?.give_photo(caller.user, body?).await?;
    Ok((StatusCode::CREATED, Json(PhotoView::of(photo, None))))
}

/// Your photos, newest first.
#[utoipa::path(get, path = "/photos", tag = "generation", responses(
    (status = 200, description = "All that are not forgotten.", body = Photos)))]
async fn list(State(state): State<AppState>, caller: Caller) -> Result<Json<Photos>, ApiError> {
    let photos = state.generation()?.photos(caller.user).await?;
    Ok(Json(Photos { photos: photos.into_iter().map(|photo| PhotoView::of(photo, None)).collect() }))
}

/// One of your photos.
#[utoipa::path(get, path = "/photos/{id}", tag = "generation",
    params(("id" = uuid::Uuid, Path, description = "Which.")), responses(
    (status = 200, description = "The photo.", body = PhotoView),
    (status = 404, description = "There is no such photo, or it is not yours."),
    (status = 409, description = "`login_again`: it is kept, but its check has to be asked for, and you have to be here \
        for that: call `wx.login` and log in, then read it again.")))]
async fn read(
    State(state): State<AppState>,
    caller: Caller,
    id: Result<Path<PhotoId>, PathRejection>,
) -> Result<Json<PhotoView>, ApiError> {
    let Path(id) = id?;
    let (photo, url) = state.generation()?.photo(caller.user, id).await?;
    Ok(Json(PhotoView::of(photo, url)))
}

/// Forgets a photo. What was made of it stays.
#[utoipa::path(delete, path = "/photos/{id}", tag = "generation",
    params(("id" = uuid::Uuid, Path, description = "Which.")), responses(
    (status = 204, description = "It is forgotten."),
    (status = 404, description = "There is no such photo, or it is not yours.")))]
async fn delete(
    State(state): State<AppState>,
    caller: Caller,
    id: Result<Path<PhotoId>, PathRejection>,
) -> Result<StatusCode, ApiError> {
    let Path(id) = id?;
    state.generation()?.delete_photo(caller.user, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
