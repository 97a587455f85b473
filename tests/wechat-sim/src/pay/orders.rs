//! Prepay, query, close.

use std::sync::Arc;

use serde_json::json;

use super::fields::{Fields, body, own_number};
use super::{Done, Refusal, bad, refuse};
use crate::clock::parse_rfc3339;
use crate::http::{Call, decoded};
use crate::platform::Platform;
use crate::trade::{Draft, Notify, TradeState};

/// What stands between `key` and its value in `out_trade_no`s, beside letters and digits (FACTS §3.4).
const MARKS: &str = "_-|*";

const KNOWN: [&str; 13] = [
    "appid",
    "mchid",
    "description",
    "out_trade_no",
    "time_expire",
    "attach",
    "notify_url",
    "goods_tag",
    "support_fapiao",
    "amount",
    "payer",
    "detail",
    "scene_info",
];

pub(super) fn prepay(platform: &Arc<Platform>, call: &Call) -> Result<Done, Refusal> {
    let draft = draft(platform, call)?;
    let now = platform.clock.now();
    let mut state = platform.state();
    if state.people.get(&draft.openid).is_none() {
        return refuse(500, "OPENID_MISMATCH", "appid和openid不匹配");
    }
    let Some(known) = state.trade.order(&draft.out_trade_no, now) else {
        let prepay_id = state.trade.open(draft, now).prepay_id.clone();
        return Ok(Done::Json(json!({"prepay_id": prepay_id})));
    };
    match known.state {
        TradeState::Success | TradeState::Refund => refuse(400, "ORDERPAID", "该订单已支付"),
        TradeState::Closed => refuse(400, "ORDER_CLOSED", "该订单已关闭"),
        TradeState::NotPay if known.request != draft.request => {
            refuse(400, "INVALID_REQUEST", "请求重入时，参数与首次请求时不一致")
        }
        TradeState::NotPay if now >= known.expires => bad("订单已过期"),
        TradeState::NotPay => {
            let prepay_id = state.trade.prepared(&draft.out_trade_no, now).unwrap_or_default();
            Ok(Done::Json(json!({"prepay_id": prepay_id})))
        }
    }
}

fn draft(platform: &Platform, call: &Call) -> Result<Draft, Refusal> {
    let request = body(&call.body)?;
    let known = [&KNOWN[..], &["settle_info"]].concat();
    let fields = Fields::of(&request, &known)?;
    let mchid = fields.text("mchid", 32)?;
    let appid = fields.text("appid", 32)?;
    if mchid != platform.config.mchid {
        return refuse(400, "MCH_NOT_EXISTS", "商户号不存在");
    }
    if appid != platform.config.appid {
        return refuse(400, "APPID_MCHID_NOT_MATCH", "appid和mch_id不匹配");
    }
    let out_trade_no = own_number(fields.text("out_trade_no", 32)?, "out_trade_no", (6, 32), MARKS)?;
    let expires = match fields.optional_text("time_expire", 64)? {
        None => None,
        Some(text) => match parse_rfc3339(text) {
            Some(at) if at > platform.clock.now() => Some(at),
            _ => return bad("字段 time_expire 不是将来的 RFC 3339 时间"),
        },
    };
    let amount = fields.object("amount", &["total", "currency"])?;
    amount.currency(false)?;
    let payer = fields.object("payer", &["openid"])?;
    let notify_url = fields.notify_url(true)?.unwrap_or_default();
    Ok(Draft {
        out_trade_no: out_trade_no.to_owned(),
        description: fields.text("description", 127)?.to_owned(),
        attach: fields.optional_text("attach", 128)?.map(str::to_owned),
        openid: payer.text("openid", 128)?.to_owned(),
        total: amount.fen("total")?,
        notify: Notify::Url(notify_url),
        expires,
        given_pay_sign: None,
        request,
    })
}

/// `?mchid=` is the caller's.
fn own_mchid(platform: &Platform, call: &Call) -> Result<(), Refusal> {
    match call.query.get("mchid") {
        Some(mchid) if *mchid == platform.config.mchid => Ok(()),
        Some(_) => bad("mchid 与签名商户号不一致"),
        None => bad("必填字段 mchid 缺失"),
    }
}

pub(super) fn by_no(platform: &Platform, call: &Call, no: &str) -> Result<Done, Refusal> {
    own_mchid(platform, call)?;
    let (mut state, config) = (platform.state(), &platform.config);
    match state.trade.order(&decoded(no), platform.clock.now()) {
        Some(order) => Ok(Done::Json(order.json(&config.appid, &config.mchid))),
        None => refuse(404, "ORDER_NOT_EXIST", "订单不存在"),
    }
}

pub(super) fn by_id(platform: &Platform, call: &Call, id: &str) -> Result<Done, Refusal> {
    own_mchid(platform, call)?;
    let (state, config) = (platform.state(), &platform.config);
    match state.trade.by_transaction(id) {
        Some(order) => Ok(Done::Json(order.json(&config.appid, &config.mchid))),
        None => refuse(404, "ORDER_NOT_EXIST", "订单不存在"),
    }
}

pub(super) fn close(platform: &Platform, call: &Call, no: &str) -> Result<Done, Refusal> {
    let request = body(&call.body)?;
    let mchid = Fields::of(&request, &["mchid"])?.text("mchid", 32)?;
    if mchid != platform.config.mchid {
        return bad("mchid 与签名商户号不一致");
    }
    let mut state = platform.state();
    let Some(order) = state.trade.order(&decoded(no), platform.clock.now()) else {
        return refuse(404, "ORDER_NOT_EXIST", "订单不存在");
    };
    match order.state {
        TradeState::Success | TradeState::Refund => refuse(400, "ORDERPAID", "该订单已支付"),
        TradeState::NotPay | TradeState::Closed => {
            order.state = TradeState::Closed;
            Ok(Done::Empty)
        }
    }
}
