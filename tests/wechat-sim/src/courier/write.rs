//! What callbacks and events look like.

use serde_json::{Map, Value, json};

use super::message_id;
use crate::clock::{compact, rfc3339};
use crate::crypt;
use crate::platform::Platform;
use crate::trade::Order;

/// The account that events are addressed to.
const ACCOUNT: &str = "gh_0123456789ab";

/// A callback of WeChat Pay: the resource encrypted with the APIv3 key (FACTS §3.6).
pub(super) fn notice(
    platform: &Platform,
    kind: &str,
    original_type: &str,
    summary: &str,
    plain: &Value,
) -> Vec<u8> {
    let nonce = crypt::letters(12);
    let mut bytes = [0; 12];
    bytes.copy_from_slice(nonce.as_bytes());
    let ciphertext = crypt::seal(&platform.api_v3_key, &bytes, original_type, plain.to_string().as_bytes());
    let now = platform.clock.now();
    let notice = json!({
        "id": format!("EV-{}{}", compact(now), crypt::digits(6)), "create_time": rfc3339(now),
        "resource_type": "encrypt-resource", "event_type": kind, "summary": summary,
        "resource": {
            "original_type": original_type, "algorithm": "AEAD_AES_256_GCM", "ciphertext": ciphertext,
            "associated_data": original_type, "nonce": nonce,
        },
    });
    notice.to_string().into_bytes()
}

/// The callback of the simplified pay: old fields in camelCase (FACTS §5).
pub(super) fn container_paid(platform: &Platform, order: &Order, sub_mch_id: &str) -> Value {
    let payment = order.payment.as_ref();
    json!({
        "returnCode": "SUCCESS", "resultCode": "SUCCESS", "appid": platform.config.appid,
        "mchId": platform.config.mchid, "subMchId": sub_mch_id, "subAppid": platform.config.appid,
        "openid": order.openid, "subOpenid": order.openid, "isSubscribe": "N", "tradeType": "JSAPI",
        "bankType": "OTHERS", "totalFee": order.total, "cashFee": order.total, "feeType": "CNY",
        "transactionId": payment.map(|payment| &payment.transaction_id), "outTradeNo": order.out_trade_no,
        "attach": order.attach, "timeEnd": payment.map(|payment| compact(payment.at)),
        "nonceStr": crypt::letters(32),
    })
}

/// A pushed event with the fields that each has.
pub(super) fn event(platform: &Platform, kind: &str, openid: &str, body: Value) -> Value {
    let mut event = json!({
        "ToUserName": ACCOUNT, "FromUserName": openid, "CreateTime": platform.clock.now_s(), "MsgType": "event",
        "Event": kind,
    });
    if let (Some(event), Value::Object(body)) = (event.as_object_mut(), body) {
        event.extend(body);
        if !kind.starts_with("xpay_") {
            event.entry("MsgId").or_insert_with(|| json!(message_id()));
        }
    }
    event
}

/// An event in XML.
pub(super) fn xml(event: &Value) -> String {
    let mut text = String::from("<xml>");
    if let Value::Object(fields) = event {
        members(&mut text, fields);
    }
    text + "</xml>"
}

/// What AES mode posts in place of the event.
pub(super) fn envelope(encrypted: &str) -> Value {
    json!({"ToUserName": ACCOUNT, "Encrypt": encrypted})
}

fn members(text: &mut String, fields: &Map<String, Value>) {
    for (name, value) in fields {
        match value {
            Value::Array(list) => list.iter().for_each(|one| element(text, name, one)),
            one => element(text, name, one),
        }
    }
}

fn element(text: &mut String, name: &str, value: &Value) {
    text.push_str(&format!("<{name}>"));
    match value {
        Value::Object(fields) => members(text, fields),
        Value::String(string) => {
            text.push_str(&format!("<![CDATA[{}]]>", string.replace("]]>", "]]]]><![CDATA[>")));
        }
        Value::Null => {}
        other => text.push_str(&other.to_string()),
    }
    text.push_str(&format!("</{name}>"));
}
