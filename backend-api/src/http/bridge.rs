//! The bridge for a user system that exists already. Its requests are signed (`docs/BACKEND.md`).

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::auth::Tokens;
use super::door::{Access, Door};
use super::doors::Table;
use super::guard::is_openid;
use super::{ApiError, AppState, codes};
use crate::db::PaymentNoted;
use crate::domain::OpenId;
use crate::identity::{BridgedPerson, Profile, SessionPaid};

/// Longest name and URL that are kept, in bytes.
const NAME_MAX: usize = 200;
const URL_MAX: usize = 1_000;
/// Longest id of theirs, in bytes.
const ID_MAX: usize = 128;

pub(super) fn doors(table: &mut Table) {
    table.add(Door::machine(Access::Partner), routes!(auth));
    table.add(Door::machine(Access::Partner), routes!(payment_complete));
}

/// A person for whom the user system vouches.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Bridged {
    /// The person's openid towards our mini program.
    #[schema(value_type = String, max_length = 128)]
    wechat_id: SecretString,
    /// What it tells about them. Fields that we do not know are ignored.
    #[serde(default)]
    user_info: UserInfo,
}

/// What is told about a person.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UserInfo {
    #[schema(value_type = Option<String>, max_length = 200)]
    nick_name: Option<SecretString>,
    #[schema(value_type = Option<String>, max_length = 1000)]
    avatar_url: Option<SecretString>,
}

/// The person, and the token for them.
#[derive(Serialize, ToSchema)]
struct BridgedIn {
    #[serde(flatten)]
    tokens: Tokens,
    /// The access token once more, under the name that the user system knows.
    token: String,
}

/// The word that a session was paid.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Paid {
    #[schema(max_length = 128)]
    session_id: String,
    #[schema(max_length = 128)]
    payment_id: String,
}

/// That word, noted.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Noted {
    session_id: String,
    payment_id: String,
    /// False when the very same word was noted before.
    is_new: bool,
}

/// Logs a person in for whom the user system vouches; who is new gets an account.
#[utoipa::path(post, path = "/api/wechat/auth", tag = "bridge", request_body = Bridged, responses(
    (status = 200, description = "The person, with tokens for them.", body = BridgedIn)))]
async fn auth(
    State(state): State<AppState>,
    body: Result<Json<Bridged>, JsonRejection>,
) -> Result<Json<BridgedIn>, ApiError> {
    let Json(body) = body?;
    let openid = body.wechat_id.expose_secret();
    if !is_openid(openid) {
        return Err(ApiError::of(codes::INVALID_REQUEST, "wechatId: an openid is expected"));
    }
    let UserInfo { nick_name, avatar_url } = body.user_info;
    let profile = Profile {
        phone: None,
        name: told(nick_name, "userInfo.nickName", NAME_MAX)?,
        picture_url: told(avatar_url, "userInfo.avatarUrl", URL_MAX)?,
    };
    let outcome = state.identity()?.bridge(BridgedPerson { openid: OpenId::new(openid), profile }).await;
    state.metrics.login("bridge", outcome.is_ok());
    let login = outcome?;
    let token = login.access_token.expose_secret().to_owned();
    Ok(Json(BridgedIn { tokens: Tokens::of(&login), token }))
}

/// Notes that a session was paid, once. A repeat of the same word changes nothing; a contradiction is refused.
#[utoipa::path(post, path = "/api/sessions/payment-complete", tag = "bridge", request_body = Paid, responses(
    (status = 200, description = "Noted.", body = Noted),
    (status = 409, description = "`payment_contradicted`: another payment paid the session, or the payment another one.")))]
async fn payment_complete(
    State(state): State<AppState>,
    body: Result<Json<Paid>, JsonRejection>,
) -> Result<Json<Noted>, ApiError> {
    let Json(Paid { session_id, payment_id }) = body?;
    for (name, id) in [("sessionId", &session_id), ("paymentId", &payment_id)] {
        if id.is_empty() || id.len() > ID_MAX {
            return Err(ApiError::of(
                codes::INVALID_REQUEST,
                format!("{name}: 1 to {ID_MAX} bytes are expected"),
            ));
        }
    }
    let noted =
        state.identity()?.note_payment(SessionPaid { session: &session_id, payment: &payment_id }).await?;
    match noted {
        PaymentNoted::Contradicted => {
            Err(ApiError::of(codes::PAYMENT_CONTRADICTED, "this session or payment was told of otherwise"))
        }
        noted => Ok(Json(Noted { session_id, payment_id, is_new: noted == PaymentNoted::Now })),
    }
}

/// Empty is nothing told.
fn told(value: Option<SecretString>, name: &str, max: usize) -> Result<Option<SecretString>, ApiError> {
    match value.filter(|value| !value.expose_secret().is_empty()) {
        Some(value) if value.expose_secret().len() > max => {
            Err(ApiError::of(codes::INVALID_REQUEST, format!("{name}: at most {max} bytes are expected")))
        }
        value => Ok(value),
    }
}
