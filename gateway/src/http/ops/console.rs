//! The console: one page that shows the fleet, the queue and finished pictures, from the same `/v1` that everybody
//! has. The page itself holds no data and needs no key; with keys it asks for one and keeps it in the tab.

use axum::http::Method;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::super::routes::{Need, Routes};

/// Nothing but our own files; pictures may come by a signed URL or, with a key, as blobs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' https:; \
     img-src 'self' blob: https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Adds the page and its two files.
pub(super) fn add(routes: &mut Routes) {
    routes.add(Method::GET, "/console", Need::Door, page);
    routes.add(Method::GET, "/console/console.js", Need::Door, script);
    routes.add(Method::GET, "/console/console.css", Need::Door, style);
}

async fn page() -> Response {
    file("text/html; charset=utf-8", include_str!("console/console.html"))
}

async fn script() -> Response {
    file("text/javascript; charset=utf-8", include_str!("console/console.js"))
}

async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("console/console.css"))
}

fn file(media_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    ];
    (headers, text).into_response()
}
