//! Orders and refunds of WeChat Pay, by whichever interface they were made.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::{Millis, compact, millis, rfc3339};
use crate::crypt;

/// How long an order may be paid unless it says less (FACTS §3.4).
const ORDER_FOR: Duration = Duration::from_secs(7 * 86_400);
/// How long a `prepay_id` is good (FACTS §3.4).
const PREPAY_FOR: Duration = Duration::from_secs(2 * 3600);

/// `trade_state` of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TradeState {
    /// May be paid.
    NotPay,
    /// Paid.
    Success,
    /// Closed by the merchant, or too old.
    Closed,
    /// Paid, and at least one refund was taken on.
    Refund,
}

impl TradeState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NotPay => "NOTPAY",
            Self::Success => "SUCCESS",
            Self::Closed => "CLOSED",
            Self::Refund => "REFUND",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::NotPay => "订单未支付",
            Self::Success => "支付成功",
            Self::Closed => "订单已关闭",
            Self::Refund => "订单发生过退款",
        }
    }
}

/// How a refund ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RefundState {
    /// On its way.
    Processing,
    /// The money is back.
    Success,
    /// It was given up.
    Closed,
    /// The bank did not take it.
    Abnormal,
}

impl RefundState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Processing => "PROCESSING",
            Self::Success => "SUCCESS",
            Self::Closed => "CLOSED",
            Self::Abnormal => "ABNORMAL",
        }
    }
}

/// What becomes of the next refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundFate {
    /// It succeeds, with a callback.
    Succeeds,
    /// It becomes `ABNORMAL`, with a callback.
    Fails,
    /// It becomes `CLOSED`, with a callback.
    Closes,
    /// It stays `PROCESSING` until it is settled by hand.
    Hangs,
    /// It is refused: the merchant's balance is too low.
    NotEnough,
}

/// Where the news of an order goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Notify {
    /// `notify_url`, signed and encrypted.
    Url(String),
    /// A path of the container, in the old fields and unsigned.
    Container { path: String, sub_mch_id: String },
}

#[derive(Clone, Debug)]
pub(crate) struct Payment {
    pub(crate) transaction_id: String,
    pub(crate) at: Millis,
}

#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) out_trade_no: String,
    pub(crate) description: String,
    pub(crate) attach: Option<String>,
    pub(crate) openid: String,
    pub(crate) total: i64,
    pub(crate) notify: Notify,
    /// The request as it came, for comparison with a repeat.
    pub(crate) request: Value,
    created: Millis,
    pub(crate) expires: Millis,
    pub(crate) prepay_id: String,
    pub(crate) prepay_until: Millis,
    /// The only `paySign` taken where the platform made it itself.
    pub(crate) given_pay_sign: Option<String>,
    pub(crate) state: TradeState,
    pub(crate) payment: Option<Payment>,
    pub(crate) shipped: u32,
}

