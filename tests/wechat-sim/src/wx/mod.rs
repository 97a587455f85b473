//! The open platform: `api.weixin.qq.com`, by its public host with a token, and through the container's side-car.

mod body;
mod container_pay;
mod files;
mod login;
mod messages;
mod security;
mod shipping;
pub(crate) mod xpay;
mod xpay_bill;

use std::sync::Arc;

use serde_json::{Value, json};

pub use security::{Suggest, Verdict};

use crate::crypt;
use crate::http::{Call, Door, Reply};
use crate::platform::Platform;
use crate::tokens::Worth;

/// Why something is not done.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Said in the body; the status is 200 all the same (FACTS 1.3).
    Code(i64, String),
    /// There is no such path behind this door.
    NotHere,
}

pub(crate) type Done = Result<Value, Refusal>;

pub(crate) fn refuse<T>(errcode: i64, errmsg: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Code(errcode, errmsg.into()))
}

/// Answers a request.
pub(crate) fn answer(platform: &Arc<Platform>, call: &Call) -> Reply {
    let mut reply = match carry_out(platform, call) {
        Ok(value) => Reply::json(200, &value, value["errcode"].as_i64().unwrap_or(0)),
        Err(Refusal::Code(errcode, errmsg)) => Reply::json(200, &said(errcode, &errmsg), errcode),
        Err(Refusal::NotHere) => Reply::empty(404, ""),
    };
    if call.door == Door::Container {
        reply.headers.push(("x-openapi-seqid", crypt::letters(32)));
    }
    reply
}

/// An answer that a fault put in place of the real one.
pub(crate) fn told(errcode: i64) -> Reply {
    Reply::json(200, &said(errcode, "as told"), errcode)
}

fn said(errcode: i64, errmsg: &str) -> Value {
    json!({"errcode": errcode, "errmsg": format!("{errmsg} rid: {}-{}", crypt::letters(8), crypt::letters(8))})
}

/// A success without anything to tell.
fn ok() -> Value {
    json!({"errcode": 0, "errmsg": "ok"})
}

fn carry_out(platform: &Arc<Platform>, call: &Call) -> Done {
    let path = call.path.as_str();
    match (path, call.door) {
        // These three are for the public host only (FACTS §2.4).
        ("/sns/jscode2session", Door::Public) => return login::code_to_session(platform, call),
        ("/cgi-bin/token", Door::Public) => return login::plain_token(platform, call),
        ("/cgi-bin/stable_token", Door::Public) => return login::stable_token(platform, call),
        (_, Door::Container) if path.starts_with("/_/") => return inside(platform, call),
        (_, Door::Container) => {}
        (_, Door::Public) if is_known(path) => authorised(platform, call)?,
        _ => {}
    }
    match path {
        "/wxa/checksession" => login::check_session(platform, call),
        "/wxa/resetusersessionkey" => login::reset_session(platform, call),
        "/wxa/business/getuserphonenumber" => login::phone_number(platform, call),
        "/wxa/msg_sec_check" => security::text(platform, call),
        "/wxa/media_check_async" => security::media(platform, call),
        "/wxa/sec/order/upload_shipping_info" => shipping::upload(platform, call),
        "/cgi-bin/message/subscribe/send" => messages::subscribe(platform, call),
        "/tcb/uploadfile" if call.door == Door::Container => refuse(48001, "api unauthorized"),
        "/tcb/uploadfile" => files::upload(platform, call),
        "/tcb/batchdownloadfile" => files::download(platform, call),
        "/tcb/batchdeletefile" => files::delete(platform, call),
        _ => match path.strip_prefix("/xpay/") {
            Some(name) => xpay::answer(platform, call, name),
            None => Err(Refusal::NotHere),
        },
    }
}

fn is_known(path: &str) -> bool {
    ["/wxa/", "/cgi-bin/message/", "/tcb/", "/xpay/"].iter().any(|prefix| path.starts_with(prefix))
}

/// What exists inside the container only (FACTS §5, §6.1).
fn inside(platform: &Arc<Platform>, call: &Call) -> Done {
    match call.path.as_str() {
        "/_/cos/getauth" => files::keys(platform, call),
        "/_/cos/metaid/encode" => files::encode_ids(platform, call),
        "/_/cos/metaid/decode" => files::decode_id(platform, call),
        path => match path.strip_prefix("/_/pay/") {
            Some(name) => container_pay::answer(platform, call, name),
            None => Err(Refusal::NotHere),
        },
    }
}

/// A token that is good now (FACTS §1.13).
fn authorised(platform: &Platform, call: &Call) -> Result<(), Refusal> {
    let token = call.param("access_token");
    if token.is_empty() {
        return refuse(41001, "access_token missing");
    }
    match platform.state().tokens.worth(token, platform.clock.now()) {
        Worth::Good => Ok(()),
        Worth::Expired => refuse(42001, "access_token expired"),
        Worth::Unknown => refuse(40001, "invalid credential, access_token is invalid or not latest"),
    }
}
