//! Logging in, staying in, leaving.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::door::{Access, Door, Rate, Side};
use super::doors::Table;
use super::me::Person;
use super::token::credential;
use super::{ApiError, AppState, Caller, SeenThrough, codes};
use crate::identity::{IdentityError, LoggedIn};

pub(super) fn doors(table: &mut Table) {
    let stranger = Door { access: Access::Open, side: Side::App, rate: Rate::Login };
    table.add(stranger, routes!(login));
    table.add(stranger, routes!(refresh));
    table.add(Door::user(Rate::Write), routes!(logout));
}

/// A code of `wx.login`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    /// Good once, for five minutes.
    #[schema(value_type = String, max_length = 256)]
    code: SecretString,
}

/// A refresh token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Refresh {
    /// Of the last login or refresh; good once.
    #[schema(value_type = String, max_length = 256)]
    refresh_token: SecretString,
}

/// A login and its tokens.
#[derive(Serialize, ToSchema)]
pub(super) struct Tokens {
    /// For requests: `Authorization: Bearer …`.
    access_token: String,
    /// Seconds for which the access token is good.
    expires_in: u64,
    /// For one `POST /auth/refresh`.
    refresh_token: String,
    user: Person,
}

impl Tokens {
    pub(super) fn of(login: &LoggedIn) -> Self {
        Self {
            access_token: login.access_token.expose_secret().to_owned(),
            expires_in: login.expires_in.as_secs(),
            refresh_token: login.refresh_token.expose_secret().to_owned(),
            user: Person::of(&login.user),
        }
    }
}

/// Logs a person in by a code of `wx.login`; who is new gets an account.
#[utoipa::path(post, path = "/auth/login", tag = "identity", request_body = Login, responses(
    (status = 200, description = "Logged in.", body = Tokens),
    (status = 401, description = "`code_refused`: call `wx.login` again."),
    (status = 403, description = "`login_blocked`: WeChat blocks this person; do not repeat."),
    (status = 502, description = "`wechat_misconfigured`: an operator has to act.")))]
async fn login(
    State(state): State<AppState>,
    body: Result<Json<Login>, JsonRejection>,
) -> Result<Json<Tokens>, ApiError> {
    let Json(body) = body?;
    let outcome = state.identity()?.login(credential(&body.code, "code")?).await;
    state.metrics.login("wechat", outcome.is_ok());
    Ok(Json(Tokens::of(&outcome?)))
}

/// Gives new tokens for a refresh token. A token that comes a second time ends its login for everybody who holds it,
/// except at once: then its first answer was lost, and is given again.
#[utoipa::path(post, path = "/auth/refresh", tag = "identity", request_body = Refresh, responses(
    (status = 200, description = "New tokens.", body = Tokens),
    (status = 401, description = "`refresh_refused` or `refresh_reused`: log in again.")))]
async fn refresh(
    State(state): State<AppState>,
    body: Result<Json<Refresh>, JsonRejection>,
) -> Result<Json<Tokens>, ApiError> {
    let Json(body) = body?;
    let outcome = state.identity()?.refresh(credential(&body.refresh_token, "refresh_token")?).await;
    state.metrics.login("refresh", outcome.is_ok());
    match outcome {
        Ok(login) => Ok(Json(Tokens::of(&login))),
        Err(IdentityError::NotGood) => {
            Err(ApiError::of(codes::REFRESH_REFUSED, "this token is not good, or not any more: log in again"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Ends the login that the access token is of.
#[utoipa::path(post, path = "/auth/logout", tag = "identity", responses(
    (status = 204, description = "The login has ended, with all its tokens.")))]
async fn logout(State(state): State<AppState>, caller: Caller) -> Result<StatusCode, ApiError> {
    if let SeenThrough::Token { login } = caller.seen_through {
        state.identity()?.logout(login).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
