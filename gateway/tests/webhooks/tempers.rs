//! Receivers that fail, each in its own way.

use serde_json::{Value, json};

use crate::receiver::{Receiver, Temper};
use crate::world::{World, until};
use crate::{ALL, all_ended, check_order, drained, submit, world};

async fn receiver_of(world: &World, url: &str) -> Option<Value> {
    let shown = world.get_json("/v1/webhooks").await;
    shown["receivers"].as_array().unwrap().iter().find(|receiver| receiver["url"] == url).cloned()
}

/// What became of a job's events at a receiver of this temper, and that the next one was served meanwhile.
async fn recovers_from(temper: Temper) {
    let world = world("").await;
    let (bad, good) = (Receiver::with(temper).await, Receiver::start().await);
    let sick =
        vec![submit(&world, 1, &bad.url("/a"), ALL).await, submit(&world, 2, &bad.url("/a"), ALL).await];
    let fine = vec![submit(&world, 3, &good.url("/b"), ALL).await];
    all_ended(&good, &fine).await;
    check_order(&good.heard(), &fine);
    until("it was tried again", || async { (bad.heard().len() >= 3).then_some(()) }).await;
    assert!(bad.accepted().is_empty());
    let lag = receiver_of(&world, &bad.url("/a")).await.unwrap();
    assert!(lag["pending"].as_u64().unwrap() >= 4 && lag["reason"].is_string(), "{lag}");
    bad.become_of(Temper::Good);
    all_ended(&bad, &sick).await;
    check_order(&bad.accepted(), &sick);
    check_order(&bad.heard(), &sick);
    drained(&world).await;
}

#[tokio::test]
async fn a_receiver_that_answers_500_gets_everything_later_and_holds_up_nobody() {
    recovers_from(Temper::Status(500)).await;
}

#[tokio::test]
async fn a_receiver_that_never_answers_gets_everything_later_and_holds_up_nobody() {
    recovers_from(Temper::Never).await;
}

#[tokio::test]
async fn a_receiver_that_redirects_is_not_followed_and_gets_everything_later() {
    recovers_from(Temper::Status(302)).await;
}

#[tokio::test]
async fn every_event_that_fails_once_comes_again_before_the_next_of_its_job() {
    let (world, receiver) = (world("").await, Receiver::with(Temper::FirstFails(500)).await);
    let mut jobs = Vec::new();
    for color in 0..5 {
        jobs.push(submit(&world, color, &receiver.url("/"), ALL).await);
    }
    all_ended(&receiver, &jobs).await;
    check_order(&receiver.heard(), &jobs);
    assert_eq!(receiver.heard().len(), 30);
}

#[tokio::test]
async fn success_is_the_head_of_an_answer_whatever_its_body_does() {
    let (world, receiver) = (world("").await, Receiver::with(Temper::Endless).await);
    let job = submit(&world, 1, &receiver.url("/"), &[]).await;
    all_ended(&receiver, &[job]).await;
    drained(&world).await;
    assert_eq!(receiver.heard().len(), 1);
}

#[tokio::test]
async fn a_busy_receiver_is_left_alone_as_long_as_it_asks() {
    let (world, receiver) = (world("").await, Receiver::with(Temper::Busy(3600)).await);
    let url = receiver.url("/");
    let job = submit(&world, 1, &url, &[]).await;
    world.reaches(&format!("/v1/jobs/{job}"), "succeeded").await;
    let lag = until("the try is noted", || async {
        receiver_of(&world, &url).await.filter(|lag| lag["reason"] == "answered 503")
    })
    .await;
    let time = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let pause = time(&lag["next_at"]).as_second() - time(&lag["oldest_at"]).as_second();
    assert!((3590..=3700).contains(&pause), "{lag}");
    assert_eq!(receiver.heard().len(), 1);
}

#[tokio::test]
async fn an_event_that_is_gone_is_a_dead_letter_and_the_next_one_leaves() {
    let (world, receiver) = (world("").await, Receiver::with(Temper::Status(410)).await);
    let job = submit(&world, 1, &receiver.url("/hook?token=secret"), ALL).await;
    world.reaches(&format!("/v1/jobs/{job}"), "succeeded").await;
    let dead = until("all three are dead letters", || async {
        let page = world.get_json("/v1/webhooks/dead").await;
        (page["dead"].as_array().unwrap().len() == 3).then_some(page)
    })
    .await;
    let text = dead.to_string();
    assert!(!text.contains("secret") && text.contains("answered 410"), "{text}");
    assert_eq!(dead["dead"][0]["url"], receiver.url("/hook"));
    assert_eq!(receiver.heard().len(), 3, "each was tried once");
    drained(&world).await;

    receiver.become_of(Temper::Good);
    let first = &dead["dead"][0]["id"];
    let replay = async |body: Value| {
        let response = world.post("/v1/webhooks/dead/replay", &body).await;
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    assert_eq!(replay(json!({"ids": [first]})).await, (200, json!({"replayed": 1})));
    assert_eq!(replay(json!({"url": receiver.url("/other")})).await, (200, json!({"replayed": 0})));
    assert_eq!(replay(json!({"url": receiver.url("/hook")})).await, (200, json!({"replayed": 2})));
    assert_eq!(replay(json!({"all": true})).await, (200, json!({"replayed": 0})));
    for bad in
        [json!({}), json!({"all": true, "url": "http://a/"}), json!({"ids": ["x"]}), json!({"al": true})]
    {
        assert_eq!(replay(bad.clone()).await.0, 400, "{bad}");
    }
    until("all were sent again", || async { (receiver.accepted().len() == 3).then_some(()) }).await;
    assert_eq!(receiver.accepted()[0].body["id"], *first, "under its old id");
    assert_eq!(world.get_json("/v1/webhooks/dead").await["dead"], json!([]));
}

#[tokio::test]
async fn an_event_is_given_up_in_the_end() {
    let world = world("give_up_seconds = 1").await;
    let receiver = Receiver::with(Temper::Status(500)).await;
    let jobs =
        [submit(&world, 1, &receiver.url("/"), &[]).await, submit(&world, 2, &receiver.url("/"), &[]).await];
    for job in &jobs {
        world.reaches(&format!("/v1/jobs/{job}"), "succeeded").await;
    }
    let dead = until("both are given up", || async {
        let page = world.get_json("/v1/webhooks/dead?limit=10").await;
        (page["dead"].as_array().unwrap().len() == 2).then_some(page)
    })
    .await;
    assert_eq!(dead["dead"][0]["reason"], "answered 500");
    assert!(receiver.heard().len() >= 2, "not at the first failure");
    let page = world.get_json("/v1/webhooks/dead?limit=1").await;
    let next = page["next_cursor"].as_str().unwrap();
    let rest = world.get_json(&format!("/v1/webhooks/dead?limit=1&cursor={next}")).await;
    assert_eq!(rest["dead"][0], dead["dead"][1]);
    until("the metrics tell", || async {
        let metrics = world.get("/metrics").await.text().await.unwrap();
        metrics.contains("gateway_webhook_dead_letters 2").then_some(())
    })
    .await;
}
