//! One attempt to deliver something.

use std::sync::Arc;

use anyhow::ensure;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use super::{APPLES_QUESTION, Address, Parcel, write};
use crate::clock::wall_s;
use crate::config::{Format, Guard, Push};
use crate::crypt;
use crate::faults::Seal;
use crate::observed::Delivery;
use crate::pay::seal;
use crate::platform::Platform;

/// Longest answer read, bytes; the rest is not looked at.
const ANSWER_MAX_BYTES: usize = 64 << 10;
/// As far off as a wrong time is, seconds.
const OFF_S: i64 = 360;
/// What `x-wx-source` says of a pushed event.
const SOURCE: &str = "wx_event";

/// Sends it once, writes down what came of it, and tells whether it was taken.
pub(super) async fn once(platform: &Arc<Platform>, parcel: &Parcel, attempt: usize, how: Seal) -> bool {
    let Some(request) = request(platform, parcel, how) else { return true };
    let answer = match request.send().await {
        Ok(response) => Some((response.status().as_u16(), text(response).await)),
        Err(error) => {
            tracing::debug!(error = %error, kind = %parcel.kind, "nobody took it");
            None
        }
    };
    let taken = answer.as_ref().is_some_and(|(status, body)| is_taken(parcel, *status, body));
    let (status, body) = answer.unzip();
    platform.record.delivered(Delivery {
        kind: parcel.kind.clone(),
        about: parcel.about.clone(),
        attempt,
        seal: how,
        status,
        answer: body.unwrap_or_default(),
        taken,
    });
    taken
}

/// The request; `None` when nobody is to hear of it.
fn request(platform: &Platform, parcel: &Parcel, how: Seal) -> Option<RequestBuilder> {
    match &parcel.to {
        Address::Pay { url, body } => {
            let mut request = platform.outside.post(platform.routed(url)).body(body.clone());
            request = request.header("content-type", "application/json").header("user-agent", "Mozilla/4.0");
            for (name, value) in seal::headers(platform.keys.calling(), body, how) {
                request = request.header(name, value);
            }
            Some(request)
        }
        Address::Push { event } => {
            let push = platform.state().push.clone()?;
            pushed(platform, &push, event, how)
        }
        Address::Container { path, body } => {
            let base = platform.state().container_service.clone()?;
            let mut request = platform.outside.post(format!("{base}{path}")).json(body);
            if how == Seal::Good {
                request = request.header("x-wx-source", SOURCE);
            }
            Some(request)
        }
    }
}

fn pushed(platform: &Platform, push: &Push, event: &Value, how: Seal) -> Option<RequestBuilder> {
    let written = |value: &Value| match push.format {
        Format::Json => value.to_string(),
        Format::Xml => write::xml(value),
    };
    let kind = if push.format == Format::Json { "application/json" } else { "text/xml" };
    let text = written(event);
    let request = platform.outside.post(platform.routed(&push.url)).header("content-type", kind);
    let openid = event["FromUserName"].as_str().unwrap_or_default();
    Some(match &push.guard {
        Guard::Container if how == Seal::Good => request.header("x-wx-source", SOURCE).body(text),
        Guard::Container => request.body(text),
        Guard::Plain { token } => request.query(&signed(token, how)).query(&[("openid", openid)]).body(text),
        Guard::Aes { token, encoding_aes_key } => {
            let encrypted = crypt::push_encrypt(encoding_aes_key, &platform.config.appid, &text)?;
            let mut query = signed(token, how);
            let get = |name: &str| query.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value);
            let parts = [token, get("timestamp"), get("nonce"), &encrypted];
            let signature = match how {
                Seal::Forged | Seal::Tampered => crypt::sha1_hex(b"another"),
                _ => crypt::push_signature(&parts),
            };
            query.push(("encrypt_type", "aes".to_owned()));
            if how != Seal::Missing {
                query.push(("msg_signature", signature));
            }
            let body = written(&write::envelope(&encrypted));
            request.query(&query).query(&[("openid", openid)]).body(body)
        }
    })
}

/// `signature`, `timestamp`, `nonce` of message push (FACTS §2.5).
fn signed(token: &str, how: Seal) -> Vec<(&'static str, String)> {
    let at = match how {
        Seal::Stale => wall_s() - OFF_S,
        Seal::Early => wall_s() + OFF_S,
        _ => wall_s(),
    };
    let (at, nonce) = (at.to_string(), crypt::digits(10));
    let signature = match how {
        Seal::Good | Seal::Stale | Seal::Early => crypt::push_signature(&[token, &at, &nonce]),
        _ => crypt::sha1_hex(b"another"),
    };
    let mut query = vec![("timestamp", at), ("nonce", nonce)];
    if how != Seal::Missing {
        query.push(("signature", signature));
    }
    query
}

/// What each kind of parcel takes for a yes.
fn is_taken(parcel: &Parcel, status: u16, body: &str) -> bool {
    let code = |name: &str| serde_json::from_str::<Value>(body).ok().and_then(|value| value[name].as_i64());
    match &parcel.to {
        Address::Pay { .. } => matches!(status, 200 | 204),
        Address::Container { .. } => status == 200 && code("errcode") == Some(0),
        Address::Push { .. } if parcel.kind == APPLES_QUESTION => status == 200 && is_advice(body),
        Address::Push { .. } if parcel.kind.starts_with("xpay_") => {
            status == 200 && (code("ErrCode") == Some(0) || body.contains("<ErrCode>0</ErrCode>"))
        }
        Address::Push { .. } => status == 200 && matches!(body.trim(), "" | "success"),
    }
}

/// Whether it answers Apple's question (FACTS §4.12).
fn is_advice(body: &str) -> bool {
    let Ok(advice) = serde_json::from_str::<Value>(body) else { return false };
    let is_told = |name: &str| advice[name].as_str().is_some_and(|text| !text.is_empty());
    matches!(advice["result_code"].as_i64(), Some(0 | 1)) && is_told("result_info") && is_told("evidence")
}

async fn text(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_MAX_BYTES {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What the console does when a receiver is entered: a GET that wants its `echostr` back, or a probe of the container.
///
/// # Errors
/// When the receiver does not answer as it has to.
pub(crate) async fn check_receiver(platform: &Platform) -> anyhow::Result<()> {
    let Some(push) = platform.state().push.clone() else { anyhow::bail!("no receiver is set") };
    let url = platform.routed(&push.url);
    let (request, wanted) = match &push.guard {
        Guard::Container => {
            let request = platform.outside.post(url).json(&json!({"action": "CheckContainerPath"}));
            (request.header("x-wx-source", SOURCE), None)
        }
        Guard::Plain { token } | Guard::Aes { token, .. } => {
            let echo = crypt::letters(20);
            let request = platform.outside.get(url).query(&signed(token, Seal::Good));
            (request.query(&[("echostr", &echo)]), Some(echo))
        }
    };
    let response = request.send().await?;
    let status = response.status();
    ensure!(status == 200, "the receiver answered {status}");
    let body = text(response).await;
    let is_right = match wanted {
        Some(echo) => body == echo,
        None => matches!(body.trim(), "" | "success"),
    };
    ensure!(is_right, "the receiver answered {body:?}");
    Ok(())
}
