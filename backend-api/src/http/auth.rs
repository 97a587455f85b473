//! The service token's door.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;
use secrecy::{ExposeSecret as _, SecretString};

use super::{ApiError, ErrorKind};

/// Recognises the service token without keeping it.
#[derive(Clone)]
pub struct ServiceToken(Digest);

impl ServiceToken {
    /// The door opens to `token` from now on.
    pub fn new(token: &SecretString) -> Self {
        Self(digest(&SHA256, token.expose_secret().as_bytes()))
    }

    /// Takes as long for a wrong token as for the right one, whatever their lengths.
    fn matches(&self, presented: &[u8]) -> bool {
        verify_slices_are_equal(self.0.as_ref(), digest(&SHA256, presented).as_ref()).is_ok()
    }
}

impl fmt::Debug for ServiceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceToken")
    }
}

/// Lets bearers of the service token pass; everybody else gets 401.
pub(super) async fn require(
    State(token): State<ServiceToken>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if bearer(&request).is_some_and(|presented| token.matches(presented)) {
        Ok(next.run(request).await)
    } else {
        Err(ApiError::new(ErrorKind::Unauthorized, "unauthorized", "a valid service token is needed"))
    }
}

fn bearer(request: &Request) -> Option<&[u8]> {
    let (scheme, token) =
        request.headers().get(AUTHORIZATION)?.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}
