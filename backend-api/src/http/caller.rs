//! Who calls, for handlers.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tracing::error;
use uuid::Uuid;

use super::codes;
use super::error::{ApiError, internal};
use crate::domain::{Role, UserId};

/// The person who calls, as the door found them. Behind doors for persons only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Who it is.
    pub user: UserId,
    /// What they may do.
    pub role: Role,
    /// How we know.
    pub seen_through: SeenThrough,
}

/// How we know who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenThrough {
    /// By our access token.
    Token {
        /// Of this login.
        login: Uuid,
    },
    /// By what WeChat wrote into the headers.
    WxHeaders,
}

impl Caller {
    /// The same, if they are an admin.
    ///
    /// # Errors
    /// 403 `forbidden`.
    pub fn admin(self) -> Result<Self, ApiError> {
        match self.role {
            Role::Admin => Ok(self),
            Role::User | Role::Coach => Err(ApiError::of(codes::FORBIDDEN, "this is for admins")),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get().copied().ok_or_else(|| {
            error!("a handler asks for its caller behind a door that is not for persons");
            internal()
        })
    }
}
