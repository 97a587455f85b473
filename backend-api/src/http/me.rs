//! What a person sees of themselves, and their leaving.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::door::{Door, Rate};
use super::doors::Table;
use super::token::credential;
use super::{ApiError, AppState, Caller, codes};
use crate::domain::{Role, User, UserId};
use crate::identity::{Profile, masked};

pub(super) fn doors(table: &mut Table) {
    table.add(Door::user(Rate::Read), routes!(read));
    table.add(Door::user(Rate::Login), routes!(phone));
    table.add(Door::user(Rate::Login), routes!(export));
    table.add(Door::user(Rate::Write), routes!(leave));
}

/// A person, as they are known here.
#[derive(Serialize, ToSchema)]
pub(super) struct Person {
    /// Opaque, and the same for ever.
    #[schema(value_type = uuid::Uuid)]
    id: UserId,
    role: Role,
    /// When they were first seen.
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
}

impl Person {
    pub(super) fn of(user: &User) -> Self {
        Self { id: user.id, role: user.role, created_at: Timestamp::from_millisecond(user.created_at).ok() }
    }
}

/// A person and what they told.
#[derive(Serialize, ToSchema)]
struct Me {
    #[serde(flatten)]
    person: Person,
    /// With its middle hidden.
    #[schema(example = "+86 138****8000")]
    phone: Option<String>,
    name: Option<String>,
    picture_url: Option<String>,
}

/// A code of the phone button.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PhoneCode {
    /// Another one than that of `wx.login`; good once, for five minutes.
    #[schema(value_type = String, max_length = 256)]
    code: SecretString,
}

/// The person who asks.
#[utoipa::path(get, path = "/me", tag = "identity", responses((status = 200, description = "You.", body = Me)))]
async fn read(State(state): State<AppState>, caller: Caller) -> Result<Json<Me>, ApiError> {
    let profile = state.identity()?.profile(caller.user).await?;
    me(&state, caller, &profile).await
}

/// Exchanges a code of the phone button and keeps the number, sealed.
#[utoipa::path(post, path = "/me/phone", tag = "identity", request_body = PhoneCode, responses(
    (status = 200, description = "You, with the number.", body = Me),
    (status = 401, description = "`code_refused`: the button has to be pressed again."),
    (status = 502, description = "`wechat_misconfigured`: an operator has to act.")))]
async fn phone(
    State(state): State<AppState>,
    caller: Caller,
    body: Result<Json<PhoneCode>, JsonRejection>,
) -> Result<Json<Me>, ApiError> {
    let Json(body) = body?;
    let profile = state.identity()?.tell_phone(caller.user, credential(&body.code, "code")?).await?;
    me(&state, caller, &profile).await
}

/// A copy of everything that is known of you.
#[utoipa::path(get, path = "/me/export", tag = "identity", responses(
    (status = 200, description = "Everything, by part.", body = Object)))]
async fn export(State(state): State<AppState>, caller: Caller) -> Result<impl IntoResponse, ApiError> {
    let copy = state.identity()?.export(caller.user).await?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(copy)))
}

/// Erases you: everything that is personal goes at once, and cannot be brought back. What the law wants kept stays under
/// an id that names nobody.
#[utoipa::path(delete, path = "/me", tag = "identity", responses(
    (status = 204, description = "You are forgotten."),
    (status = 409, description = "`leave_not_now`: something of yours is under way; the message tells what.")))]
async fn leave(State(state): State<AppState>, caller: Caller) -> Result<StatusCode, ApiError> {
    state.identity()?.leave(caller.user).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn me(state: &AppState, caller: Caller, profile: &Profile) -> Result<Json<Me>, ApiError> {
    let user = state.identity()?.user(caller.user).await?;
    let user = user.ok_or_else(|| ApiError::of(codes::NOT_FOUND, "there is no such person"))?;
    let shown =
        |secret: &Option<SecretString>| secret.as_ref().map(|secret| secret.expose_secret().to_owned());
    Ok(Json(Me {
        person: Person::of(&user),
        phone: profile.phone.as_ref().map(|phone| masked(phone.expose_secret())),
        name: shown(&profile.name),
        picture_url: shown(&profile.picture_url),
    }))
}
