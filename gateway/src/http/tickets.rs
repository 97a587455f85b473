//! Where runners on other machines bring files of a local folder, and ask about uploads in pieces. The token in the path
//! is the right to it: of one object, for an hour.

use axum::Json;
use axum::body::Body;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap};
use axum::response::{IntoResponse, Response};
use utoipa_axum::routes;

use super::error::{ApiError, ErrorKind};
use super::routes::{Need, Routes};
use super::state::App;
use crate::artifacts::ReceiveError;
use crate::link::message::Secret;
use crate::link::ticket::{Ask, Desk, DeskError};

/// Longest question, bytes: the completion of an upload of 10 000 parts.
const ASK_MAX: usize = 2 << 20;

/// Adds the routes of tickets.
pub(super) fn add(table: &mut Routes) {
    table.api_slow(Need::Ticket, routes!(upload));
    table.api(Need::Ticket, routes!(ask));
}

/// Take the bytes of a file. The same may come again, others not.
#[utoipa::path(put, path = "/v1/tickets/{token}", tag = "tickets",
    params(("token" = String, Path, description = "The right to it, from a ticket.")),
    request_body(content = [u8], content_type = "application/octet-stream"), responses(
        (status = 200, description = "They are there; `ETag` is their MD5."),
        (status = 409, description = "`ticket_used`: by another file."),
        (status = 410, description = "`ticket_expired`.")))]
async fn upload(
    app: App,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    if !app.artifacts.knows_ticket(&token) {
        return Err(expired());
    }
    if !headers.contains_key(header::CONTENT_LENGTH) {
        return Err(ApiError::invalid("a Content-Length is wanted"));
    }
    let md5 = app.artifacts.receive(&token, body.into_data_stream()).await?;
    Ok((StatusCode::OK, [(header::ETAG, format!("\"{md5}\""))]).into_response())
}

/// Answer what a runner asks about an upload in pieces.
#[utoipa::path(post, path = "/v1/tickets/{token}", tag = "tickets",
    params(("token" = String, Path, description = "The right to it, from a ticket.")),
    request_body = Object, responses(
        (status = 200, description = "The answer.", body = Object),
        (status = 404, description = "`upload_gone`."),
        (status = 410, description = "`ticket_expired`."),
        (status = 422, description = "`ticket_refused`.")))]
async fn ask(app: App, Path(token): Path<String>, body: Body) -> Result<Response, ApiError> {
    if !app.artifacts.knows_ticket(&token) {
        return Err(expired());
    }
    let body = axum::body::to_bytes(body, ASK_MAX).await;
    let body = body.map_err(|_| ApiError::invalid("the body is too long or broke off"))?;
    let ask: Ask = serde_json::from_slice(&body).map_err(|_| ApiError::invalid("no such question"))?;
    Ok(Json(app.artifacts.ask(&Secret(token), ask).await?).into_response())
}

fn expired() -> ApiError {
    ApiError::new(ErrorKind::Gone, "ticket_expired", "this upload ticket is none, or none any more")
}

impl From<ReceiveError> for ApiError {
    fn from(cause: ReceiveError) -> Self {
        match cause {
            ReceiveError::Expired => expired(),
            ReceiveError::Other => Self::new(
                ErrorKind::Conflict,
                "ticket_used",
                "another file was uploaded with this ticket already",
            ),
            ReceiveError::BrokeOff(_) => Self::invalid("the upload broke off"),
            ReceiveError::Store(error) => error.into(),
        }
    }
}

impl From<DeskError> for ApiError {
    fn from(cause: DeskError) -> Self {
        match cause {
            DeskError::Expired => expired(),
            DeskError::Gone(why) => Self::new(ErrorKind::NotFound, "upload_gone", why),
            DeskError::Refused(why) => Self::new(ErrorKind::Refused, "ticket_refused", why),
            DeskError::NotNow(error) => {
                tracing::error!(%error, "artifact store call failed");
                Self::unavailable("the artifact store does not answer now")
            }
        }
    }
}
