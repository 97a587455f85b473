//! WeChat Pay v3 (FACTS §3): requests are signed by the merchant, answers and callbacks by the platform.

pub(crate) mod authorization;
mod bills;
mod certificates;
mod fields;
mod orders;
mod refunds;
pub(crate) mod seal;

use std::sync::Arc;

pub(crate) use bills::File as BillFile;
pub(crate) use refunds::{
    meet as meet_refund, refundable, settle as settle_refund, take_on as take_on_refund,
};
use serde_json::{Value, json};

use crate::faults::{Seal, Trouble};
use crate::http::{Call, Reply};
use crate::platform::Platform;

/// An answer that is no success.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

pub(crate) fn refuse<T>(status: u16, code: &'static str, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { status, code, message: message.into() })
}

/// Most often wrong: a field.
pub(crate) fn bad<T>(message: impl Into<String>) -> Result<T, Refusal> {
    refuse(400, "PARAM_ERROR", message)
}

/// What a request came to.
pub(crate) enum Done {
    /// 200 with a body.
    Json(Value),
    /// 204.
    Empty,
    /// A bill; unsigned.
    File(Vec<u8>),
}

/// Answers a request to `/v3/…`, signed as `trouble` wants it.
pub(crate) fn answer(platform: &Arc<Platform>, call: &Call, trouble: Option<&Trouble>) -> Reply {
    let done = authorization::check(platform, call).and_then(|()| carry_out(platform, call, trouble));
    let mut reply = match done {
        Ok(Done::Json(value)) => Reply::json(200, &value, "SUCCESS"),
        Ok(Done::Empty) => Reply::empty(204, "SUCCESS"),
        Ok(Done::File(bytes)) => return Reply::file(bytes),
        Err(refusal) => {
            let body = json!({"code": refusal.code, "message": refusal.message});
            Reply::json(refusal.status, &body, refusal.code)
        }
    };
    let how = match trouble {
        Some(Trouble::Seal { seal }) => *seal,
        _ => Seal::Good,
    };
    let wanted = call.header("wechatpay-serial");
    let body = reply.body.clone();
    reply.headers.extend(seal::headers(platform.keys.answering(wanted), &body, how));
    reply
}

/// An answer that a fault put in place of the real one; signed.
pub(crate) fn told(platform: &Arc<Platform>, status: u16, code: &str) -> Reply {
    let mut reply = Reply::json(status, &json!({"code": code, "message": "as told"}), code);
    let body = reply.body.clone();
    reply.headers.extend(seal::headers(platform.keys.answering(None), &body, Seal::Good));
    reply
}

fn carry_out(platform: &Arc<Platform>, call: &Call, trouble: Option<&Trouble>) -> Result<Done, Refusal> {
    let path: Vec<&str> = call.path.trim_start_matches('/').split('/').collect();
    match (call.method.as_str(), path.as_slice()) {
        ("POST", ["v3", "pay", "transactions", "jsapi"]) => orders::prepay(platform, call),
        ("GET", ["v3", "pay", "transactions", "id", id]) => orders::by_id(platform, call, id),
        ("GET", ["v3", "pay", "transactions", "out-trade-no", no]) => orders::by_no(platform, call, no),
        ("POST", ["v3", "pay", "transactions", "out-trade-no", no, "close"]) => {
            orders::close(platform, call, no)
        }
        ("POST", ["v3", "refund", "domestic", "refunds"]) => refunds::apply(platform, call),
        ("GET", ["v3", "refund", "domestic", "refunds", no]) => refunds::query(platform, no),
        ("POST", ["v3", "refund", "domestic", "refunds", id, "apply-abnormal-refund"]) => {
            refunds::apply_abnormal(platform, call, id)
        }
        ("GET", ["v3", "certificates"]) => certificates::list(platform),
        ("GET", ["v3", "bill", "tradebill"]) => bills::trade(platform, call, trouble),
        ("GET", ["v3", "bill", "fundflowbill"]) => bills::fund_flow(platform, call, trouble),
        ("GET", ["v3", "billdownload", "file"]) => bills::download(platform, call),
        _ => refuse(404, "RESOURCE_NOT_EXISTS", "请求的资源不存在"),
    }
}
