//! `/sim/…`: the simulator's own controls, no part of the platform. See `docs/WECHAT_SIMULATOR.md`.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Call, Reply};
use crate::courier::{self, Release};
use crate::person::{ClientError, Person};
use crate::platform::Platform;

/// A request that the simulator does not understand.
struct Bad(u16, String);

type Done = Result<Value, Bad>;

pub(super) async fn answer(platform: &Arc<Platform>, call: &Call) -> Response {
    match carry_out(platform, call).await {
        Ok(value) => Reply::json(200, &value, ""),
        Err(Bad(status, error)) => Reply::json(status, &json!({"error": error}), ""),
    }
    .into_response()
}

async fn carry_out(platform: &Arc<Platform>, call: &Call) -> Done {
    let path: Vec<&str> = call.path.trim_start_matches("/sim/").split('/').collect();
    let record = &platform.record;
    match (call.method.as_str(), path.as_slice()) {
        ("GET", ["setup"]) => Ok(setup(platform)),
        ("GET", ["requests"]) => Ok(json!(record.seen())),
        ("GET", ["deliveries"]) => Ok(json!(record.deliveries())),
        ("GET", ["messages"]) => Ok(json!(record.messages())),
        ("POST", ["persons"]) => {
            let now = platform.clock.now();
            let openid = platform.state().people.add(platform.config.has_unionid, now);
            Ok(json!({"openid": openid}))
        }
        ("POST", ["persons", openid, act]) => person(platform, call, openid, act),
        ("POST", ["release"]) => {
            let reversed = body::<Value>(call)?["reversed"] == true;
            let order = if reversed { Release::Reversed } else { Release::InOrder };
            Ok(json!({"released": courier::release(platform, order)}))
        }
        ("POST", ["check-receiver"]) => {
            courier::check_receiver(platform).await.map_err(|error| Bad(502, error.to_string()))?;
            Ok(json!({}))
        }
        (method, path) => {
            change(platform, call, method, path)?;
            Ok(json!({}))
        }
    }
}

/// Controls that have nothing to tell.
fn change(platform: &Platform, call: &Call, method: &str, path: &[&str]) -> Result<(), Bad> {
    match (method, path) {
        ("POST", ["faults"]) => platform.faults.add(body(call)?),
        ("POST", ["courier-faults"]) => platform.faults.add_courier(body(call)?),
        ("DELETE", ["faults"]) => platform.faults.clear(),
        ("POST", ["clock"]) => {
            let seconds = body::<Value>(call)?["advance_seconds"].as_u64().unwrap_or_default();
            platform.clock.advance(Duration::from_secs(seconds));
        }
        ("POST", ["tokens", "expire"]) => platform.state().tokens.expire(platform.clock.now()),
        ("POST", ["push"]) => {
            let push = body(call)?;
            platform.state().push = Some(push);
        }
        ("POST", ["routes"]) => {
            let routes = body(call)?;
            platform.state().routes = routes;
        }
        ("POST", ["refund-fates"]) => {
            let fate = body(call)?;
            platform.state().trade.fates.push_back(fate);
        }
        _ => return Err(Bad(404, format!("no control {}", call.line()))),
    }
    Ok(())
}

fn body<T: DeserializeOwned>(call: &Call) -> Result<T, Bad> {
    serde_json::from_slice(&call.body).map_err(|error| Bad(400, error.to_string()))
}

fn person(platform: &Arc<Platform>, call: &Call, openid: &str, act: &str) -> Done {
    if platform.state().people.get(openid).is_none() {
        return Err(Bad(404, format!("nobody is {openid}")));
    }
    let person = Person::new(platform, openid.to_owned());
    let failed = |error: ClientError| Bad(409, error.to_string());
    match act {
        "login-code" => Ok(json!({"code": person.login_code()})),
        "phone-code" => Ok(json!({"code": person.phone_code()})),
        "visits" => {
            person.visits();
            Ok(json!({}))
        }
        "consents" => {
            let wish: Value = body(call)?;
            person.consents(wish["template"].as_str().unwrap_or_default());
            Ok(json!({}))
        }
        "pays" => Ok(json!({"transaction_id": person.pays(&body(call)?).map_err(failed)?})),
        "pays-virtually" => {
            person.pays_virtually(&body(call)?).map_err(failed)?;
            Ok(json!({}))
        }
        _ => Err(Bad(404, format!("nobody can {act}"))),
    }
}

/// Addresses, credentials and keys of this platform; it has no others.
pub(crate) fn setup(platform: &Platform) -> Value {
    let (config, keys) = (&platform.config, &platform.keys);
    let public_key = keys.public_key();
    json!({
        "url": platform.public_url(), "container_url": platform.container_url(), "cos_url": platform.cos.url,
        "appid": config.appid, "secret": config.secret, "mchid": config.mchid,
        "merchant_serial": keys.merchant.serial, "merchant_private_key": keys.merchant.private_key_pem(),
        "api_v3_key": config.api_v3_key,
        "public_key_id": public_key.map(|key| &key.serial),
        "public_key": public_key.map(|key| key.public_key_pem()),
        "offer_id": config.offer_id, "app_key": config.app_key, "sandbox_app_key": config.sandbox_app_key,
        "env": config.env, "bucket": config.bucket, "templates": config.templates, "products": config.products,
    })
}
