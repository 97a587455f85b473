//! Checks of texts and pictures (FACTS §8).

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Done, Refusal, body, refuse};
use crate::courier::{self, Then};
use crate::crypt;
use crate::http::Call;
use crate::platform::Platform;

const CONTENT_MAX: usize = 2500;
/// Largest picture that is looked at.
const MEDIA_MAX_BYTES: u64 = 10 << 20;
/// What an event says of a picture that could not be fetched.
const NOT_FETCHED: i64 = -1008;

/// What is to be done with a text or a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Suggest {
    /// Nothing.
    Pass,
    /// Somebody should look.
    Review,
    /// It must not be shown.
    Risky,
}

/// A judgement with its label (100 normal, 20002 pornography, …).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What is to be done.
    pub suggest: Suggest,
    /// Why.
    pub label: i64,
}

impl Verdict {
    /// Nothing wrong with it.
    pub const PASS: Verdict = Verdict { suggest: Suggest::Pass, label: 100 };
    /// Somebody should look.
    pub const REVIEW: Verdict = Verdict { suggest: Suggest::Review, label: 20001 };
    /// It must not be shown.
    pub const RISKY: Verdict = Verdict { suggest: Suggest::Risky, label: 20002 };
}

pub(super) fn text(platform: &Platform, call: &Call) -> Done {
    let body = body::posted(call)?;
    let content = body::text(&body, "content", 47001)?;
    if content.chars().count() > CONTENT_MAX {
        return refuse(47001, "content size out of limit");
    }
    if body["version"] != 2 {
        return refuse(47001, "version has to be 2");
    }
    scene(&body)?;
    visitor(platform, &body)?;
    let has = |words: &[String]| words.iter().any(|word| content.contains(word.as_str()));
    let verdict = match &platform.config {
        config if has(&config.risky_words) => Verdict::RISKY,
        config if has(&config.review_words) => Verdict::REVIEW,
        _ => Verdict::PASS,
    };
    Ok(json!({
        "errcode": 0, "errmsg": "ok", "trace_id": trace_id(), "result": verdict,
        "detail": [{
            "strategy": "content_model", "errcode": 0, "suggest": verdict.suggest, "label": verdict.label, "prob": 90,
        }],
    }))
}

fn scene(body: &Value) -> Result<(), Refusal> {
    if (1..=4).contains(&body["scene"].as_i64().unwrap_or_default()) {
        Ok(())
    } else {
        refuse(40129, "invalid scene")
    }
}

/// The person meant, who has to have been here lately; the openid.
fn visitor(platform: &Platform, body: &Value) -> Result<String, Refusal> {
    let openid = body::text(body, "openid", 40003)?;
    if !openid.starts_with('o') || openid.len() != 28 {
        return refuse(40003, "invalid openid");
    }
    let state = platform.state();
    if state.people.get(openid).is_none() {
        return refuse(43104, "appid and openid not match");
    }
    if !state.people.is_active(openid, platform.clock.now()) {
        return refuse(61010, "code is expired");
    }
    Ok(openid.to_owned())
}

pub(super) fn media(platform: &Arc<Platform>, call: &Call) -> Done {
    let body = body::posted(call)?;
    let url = body::text(&body, "media_url", 47001)?;
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return refuse(47001, "media_url has to be http or https");
    }
    if !matches!(body["media_type"].as_i64(), Some(1 | 2)) {
        return refuse(47001, "invalid media_type");
    }
    let is_new = body["version"] == 2;
    let openid = if is_new {
        scene(&body)?;
        visitor(platform, &body)?
    } else {
        String::new()
    };
    let trace_id = trace_id();
    let check = Check { url: url.to_owned(), openid, trace_id: trace_id.clone(), is_new };
    let shared = Arc::clone(platform);
    courier::under_way(platform, async move { check.run(&shared).await });
    Ok(json!({"errcode": 0, "errmsg": "ok", "trace_id": trace_id}))
}

/// A picture that is looked at.
struct Check {
    url: String,
    openid: String,
    trace_id: String,
    is_new: bool,
}

impl Check {
    async fn run(self, platform: &Arc<Platform>) {
        let fetched = !platform.config.fetches_media || is_fetched(platform, &self.url).await;
        let state = platform.state();
        let known = state.pictures.iter().rev().find(|(part, _)| self.url.contains(part.as_str()));
        let verdict = known.map_or(Verdict::PASS, |(_, verdict)| *verdict);
        drop(state);
        let mut event = json!({"appid": platform.config.appid, "trace_id": self.trace_id});
        let errcode = if fetched { 0 } else { NOT_FETCHED };
        let more = if self.is_new {
            let errmsg = if fetched { "ok" } else { "download failed" };
            let mut more = json!({"version": 2, "errcode": errcode, "errmsg": errmsg, "detail": []});
            if fetched {
                more["result"] = json!(verdict);
                more["detail"] = json!([{
                    "strategy": "content_model", "errcode": 0, "suggest": verdict.suggest, "label": verdict.label,
                    "prob": 90,
                }]);
            }
            more
        } else {
            let is_risky = i64::from(verdict.suggest == Suggest::Risky);
            json!({"isrisky": is_risky, "extra_info_json": "", "status_code": if fetched { 0 } else { 4_294_966_288_i64 }})
        };
        if let (Some(event), Value::Object(more)) = (event.as_object_mut(), more) {
            event.extend(more);
        }
        let after = Duration::from_millis(platform.config.media_verdict_after_ms);
        courier::push(
            platform,
            ("wxa_media_check", &self.trace_id, &self.openid),
            event,
            Then::Nothing,
            after,
        );
    }
}

/// Whether there is something at the URL, small enough.
async fn is_fetched(platform: &Platform, url: &str) -> bool {
    let Ok(response) = platform.outside.get(platform.routed(url)).send().await else { return false };
    let is_small = response.content_length().is_some_and(|length| (1..=MEDIA_MAX_BYTES).contains(&length));
    response.status() == 200 && is_small
}

fn trace_id() -> String {
    format!("{}-{}-{}", crypt::letters(8).to_lowercase(), crypt::letters(8).to_lowercase(), crypt::digits(8))
}
