//! The form posts of `tcb/uploadfile` (FACTS §6.1): the bucket in the path, the ticket in the fields, the file last.

use std::collections::BTreeMap;

use axum::extract::{FromRequest as _, Multipart, Request};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;

use super::objects::Received;
use super::{Answer, Cos, Refusal, refuse, refuse_extras};
use crate::http::decoded;

pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.starts_with("multipart/form-data")
}

pub(super) async fn post(cos: &Cos, request: Request) -> Answer {
    refuse_extras(request.method(), request.headers())?;
    let path = decoded(request.uri().path());
    let Some(key) = path.strip_prefix(&format!("/{}/", cos.name)).map(str::to_owned) else {
        return refuse(404, "NoSuchBucket", "the bucket has to stand in the path");
    };
    let form = Multipart::from_request(request, &()).await;
    let form = form.map_err(|error| Refusal(400, "MalformedPOSTRequest", error.to_string()))?;
    let (fields, file) = read(form).await?;
    let get = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    if get("key") != key {
        return refuse(403, "AccessDenied", "key is not the path");
    }
    let holds = cos.state().forms(&key).into_iter().any(|ticket| {
        (get("signature"), get("x-cos-security-token"), get("x-cos-meta-fileid"))
            == (ticket.signature.as_str(), ticket.token.as_str(), ticket.file_id.as_str())
    });
    if !holds {
        return refuse(403, "AccessDenied", "no ticket holds for this form");
    }
    let mut object = file.into_object(&HeaderMap::new());
    for name in ["x-cos-meta-fileid", "content-type"] {
        if let Some(value) = fields.get(name) {
            object.headers.insert(name.to_owned(), value.clone());
        }
    }
    let answer = object.describe(StatusCode::NO_CONTENT.into_response());
    cos.state().objects.insert(key, object);
    Ok(answer)
}

/// The fields by their names in small letters, and the file, after which nothing may come.
async fn read(mut form: Multipart) -> Result<(BTreeMap<String, String>, Received), Refusal> {
    let broken = |error: axum::extract::multipart::MultipartError| {
        Refusal(400, "MalformedPOSTRequest", error.to_string())
    };
    let mut fields = BTreeMap::new();
    while let Some(mut field) = form.next_field().await.map_err(broken)? {
        let name = field.name().unwrap_or_default().to_lowercase();
        if name != "file" {
            fields.insert(name, field.text().await.map_err(broken)?);
            continue;
        }
        if let Some(kind) = field.content_type() {
            fields.entry("content-type".to_owned()).or_insert_with(|| kind.to_owned());
        }
        let mut file = Received::new(true);
        while let Some(chunk) = field.chunk().await.map_err(broken)? {
            file.take(&chunk);
        }
        drop(field);
        return match form.next_field().await.map_err(broken)? {
            None => Ok((fields, file)),
            Some(_) => refuse(400, "MalformedPOSTRequest", "the file has to be the last field"),
        };
    }
    refuse(400, "MalformedPOSTRequest", "there is no file")
}
