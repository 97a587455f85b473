//! Server calls of virtual payment (FACTS §4.11): each signed by the AppKey, some by the session key as well.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Done, Refusal, body, ok, refuse, xpay_bill};
use crate::courier::{self, Then};
use crate::crypt;
use crate::http::Call;
use crate::platform::{Platform, State};
use crate::virtual_payment::{GivenBack, VirtualOrder, status};

const OPENID: i64 = 268_490_001;
pub(super) const PARAMETER: i64 = 268_490_002;
const SIGNATURE: i64 = 268_490_003;
const REPEATED: i64 = 268_490_004;
const GIVEN_BACK: i64 = 268_490_005;
const BALANCE: i64 = 268_490_006;
const SESSION: i64 = 268_490_009;

pub(super) fn answer(platform: &Arc<Platform>, call: &Call, name: &str) -> Done {
    let body = body::posted(call)?;
    let env = if body["env"].is_null() { 0 } else { body::number(&body, "env", PARAMETER)? };
    if !matches!(env, 0 | 1) {
        return refuse(PARAMETER, "invalid env");
    }
    signed(platform, call, env)?;
    match name {
        "query_user_balance" => balance(platform, call, &body),
        "currency_pay" => spend(platform, call, &body),
        "cancel_currency_pay" => give_back(platform, call, &body),
        "present_currency" => present(platform, &body),
        "query_order" => query(platform, &body),
        "notify_provide_goods" => provided(platform, &body),
        "refund_order" => refund(platform, &body),
        "download_bill" => xpay_bill::promise(platform, &body),
        "start_upload_goods" => upload_goods(platform, &body),
        "start_publish_goods" => publish_goods(platform, &body),
        "query_upload_goods" | "query_publish_goods" => Ok(with(json!({"status": 2}))),
        "create_withdraw_order" => withdraw(platform, &body),
        "query_withdraw_order" => withdrawal(platform, &body),
        _ => Err(Refusal::NotHere),
    }
}

/// A success with more to tell.
pub(super) fn with(more: Value) -> Value {
    let mut answer = ok();
    if let (Some(answer), Value::Object(more)) = (answer.as_object_mut(), more) {
        answer.extend(more);
    }
    answer
}

/// `pay_sig = hex(HMAC-SHA256(AppKey, "<path>&" + body))`
fn signed(platform: &Platform, call: &Call, env: i64) -> Result<(), Refusal> {
    let message = [call.path.as_bytes(), b"&", &call.body].concat();
    let expected = crypt::hmac_hex(platform.config.app_key(env).as_bytes(), &message);
    if call.param("pay_sig") == expected { Ok(()) } else { refuse(SIGNATURE, "pay_sig错误") }
}

/// `signature = hex(HMAC-SHA256(session_key, body))`, by the key that is valid now.
fn signed_by_session(state: &State, call: &Call, openid: &str) -> Result<(), Refusal> {
    let Some(somebody) = state.people.get(openid) else { return refuse(OPENID, "openid错误") };
    if call.param("signature").is_empty() {
        return refuse(SIGNATURE, "signature缺失");
    }
    let expected = somebody.session_key.as_ref().map(|key| crypt::hmac_hex(key.as_bytes(), &call.body));
    if expected.as_deref() == Some(call.param("signature")) {
        return Ok(());
    }
    refuse(SESSION, "session_key不存在或已过期，请重新登录")
}

fn balance(platform: &Platform, call: &Call, body: &Value) -> Done {
    let openid = body::text(body, "openid", PARAMETER)?;
    body::text(body, "user_ip", PARAMETER)?;
    let state = platform.state();
    signed_by_session(&state, call, openid)?;
    let Some(somebody) = state.people.get(openid) else { return refuse(OPENID, "openid错误") };
    Ok(with(json!({
        "balance": somebody.coins, "present_balance": somebody.present_coins, "sum_save": somebody.coins,
        "sum_present": somebody.present_coins, "sum_balance": somebody.coins, "sum_cost": 0, "first_save_flag": 0,
    })))
}

