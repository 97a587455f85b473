//! The simplified pay of Cloud Run (FACTS §5): old fields, no keys, callbacks into the container.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Done, Refusal, body, ok, refuse};
use crate::clock::{compact, wall_s};
use crate::crypt;
use crate::http::Call;
use crate::pay;
use crate::platform::Platform;
use crate::trade::{Draft, Notify, Order, RefundFate, TradeState};

/// `errcode` of a request that is not well-formed.
const BAD: i64 = 268_435_457;

pub(super) fn answer(platform: &Arc<Platform>, call: &Call, name: &str) -> Done {
    let body = body::posted(call)?;
    match name {
        "unifiedOrder" => order(platform, &body),
        "queryorder" => query(platform, &body),
        "closeorder" => close(platform, &body),
        "refund" => refund(platform, &body),
        "queryrefund" => query_refund(platform, &body),
        _ => Err(Refusal::NotHere),
    }
}

/// A success at the first level; the others are in `respdata`.
fn said(respdata: Value) -> Done {
    let mut answer = ok();
    answer["respdata"] = respdata;
    Ok(answer)
}

/// Reached, understood, and not done.
fn failed(code: &str, description: &str) -> Done {
    said(json!({
        "return_code": "SUCCESS", "return_msg": "OK", "result_code": "FAIL", "err_code": code,
        "err_code_des": description,
    }))
}

fn done(platform: &Platform, more: Value) -> Done {
    let mut respdata = json!({
        "return_code": "SUCCESS", "return_msg": "OK", "result_code": "SUCCESS", "appid": platform.config.appid,
        "mch_id": platform.config.mchid, "nonce_str": crypt::letters(32),
    });
    if let (Some(respdata), Value::Object(more)) = (respdata.as_object_mut(), more) {
        respdata.extend(more);
    }
    said(respdata)
}

/// Where callbacks go, if the request says it completely.
fn container(platform: &Platform, body: &Value) -> Result<Notify, Refusal> {
    if body["env_id"] != platform.config.env.as_str() {
        return refuse(BAD, "env_id与云托管环境不一致");
    }
    if body["callback_type"] != 2 {
        return refuse(BAD, "callback_type须为2");
    }
    body::text(&body["container"], "service", BAD)?;
    let path = body::text(&body["container"], "path", BAD)?;
    if !path.starts_with('/') {
        return refuse(BAD, "container.path须以/开头");
    }
    Ok(Notify::Container { path: path.to_owned(), sub_mch_id: merchant(platform, body)? })
}

/// The number that is bound in the console.
fn merchant(platform: &Platform, body: &Value) -> Result<String, Refusal> {
    let sub_mch_id = body::text(body, "sub_mch_id", BAD)?;
    if sub_mch_id == platform.config.mchid {
        Ok(sub_mch_id.to_owned())
    } else {
        refuse(BAD, "子商户号未授权")
    }
}

fn order(platform: &Platform, body: &Value) -> Done {
    let notify = container(platform, body)?;
    let total = body::number(body, "total_fee", BAD)?;
    if total <= 0 {
        return failed("PARAM_ERROR", "total_fee须大于0");
    }
    body::text(body, "spbill_create_ip", BAD)?;
    let out_trade_no = body::text(body, "out_trade_no", BAD)?;
    let openid = body::text(body, "openid", BAD)?;
    let now = platform.clock.now();
    let mut state = platform.state();
    if state.people.get(openid).is_none() {
        return failed("PARAM_ERROR", "openid与appid不匹配");
    }
    match state.trade.order(out_trade_no, now) {
        Some(known) if known.state == TradeState::Closed => return failed("ORDERCLOSED", "订单已关闭"),
        Some(known) if known.state != TradeState::NotPay => return failed("ORDERPAID", "该订单已支付"),
        Some(known) if known.request != *body => return failed("INVALID_REQUEST", "201 商户订单号重复"),
        _ => {}
    }
    let pay_sign = crypt::letters(32).to_uppercase();
    let draft = Draft {
        out_trade_no: out_trade_no.to_owned(),
        description: body::text(body, "body", BAD)?.to_owned(),
        attach: body["attach"].as_str().map(str::to_owned),
        openid: openid.to_owned(),
        total,
        notify,
        request: body.clone(),
        expires: None,
        given_pay_sign: Some(pay_sign),
    };
    let order = state.trade.open(draft, now);
    let package = format!("prepay_id={}", order.prepay_id);
    let payment = json!({
        "appId": platform.config.appid, "timeStamp": wall_s().to_string(), "nonceStr": crypt::letters(32),
        "package": package, "signType": "MD5", "paySign": order.given_pay_sign,
    });
    done(platform, json!({"prepay_id": order.prepay_id, "trade_type": "JSAPI", "payment": payment}))
}

