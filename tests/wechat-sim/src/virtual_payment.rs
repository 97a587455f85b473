//! Orders of virtual payment (FACTS §4): what was signed, paid, delivered and given back.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::crypt;

/// Status of an order (FACTS §4.11).
pub(crate) mod status {
    pub(crate) const PAID: i64 = 2;
    pub(crate) const DELIVERED: i64 = 4;
    pub(crate) const REFUNDED: i64 = 5;
}

/// What `wx.requestVirtualPayment` is called with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualCall {
    /// `short_series_goods` or `short_series_coin`.
    pub mode: String,
    /// The signed text.
    pub sign_data: String,
    /// By the AppKey.
    pub pay_sig: String,
    /// By the session key.
    pub signature: String,
}

/// The signed text, read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SignData {
    pub(crate) offer_id: String,
    pub(crate) buy_quantity: i64,
    pub(crate) env: i64,
    pub(crate) currency_type: String,
    #[serde(default)]
    pub(crate) product_id: Option<String>,
    #[serde(default)]
    pub(crate) goods_price: Option<i64>,
    pub(crate) out_trade_no: String,
    pub(crate) attach: String,
}

impl SignData {
    /// The field that breaks a rule, if one does.
    pub(crate) fn first_wrong(&self, is_goods: bool) -> Option<&'static str> {
        let is_good = |one: char| one.is_ascii_alphanumeric() || "_-|*@".contains(one);
        let number = &self.out_trade_no;
        let number_is_good =
            (8..=32).contains(&number.len()) && number.chars().all(is_good) && !number.starts_with('_');
        let checks = [
            (!self.offer_id.is_empty(), "offerId"),
            (self.buy_quantity >= 1, "buyQuantity"),
            (matches!(self.env, 0 | 1), "env"),
            (self.currency_type == "CNY", "currencyType"),
            (number_is_good, "outTradeNo"),
            (self.product_id.is_some() == is_goods, "productId"),
            (self.goods_price.is_some_and(|price| price > 0) == is_goods, "goodsPrice"),
        ];
        checks.iter().find(|(is_right, _)| !is_right).map(|(_, name)| *name)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct VirtualOrder {
    pub(crate) data: SignData,
    pub(crate) openid: String,
    pub(crate) on_ios: bool,
    /// Fen.
    pub(crate) fee: i64,
    pub(crate) left_fee: i64,
    pub(crate) status: i64,
    /// Seconds since the epoch.
    pub(crate) paid_at: i64,
    pub(crate) provided_at: i64,
    pub(crate) wx_order_id: String,
    pub(crate) transaction_id: String,
    /// Refunds by their numbers.
    pub(crate) refunds: BTreeMap<String, GivenBack>,
}

/// What went back of an order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GivenBack {
    /// Fen.
    pub(crate) fee: i64,
    /// Seconds since the epoch.
    pub(crate) at: i64,
}

impl VirtualOrder {
    /// As `query_order` tells it.
    pub(crate) fn json(&self) -> Value {
        json!({
            "order_id": self.data.out_trade_no, "create_time": self.paid_at, "update_time": self.paid_at,
            "status": self.status, "biz_type": 2, "order_fee": self.fee, "coupon_fee": 0, "paid_fee": self.fee,
            "order_type": if self.on_ios { 1 } else { 0 }, "refund_fee": self.fee - self.left_fee,
            "paid_time": self.paid_at, "provide_time": self.provided_at, "biz_meta": self.data.attach,
            "env_type": if self.data.env == 1 { 2 } else { 1 }, "left_fee": self.left_fee,
            "wx_order_id": self.wx_order_id, "wxpay_order_id": self.transaction_id,
            "channel_order_id": self.transaction_id,
        })
    }

    /// The event that asks for delivery: its type and what is in it (FACTS §4.12).
    pub(crate) fn delivery(&self) -> (&'static str, Value) {
        let mut event = json!({
            "OpenId": self.openid, "OutTradeNo": self.data.out_trade_no, "Env": self.data.env,
            "WeChatPayInfo": {
                "MchOrderNo": self.wx_order_id, "TransactionId": self.transaction_id, "PaidTime": self.paid_at,
            },
        });
        let Some(product) = &self.data.product_id else {
            event["CoinInfo"] = json!({
                "Quantity": self.data.buy_quantity, "OrigPrice": self.fee, "ActualPrice": self.fee,
                "Attach": self.data.attach,
            });
            return ("xpay_coin_pay_notify", event);
        };
        event["GoodsInfo"] = json!({
            "ProductId": product, "Quantity": self.data.buy_quantity,
            "OrigPrice": self.fee, "ActualPrice": self.fee, "Attach": self.data.attach,
        });
        ("xpay_goods_deliver_notify", event)
    }

    /// The event by which Apple asks whether a refund would be right.
    pub(crate) fn refund_question(&self) -> Value {
        json!({
            "OpenId": self.openid, "pay_order_id": self.data.out_trade_no, "product_id": self.data.product_id,
            "p_count": self.data.buy_quantity, "provide_status": i64::from(self.status == status::DELIVERED),
        })
    }

    /// The event that tells of a refund.
    pub(crate) fn refund_event(&self, refund_no: &str, fee: i64, now_s: i64) -> Value {
        json!({
            "OpenId": self.openid, "WxRefundId": format!("5030{}", crypt::digits(24)), "MchRefundId": refund_no,
            "WxOrderId": self.wx_order_id, "MchOrderId": self.data.out_trade_no, "RefundFee": fee, "RetCode": 0,
            "RetMsg": "success", "RefundStartTimestamp": now_s, "RefundSuccTimestamp": now_s,
            "WxpayRefundTransactionId": format!("5030{}", crypt::digits(24)),
        })
    }
}

/// Products, orders and postings of currency.
#[derive(Debug, Default)]
pub(crate) struct Virtual {
    /// Published: id → price in fen.
    pub(crate) products: BTreeMap<String, i64>,
    /// Uploaded and not published yet.
    pub(crate) drafts: BTreeMap<String, i64>,
    pub(crate) orders: BTreeMap<String, VirtualOrder>,
    /// `currency_pay` by its `order_id`: whose, how much, and whether it was given back.
    pub(crate) spent: BTreeMap<String, (String, i64, bool)>,
    /// Presents by their `order_id`.
    pub(crate) presents: BTreeMap<String, i64>,
    pub(crate) withdrawals: BTreeMap<String, String>,
    /// Bills that were asked for, by their first and last days: they are made from then on.
    pub(crate) bills: BTreeSet<(i64, i64)>,
}

impl Virtual {
    pub(crate) fn new(products: BTreeMap<String, i64>) -> Self {
        Self { products, ..Self::default() }
    }

    /// An order by either of its numbers.
    pub(crate) fn find(&mut self, order_id: &str, wx_order_id: &str) -> Option<&mut VirtualOrder> {
        if order_id.is_empty() {
            return self.orders.values_mut().find(|order| order.wx_order_id == wx_order_id);
        }
        self.orders.get_mut(order_id)
    }

    /// The merchant says that the goods are with the person.
    pub(crate) fn delivered(&mut self, out_trade_no: &str, now_s: i64) {
        if let Some(order) = self.orders.get_mut(out_trade_no)
            && order.status == status::PAID
        {
            order.status = status::DELIVERED;
            order.provided_at = now_s;
        }
    }
}
