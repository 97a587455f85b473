//! `wx.requestVirtualPayment`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::{ClientError, Person, fail};
use crate::clock::wall_s;
use crate::courier::{self, Then};
use crate::crypt;
use crate::trade::transaction_id;
use crate::virtual_payment::{SignData, Virtual, VirtualCall, VirtualOrder, status};
use crate::wx::xpay;

/// Goods cost at least this on iOS, fen (FACTS 4.5).
const IOS_MIN_FEN: i64 = 100;
/// What a coin costs, fen.
const COIN_FEN: i64 = 10;

fn refuse<T>(code: i64, message: impl AsRef<str>) -> Result<T, ClientError> {
    fail(code, format!("requestVirtualPayment:fail {}", message.as_ref()))
}

/// What one piece costs, if it is for sale at the signed price.
fn price(shop: &Virtual, data: &SignData) -> Result<i64, ClientError> {
    if shop.orders.contains_key(&data.out_trade_no) {
        return refuse(-15002, "outTradeNo 重复使用");
    }
    let Some(product) = &data.product_id else { return Ok(COIN_FEN) };
    match shop.products.get(product) {
        Some(price) if Some(*price) == data.goods_price => Ok(*price),
        Some(_) => refuse(-15013, "goodsPrice 错误"),
        None => refuse(-15010, "productId 未发布"),
    }
}

impl Person {
    /// `wx.requestVirtualPayment(call)`, with the password entered. The event that asks for delivery is on its way.
    ///
    /// # Errors
    /// What the client shows (FACTS 4.10): -15005 the session key is another, -15006 `paySig` does not hold, -15016 a
    /// field is wrong; from memory -15002 the number was used, -15010 the product is not published, -15013 its price is
    /// another.
    pub fn pays_virtually(&self, call: &Value) -> Result<(), ClientError> {
        let Ok(call) = serde_json::from_value::<VirtualCall>(call.clone()) else {
            return refuse(-15001, "a parameter is missing");
        };
        let data = self.checked(&call)?;
        let mut state = self.platform.state();
        let price = price(&state.virtual_payment, &data)?;
        let Some(somebody) = state.people.get_mut(&self.openid) else { return refuse(-15003, "") };
        if somebody.on_ios && (price < IOS_MIN_FEN || data.env == 1) {
            return refuse(-15016, "not on iOS");
        }
        if data.product_id.is_none() {
            somebody.coins += data.buy_quantity;
        }
        let order = self.order(data, price, somebody.on_ios);
        let number = order.data.out_trade_no.clone();
        let (kind, event) = order.delivery();
        state.virtual_payment.orders.insert(number.clone(), order);
        drop(state);
        let names = (kind, number.as_str(), self.openid.as_str());
        courier::push(&self.platform, names, event, Then::Delivered(number.clone()), Duration::ZERO);
        Ok(())
    }

    /// An order that was paid just now.
    fn order(&self, data: SignData, price: i64, on_ios: bool) -> VirtualOrder {
        let (now, fee) = (self.platform.clock.now(), price * data.buy_quantity);
        VirtualOrder {
            openid: self.openid.clone(),
            on_ios,
            fee,
            left_fee: fee,
            status: status::PAID,
            paid_at: now / 1000,
            provided_at: 0,
            wx_order_id: format!("V{}", crypt::digits(28)),
            transaction_id: transaction_id(now),
            refunds: BTreeMap::new(),
            data,
        }
    }

    /// The signed text, if both signatures hold for it and it breaks no rule.
    fn checked(&self, call: &VirtualCall) -> Result<SignData, ClientError> {
        let config = &self.platform.config;
        let is_goods = match call.mode.as_str() {
            "short_series_goods" => true,
            "short_series_coin" => false,
            _ => return refuse(-15016, "mode"),
        };
        let Ok(data) = serde_json::from_str::<SignData>(&call.sign_data) else {
            return refuse(-15016, "signData");
        };
        if let Some(name) = data.first_wrong(is_goods) {
            return refuse(-15016, format!("signData.{name}"));
        }
        if data.offer_id != config.offer_id {
            return refuse(-15016, "signData.offerId");
        }
        let message = format!("requestVirtualPayment&{}", call.sign_data);
        if crypt::hmac_hex(config.app_key(data.env).as_bytes(), message.as_bytes()) != call.pay_sig {
            return refuse(-15006, "paySig 错误");
        }
        let expected =
            self.session_key().map(|key| crypt::hmac_hex(key.as_bytes(), call.sign_data.as_bytes()));
        if expected.as_ref() != Some(&call.signature) {
            return refuse(-15005, "signature 错误");
        }
        Ok(data)
    }

    /// Asks Apple for the money of an order, and Apple asks the merchant. False when there is none of theirs.
    pub fn asks_apple_for_a_refund(&self, out_trade_no: &str) -> bool {
        let state = self.platform.state();
        let order = state.virtual_payment.orders.get(out_trade_no);
        let theirs = |order: &&VirtualOrder| order.on_ios && order.openid == self.openid;
        let Some(question) = order.filter(theirs).map(VirtualOrder::refund_question) else { return false };
        drop(state);
        let names = (courier::APPLES_QUESTION, out_trade_no, self.openid.as_str());
        courier::push(&self.platform, names, question, Then::Nothing, Duration::ZERO);
        true
    }

    /// Apple gives the money of an order back. False when there is none of theirs with money left.
    pub fn is_refunded_by_apple(&self, out_trade_no: &str) -> bool {
        let mut state = self.platform.state();
        let order = state.virtual_payment.orders.get_mut(out_trade_no);
        let theirs =
            |order: &&mut VirtualOrder| order.on_ios && order.openid == self.openid && order.left_fee > 0;
        let Some(order) = order.filter(theirs) else { return false };
        let fee = order.left_fee;
        let number = format!("apple{}", wall_s());
        let order = xpay::refunded(order, &number, fee, self.platform.clock.now_s());
        drop(state);
        xpay::tell_refund(&self.platform, &order, &number, fee);
        true
    }
}
