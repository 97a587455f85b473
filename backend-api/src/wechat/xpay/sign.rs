//! Signatures of virtual payment: HMAC-SHA256 over exactly the text that is sent (FACTS 4.10, 4.11).

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::json;

use super::Virtual;
use crate::wechat::crypto::hmac_sha256_hex;

/// What the client's call is named in its signature.
const CLIENT_CALL: &str = "requestVirtualPayment";

/// Signs a call for the app: of the client, or of a path of the platform.
pub fn pay_signature(app_key: &SecretString, call: &str, text: &[u8]) -> String {
    let message = [call.as_bytes(), b"&", text].concat();
    hmac_sha256_hex(app_key.expose_secret().as_bytes(), &message)
}

/// Signs a text for the person.
pub fn user_signature(session_key: &SecretString, text: &[u8]) -> String {
    hmac_sha256_hex(session_key.expose_secret().as_bytes(), text)
}

/// What is bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What<'a> {
    /// A product of the console.
    Goods {
        /// Its id there.
        product: &'a str,
        /// Its price there: another one is refused.
        price_fen: i64,
    },
    /// The app's own currency.
    Coins,
}

/// An order as it is made. The number is used once: 8–32 of `[0-9A-Za-z_\-|*@]`, not beginning with `_`.
#[derive(Debug, Clone, Copy)]
pub struct Purchase<'a> {
    /// Ours.
    pub out_trade_no: &'a str,
    /// What.
    pub what: What<'a>,
    /// How many.
    pub quantity: u32,
    /// Comes back with the event of delivery.
    pub attach: &'a str,
}

/// What the mini program hands to `wx.requestVirtualPayment`, under the names that it wants.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedPurchase {
    /// Goods or coins.
    pub mode: &'static str,
    /// Text, to be handed on as it is: it is signed.
    pub sign_data: String,
    /// Of the app.
    pub pay_sig: String,
    /// Of the person.
    pub signature: String,
}

impl fmt::Debug for SignedPurchase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedPurchase").field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl Virtual {
    /// Signs a purchase with the person's current session key. Whether it is current shows only when the client pays
    /// (-15005: log in again).
    pub fn sign_purchase(&self, purchase: &Purchase<'_>, session_key: &SecretString) -> SignedPurchase {
        let mut data = json!({
            "offerId": self.options.offer_id,
            "buyQuantity": purchase.quantity,
            "env": self.options.environment.number(),
            "currencyType": "CNY",
        });
        let mode = match purchase.what {
            What::Coins => "short_series_coin",
            What::Goods { product, price_fen } => {
                data["productId"] = product.into();
                data["goodsPrice"] = price_fen.into();
                "short_series_goods"
            }
        };
        data["outTradeNo"] = purchase.out_trade_no.into();
        data["attach"] = purchase.attach.into();
        let sign_data = data.to_string();
        SignedPurchase {
            mode,
            pay_sig: pay_signature(&self.options.app_key, CLIENT_CALL, sign_data.as_bytes()),
            signature: user_signature(session_key, sign_data.as_bytes()),
            sign_data,
        }
    }
}
