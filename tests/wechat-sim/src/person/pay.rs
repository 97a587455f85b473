//! `wx.requestPayment`.

use serde_json::Value;

use super::{ClientError, Person, fail};
use crate::clock::Millis;
use crate::courier;
use crate::pay::seal::client_message;
use crate::trade::{Order, TradeState};

/// What the mini program hands over (FACTS §3.5).
struct Params<'a> {
    at: &'a str,
    nonce: &'a str,
    package: &'a str,
    prepay_id: &'a str,
    sign_type: &'a str,
    sign: &'a str,
}

impl<'a> Params<'a> {
    fn read(params: &'a Value) -> Result<Self, ClientError> {
        let text = |name: &str| match params[name].as_str() {
            Some(text) if !text.is_empty() => Ok(text),
            _ => refuse(format!("parameter error: {name} should be String")),
        };
        let (at, package) = (text("timeStamp")?, text("package")?);
        if at.parse::<i64>().is_err() || at.len() > 10 {
            return refuse("timeStamp is not seconds");
        }
        let Some(prepay_id) = package.strip_prefix("prepay_id=") else {
            return refuse("package is not prepay_id=…");
        };
        let (nonce, sign_type, sign) = (text("nonceStr")?, text("signType")?, text("paySign")?);
        Ok(Self { at, nonce, package, prepay_id, sign_type, sign })
    }
}

fn refuse<T>(message: impl AsRef<str>) -> Result<T, ClientError> {
    fail(0, format!("requestPayment:fail {}", message.as_ref()))
}

impl Person {
    /// `wx.requestPayment(params)`, with the password entered. Returns the `transaction_id`; the callback is on its way.
    ///
    /// # Errors
    /// What the client shows: a field missing or of another type, a `paySign` that does not hold for our own appid,
    /// somebody else's order, one paid, closed or too old.
    pub fn pays(&self, params: &Value) -> Result<String, ClientError> {
        let params = Params::read(params)?;
        let now = self.platform.clock.now();
        let mut state = self.platform.state();
        let Some(order) = state.trade.by_prepay(params.prepay_id) else {
            return refuse("prepay_id is not known");
        };
        self.is_signed(order, &params)?;
        let number = order.out_trade_no.clone();
        let Some(order) = state.trade.order(&number, now) else { return refuse("订单不存在") };
        self.may_pay(order, now)?;
        let Some((order, id)) = state.trade.pay(&number, now) else { return refuse("订单不存在") };
        drop(state);
        courier::paid(&self.platform, &order);
        Ok(id)
    }

    /// Whether the merchant, or the platform for it, signed this call.
    fn is_signed(&self, order: &Order, params: &Params<'_>) -> Result<(), ClientError> {
        let platform = &self.platform;
        let holds = match (params.sign_type, &order.given_pay_sign) {
            ("RSA", None) => {
                let appid = &platform.config.appid;
                let message = client_message(appid, params.at, params.nonce, params.package);
                platform.keys.merchant.verifies(message.as_bytes(), params.sign)
            }
            ("MD5", Some(given)) => given == params.sign,
            _ => return refuse("signType does not fit"),
        };
        if holds { Ok(()) } else { refuse("支付验证签名失败") }
    }

    /// Whether this person may pay this order now.
    fn may_pay(&self, order: &Order, now: Millis) -> Result<(), ClientError> {
        if order.openid != self.openid {
            return refuse("当前用户与下单用户不一致");
        }
        match order.state {
            TradeState::Success | TradeState::Refund => refuse("该订单已支付"),
            TradeState::Closed => refuse("订单已关闭"),
            TradeState::NotPay if now >= order.expires || now >= order.prepay_until => refuse("订单已过期"),
            TradeState::NotPay => Ok(()),
        }
    }
}
