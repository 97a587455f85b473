//! Outside the container: `tcb/uploadfile`, `tcb/batchdownloadfile`, `tcb/batchdeletefile` (FACTS §6.1).

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use reqwest::Url;
use serde::Deserialize;
use serde_json::json;

use super::sign::TOKEN;
use super::{Place, StorageError, Upload, UploadTicket};
use crate::wechat::platform::Call;
use crate::wechat::{Platform, Refusal, TransportError};

/// Tickets asked for at the same time: the platform gives one a call.
const TICKETS_AT_ONCE: usize = 4;
/// What the platform says of a file that does not exist: a status here, words there (all from memory).
const MISSING_STATUS: i64 = -503_003;
const MISSING_WORDS: [&str; 2] = ["nonexist", "not exist"];

pub(super) async fn tickets(
    platform: &Platform,
    place: &Place,
    paths: &[String],
) -> Result<Vec<UploadTicket>, StorageError> {
    stream::iter(paths.to_vec())
        .map(|path| async move { ticket(platform, place, &path).await })
        .buffered(TICKETS_AT_ONCE)
        .try_collect()
        .await
}

async fn ticket(platform: &Platform, place: &Place, path: &str) -> Result<UploadTicket, StorageError> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(deserialize_with = "crate::wechat::lenient::url")]
        url: Url,
        token: String,
        authorization: String,
        file_id: String,
        cos_file_id: String,
    }
    let call = Call::post_json("/tcb/uploadfile", &json!({ "env": place.env, "path": path }));
    let answer: Answer = platform.call(&call).await?;
    Ok(UploadTicket {
        file_id: answer.file_id,
        expires_at: end_of(&answer.authorization, place),
        url: answer.url,
        upload: Upload::Form {
            fields: vec![
                ("key".to_owned(), path.to_owned()),
                ("Signature".to_owned(), answer.authorization),
                (TOKEN.to_owned(), answer.token),
                ("x-cos-meta-fileid".to_owned(), answer.cos_file_id),
            ],
        },
    })
}

/// The signature says until when it counts; without that, what is configured for our own.
fn end_of(authorization: &str, place: &Place) -> Timestamp {
    let said = authorization
        .split('&')
        .find_map(|field| field.strip_prefix("q-sign-time="))
        .and_then(|time| time.split_once(';'))
        .and_then(|(_, until)| Timestamp::from_second(until.parse().ok()?).ok());
    let now = Timestamp::now();
    said.unwrap_or_else(|| now.checked_add(place.lifetime).unwrap_or(now))
}

#[derive(Deserialize)]
struct FileAnswer {
    #[serde(default, deserialize_with = "crate::wechat::lenient::optional_integer")]
    status: Option<i64>,
    #[serde(default)]
    errmsg: String,
    fileid: String,
    #[serde(default)]
    download_url: String,
}

impl FileAnswer {
    fn outcome(&self) -> Result<(), StorageError> {
        match self.status.unwrap_or_default() {
            0 => Ok(()),
            status if status == MISSING_STATUS || self.says_missing() => Err(StorageError::NotFound),
            status => Err(StorageError::Platform(crate::wechat::CallError::Refused(Refusal::new(
                status,
                &self.errmsg,
            )))),
        }
    }

    fn says_missing(&self) -> bool {
        let words = self.errmsg.to_lowercase();
        MISSING_WORDS.iter().any(|missing| words.contains(missing))
    }
}

pub(super) async fn links(
    platform: &Platform,
    place: &Place,
    file_ids: &[String],
) -> Result<Vec<Url>, StorageError> {
    #[derive(Deserialize)]
    struct Answer {
        file_list: Vec<FileAnswer>,
    }
    if file_ids.is_empty() {
        return Ok(Vec::new());
    }
    let max_age = place.lifetime.as_secs();
    let list: Vec<_> = file_ids.iter().map(|id| json!({ "fileid": id, "max_age": max_age })).collect();
    let call = Call::post_json("/tcb/batchdownloadfile", &json!({ "env": place.env, "file_list": list }));
    let Answer { file_list } = platform.call(&call).await?;
    file_ids
        .iter()
        .map(|id| {
            let file = file_list.iter().find(|file| file.fileid == *id);
            let file = file.ok_or(TransportError::Incomplete("link for each file"))?;
            file.outcome()?;
            Url::parse(&file.download_url)
                .map_err(|_| TransportError::Incomplete("link for each file").into())
        })
        .collect()
}

pub(super) async fn delete(
    platform: &Platform,
    place: &Place,
    file_ids: &[String],
) -> Result<(), StorageError> {
    #[derive(Deserialize)]
    struct Answer {
        delete_list: Vec<FileAnswer>,
    }
    if file_ids.is_empty() {
        return Ok(());
    }
    let body = json!({ "env": place.env, "fileid_list": file_ids });
    let Answer { delete_list } = platform.call(&Call::post_json("/tcb/batchdeletefile", &body)).await?;
    for id in file_ids {
        let file = delete_list.iter().find(|file| file.fileid == *id);
        match file.ok_or(TransportError::Incomplete("answer for each file"))?.outcome() {
            Ok(()) | Err(StorageError::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
