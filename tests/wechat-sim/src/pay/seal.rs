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
    let mut message = format!("{at}\n{nonce}\n").into_bytes();
    message.extend_from_slice(body);
    if seal == Seal::Tampered {
        message.push(b' ');
    }
    message.push(b'\n');
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
