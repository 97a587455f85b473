//! Pushed events: how they are written and protected, and how a receiver is entered.

use aws_lc_rs::cipher::{AES_256, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use wechat_sim::{CourierFault, Format, Guard, Mishap, Push, Seal};

use crate::support::{Heard, Receiver, SOON, World};

const TOKEN: &str = "token-of-the-console";
/// 43 characters whose last carries no bits to lose.
const AES_KEY: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ";

fn plain() -> Guard {
    Guard::Plain { token: TOKEN.to_owned() }
}

fn aes() -> Guard {
    Guard::Aes { token: TOKEN.to_owned(), encoding_aes_key: AES_KEY.to_owned() }
}

/// Has a picture checked; what the receiver heard of it.
async fn event(world: &World, receiver: &Receiver, format: Format, guard: Guard) -> Heard {
    world.sim.push_to(Push { url: format!("{}/events", receiver.url), format, guard });
    let body = json!({
        "media_url": "https://x/y.png", "media_type": 2, "version": 2, "scene": 1,
        "openid": world.sim.person().openid(),
    });
    assert_eq!(world.post("/wxa/media_check_async", &body).await["errcode"], 0);
    world.sim.quiet(SOON).await.unwrap();
    receiver.heard().pop().unwrap()
}

fn sum(parts: &[&str]) -> String {
    let mut parts = parts.to_vec();
    parts.sort_unstable();
    let sum = digest(&SHA1_FOR_LEGACY_USE_ONLY, parts.concat().as_bytes());
    sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn events_are_written_in_json_or_xml() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let json = event(&world, &receiver, Format::Json, Guard::Container).await;
    assert_eq!(json.json()["MsgType"], "event");
    assert!(!json.header("x-wx-source").is_empty() && json.query.is_empty());
    let xml = event(&world, &receiver, Format::Xml, Guard::Container).await;
    let text = String::from_utf8(xml.body.to_vec()).unwrap();
    assert!(text.starts_with("<xml><ToUserName><![CDATA["), "{text}");
    assert!(text.contains("<Event><![CDATA[wxa_media_check]]></Event>"), "{text}");
    assert!(
        text.contains("<result><suggest><![CDATA[pass]]></suggest><label>100</label></result>"),
        "{text}"
    );
}

#[tokio::test]
async fn a_plain_event_is_signed_in_its_query() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let heard = event(&world, &receiver, Format::Json, plain()).await;
    let get = |name: &str| heard.query.get(name).cloned().unwrap_or_default();
    assert_eq!(get("signature"), sum(&[TOKEN, &get("timestamp"), &get("nonce")]));
    assert!(heard.header("x-wx-source").is_empty());
    let forged = Mishap::SealedFirst { seal: Seal::Forged };
    world.sim.courier_fault(CourierFault { matching: String::new(), times: 1, mishap: forged });
    receiver.answers(&[(403, "")]);
    event(&world, &receiver, Format::Json, plain()).await;
    let [.., bad, good] = &receiver.heard()[..] else { panic!("the good one follows") };
    assert_ne!(bad.query["signature"], sum(&[TOKEN, &bad.query["timestamp"], &bad.query["nonce"]]));
    assert_eq!(good.query["signature"], sum(&[TOKEN, &good.query["timestamp"], &good.query["nonce"]]));
}

#[tokio::test]
async fn an_encrypted_event_opens_to_what_was_meant() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    for format in [Format::Json, Format::Xml] {
        let heard = event(&world, &receiver, format, aes()).await;
        let text = String::from_utf8(heard.body.to_vec()).unwrap();
        let encrypted = match format {
            Format::Json => heard.json()["Encrypt"].as_str().unwrap().to_owned(),
            Format::Xml => {
                let inside = text.split_once("<Encrypt><![CDATA[").unwrap().1;
                inside.split_once("]]></Encrypt>").unwrap().0.to_owned()
            }
        };
        let get = |name: &str| heard.query.get(name).cloned().unwrap_or_default();
        assert_eq!(get("encrypt_type"), "aes");
        let expected = sum(&[TOKEN, &get("timestamp"), &get("nonce"), &encrypted]);
        assert_eq!(get("msg_signature"), expected);
        let (message, appid) = opened(&encrypted);
        assert_eq!(appid, world.sim.config().appid);
        assert!(message.contains("wxa_media_check") && message.starts_with(['{', '<']), "{message}");
    }
}

fn opened(encrypted: &str) -> (String, String) {
    let key = STANDARD.decode(format!("{AES_KEY}=")).unwrap();
    let iv: [u8; 16] = key[..16].try_into().unwrap();
    let cipher = DecryptingKey::cbc(UnboundCipherKey::new(&AES_256, &key).unwrap()).unwrap();
    let mut bytes = STANDARD.decode(encrypted).unwrap();
    let plain = cipher.decrypt(&mut bytes, DecryptionContext::Iv128(iv.into())).unwrap();
    let padding = usize::from(*plain.last().unwrap());
    assert!((1..=32).contains(&padding) && plain.len().is_multiple_of(32));
    let plain = &plain[16..plain.len() - padding];
    let length = u32::from_be_bytes(plain[..4].try_into().unwrap()) as usize;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&plain[4..4 + length]), text(&plain[4 + length..]))
}

#[tokio::test]
async fn an_event_that_is_not_taken_comes_three_times() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    receiver.answers(&[(500, ""), (200, "no"), (404, ""), (200, "success")]);
    event(&world, &receiver, Format::Json, Guard::Container).await;
    assert_eq!(receiver.heard().len(), 3);
    assert!(world.deliveries("wxa_media_check").await.iter().all(|one| !one.taken));
}

#[tokio::test]
async fn a_receiver_is_entered_only_if_it_answers_the_probe() {
    let (world, deaf, echoing) = (World::new().await, Receiver::start().await, Receiver::echoing().await);
    let enter = async |receiver: &Receiver, guard: Guard| {
        world.sim.push_to(Push { url: format!("{}/events", receiver.url), format: Format::Json, guard });
        world.sim.check_receiver().await
    };
    enter(&deaf, plain()).await.unwrap_err();
    enter(&echoing, plain()).await.unwrap();
    enter(&echoing, aes()).await.unwrap();
    enter(&deaf, Guard::Container).await.unwrap();
    assert_eq!(deaf.heard().pop().unwrap().json(), json!({"action": "CheckContainerPath"}));
    deaf.usually("{}");
    enter(&deaf, Guard::Container).await.unwrap_err();
}
