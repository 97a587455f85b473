//! Events over a public way: signed, and sealed where that was agreed on.

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use backend_api::wechat::crypto::{KeyError, sha1_hex};
use backend_api::wechat::events::{Event, ParseError, Push, PushError, PushQuery};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

const TOKEN: &str = "token";
const APP: &str = "wx1";
/// 32 bytes of base64 without padding; the last two bits belong to nobody, and the platform may set them.
const AES_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
const BODY: &str = r#"{"MsgType":"event","Event":"hello","MsgId":1}"#;

fn signature(parts: &[&str]) -> String {
    let mut parts = parts.to_vec();
    parts.sort_unstable();
    sha1_hex(parts.concat().as_bytes())
}

fn query() -> PushQuery {
    PushQuery {
        signature: signature(&[TOKEN, "1710000000", "nonce"]),
        timestamp: "1710000000".to_owned(),
        nonce: "nonce".to_owned(),
        echostr: "4711".to_owned(),
        ..PushQuery::default()
    }
}

fn plain() -> Push {
    Push::new(APP, TOKEN.into(), None).unwrap()
}

fn sealing() -> Push {
    Push::new(APP, TOKEN.into(), Some(&AES_KEY.into())).unwrap()
}

fn key() -> Vec<u8> {
    BASE64_STANDARD.decode(format!("{}E=", &AES_KEY[..42])).unwrap()
}

/// Seals as the documentation has it: random bytes, length, message, receiver, padding up to 32.
fn sealed(message: &str, receiver: &str) -> String {
    let key = key();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let mut bytes =
        [b"0123456789abcdef".as_slice(), &length, message.as_bytes(), receiver.as_bytes()].concat();
    let padding = 32 - bytes.len() % 32;
    bytes.extend(std::iter::repeat_n(u8::try_from(padding).unwrap(), padding));
    encrypt(&key, bytes)
}

fn encrypt(key: &[u8], mut bytes: Vec<u8>) -> String {
    let vector: [u8; 16] = key[..16].try_into().unwrap();
    let cipher = EncryptingKey::cbc(UnboundCipherKey::new(&AES_256, key).unwrap()).unwrap();
    cipher.less_safe_encrypt(&mut bytes, EncryptionContext::Iv128(FixedLength::from(vector))).unwrap();
    BASE64_STANDARD.encode(bytes)
}

fn signed_seal(sealed: &str) -> PushQuery {
    PushQuery { msg_signature: signature(&[TOKEN, "1710000000", "nonce", sealed]), ..query() }
}

#[test]
fn the_console_gets_its_word_back_only_when_it_signed() {
    let good = query();
    assert_eq!(good.signature, "80b94323d2cec5b96d07867a5166387fa34e8f84", "the published example");
    assert_eq!(plain().echo(&good), Ok("4711"));
    let wrong = PushQuery { nonce: "other".to_owned(), ..query() };
    assert_eq!(plain().echo(&wrong), Err(PushError::Signature));
    assert_eq!(plain().echo(&PushQuery::default()), Err(PushError::Signature));
}

#[test]
fn a_plain_event_is_taken_only_when_it_is_signed() {
    let received = plain().open(&query(), BODY.as_bytes()).unwrap();
    assert_eq!(received.head.event, "hello");
    let unsigned = PushQuery { signature: String::new(), ..query() };
    assert_eq!(plain().open(&unsigned, BODY.as_bytes()).unwrap_err(), PushError::Signature);
    let error = plain().open(&query(), b"nothing").unwrap_err();
    assert_eq!(error, PushError::Parse(ParseError::Unreadable));
}

#[test]
fn a_sealed_event_is_opened_from_json_and_from_xml() {
    let text = sealed(BODY, APP);
    let json = json!({ "ToUserName": "gh_1", "Encrypt": text }).to_string();
    let xml = format!("<xml><ToUserName>gh_1</ToUserName><Encrypt><![CDATA[{text}]]></Encrypt></xml>");
    for body in [json, xml] {
        let received = sealing().open(&signed_seal(&text), body.as_bytes()).unwrap();
        assert!(matches!(received.event, Event::Other));
        assert_eq!(received.head.message_id.as_deref(), Some("1"));
    }
}

#[test]
fn a_sealed_event_that_is_not_signed_not_sealed_or_not_for_us_is_refused() {
    let open = |text: &str, query: PushQuery| {
        let body = json!({ "Encrypt": text }).to_string();
        sealing().open(&query, body.as_bytes()).map(drop).unwrap_err()
    };
    let text = sealed(BODY, APP);
    // the signature of the address alone says nothing about the sealed text
    assert_eq!(open(&text, query()), PushError::Signature);
    assert_eq!(open(&sealed(BODY, "wx-other"), signed_seal(&text)), PushError::Signature);
    let foreign = sealed(BODY, "wx-other");
    assert_eq!(open(&foreign, signed_seal(&foreign)), PushError::Sealed);
    let other_key = encrypt(&[7; 32], vec![1; 64]);
    for text in ["", "A", "AAAA", "not base64", &other_key, &text[..text.len() - 4]] {
        assert_eq!(open(text, signed_seal(text)), PushError::Sealed, "{text}");
    }
    let error = sealing().open(&query(), BODY.as_bytes()).unwrap_err();
    assert_eq!(error, PushError::NotSealed, "who agreed on sealed events takes no others");
}

#[test]
fn a_length_or_padding_that_lies_is_refused() {
    let key = key();
    let long = [[b'0'; 16].as_slice(), &u32::MAX.to_be_bytes(), b"hello world!"].concat();
    for (mut bytes, last) in [(long, 1), (vec![0; 32], 0), (vec![9; 32], 33), (vec![9; 16], 32)] {
        *bytes.last_mut().unwrap() = last;
        let text = encrypt(&key, bytes);
        let body = json!({ "Encrypt": text }).to_string();
        let error = sealing().open(&signed_seal(&text), body.as_bytes()).unwrap_err();
        assert_eq!(error, PushError::Sealed);
    }
}

#[test]
fn a_key_of_another_length_is_refused_at_the_start() {
    let key = |text: &str| Push::new(APP, TOKEN.into(), Some(&text.into())).unwrap_err();
    assert_eq!(key("short"), KeyError::Length(43));
    assert_eq!(key(&"!".repeat(43)), KeyError::NotBase64);
    assert!(!format!("{:?}", sealing()).contains("abcdef"));
}