fn spend(platform: &Platform, call: &Call, body: &Value) -> Done {
    let openid = body::text(body, "openid", PARAMETER)?;
    let order_id = body::text(body, "order_id", PARAMETER)?;
    let amount = body::number(body, "amount", PARAMETER)?;
    for name in ["user_ip", "payitem"] {
        body::text(body, name, PARAMETER)?;
    }
    if amount <= 0 {
        return refuse(PARAMETER, "invalid amount");
    }
    let mut state = platform.state();
    signed_by_session(&state, call, openid)?;
    if state.virtual_payment.spent.contains_key(order_id) {
        return refuse(REPEATED, "重复操作");
    }
    let Some(somebody) = state.people.get_mut(openid) else { return refuse(OPENID, "openid错误") };
    if somebody.coins < amount {
        return refuse(BALANCE, "扣除金额超过余额");
    }
    somebody.coins -= amount;
    let left = somebody.coins;
    state.virtual_payment.spent.insert(order_id.to_owned(), (openid.to_owned(), amount, false));
    Ok(with(json!({"order_id": order_id, "balance": left, "used_present_amount": 0})))
}

fn give_back(platform: &Platform, call: &Call, body: &Value) -> Done {
    let openid = body::text(body, "openid", PARAMETER)?;
    let pay_order_id = body::text(body, "pay_order_id", PARAMETER)?;
    let order_id = body::text(body, "order_id", PARAMETER)?;
    let amount = body::number(body, "amount", PARAMETER)?;
    let mut state = platform.state();
    signed_by_session(&state, call, openid)?;
    match state.virtual_payment.spent.get_mut(pay_order_id) {
        Some((whose, spent, is_back)) if whose == openid && *spent == amount => {
            if std::mem::replace(is_back, true) {
                return refuse(GIVEN_BACK, "已经退款");
            }
        }
        _ => return refuse(PARAMETER, "pay_order_id不存在"),
    }
    if let Some(somebody) = state.people.get_mut(openid) {
        somebody.coins += amount;
    }
    Ok(with(json!({"order_id": order_id})))
}

fn present(platform: &Platform, body: &Value) -> Done {
    let openid = body::text(body, "openid", PARAMETER)?;
    let order_id = body::text(body, "order_id", PARAMETER)?;
    let amount = body::number(body, "amount", PARAMETER)?;
    let mut state = platform.state();
    if state.virtual_payment.presents.contains_key(order_id) {
        return refuse(REPEATED, "重复操作");
    }
    let Some(somebody) = state.people.get_mut(openid) else { return refuse(OPENID, "openid错误") };
    somebody.present_coins += amount;
    let balance = somebody.coins + somebody.present_coins;
    state.virtual_payment.presents.insert(order_id.to_owned(), amount);
    Ok(with(json!({"balance": balance, "order_id": order_id, "present_balance": amount})))
}

/// The order that a request names by either of its numbers.
fn named<'a>(state: &'a mut State, body: &Value) -> Result<&'a mut VirtualOrder, Refusal> {
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    let (own, theirs) = (text("order_id"), text("wx_order_id"));
    if own.is_empty() && theirs.is_empty() {
        return refuse(PARAMETER, "order_id与wx_order_id二选一");
    }
    let env = body["env"].as_i64().unwrap_or_default();
    match state.virtual_payment.find(own, theirs) {
        Some(order) if order.data.env == env => Ok(order),
        _ => refuse(PARAMETER, "订单不存在"),
    }
}

fn query(platform: &Platform, body: &Value) -> Done {
    let openid = body::text(body, "openid", OPENID)?;
    let mut state = platform.state();
    let order = named(&mut state, body)?;
    if order.openid != openid {
        return refuse(OPENID, "openid错误");
    }
    Ok(with(json!({"order": order.json()})))
}

fn provided(platform: &Platform, body: &Value) -> Done {
    let mut state = platform.state();
    let now_s = platform.clock.now_s();
    let order = named(&mut state, body)?;
    let out_trade_no = order.data.out_trade_no.clone();
    if order.status == status::REFUNDED {
        return refuse(PARAMETER, "订单已退款");
    }
    state.virtual_payment.delivered(&out_trade_no, now_s);
    Ok(ok())
}

