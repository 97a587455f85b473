//! Shipping information of orders (FACTS §3.9).

use serde_json::Value;

use super::{Done, Refusal, body, ok, refuse};
use crate::clock::parse_rfc3339;
use crate::http::Call;
use crate::platform::Platform;
use crate::trade::TradeState;

/// What an order that nobody paid is called.
const ORDER_UNKNOWN: i64 = 10_060_004;
/// It was corrected already.
const ALREADY_SHIPPED: i64 = 10_060_003;
/// Told once, corrected once.
const TIMES_MAX: u32 = 2;

pub(super) fn upload(platform: &Platform, call: &Call) -> Done {
    let body = body::posted(call)?;
    well_formed(&body)?;
    let out_trade_no = order_key(platform, &body["order_key"])?;
    let openid = body::text(&body["payer"], "openid", 40003)?;
    let mut state = platform.state();
    let order = state.trade.orders.get_mut(&out_trade_no);
    let Some(order) = order.filter(|order| matches!(order.state, TradeState::Success | TradeState::Refund))
    else {
        return refuse(ORDER_UNKNOWN, "支付单不存在");
    };
    if order.openid != openid {
        return refuse(40003, "invalid openid");
    }
    if order.shipped >= TIMES_MAX {
        return refuse(ALREADY_SHIPPED, "支付单已完成发货，无法继续发货");
    }
    order.shipped += 1;
    Ok(ok())
}

fn well_formed(body: &Value) -> Result<(), Refusal> {
    let invalid = |what: &str| refuse(47001, format!("invalid {what}"));
    if !(1..=4).contains(&body::number(body, "logistics_type", 47001)?) {
        return invalid("logistics_type");
    }
    if !(1..=2).contains(&body::number(body, "delivery_mode", 47001)?) {
        return invalid("delivery_mode");
    }
    let list = body["shipping_list"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !(1..=15).contains(&list.len()) {
        return invalid("shipping_list");
    }
    for item in list {
        body::text(item, "item_desc", 47001)?;
    }
    let time = body::text(body, "upload_time", 47001)?;
    if parse_rfc3339(time).is_none() || !time.contains('.') {
        return invalid("upload_time");
    }
    Ok(())
}

/// Either name of an order; its `out_trade_no`.
fn order_key(platform: &Platform, key: &Value) -> Result<String, Refusal> {
    match key["order_number_type"].as_i64() {
        Some(1) if key["mchid"] == platform.config.mchid.as_str() => {
            Ok(body::text(key, "out_trade_no", 47001)?.to_owned())
        }
        Some(2) => {
            let id = body::text(key, "transaction_id", 47001)?;
            let state = platform.state();
            match state.trade.by_transaction(id) {
                Some(order) => Ok(order.out_trade_no.clone()),
                None => refuse(ORDER_UNKNOWN, "支付单不存在"),
            }
        }
        _ => refuse(47001, "invalid order_key"),
    }
}
