//! The merchant's signature on a request (FACTS §3.2).

use std::collections::BTreeMap;

use super::{Refusal, bad, refuse};
use crate::clock::wall_s;
use crate::http::Call;
use crate::platform::Platform;

const SCHEME: &str = "WECHATPAY2-SHA256-RSA2048 ";
/// A request this much older or newer is not taken, seconds.
const WINDOW_S: i64 = 300;

/// Takes a request whose headers are complete and whose signature holds.
pub(super) fn check(platform: &Platform, call: &Call) -> Result<(), Refusal> {
    for name in ["user-agent", "accept"] {
        if call.header(name).is_none_or(str::is_empty) {
            return bad(format!("Http头缺少{name}"));
        }
    }
    let is_json = |value: &str| value.split(';').next().is_some_and(|kind| kind.trim() == "application/json");
    if call.method == "POST" && !call.header("content-type").is_some_and(is_json) {
        return bad("Http头Content-Type不是application/json");
    }
    let Some(attributes) = call.header("authorization").and_then(|value| value.strip_prefix(SCHEME)) else {
        return sign_error("Http头Authorization认证类型不正确");
    };
    let Some(attributes) = parse(attributes) else {
        return sign_error("Http头Authorization格式错误");
    };
    let get = |name: &str| attributes.get(name).map(String::as_str).unwrap_or_default();
    if get("mchid") != platform.config.mchid {
        return sign_error("商户号不存在");
    }
    if get("serial_no") != platform.keys.merchant.serial {
        return sign_error("商户证书序列号有误");
    }
    let at: i64 = get("timestamp").parse().unwrap_or_default();
    if (wall_s() - at).abs() >= WINDOW_S {
        return sign_error("Http头Authorization时间戳已过期");
    }
    if get("nonce_str").is_empty() {
        return sign_error("Http头Authorization缺少nonce_str");
    }
    let message = message(call.method.as_str(), &call.target, get("timestamp"), get("nonce_str"), &call.body);
    if !platform.keys.merchant.verifies(&message, get("signature")) {
        return sign_error("签名错误，请检查后再试");
    }
    platform_serial(platform, call)
}

/// What a request's signature is for: five lines, each with its end; the body as it was sent.
pub(crate) fn message(method: &str, target: &str, at: &str, nonce: &str, body: &[u8]) -> Vec<u8> {
    [format!("{method}\n{target}\n{at}\n{nonce}\n").as_bytes(), body, b"\n"].concat()
}

/// `Wechatpay-Serial` on a request names one of our keys, if it is there.
fn platform_serial(platform: &Platform, call: &Call) -> Result<(), Refusal> {
    match call.header("wechatpay-serial") {
        Some(serial) if !platform.keys.is_known(serial) => bad("Wechatpay-Serial与平台公钥不匹配"),
        _ => Ok(()),
    }
}

fn sign_error<T>(message: &str) -> Result<T, Refusal> {
    refuse(401, "SIGN_ERROR", message)
}

/// `name="value"`, separated by commas, in any order, none twice.
fn parse(attributes: &str) -> Option<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for attribute in attributes.split(',') {
        let (name, value) = attribute.trim().split_once('=')?;
        let value = value.strip_prefix('"')?.strip_suffix('"')?;
        if found.insert(name.to_owned(), value.to_owned()).is_some() {
            return None;
        }
    }
    Some(found)
}
