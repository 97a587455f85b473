//! Refunds: taken on, then settled, with a callback.

use std::sync::Arc;
use std::time::Duration;

use super::fields::{Fields, body, own_number};
use super::{Done, Refusal, bad, refuse};
use crate::clock::millis;
use crate::courier;
use crate::http::{Call, decoded};
use crate::platform::{Platform, State};
use crate::trade::{Notify, Order, Refund, RefundFate, RefundState, TradeState, refund_id};

/// Refunds of one order (FACTS §3.7).
const REFUNDS_MAX: usize = 50;
/// How old a payment may be.
const REFUNDABLE_FOR: Duration = Duration::from_secs(365 * 86_400);
const MARKS: &str = "_-|*@";
const KNOWN: [&str; 8] = [
    "transaction_id",
    "out_trade_no",
    "out_refund_no",
    "reason",
    "notify_url",
    "funds_account",
    "amount",
    "goods_detail",
];

pub(super) fn apply(platform: &Arc<Platform>, call: &Call) -> Result<Done, Refusal> {
    let request = body(&call.body)?;
    let fields = Fields::of(&request, &KNOWN)?;
    let out_refund_no = own_number(fields.text("out_refund_no", 64)?, "out_refund_no", (1, 64), MARKS)?;
    fields.optional_text("reason", 80)?;
    let amount = fields.object("amount", &["refund", "total", "currency", "from"])?;
    amount.currency(true)?;
    let (refund, total) = (amount.fen("refund")?, amount.fen("total")?);
    let by = (fields.optional_text("transaction_id", 32)?, fields.optional_text("out_trade_no", 32)?);
    let notify = fields.notify_url(false)?.map(Notify::Url);

    let mut state = platform.state();
    if let Some(known) = state.trade.refunds.get(out_refund_no) {
        return if known.request == request {
            Ok(Done::Json(known.json()))
        } else {
            refuse(400, "INVALID_REQUEST", "请求重入时，参数与首次请求时不一致")
        };
    }
    let order = match by {
        (Some(_), Some(_)) | (None, None) => return bad("transaction_id 和 out_trade_no 必须二选一"),
        (Some(id), None) => state.trade.by_transaction(id).cloned(),
        (None, Some(no)) => state.trade.orders.get(no).cloned(),
    };
    let Some(order) = order else { return refuse(404, "RESOURCE_NOT_EXISTS", "订单不存在") };
    refundable(platform, &state, &order, refund, total)?;
    let fate = state.trade.fates.pop_front().unwrap_or(RefundFate::Succeeds);
    if fate == RefundFate::NotEnough {
        return refuse(403, "NOT_ENOUGH", "基本账户余额不足，请充值后重新发起");
    }
    let taken = take_on(platform, &mut state, &order, out_refund_no, refund, notify, request.clone());
    drop(state);
    meet(platform, &taken.out_refund_no, fate);
    Ok(Done::Json(taken.json()))
}

/// Checks what both interfaces check.
pub(crate) fn refundable(
    platform: &Platform,
    state: &State,
    order: &Order,
    refund: i64,
    total: i64,
) -> Result<(), Refusal> {
    let Some(payment) = &order.payment else {
        return refuse(400, "INVALID_REQUEST", "订单未支付");
    };
    if platform.clock.now() - payment.at > millis(REFUNDABLE_FOR) {
        return refuse(400, "INVALID_REQUEST", "订单已超过可退款的最大期限");
    }
    if total != order.total {
        return refuse(400, "INVALID_REQUEST", "订单金额或退款金额与之前请求不一致");
    }
    let (given_back, count) = state.trade.refunded(&order.out_trade_no);
    if given_back + refund > order.total {
        return refuse(400, "INVALID_REQUEST", "累计退款金额大于支付金额");
    }
    if count >= REFUNDS_MAX {
        return refuse(400, "INVALID_REQUEST", "部分退款次数超限");
    }
    Ok(())
}

/// Writes a refund down as on its way.
pub(crate) fn take_on(
    platform: &Platform,
    state: &mut State,
    order: &Order,
    out_refund_no: &str,
    refund: i64,
    notify: Option<Notify>,
    request: serde_json::Value,
) -> Refund {
    let now = platform.clock.now();
    let transaction_id = order.payment.as_ref().map(|payment| payment.transaction_id.clone());
    let refund = Refund {
        refund_id: refund_id(now),
        out_refund_no: out_refund_no.to_owned(),
        out_trade_no: order.out_trade_no.clone(),
        transaction_id: transaction_id.unwrap_or_default(),
        total: order.total,
        refund,
        notify,
        request,
        state: RefundState::Processing,
        created: now,
        settled: None,
    };
    state.trade.refunds.insert(out_refund_no.to_owned(), refund.clone());
    if let Some(order) = state.trade.orders.get_mut(&order.out_trade_no) {
        order.state = TradeState::Refund;
    }
    refund
}

/// Lets a refund that was taken on come to its end, unless it is to hang.
pub(crate) fn meet(platform: &Arc<Platform>, out_refund_no: &str, fate: RefundFate) {
    let state = match fate {
        RefundFate::Succeeds => RefundState::Success,
        RefundFate::Fails => RefundState::Abnormal,
        RefundFate::Closes => RefundState::Closed,
        RefundFate::Hangs | RefundFate::NotEnough => return,
    };
    settle(platform, out_refund_no, state);
}

/// Brings an open refund to an end, as the bank does; false when there is none on its way of this number.
pub(crate) fn settle(platform: &Arc<Platform>, out_refund_no: &str, to: RefundState) -> bool {
    let now = platform.clock.now();
    let settled = {
        let mut state = platform.state();
        let open = |refund: &&mut Refund| {
            matches!(refund.state, RefundState::Processing | RefundState::Abnormal) && refund.state != to
        };
        let Some(refund) = state.trade.refunds.get_mut(out_refund_no).filter(open) else { return false };
        refund.state = to;
        refund.settled = Some(now);
        refund.clone()
    };
    courier::refund_settled(platform, &settled);
    true
}

pub(super) fn query(platform: &Platform, no: &str) -> Result<Done, Refusal> {
    match platform.state().trade.refunds.get(&decoded(no)) {
        Some(refund) => Ok(Done::Json(refund.json())),
        None => refuse(404, "RESOURCE_NOT_EXISTS", "退款单不存在"),
    }
}

pub(super) fn apply_abnormal(platform: &Arc<Platform>, call: &Call, id: &str) -> Result<Done, Refusal> {
    let request = body(&call.body)?;
    let known = ["out_refund_no", "type", "bank_type", "bank_account", "real_name"];
    let fields = Fields::of(&request, &known)?;
    let no = fields.text("out_refund_no", 64)?;
    if !matches!(fields.text("type", 32)?, "USER_BANK_CARD" | "MERCHANT_BANK_CARD") {
        return bad("字段 type 不在取值范围内");
    }
    let answer = {
        let mut state = platform.state();
        let found = state.trade.refunds.get_mut(no).filter(|refund| refund.refund_id == id);
        let Some(refund) = found else { return refuse(404, "RESOURCE_NOT_EXISTS", "退款单不存在") };
        if refund.state != RefundState::Abnormal {
            return refuse(400, "INVALID_REQUEST", "退款单状态不是退款异常");
        }
        refund.state = RefundState::Processing;
        refund.json()
    };
    settle(platform, no, RefundState::Success);
    Ok(Done::Json(answer))
}
