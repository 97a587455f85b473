//! An answer before it is sent.

use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// Status, headers, body, and the code that tests look for.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) code: String,
}

impl Reply {
    pub(crate) fn json(status: u16, value: &Value, code: impl ToString) -> Self {
        Self {
            status,
            headers: vec![("content-type", "application/json; charset=utf-8".to_owned())],
            body: value.to_string().into_bytes(),
            code: code.to_string(),
        }
    }

    pub(crate) fn empty(status: u16, code: impl ToString) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), code: code.to_string() }
    }

    pub(crate) fn file(body: Vec<u8>) -> Self {
        let headers = vec![("content-type", "application/octet-stream".to_owned())];
        Self { status: 200, headers, body, code: String::new() }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, self.body).into_response();
        if status == StatusCode::NO_CONTENT {
            response.headers_mut().remove("content-type");
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}
