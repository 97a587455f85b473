//! A person with a phone: what the WeChat client does when the mini program asks it to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::clock::wall_s;
use crate::courier::{self, Then};
use crate::crypt;
use crate::pay::seal::client_message;
use crate::people::{Purpose, Somebody};
use crate::platform::Platform;
use crate::trade::{Payment, TradeState, transaction_id};
use crate::virtual_payment::{SignData, VirtualCall, VirtualOrder, status};
use crate::wx::xpay;

/// Goods cost at least this on iOS, fen (FACTS 4.5).
const IOS_MIN_FEN: i64 = 100;

/// Why the client says no: what the mini program gets in `fail`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientError {
    /// `errCode`; 0 where the interface has none.
    pub code: i64,
    /// `errMsg`.
    pub message: String,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for ClientError {}

fn fail<T>(code: i64, message: impl Into<String>) -> Result<T, ClientError> {
    Err(ClientError { code, message: message.into() })
}

/// Somebody who uses the mini program.
#[derive(Clone)]
pub struct Person {
    platform: Arc<Platform>,
    openid: String,
}

impl Person {
    pub(crate) fn new(platform: &Arc<Platform>, openid: String) -> Self {
        Self { platform: Arc::clone(platform), openid }
    }

    /// Who they are to this mini program.
    pub fn openid(&self) -> &str {
        &self.openid
    }

    /// Their phone number, 11 digits.
    pub fn phone(&self) -> String {
        self.with(|somebody| somebody.phone.clone())
    }

    /// The session key the server was given last.
    pub fn session_key(&self) -> Option<String> {
        self.with(|somebody| somebody.session_key.clone())
    }

    /// `wx.login()`
    pub fn login_code(&self) -> String {
        self.code(Purpose::Login)
    }

    /// What the phone button gives; another code than that of a login.
    pub fn phone_code(&self) -> String {
        self.code(Purpose::Phone)
    }

    fn code(&self, purpose: Purpose) -> String {
        let now = self.platform.clock.now();
        self.platform.state().people.code(&self.openid, purpose, now)
    }

    /// Is in the mini program now; without that for two hours nothing of theirs can be checked.
    pub fn visits(&self) {
        self.login_code();
    }

    /// Says yes to one more message by this template.
    pub fn consents(&self, template: &str) {
        self.with(|somebody| *somebody.consents.entry(template.to_owned()).or_default() += 1);
    }

    /// Is held for a risk by the platform: logins are refused.
    pub fn is_blocked(&self, blocked: bool) {
        self.with(|somebody| somebody.is_blocked = blocked);
    }

    /// Pays through Apple from now on.
    pub fn uses_ios(&self) {
        self.with(|somebody| somebody.on_ios = true);
    }