impl Order {
    /// What the merchant gets on a query and in a callback (FACTS §3.7).
    pub(crate) fn json(&self, appid: &str, mchid: &str) -> Value {
        let mut json = json!({
            "appid": appid, "mchid": mchid, "out_trade_no": self.out_trade_no,
            "trade_state": self.state.name(), "trade_state_desc": self.state.description(),
        });
        if let Some(attach) = &self.attach {
            json["attach"] = json!(attach);
        }
        let Some(payment) = &self.payment else {
            json["amount"] = json!({"total": self.total, "currency": "CNY"});
            return json;
        };
        json["transaction_id"] = json!(payment.transaction_id);
        json["trade_type"] = json!("JSAPI");
        json["bank_type"] = json!("OTHERS");
        json["success_time"] = json!(rfc3339(payment.at));
        json["payer"] = json!({"openid": self.openid});
        json["amount"] = json!({
            "total": self.total, "payer_total": self.total, "currency": "CNY", "payer_currency": "CNY",
        });
        json
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Refund {
    pub(crate) refund_id: String,
    pub(crate) out_refund_no: String,
    pub(crate) out_trade_no: String,
    pub(crate) transaction_id: String,
    pub(crate) total: i64,
    pub(crate) refund: i64,
    pub(crate) notify: Option<Notify>,
    pub(crate) request: Value,
    pub(crate) state: RefundState,
    pub(crate) created: Millis,
    pub(crate) settled: Option<Millis>,
}

impl Refund {
    /// What the merchant gets on a request or a query.
    pub(crate) fn json(&self) -> Value {
        let mut json = json!({
            "refund_id": self.refund_id, "out_refund_no": self.out_refund_no,
            "transaction_id": self.transaction_id, "out_trade_no": self.out_trade_no,
            "channel": "ORIGINAL", "user_received_account": "支付用户零钱", "funds_account": "AVAILABLE",
            "create_time": rfc3339(self.created), "status": self.state.name(),
            "amount": {
                "total": self.total, "refund": self.refund, "payer_total": self.total, "payer_refund": self.refund,
                "settlement_refund": self.refund, "settlement_total": self.total, "discount_refund": 0,
                "currency": "CNY",
            },
        });
        if let (Some(at), RefundState::Success) = (self.settled, self.state) {
            json["success_time"] = json!(rfc3339(at));
        }
        json
    }

    /// What the callback holds: other fields than the answer (FACTS §3.6).
    pub(crate) fn callback(&self, mchid: &str) -> Value {
        let mut json = json!({
            "mchid": mchid, "transaction_id": self.transaction_id, "out_trade_no": self.out_trade_no,
            "refund_id": self.refund_id, "out_refund_no": self.out_refund_no, "refund_status": self.state.name(),
            "user_received_account": "支付用户零钱",
            "amount": {
                "total": self.total, "refund": self.refund, "payer_total": self.total, "payer_refund": self.refund,
            },
        });
        if let (Some(at), RefundState::Success) = (self.settled, self.state) {
            json["success_time"] = json!(rfc3339(at));
        }
        json
    }
}

/// Everything that was ordered.
#[derive(Debug, Default)]
pub(crate) struct Trade {
    pub(crate) orders: BTreeMap<String, Order>,
    pub(crate) refunds: BTreeMap<String, Refund>,
    /// Fates of the next refunds; without any they succeed.
    pub(crate) fates: VecDeque<RefundFate>,
    /// Orders that the next bills leave out.
    pub(crate) left_out: Vec<String>,
    /// `prepay_id` and `transaction_id` → `out_trade_no`.
    names: BTreeMap<String, String>,
}

impl Trade {
    /// An order with a first `prepay_id`.
    pub(crate) fn open(&mut self, draft: Draft, now: Millis) -> &Order {
        let out_trade_no = draft.out_trade_no.clone();
        let order = Order {
            out_trade_no: draft.out_trade_no,
            description: draft.description,
            attach: draft.attach,
            openid: draft.openid,
            total: draft.total,
            notify: draft.notify,
            request: draft.request,
            created: now,
            expires: draft.expires.unwrap_or(now + millis(ORDER_FOR)),
            prepay_id: prepay_id(now),
            prepay_until: now + millis(PREPAY_FOR),
            given_pay_sign: draft.given_pay_sign,
            state: TradeState::NotPay,
            payment: None,
            shipped: 0,
        };
        self.names.insert(order.prepay_id.clone(), out_trade_no.clone());
        self.orders.entry(out_trade_no).or_insert(order)
    }

    /// The `prepay_id` of an order that is open; another one when the one before ended.
    pub(crate) fn prepared(&mut self, out_trade_no: &str, now: Millis) -> Option<&str> {
        let order = self.orders.get_mut(out_trade_no)?;
        if now >= order.prepay_until {
            order.prepay_id = prepay_id(now);
            order.prepay_until = now + millis(PREPAY_FOR);
            self.names.insert(order.prepay_id.clone(), out_trade_no.to_owned());
        }
        Some(&order.prepay_id)
    }

    /// An order is paid now; the order.
    pub(crate) fn pay(&mut self, out_trade_no: &str, now: Millis) -> Option<(Order, String)> {
        let order = self.orders.get_mut(out_trade_no)?;
        let id = transaction_id(now);
        order.state = TradeState::Success;
        order.payment = Some(Payment { transaction_id: id.clone(), at: now });
        self.names.insert(id.clone(), out_trade_no.to_owned());
        Some((order.clone(), id))
    }

    /// An order by its own number; one too old is closed by being looked at.
    pub(crate) fn order(&mut self, out_trade_no: &str, now: Millis) -> Option<&mut Order> {
        let order = self.orders.get_mut(out_trade_no)?;
        let is_old = now >= order.expires.max(order.created + millis(ORDER_FOR));
        if order.state == TradeState::NotPay && is_old {
            order.state = TradeState::Closed;
        }
        Some(order)
    }

    pub(crate) fn by_transaction(&self, transaction_id: &str) -> Option<&Order> {
        let order = self.orders.get(self.names.get(transaction_id)?)?;
        order.payment.as_ref().filter(|payment| payment.transaction_id == transaction_id).map(|_| order)
    }

    pub(crate) fn by_prepay(&self, prepay_id: &str) -> Option<&Order> {
        self.orders.get(self.names.get(prepay_id)?).filter(|order| order.prepay_id == prepay_id)
    }

    /// What was already given back of an order, or is on its way, with the number of refunds.
    pub(crate) fn refunded(&self, out_trade_no: &str) -> (i64, usize) {
        let of_order = self.refunds.values().filter(|refund| refund.out_trade_no == out_trade_no);
        let counted = of_order.filter(|refund| refund.state != RefundState::Closed);
        counted.fold((0, 0), |(sum, count), refund| (sum + refund.refund, count + 1))
    }
}

/// What an order is made of.
pub(crate) struct Draft {
    pub(crate) out_trade_no: String,
    pub(crate) description: String,
    pub(crate) attach: Option<String>,
    pub(crate) openid: String,
    pub(crate) total: i64,
    pub(crate) notify: Notify,
    pub(crate) request: Value,
    pub(crate) expires: Option<Millis>,
    pub(crate) given_pay_sign: Option<String>,
}

fn prepay_id(now: Millis) -> String {
    format!("wx{}{}0000", compact(now), crypt::letters(16).to_lowercase())
}

/// 28 digits.
pub(crate) fn transaction_id(now: Millis) -> String {
    format!("4200{}{}", compact(now), crypt::digits(10))
}

/// `5…`, 29 digits.
pub(crate) fn refund_id(now: Millis) -> String {
    format!("503{}{}", compact(now), crypt::digits(12))
}
