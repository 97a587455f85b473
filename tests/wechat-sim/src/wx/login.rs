//! Codes, session keys, phone numbers, tokens (FACTS §1).

use axum::http::Method;
use serde_json::json;

use super::{Done, Refusal, body, ok, refuse};
use crate::crypt;
use crate::http::Call;
use crate::people::{BadCode, Purpose};
use crate::platform::Platform;

pub(super) fn code_to_session(platform: &Platform, call: &Call) -> Done {
    body::got(call)?;
    application(platform, call.param("appid"), call.param("secret"))?;
    if call.param("js_code").is_empty() {
        return refuse(41008, "missing code");
    }
    if call.param("grant_type") != "authorization_code" {
        return refuse(40002, "invalid grant_type");
    }
    let now = platform.clock.now();
    let mut state = platform.state();
    let openid = match state.people.redeem(call.param("js_code"), Purpose::Login, now) {
        Ok(openid) => openid,
        Err(BadCode::Unknown) => return refuse(40029, "invalid code"),
        Err(BadCode::Used) => return refuse(40163, "code been used"),
    };
    if !state.people.may_log_in(&openid, now) {
        return refuse(45011, "api minute-quota reach limit  mustslower  retry next minute");
    }
    let Some(somebody) = state.people.get_mut(&openid) else { return refuse(40029, "invalid code") };
    if somebody.is_blocked {
        return refuse(40226, "code blocked");
    }
    let session_key = match &somebody.session_key {
        Some(key) if !platform.config.rotates_session_keys => key.clone(),
        _ => somebody.new_session_key(),
    };
    let mut session = json!({"session_key": session_key, "openid": openid});
    if let Some(unionid) = &somebody.unionid {
        session["unionid"] = json!(unionid);
    }
    Ok(session)
}

/// The mini program and its secret.
fn application(platform: &Platform, appid: &str, secret: &str) -> Result<(), Refusal> {
    if appid.is_empty() {
        return refuse(41002, "appid missing");
    }
    if appid != platform.config.appid {
        return refuse(40013, "invalid appid");
    }
    if secret.is_empty() {
        return refuse(41004, "appsecret missing");
    }
    if secret != platform.config.secret {
        return refuse(40125, "invalid appsecret");
    }
    Ok(())
}

pub(super) fn plain_token(platform: &Platform, call: &Call) -> Done {
    body::got(call)?;
    if call.param("grant_type") != "client_credential" {
        return refuse(40002, "invalid grant_type");
    }
    application(platform, call.param("appid"), call.param("secret"))?;
    let (token, expires_in) = platform.state().tokens.plain(platform.clock.now());
    Ok(json!({"access_token": token, "expires_in": expires_in}))
}

pub(super) fn stable_token(platform: &Platform, call: &Call) -> Done {
    let body = body::posted(call)?;
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    if text("grant_type") != "client_credential" {
        return refuse(40002, "invalid grant_type");
    }
    application(platform, text("appid"), text("secret"))?;
    let now = platform.clock.now();
    let mut state = platform.state();
    let granted = match body["force_refresh"].as_bool() {
        Some(true) => state.tokens.stable_forced(now),
        _ => Some(state.tokens.stable(now)),
    };
    match granted {
        Some((token, expires_in)) => Ok(json!({"access_token": token, "expires_in": expires_in})),
        None => refuse(45009, "reach max api daily quota limit"),
    }
}

pub(super) fn check_session(platform: &Platform, call: &Call) -> Done {
    body::got(call)?;
    session_signature(platform, call)?;
    Ok(ok())
}

pub(super) fn reset_session(platform: &Platform, call: &Call) -> Done {
    body::got(call)?;
    session_signature(platform, call)?;
    let (mut state, openid) = (platform.state(), call.param("openid"));
    let Some(somebody) = state.people.get_mut(openid) else { return refuse(40003, "invalid openid") };
    let key = somebody.new_session_key();
    Ok(json!({"errcode": 0, "errmsg": "ok", "openid": openid, "session_key": key}))
}

/// `hex(HMAC-SHA256(session_key, ""))`
fn session_signature(platform: &Platform, call: &Call) -> Result<(), Refusal> {
    if call.param("sig_method") != "hmac_sha256" {
        return refuse(87008, "invalid sig_method");
    }
    let state = platform.state();
    let Some(somebody) = state.people.get(call.param("openid")) else {
        return refuse(40003, "invalid openid");
    };
    let expected = somebody.session_key.as_ref().map(|key| crypt::hmac_hex(key.as_bytes(), b""));
    if expected.as_deref() == Some(call.param("signature")) {
        Ok(())
    } else {
        refuse(87009, "invalid signature")
    }
}

pub(super) fn phone_number(platform: &Platform, call: &Call) -> Done {
    if call.method != Method::POST {
        return refuse(43002, "require POST method");
    }
    let body = body::posted(call)?;
    let code = body::text(&body, "code", 40029)?;
    let mut state = platform.state();
    let now = platform.clock.now();
    let Ok(openid) = state.people.redeem(code, Purpose::Phone, now) else {
        return refuse(40029, "invalid code");
    };
    let other = body["openid"].as_str().is_some_and(|given| given != openid);
    let somebody = state.people.get(&openid).filter(|_| !other);
    let Some(somebody) = somebody else { return refuse(40029, "invalid code") };
    Ok(json!({
        "errcode": 0, "errmsg": "ok",
        "phone_info": {
            "phoneNumber": somebody.phone, "purePhoneNumber": somebody.phone, "countryCode": "86",
            "watermark": {"timestamp": now / 1000, "appid": platform.config.appid},
        },
    }))
}
