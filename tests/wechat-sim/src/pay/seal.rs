//! The platform's signature on an answer or a callback, right or wrong on purpose (FACTS §3.3).

use crate::clock::wall_s;
use crate::crypt;
use crate::faults::Seal;
use crate::keys::{Signer, certificate_serial};

/// Further off than any receiver may tolerate, seconds.
const OFF_S: i64 = 360;

/// The headers that go with these bytes.
pub(crate) fn headers(signer: &Signer, body: &[u8], seal: Seal) -> Vec<(&'static str, String)> {
    if seal == Seal::Missing {
        return Vec::new();
    }
    let at = match seal {
        Seal::Stale => wall_s() - OFF_S,
        Seal::Early => wall_s() + OFF_S,
        _ => wall_s(),
    };
    let nonce = crypt::letters(32);
    let message = match seal {
        Seal::Tampered => message(&at.to_string(), &nonce, &[body, b" "].concat()),
        _ => message(&at.to_string(), &nonce, body),
    };
    let signature = match seal {
        Seal::SignTest => format!("WECHATPAY/SIGNTEST/{}", crypt::letters(325)),
        Seal::Forged => crypt::base64(&crypt::bytes::<256>()),
        _ => signer.sign(&message),
    };
    let serial = if seal == Seal::WrongSerial { certificate_serial() } else { signer.serial.clone() };
    vec![
        ("wechatpay-timestamp", at.to_string()),
        ("wechatpay-nonce", nonce),
        ("wechatpay-serial", serial),
        ("wechatpay-signature", signature),
        ("wechatpay-signature-type", "WECHATPAY2-SHA256-RSA2048".to_owned()),
        ("request-id", format!("{}-0", crypt::letters(24))),
    ]
}

/// What the signature of an answer or a callback is for.
pub(crate) fn message(at: &str, nonce: &str, body: &[u8]) -> Vec<u8> {
    [format!("{at}\n{nonce}\n").as_bytes(), body, b"\n"].concat()
}

/// What `paySign` is for (FACTS §3.5).
pub(crate) fn client_message(appid: &str, at: &str, nonce: &str, package: &str) -> String {
    format!("{appid}\n{at}\n{nonce}\n{package}\n")
}