fn query(platform: &Platform, body: &Value) -> Done {
    merchant(platform, body)?;
    let mut state = platform.state();
    match state.trade.order(body::text(body, "out_trade_no", BAD)?, platform.clock.now()) {
        None => failed("ORDERNOTEXIST", "订单不存在"),
        Some(order) => done(platform, described(order)),
    }
}

fn described(order: &Order) -> Value {
    let mut respdata = json!({
        "out_trade_no": order.out_trade_no, "trade_state": order.state.name(), "total_fee": order.total,
        "attach": order.attach,
    });
    if let Some(payment) = &order.payment {
        respdata["transaction_id"] = json!(payment.transaction_id);
        respdata["openid"] = json!(order.openid);
        respdata["sub_openid"] = json!(order.openid);
        respdata["cash_fee"] = json!(order.total);
        respdata["fee_type"] = json!("CNY");
        respdata["bank_type"] = json!("OTHERS");
        respdata["trade_type"] = json!("JSAPI");
        respdata["time_end"] = json!(compact(payment.at));
    }
    respdata
}

fn close(platform: &Platform, body: &Value) -> Done {
    merchant(platform, body)?;
    let mut state = platform.state();
    match state.trade.order(body::text(body, "out_trade_no", BAD)?, platform.clock.now()) {
        None => failed("ORDERNOTEXIST", "订单不存在"),
        Some(order) if matches!(order.state, TradeState::Success | TradeState::Refund) => {
            failed("ORDERPAID", "该订单已支付")
        }
        Some(order) => {
            order.state = TradeState::Closed;
            done(platform, json!({}))
        }
    }
}

fn refund(platform: &Arc<Platform>, body: &Value) -> Done {
    let notify = container(platform, body)?;
    let out_refund_no = body::text(body, "out_refund_no", BAD)?;
    let (total, refund) = (body::number(body, "total_fee", BAD)?, body::number(body, "refund_fee", BAD)?);
    let out_trade_no = body::text(body, "out_trade_no", BAD)?;
    let mut state = platform.state();
    if let Some(known) = state.trade.refunds.get(out_refund_no) {
        return if known.request == *body {
            done(platform, json!({"refund_id": known.refund_id, "out_refund_no": out_refund_no}))
        } else {
            failed("PARAM_ERROR", "退款参数与首次请求时不一致")
        };
    }
    let Some(order) = state.trade.orders.get(out_trade_no).cloned() else {
        return failed("ORDERNOTEXIST", "订单不存在");
    };
    if refund <= 0 {
        return failed("PARAM_ERROR", "refund_fee须大于0");
    }
    if let Err(refusal) = pay::refundable(platform, &state, &order, refund, total) {
        return failed(refusal.code, &refusal.message);
    }
    let fate = state.trade.fates.pop_front().unwrap_or(RefundFate::Succeeds);
    if fate == RefundFate::NotEnough {
        return failed("NOTENOUGH", "余额不足");
    }
    let taken =
        pay::take_on_refund(platform, &mut state, &order, out_refund_no, refund, Some(notify), body.clone());
    drop(state);
    pay::meet_refund(platform, out_refund_no, fate);
    done(
        platform,
        json!({
            "refund_id": taken.refund_id, "out_refund_no": out_refund_no, "out_trade_no": out_trade_no,
            "refund_fee": refund, "total_fee": total,
        }),
    )
}

fn query_refund(platform: &Platform, body: &Value) -> Done {
    merchant(platform, body)?;
    let state = platform.state();
    match state.trade.refunds.get(body::text(body, "out_refund_no", BAD)?) {
        None => failed("REFUNDNOTEXIST", "退款不存在"),
        Some(refund) => done(
            platform,
            json!({
                "out_trade_no": refund.out_trade_no, "transaction_id": refund.transaction_id,
                "total_fee": refund.total, "refund_count": 1, "out_refund_no_0": refund.out_refund_no,
                "refund_id_0": refund.refund_id, "refund_fee_0": refund.refund,
                "refund_status_0": refund.state.name(),
            }),
        ),
    }
}
