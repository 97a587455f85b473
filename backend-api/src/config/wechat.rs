//! `[wechat]`.

use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;

use super::parse;
use super::source::Source;
use crate::wechat::platform::Options;
use crate::wechat::storage::Place;

/// Our mini program.
#[derive(Debug, Clone)]
pub struct Wechat {
    /// Its app id.
    pub app_id: Option<String>,
    /// How its platform is spoken to; needs the app's secret.
    pub platform: Option<Options>,
    /// The cloud environment's id.
    pub env: Option<String>,
    /// How what the platform pushes to us is signed and sealed; `None`: only its own way is taken.
    pub push: Option<PushSettings>,
}

/// What the console and we agreed on about pushed events.
#[derive(Debug, Clone)]
pub struct PushSettings {
    /// Signs.
    pub token: SecretString,
    /// Seals, where it is set.
    pub key: Option<SecretString>,
}

/// Where the container's side-car answers (FACTS 2.4).
const CONTAINER_BASE: &str = "http://api.weixin.qq.com";

pub(super) fn read(source: &mut Source<'_>) -> Wechat {
    let app_id = source.get("wechat.app_id", "BACKEND_WECHAT_APP_ID", app_id);
    let secret = source.get("wechat.secret", "BACKEND_WECHAT_SECRET", parse::secret);
    let api_base = source.get("wechat.api_base", "BACKEND_WECHAT_API_BASE", parse::http_url);
    let is_inside = source.get("wechat.inside_container", "", parse::flag).unwrap_or(false);
    let container_base = source.get("wechat.container_base", "", parse::http_url);
    let timeout = source.get("wechat.request_timeout_seconds", "", parse::seconds);
    let max_reply = source.get("wechat.max_reply_bytes", "", parse::bytes);
    let env =
        source.get("wechat.env", "BACKEND_WECHAT_ENV", parse::text).or_else(|| source.env("CBR_ENV_ID"));
    let storage = storage(source, env.clone());
    let push = push(source);
    if secret.is_some() && app_id.is_none() {
        source.problem("wechat.app_id", "is needed beside wechat.secret");
    }
    let platform = app_id.clone().zip(secret).map(|(app_id, secret)| {
        let mut options = Options::new(app_id, secret);
        options.api_base = api_base.unwrap_or(options.api_base);
        options.container_base =
            is_inside.then(|| container_base.or_else(|| Url::parse(CONTAINER_BASE).ok())).flatten();
        options.bounds.request_timeout = timeout.unwrap_or(options.bounds.request_timeout);
        options.bounds.max_reply_bytes = max_reply.unwrap_or(options.bounds.max_reply_bytes);
        options.storage = storage;
        options
    });
    Wechat { app_id, platform, env, push }
}

fn push(source: &mut Source<'_>) -> Option<PushSettings> {
    let token = source.get("wechat.push_token", "BACKEND_WECHAT_PUSH_TOKEN", parse::secret);
    let key = source.get("wechat.push_key", "BACKEND_WECHAT_PUSH_KEY", parse::secret);
    if key.is_some() && token.is_none() {
        source.problem("wechat.push_token", "is needed beside wechat.push_key");
    }
    token.map(|token| PushSettings { token, key })
}

fn storage(source: &mut Source<'_>, env: Option<String>) -> Option<Place> {
    let bucket = source.get("wechat.bucket", "BACKEND_WECHAT_BUCKET", parse::text);
    let region = source.get("wechat.region", "BACKEND_WECHAT_REGION", parse::text);
    let endpoint = source.get("wechat.bucket_endpoint", "", parse::http_url);
    let lifetime = source.get("wechat.ticket_seconds", "", parse::seconds);
    let bucket = bucket?;
    let Some(env) = env else {
        source.problem("wechat.env", "is needed beside wechat.bucket");
        return None;
    };
    Some(Place {
        env,
        bucket,
        region: region.unwrap_or_else(|| "ap-shanghai".to_owned()),
        endpoint,
        lifetime: lifetime.unwrap_or(Duration::from_secs(1_800)),
    })
}

fn app_id(text: &str) -> Result<String, String> {
    match (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        true => Ok(text.to_owned()),
        false => Err("letters and digits such as wx0123456789abcdef are expected".to_owned()),
    }
}
