//! Keys, tenants, and URLs that nobody may name.

use comfyui_sim::Config as SimConfig;
use gateway::link::message::Secret;
use gateway::outbox::SigningKey;
use gateway::outbox::signature::VerifyError;
use gateway::store::Scope;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::receiver::{Receiver, Temper};
use crate::world::{World, picture, problem_code, until};
use crate::{SECRET, all_ended, drained, settings, submit, world};

pub fn key(id: &str, secret: &str) -> SigningKey {
    SigningKey { id: id.into(), secret: Secret(secret.into()) }
}

#[tokio::test]
async fn while_a_key_is_replaced_events_are_signed_with_both() {
    let other = "another secret of more than thirty-two characters";
    let toml =
        settings("").replace("keys = [", &format!("keys = [{{ id = \"k2\", secret = \"{other}\" }}, "));
    let world = World::with(vec![SimConfig::default()], &toml).await;
    world.usable().await;
    let receiver = Receiver::start().await;
    let job = submit(&world, 1, &receiver.url("/"), &[]).await;
    all_ended(&receiver, &[job]).await;
    let heard = receiver.heard().remove(0);
    assert_eq!(heard.verify(&[key("k1", SECRET)]), Ok("k1"));
    assert_eq!(heard.verify(&[key("k2", other)]), Ok("k2"));
    assert_eq!(heard.verify(&[key("k1", other)]), Err(VerifyError::Mismatch));
    assert_eq!(heard.verify(&[key("k3", SECRET)]), Err(VerifyError::UnknownKey));
}

#[tokio::test]
async fn a_tenant_has_a_receiver_for_all_its_jobs() {
    let receiver = Receiver::start().await;
    let own = format!("[tenants.webhook]\nurl = \"{}\"\nevents = [\"job.succeeded\"]", receiver.url("/own"));
    let world =
        World::with(vec![SimConfig::default()], &settings("").replace("[tenants.webhook]", &own)).await;
    world.usable().await;
    let other = Receiver::start().await;
    let named = submit(&world, 1, &other.url("/"), &[]).await;
    let by_v2 = world.submit(picture(2)).await["id"].as_str().unwrap().to_owned();
    all_ended(&receiver, &[by_v2]).await;
    all_ended(&other, &[named]).await;
    drained(&world).await;
    assert_eq!((receiver.heard().len(), other.heard().len()), (1, 1), "a job's own goes before the tenant's");
}

#[tokio::test]
async fn urls_that_nobody_may_name_are_refused_at_the_door() {
    let toml = settings("").replace("allow = [\"127.0.0.0/8\"]", "allow = []");
    let world = World::with(vec![], &toml).await;
    for url in [
        "http://127.0.0.1:9/",
        "http://2130706433/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://metadata.google.internal/",
        "http://a.example/",
        "https://user:pass@a.example/",
        "file:///etc/passwd",
        "nonsense",
    ] {
        let body = json!({"workflow": picture(1), "webhook": {"url": url}});
        let response = world.post("/v1/jobs", &body).await;
        assert_eq!(
            problem_code(response, StatusCode::UNPROCESSABLE_ENTITY).await,
            "webhook_refused",
            "{url}"
        );
    }
    assert_eq!(world.get_json("/v1/jobs").await["jobs"], json!([]));
    let keyless = World::with(vec![], "").await;
    let body = json!({"workflow": picture(1), "webhook": {"url": "https://a.example/"}});
    let response = keyless.post("/v1/jobs", &body).await;
    assert_eq!(problem_code(response, StatusCode::UNPROCESSABLE_ENTITY).await, "webhook_refused");
}

#[tokio::test]
async fn a_tenant_sees_and_replays_its_own_dead_letters_only() {
    let world = world("").await;
    let receiver = Receiver::with(Temper::Status(410)).await;
    let (ours, theirs) =
        (world.key("default", Scope::Submit).await, world.key("theirs", Scope::Submit).await);
    let admin = world.key("theirs", Scope::Admin).await;
    let ask = async |key: &str, method: Method, path: &str, body: Option<Value>| {
        let request = world.request(method, path).bearer_auth(key);
        let response = body.iter().fold(request, |request, body| request.json(body)).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let get = async |key: &str, path: &str| ask(key, Method::GET, path, None).await;
    let job = json!({"workflow": picture(1), "webhook": {"url": receiver.url("/")}});
    assert_eq!(ask(&ours, Method::POST, "/v1/jobs", Some(job.clone())).await.0, 201);
    assert_eq!(
        ask(&theirs, Method::POST, "/v1/jobs", Some(job)).await.0,
        422,
        "that tenant has no key to sign with"
    );
    let dead = until("the event is a dead letter", || async {
        let (_, page) = get(&ours, "/v1/webhooks/dead").await;
        page["dead"].as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!(get(&theirs, "/v1/webhooks/dead").await.1["dead"], json!([]));
    assert_eq!(get(&theirs, "/v1/webhooks").await.1["receivers"], json!([]));
    for path in ["/v1/webhooks/dead?tenant=default", "/v1/webhooks?tenant=*"] {
        assert_eq!(get(&theirs, path).await.0, 403, "{path}");
    }
    let ids = json!({"ids": [dead["id"]]});
    assert_eq!(
        ask(&theirs, Method::POST, "/v1/webhooks/dead/replay", Some(ids.clone())).await,
        (200, json!({"replayed": 0}))
    );
    assert_eq!(get(&admin, "/v1/webhooks/dead?tenant=default").await.1["dead"][0], dead);
    assert_eq!(get(&admin, "/v1/webhooks?tenant=*").await.1["receivers"][0]["dead"], 1);
    assert_eq!(get(&admin, "/v1/webhooks?tenant=nobody").await.0, 404);
    assert_eq!(
        ask(&ours, Method::POST, "/v1/webhooks/dead/replay", Some(ids)).await,
        (200, json!({"replayed": 1}))
    );
}
