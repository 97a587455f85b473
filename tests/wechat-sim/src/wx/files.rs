//! Files of the environment: tickets from outside, keys inside (FACTS §6.1).

use std::time::Duration;

use serde_json::{Value, json};

use super::{Done, Refusal, body, ok, refuse};
use crate::clock::wall_s;
use crate::cos::{FormTicket, encode};
use crate::crypt;
use crate::http::Call;
use crate::platform::Platform;

const ENTRIES_MAX: usize = 50;
const TICKET_FOR: Duration = Duration::from_secs(900);
const KEYS_FOR: Duration = Duration::from_secs(7200);
const PATH_MAX_BYTES: usize = 850;
/// `status` of a file that is not there.
const FILE_MISSING: i64 = -503_003;
/// Longest that a download address may live, seconds.
const MAX_AGE: i64 = 86_400;

pub(super) fn upload(platform: &Platform, call: &Call) -> Done {
    let body = body::posted(call)?;
    environment(platform, &body)?;
    let path = path(body::text(&body, "path", 40101)?)?;
    let ticket = FormTicket {
        path: path.to_owned(),
        signature: authorization(wall_s()),
        token: crypt::letters(200),
        file_id: file_meta(path),
    };
    let answer = json!({
        "errcode": 0, "errmsg": "ok", "url": platform.cos.form_url(path), "token": ticket.token,
        "authorization": ticket.signature, "file_id": file_id(platform, path), "cos_file_id": ticket.file_id,
    });
    platform.cos.grant_form(ticket, TICKET_FOR);
    Ok(answer)
}

pub(super) fn download(platform: &Platform, call: &Call) -> Done {
    let body = body::posted(call)?;
    environment(platform, &body)?;
    let mut found = Vec::new();
    for entry in entries(&body["file_list"])? {
        let id = body::text(entry, "fileid", 40097)?;
        let age = body::number(entry, "max_age", 40097)?;
        if !(1..=MAX_AGE).contains(&age) {
            return refuse(40097, "invalid max_age");
        }
        let path = own_path(platform, id).filter(|path| has_file(platform, path));
        let age = Duration::from_secs(age.unsigned_abs());
        found.push(match path {
            Some(path) => {
                let url = platform.cos.grant_download(platform.public_url(), &path, age);
                json!({"fileid": id, "download_url": url, "status": 0, "errmsg": "ok"})
            }
            None => json!({"fileid": id, "download_url": "", "status": FILE_MISSING, "errmsg": "STORAGE_FILE_NONEXIST"}),
        });
    }
    Ok(json!({"errcode": 0, "errmsg": "ok", "file_list": found}))
}

pub(super) fn delete(platform: &Platform, call: &Call) -> Done {
    let body = body::posted(call)?;
    environment(platform, &body)?;
    let mut gone = Vec::new();
    for entry in entries(&body["fileid_list"])? {
        let Some(id) = entry.as_str() else { return refuse(40097, "invalid fileid_list") };
        let path = own_path(platform, id).filter(|path| platform.cos.remove(path));
        let (status, errmsg) =
            if path.is_some() { (0, "ok") } else { (FILE_MISSING, "STORAGE_FILE_NONEXIST") };
        gone.push(json!({"fileid": id, "status": status, "errmsg": errmsg}));
    }
    Ok(json!({"errcode": 0, "errmsg": "ok", "delete_list": gone}))
}

pub(super) fn keys(platform: &Platform, call: &Call) -> Done {
    body::got(call)?;
    let keys = platform.cos.grant_keys(KEYS_FOR);
    let ends = platform.clock.now_s() + i64::try_from(KEYS_FOR.as_secs()).unwrap_or_default();
    Ok(json!({
        "TmpSecretId": keys.id, "TmpSecretKey": keys.key, "Token": keys.token, "ExpiredTime": ends,
    }))
}

pub(super) fn encode_ids(platform: &Platform, call: &Call) -> Done {
    let body = body::posted(call)?;
    if body["openid"].as_str().is_none() || body["bucket"] != platform.config.bucket.as_str() {
        return refuse(40097, "invalid args");
    }
    let paths = body["paths"].as_array().map(Vec::as_slice).unwrap_or_default();
    if paths.is_empty() {
        return refuse(40101, "missing required parameter");
    }
    let mut fields = Vec::new();
    for path in paths {
        let Some(path) = path.as_str().and_then(|path| path.strip_prefix('/')) else {
            return refuse(40097, "a path begins with a slash");
        };
        let id = file_meta(path);
        platform.state().file_ids.insert(id.clone(), path.to_owned());
        fields.push(id);
    }
    let mut answer = ok();
    answer["respdata"] = json!({"x_cos_meta_field_strs": fields});
    Ok(answer)
}

pub(super) fn decode_id(platform: &Platform, call: &Call) -> Done {
    let body = body::posted(call)?;
    let id = body::text(&body, "metaid", 40101)?;
    let state = platform.state();
    let Some(path) = state.file_ids.get(id) else { return refuse(40097, "invalid metaid") };
    let mut answer = ok();
    answer["respdata"] = json!({"openid": "", "bucket": platform.config.bucket, "path": format!("/{path}")});
    Ok(answer)
}

fn environment(platform: &Platform, body: &Value) -> Result<(), Refusal> {
    match body["env"].as_str() {
        None | Some("") => refuse(40101, "missing required parameter"),
        Some(env) if env != platform.config.env => refuse(85088, "no qbase privilege"),
        Some(_) => Ok(()),
    }
}

fn entries(list: &Value) -> Result<&[Value], Refusal> {
    match list.as_array() {
        Some(list) if (1..=ENTRIES_MAX).contains(&list.len()) => Ok(list),
        _ => refuse(40097, "invalid args"),
    }
}

fn path(path: &str) -> Result<&str, Refusal> {
    let is_good = path.len() <= PATH_MAX_BYTES && !path.starts_with('/') && !path.contains("//");
    if is_good { Ok(path) } else { refuse(40097, "invalid path") }
}

/// Looks like a signature and says how long it holds; what counts is that it is the one that was given out.
fn authorization(now_s: i64) -> String {
    let term = format!("{now_s};{}", now_s + i64::try_from(TICKET_FOR.as_secs()).unwrap_or_default());
    format!(
        "q-sign-algorithm=sha1&q-ak=AKID{}&q-sign-time={term}&q-key-time={term}&q-header-list=&q-url-param-list=\
         &q-signature={}",
        crypt::letters(32),
        crypt::letters(40).to_lowercase(),
    )
}

/// `cloud://<env>.<bucket>/<path>`
fn file_id(platform: &Platform, path: &str) -> String {
    format!("cloud://{}.{}/{path}", platform.config.env, platform.config.bucket)
}

fn own_path(platform: &Platform, id: &str) -> Option<String> {
    let path = id.strip_prefix(&file_id(platform, ""))?;
    (!path.is_empty()).then(|| path.to_owned())
}

/// A file counts as one of the environment only with the right `x-cos-meta-fileid`.
fn has_file(platform: &Platform, path: &str) -> bool {
    let object = platform.cos.object(path);
    object.is_some_and(|object| object.headers.get("x-cos-meta-fileid") == Some(&file_meta(path)))
}

/// `x-cos-meta-fileid`: nobody outside can make it up from a path.
fn file_meta(path: &str) -> String {
    crypt::base64(crypt::hmac_hex(b"simulated file ids", encode(path).as_bytes()).as_bytes())
}