    /// Coins of virtual payment they hold.
    pub fn coins(&self) -> i64 {
        self.with(|somebody| somebody.coins)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Somebody) -> T) -> T {
        let mut state = self.platform.state();
        act(state.people.get_mut(&self.openid).expect("people are never forgotten"))
    }

    /// `wx.requestPayment(params)`, with the password entered. Returns the `transaction_id`; the callback is on its way.
    ///
    /// # Errors
    /// What the client shows: a field missing or of another type, a `paySign` that does not hold for our own appid,
    /// somebody else's order, one paid, closed or too old.
    pub fn pays(&self, params: &Value) -> Result<String, ClientError> {
        let text = |name: &str| match params[name].as_str() {
            Some(text) if !text.is_empty() => Ok(text),
            _ => fail(0, format!("requestPayment:fail parameter error: {name} should be String")),
        };
        let (at, nonce, package) = (text("timeStamp")?, text("nonceStr")?, text("package")?);
        let (sign_type, sign) = (text("signType")?, text("paySign")?);
        if at.parse::<i64>().is_err() || at.len() > 10 {
            return fail(0, "requestPayment:fail timeStamp is not seconds");
        }
        let Some(prepay_id) = package.strip_prefix("prepay_id=") else {
            return fail(0, "requestPayment:fail package is not prepay_id=…");
        };
        let platform = &self.platform;
        let now = platform.clock.now();
        let mut state = platform.state();
        let Some(order) = state.trade.by_prepay(prepay_id).cloned() else {
            return fail(0, "requestPayment:fail prepay_id is not known");
        };
        let holds = match (sign_type, &order.given_pay_sign) {
            ("RSA", None) => {
                let message = client_message(&platform.config.appid, at, nonce, package);
                platform.keys.merchant.verifies(message.as_bytes(), sign)
            }
            ("MD5", Some(given)) => given == sign,
            _ => return fail(0, "requestPayment:fail signType does not fit"),
        };
        if !holds {
            return fail(0, "requestPayment:fail 支付验证签名失败");
        }
        if order.openid != self.openid {
            return fail(0, "requestPayment:fail 当前用户与下单用户不一致");
        }
        let Some(order) = state.trade.order(&order.out_trade_no, now) else {
            return fail(0, "requestPayment:fail 订单不存在");
        };
        match order.state {
            TradeState::Success | TradeState::Refund => return fail(0, "requestPayment:fail 该订单已支付"),
            TradeState::Closed => return fail(0, "requestPayment:fail 订单已关闭"),
            TradeState::NotPay if now >= order.expires || now >= order.prepay_until => {
                return fail(0, "requestPayment:fail 订单已过期");
            }
            TradeState::NotPay => {}
        }
        let id = transaction_id(now);
        order.state = TradeState::Success;
        order.payment = Some(Payment { transaction_id: id.clone(), at: now });
        let order = order.clone();
        drop(state);
        courier::paid(platform, &order);
        Ok(id)
    }

    /// `wx.requestVirtualPayment(call)`, with the password entered. The event that asks for delivery is on its way.
    ///
    /// # Errors
    /// What the client shows (FACTS 4.10): -15005 the session key is another, -15006 `paySig` does not hold, -15016 a
    /// field is wrong; from memory -15002 the number was used, -15010 the product is not published, -15013 its price is
    /// another.
    pub fn pays_virtually(&self, call: &Value) -> Result<(), ClientError> {
        let Ok(call) = serde_json::from_value::<VirtualCall>(call.clone()) else {
            return fail(-15001, "requestVirtualPayment:fail a parameter is missing");
        };
        let data = self.checked(&call)?;
        let platform = &self.platform;
        let mut state = platform.state();
        if state.virtual_payment.orders.contains_key(&data.out_trade_no) {
            return fail(-15002, "requestVirtualPayment:fail outTradeNo 重复使用");
        }
        let price = match &data.product_id {
            None => 10,
            Some(product) => match state.virtual_payment.products.get(product) {
                Some(price) if Some(*price) == data.goods_price => *price,
                Some(_) => return fail(-15013, "requestVirtualPayment:fail goodsPrice 错误"),
                None => return fail(-15010, "requestVirtualPayment:fail productId 未发布"),
            },
        };
        let Some(somebody) = state.people.get_mut(&self.openid) else {
            return fail(-15003, "requestVirtualPayment:fail");
        };
        let fee = price * data.buy_quantity;
        if somebody.on_ios && (price < IOS_MIN_FEN || data.env == 1) {
            return fail(-15016, "requestVirtualPayment:fail not on iOS");
        }
        if data.product_id.is_none() {
            somebody.coins += data.buy_quantity;
        }
        let (on_ios, paid_at) = (somebody.on_ios, platform.clock.now_s());
        let order = VirtualOrder {
            openid: self.openid.clone(),
            on_ios,
            fee,
            left_fee: fee,
            status: status::PAID,
            paid_at,
            provided_at: 0,
            wx_order_id: format!("V{}", crypt::digits(28)),
            transaction_id: transaction_id(platform.clock.now()),
            refunds: std::collections::BTreeMap::new(),
            data,
        };
        let number = order.data.out_trade_no.clone();
        let (kind, event) = order.delivery();
        state.virtual_payment.orders.insert(number.clone(), order);
        drop(state);
        let then = Then::Delivered(number.clone());
        courier::push(platform, (kind, &number, &self.openid), event, then, Duration::ZERO);
        Ok(())
    }

    /// The signed text, if both signatures hold for it and it breaks no rule.
    fn checked(&self, call: &VirtualCall) -> Result<SignData, ClientError> {
        let config = &self.platform.config;
        let is_goods = match call.mode.as_str() {
            "short_series_goods" => true,
            "short_series_coin" => false,
            _ => return fail(-15016, "requestVirtualPayment:fail mode"),
        };
        let Ok(data) = serde_json::from_str::<SignData>(&call.sign_data) else {
            return fail(-15016, "requestVirtualPayment:fail signData");
        };
        if let Some(name) = data.first_wrong(is_goods) {
            return fail(-15016, format!("requestVirtualPayment:fail signData.{name}"));
        }
        if data.offer_id != config.offer_id {
            return fail(-15016, "requestVirtualPayment:fail signData.offerId");
        }
        let message = format!("requestVirtualPayment&{}", call.sign_data);
        if crypt::hmac_hex(config.app_key(data.env).as_bytes(), message.as_bytes()) != call.pay_sig {
            return fail(-15006, "requestVirtualPayment:fail paySig 错误");
        }
        let expected =
            self.session_key().map(|key| crypt::hmac_hex(key.as_bytes(), call.sign_data.as_bytes()));
        if expected.as_ref() != Some(&call.signature) {
            return fail(-15005, "requestVirtualPayment:fail signature 错误");
        }
        Ok(data)
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
        let order = xpay::refunded(order, &number, fee);
        drop(state);
        xpay::tell_refund(&self.platform, &order, &number, fee);
        true
    }
}