fn refund(platform: &Arc<Platform>, body: &Value) -> Done {
    let openid = body::text(body, "openid", OPENID)?;
    let refund_no = body::text(body, "refund_order_id", PARAMETER)?;
    if !(8..=32).contains(&refund_no.len()) {
        return refuse(PARAMETER, "invalid refund_order_id");
    }
    let (left, fee) =
        (body::number(body, "left_fee", PARAMETER)?, body::number(body, "refund_fee", PARAMETER)?);
    for name in ["refund_reason", "req_from"] {
        body::text(body, name, PARAMETER)?;
    }
    let now_s = platform.clock.now_s();
    let mut state = platform.state();
    let order = named(&mut state, body)?;
    if order.openid != openid {
        return refuse(OPENID, "openid错误");
    }
    if order.refunds.contains_key(refund_no) {
        return refuse(REPEATED, "重复操作");
    }
    if order.on_ios {
        return refuse(PARAMETER, "iOS订单不支持开发者退款");
    }
    if !matches!(order.status, status::PAID..=status::DELIVERED) || left != order.left_fee {
        return refuse(PARAMETER, "订单状态或left_fee不符");
    }
    if fee <= 0 || fee > order.left_fee {
        return refuse(PARAMETER, "refund_fee超过可退金额");
    }
    let order = refunded(order, refund_no, fee, now_s);
    drop(state);
    tell_refund(platform, &order, refund_no, fee);
    Ok(with(json!({
        "refund_order_id": refund_no, "refund_wx_order_id": format!("R{}", order.wx_order_id),
        "pay_order_id": order.data.out_trade_no, "pay_wx_order_id": order.wx_order_id,
    })))
}

/// Gives back a part of an order; it counts as refunded when nothing is left.
pub(crate) fn refunded(order: &mut VirtualOrder, refund_no: &str, fee: i64, at: i64) -> VirtualOrder {
    order.left_fee -= fee;
    order.refunds.insert(refund_no.to_owned(), GivenBack { fee, at });
    if order.left_fee == 0 {
        order.status = status::REFUNDED;
    }
    order.clone()
}

/// Pushes `xpay_refund_notify`.
pub(crate) fn tell_refund(platform: &Arc<Platform>, order: &VirtualOrder, refund_no: &str, fee: i64) {
    let event = order.refund_event(refund_no, fee, platform.clock.now_s());
    let names = ("xpay_refund_notify", refund_no, order.openid.as_str());
    courier::push(platform, names, event, Then::Nothing, Duration::ZERO);
}

fn upload_goods(platform: &Platform, body: &Value) -> Done {
    let items = body["upload_item"].as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        return refuse(PARAMETER, "invalid upload_item");
    }
    for item in items {
        let id = body::text(item, "id", PARAMETER)?;
        body::text(item, "name", PARAMETER)?;
        let price = body::number(item, "price", PARAMETER)?;
        if price <= 0 {
            return refuse(PARAMETER, "invalid price");
        }
        platform.state().virtual_payment.drafts.insert(id.to_owned(), price);
    }
    Ok(ok())
}

fn publish_goods(platform: &Platform, body: &Value) -> Done {
    let items = body["publish_item"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut state = platform.state();
    for item in items {
        let id = body::text(item, "id", PARAMETER)?;
        let Some(price) = state.virtual_payment.drafts.get(id).copied() else {
            return refuse(PARAMETER, "道具不存在");
        };
        state.virtual_payment.products.insert(id.to_owned(), price);
    }
    if items.is_empty() { refuse(PARAMETER, "invalid publish_item") } else { Ok(ok()) }
}

fn withdraw(platform: &Platform, body: &Value) -> Done {
    let number = body::text(body, "withdraw_no", PARAMETER)?;
    let amount = body::text(body, "withdraw_amount", PARAMETER)?;
    platform.state().virtual_payment.withdrawals.insert(number.to_owned(), amount.to_owned());
    Ok(with(json!({"withdraw_no": number, "wx_withdraw_no": format!("W{number}")})))
}

fn withdrawal(platform: &Platform, body: &Value) -> Done {
    let number = body::text(body, "withdraw_no", PARAMETER)?;
    match platform.state().virtual_payment.withdrawals.get(number) {
        Some(amount) => Ok(with(json!({"withdraw_no": number, "status": 2, "withdraw_amount": amount}))),
        None => refuse(PARAMETER, "提现单不存在"),
    }
}
