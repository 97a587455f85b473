//! Subscribe messages (FACTS §7): one consent, one message.

use serde_json::{Map, Value};

use super::{Done, Refusal, body, ok, refuse};
use crate::http::Call;
use crate::observed::Message;
use crate::platform::Platform;

/// Kinds of fields by the letters of their keys, with the most characters each takes.
const LIMITS: [(&str, usize); 6] =
    [("thing", 20), ("character_string", 32), ("number", 32), ("phrase", 5), ("name", 10), ("amount", 12)];

pub(super) fn subscribe(platform: &Platform, call: &Call) -> Done {
    let body = body::posted(call)?;
    let openid = body::text(&body, "touser", 40003)?;
    let template = body::text(&body, "template_id", 40037)?;
    if platform.state().people.get(openid).is_none() {
        return refuse(40003, "invalid openid");
    }
    let Some(keys) = platform.config.templates.get(template) else {
        return refuse(40037, "invalid template_id");
    };
    let page = body["page"].as_str().unwrap_or_default();
    if !page.is_empty() && !page.trim_start_matches('/').starts_with("pages/") {
        return refuse(41030, "invalid page");
    }
    let state = body["miniprogram_state"].as_str().unwrap_or("formal");
    let lang = body["lang"].as_str().unwrap_or("zh_CN");
    if !matches!(state, "developer" | "trial" | "formal")
        || !matches!(lang, "zh_CN" | "en_US" | "zh_HK" | "zh_TW")
    {
        return refuse(47001, "data format error");
    }
    let data = data(&body["data"], keys)?;
    let mut people = platform.state();
    let consents = people.people.get_mut(openid).and_then(|somebody| somebody.consents.get_mut(template));
    match consents {
        Some(left) if *left > 0 => *left -= 1,
        _ => return refuse(43101, "user refuse to accept the msg"),
    }
    drop(people);
    platform.record.sent(Message {
        openid: openid.to_owned(),
        template: template.to_owned(),
        page: page.to_owned(),
        data: Value::Object(data.clone()),
    });
    Ok(ok())
}

/// The template's fields: all of them, no others, each a text that fits.
fn data<'a>(data: &'a Value, keys: &[String]) -> Result<&'a Map<String, Value>, Refusal> {
    let invalid = |key: &str| refuse(47003, format!("argument invalid! data.{key}.value invalid"));
    let Some(fields) = data.as_object() else { return invalid("") };
    if let Some(stranger) = fields.keys().find(|key| !keys.contains(key)) {
        return invalid(stranger);
    }
    for key in keys {
        let text = fields.get(key).and_then(|field| field["value"].as_str());
        if !text.is_some_and(|text| fits(key, text)) {
            return invalid(key);
        }
    }
    Ok(fields)
}

fn fits(key: &str, text: &str) -> bool {
    let kind = key.trim_end_matches(|one: char| one.is_ascii_digit());
    let max = LIMITS.iter().find(|(name, _)| *name == kind).map_or(64, |(_, max)| *max);
    !text.trim().is_empty() && text.chars().count() <= max
}
