//! Inside the container: keys of the bucket are lent by the platform (`/_/cos/getauth`), and the mini program's own
//! mark of a file by `/_/cos/metaid/encode` (FACTS §6.1).

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use reqwest::{Method, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;

use super::sign::{TOKEN, host};
use super::{Keys, Place, Request, StorageError, Term, Upload, UploadTicket, authorization, presigned};
use crate::wechat::platform::Call;
use crate::wechat::transport::extended;
use crate::wechat::{CallError, Platform, TransportError};

/// Lent keys are given back this long before their end.
const KEYS_SPARE: Duration = Duration::from_secs(120);
/// A signature counts from a little before now: clocks differ.
const EARLIER_SECONDS: i64 = 60;
/// Objects deleted at the same time.
const DELETES_AT_ONCE: usize = 4;

/// The keys that are lent now. The lock is held over the call, so one call serves all who wait.
#[derive(Debug, Default)]
pub(in crate::wechat) struct KeyCache(Mutex<Option<Lent>>);

#[derive(Debug, Clone)]
struct Lent {
    keys: Keys,
    ends_at: Timestamp,
}

pub(super) async fn tickets(
    platform: &Platform,
    place: &Place,
    paths: &[String],
) -> Result<Vec<UploadTicket>, StorageError> {
    let lent = lent(platform).await?;
    let marks = marks(platform, place, paths).await?;
    let endpoint = endpoint(place)?;
    let (term, expires_at) = term(place, &lent);
    Ok(paths
        .iter()
        .zip(marks)
        .map(|(path, mark)| UploadTicket {
            file_id: place.file_id(path),
            url: extended(&endpoint, path.split('/')),
            upload: Upload::Put { headers: put_headers(&lent.keys, &endpoint, path, mark, term) },
            expires_at,
        })
        .collect())
}

pub(super) async fn links(
    platform: &Platform,
    place: &Place,
    file_ids: &[String],
) -> Result<Vec<Url>, StorageError> {
    let lent = lent(platform).await?;
    let endpoint = endpoint(place)?;
    let (term, _) = term(place, &lent);
    file_ids
        .iter()
        .map(|id| {
            let path = place.path_of(id).ok_or(StorageError::Unfitting)?;
            Ok(presigned(&lent.keys, "GET", &endpoint, path, term))
        })
        .collect()
}

pub(super) async fn delete(
    platform: &Platform,
    place: &Place,
    file_ids: &[String],
) -> Result<(), StorageError> {
    let lent = lent(platform).await?;
    let endpoint = endpoint(place)?;
    let (term, _) = term(place, &lent);
    let urls = file_ids.iter().map(|id| {
        let path = place.path_of(id).ok_or(StorageError::Unfitting)?;
        Ok(presigned(&lent.keys, "DELETE", &endpoint, path, term))
    });
    let urls: Vec<Url> = urls.collect::<Result<_, StorageError>>()?;
    stream::iter(urls)
        .map(|url| delete_one(platform, url))
        .buffer_unordered(DELETES_AT_ONCE)
        .try_collect()
        .await
}

async fn delete_one(platform: &Platform, url: Url) -> Result<(), StorageError> {
    let transport = &platform.inner().transport;
    let reply = transport.send(transport.request(Method::DELETE, url)).await?;
    match reply.status {
        StatusCode::NOT_FOUND => Ok(()),
        status if status.is_success() => Ok(()),
        status => Err(TransportError::Status(status).into()),
    }
}

/// What one upload has to send, the signature included.
fn put_headers(keys: &Keys, endpoint: &Url, path: &str, mark: String, term: Term) -> Vec<(String, String)> {
    let mut headers = vec![
        ("x-cos-forbid-overwrite".to_owned(), "true".to_owned()),
        ("x-cos-meta-fileid".to_owned(), mark),
    ];
    if let Some(token) = &keys.token {
        headers.push((TOKEN.to_owned(), token.expose_secret().to_owned()));
    }
    let mut signed = headers.clone();
    signed.push(("host".to_owned(), host(endpoint)));
    let request = Request { method: "PUT", path: &format!("/{path}"), query: &[], headers: &signed };
    headers.push(("authorization".to_owned(), authorization(keys, request, term)));
    headers
}

fn term(place: &Place, lent: &Lent) -> (Term, Timestamp) {
    let now = Timestamp::now();
    let wanted = now.checked_add(place.lifetime).unwrap_or(lent.ends_at);
    let until = wanted.min(lent.ends_at);
    (Term { from: now.as_second() - EARLIER_SECONDS, until: until.as_second() }, until)
}

fn endpoint(place: &Place) -> Result<Url, StorageError> {
    match &place.endpoint {
        Some(url) => Ok(url.clone()),
        None => Url::parse(&format!("https://{}.cos.{}.myqcloud.com", place.bucket, place.region))
            .map_err(|_| StorageError::NotConfigured),
    }
}

async fn lent(platform: &Platform) -> Result<Lent, CallError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        tmp_secret_id: String,
        tmp_secret_key: SecretString,
        token: SecretString,
        #[serde(deserialize_with = "crate::wechat::lenient::integer")]
        expired_time: i64,
    }
    let mut held = platform.inner().bucket_keys.0.lock().await;
    let now = Timestamp::now();
    if let Some(lent) = held.as_ref().filter(|lent| now < lent.ends_at) {
        return Ok(lent.clone());
    }
    let answer: Answer = platform.call(&Call::get("/_/cos/getauth")).await?;
    let ends_at = Timestamp::from_second(answer.expired_time)
        .ok()
        .and_then(|end| end.checked_sub(KEYS_SPARE).ok())
        .filter(|end| now < *end)
        .ok_or(TransportError::Incomplete("keys that last"))?;
    let keys = Keys { id: answer.tmp_secret_id, secret: answer.tmp_secret_key, token: Some(answer.token) };
    Ok(held.insert(Lent { keys, ends_at }).clone())
}

/// The marks that make files known to the mini program, in the order of `paths`.
async fn marks(platform: &Platform, place: &Place, paths: &[String]) -> Result<Vec<String>, CallError> {
    #[derive(Deserialize)]
    struct Answer {
        respdata: Marks,
    }
    #[derive(Deserialize)]
    struct Marks {
        x_cos_meta_field_strs: Vec<String>,
    }
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let slashed: Vec<String> = paths.iter().map(|path| format!("/{path}")).collect();
    // an empty openid is the administrator: nobody's openid is written into a file
    let body = json!({ "openid": "", "bucket": place.bucket, "paths": slashed });
    let answer: Answer = platform.call(&Call::post_json("/_/cos/metaid/encode", &body)).await?;
    let marks = answer.respdata.x_cos_meta_field_strs;
    match marks.len() == paths.len() {
        true => Ok(marks),
        false => Err(TransportError::Incomplete("mark for each file").into()),
    }
}
