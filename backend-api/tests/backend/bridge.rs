//! The existing user system: signed requests, and what they may do.

use std::time::SystemTime;

use backend_api::identity::{SignedRequest, sign_request};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::engines::{Engine, on_every_engine};
use crate::people::{Login, PARTNER, World, code};
use crate::support::answer;

on_every_engine!(
    a_person_vouched_for_is_the_one_who_logs_in_by_wechat,
    a_signed_request_counts_once,
    a_payment_is_noted_once_and_never_contradicted,
);

fn seconds_from_now(offset: i64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    (i64::try_from(now).unwrap() + offset).to_string()
}

/// One request of the user system, as it signs it.
struct Signed {
    path: &'static str,
    time: String,
    nonce: String,
    body: String,
}

impl Signed {
    fn new(path: &'static str, body: &Value) -> Self {
        Self {
            path,
            time: seconds_from_now(0),
            nonce: Uuid::new_v4().simple().to_string(),
            body: body.to_string(),
        }
    }

    fn signature(&self, secret: &str) -> String {
        let request = SignedRequest {
            method: "POST",
            path: self.path,
            id: PARTNER.0,
            time: &self.time,
            nonce: &self.nonce,
            signature: "",
            body: self.body.as_bytes(),
        };
        sign_request(&secret.into(), &request)
    }

    async fn send(&self, world: &World, signature: &str) -> (u16, Value) {
        let request = world
            .ask(Method::POST, self.path)
            .header("x-darkroom-partner", PARTNER.0)
            .header("x-darkroom-time", &self.time)
            .header("x-darkroom-nonce", &self.nonce)
            .header("x-darkroom-signature", signature)
            .header("content-type", "application/json")
            .body(self.body.clone());
        answer(request.send().await.unwrap()).await
    }
}

async fn signed(world: &World, path: &'static str, body: Value) -> (u16, Value) {
    let request = Signed::new(path, &body);
    request.send(world, &request.signature(PARTNER.1)).await
}

async fn a_person_vouched_for_is_the_one_who_logs_in_by_wechat(engine: Engine) {
    let world = World::on(engine).await;
    let body =
        json!({"wechatId": "oA", "userInfo": {"nickName": "小明", "avatarUrl": "https://p/1", "gender": 1}});
    let (status, bridged) = signed(&world, "/api/wechat/auth", body).await;
    assert_eq!(status, 200, "{bridged}");
    assert_eq!(bridged["token"], bridged["access_token"]);
    let (_, me) = world.get_as(&Login::of(&bridged), "/me").await;
    assert_eq!((&me["name"], &me["picture_url"]), (&json!("小明"), &json!("https://p/1")));
    assert_eq!(world.login("oA").await.id, me["id"].as_str().unwrap());

    let (_, again) = signed(&world, "/api/wechat/auth", json!({"wechatId": "oA"})).await;
    assert_eq!(
        world.get_as(&Login::of(&again), "/me").await.1["name"],
        json!("小明"),
        "nothing told, nothing lost"
    );
    let (status, refused) = signed(&world, "/api/wechat/auth", json!({"wechatId": "no openid"})).await;
    assert_eq!((status, code(&refused)), (400, "invalid_request"));
}

async fn a_signed_request_counts_once(engine: Engine) {
    let world = World::on(engine).await;
    let request = Signed::new("/api/wechat/auth", &json!({"wechatId": "oA"}));
    let signature = request.signature(PARTNER.1);
    assert_eq!(request.send(&world, &signature).await.0, 200);
    let (status, replayed) = request.send(&world, &signature).await;
    assert_eq!((status, code(&replayed)), (401, "signature_used"));
    let other_body = Signed { body: json!({"wechatId": "oB"}).to_string(), ..request };
    let (status, changed) = other_body.send(&world, &other_body.signature(PARTNER.1)).await;
    assert_eq!((status, code(&changed)), (401, "signature_used"), "the nonce is used, whatever the body");
}

#[tokio::test]
async fn a_request_that_is_not_signed_rightly_and_now_is_refused() {
    let world = World::on(Engine::Sqlite).await;
    let request = || Signed::new("/api/wechat/auth", &json!({"wechatId": "oA"}));
    let (status, refused) = request().send(&world, &request().signature("another secret")).await;
    assert_eq!((status, code(&refused)), (401, "unauthorized"));
    let (status, refused) = request().send(&world, "").await;
    assert_eq!((status, code(&refused)), (401, "unauthorized"));

    let good = request();
    let changed = Signed { body: json!({"wechatId": "oB"}).to_string(), ..request() };
    let (status, _) = changed.send(&world, &good.signature(PARTNER.1)).await;
    assert_eq!(status, 401, "another body than the signed one");

    for offset in [-301, 301] {
        let stale = Signed { time: seconds_from_now(offset), ..request() };
        let (status, refused) = stale.send(&world, &stale.signature(PARTNER.1)).await;
        assert_eq!((status, code(&refused)), (401, "signature_stale"), "{offset}");
    }
}

async fn a_payment_is_noted_once_and_never_contradicted(engine: Engine) {
    let world = World::on(engine).await;
    let note = async |session: &str, payment: &str| {
        let body = json!({"sessionId": session, "paymentId": payment});
        signed(&world, "/api/sessions/payment-complete", body).await
    };
    assert_eq!(note("s1", "p1").await, (200, json!({"sessionId": "s1", "paymentId": "p1", "isNew": true})));
    assert_eq!(note("s1", "p1").await, (200, json!({"sessionId": "s1", "paymentId": "p1", "isNew": false})));
    for (session, payment) in [("s1", "p2"), ("s2", "p1")] {
        let (status, refused) = note(session, payment).await;
        assert_eq!((status, code(&refused)), (409, "payment_contradicted"), "{session} {payment}");
    }
    assert_eq!(note("s2", "p2").await.0, 200);
}
