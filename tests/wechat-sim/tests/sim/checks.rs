//! Checks of texts and pictures, and subscribe messages.

use std::time::Duration;

use serde_json::{Value, json};
use wechat_sim::{Config, Format, Guard, Push, Verdict};

use crate::support::{Receiver, SOON, World};

#[tokio::test]
async fn a_text_is_judged_by_its_words() {
    let world = World::new().await;
    let person = world.sim.person();
    let check = async |content: &str| {
        let body = json!({"content": content, "version": 2, "scene": 1, "openid": person.openid()});
        world.post("/wxa/msg_sec_check", &body).await["result"].clone()
    };
    assert_eq!(check("海边的灯塔").await, json!({"suggest": "pass", "label": 100}));
    assert_eq!(check("一点可疑的东西").await["suggest"], "review");
    assert_eq!(check("违禁的东西").await, json!({"suggest": "risky", "label": 20002}));
}

#[tokio::test]
async fn a_check_that_says_too_little_or_names_a_stranger_is_refused() {
    let world = World::new().await;
    let person = world.sim.person();
    let good = json!({"content": "a", "version": 2, "scene": 1, "openid": person.openid()});
    for (name, value, expected) in [
        ("content", json!(""), 47001),
        ("content", json!("字".repeat(2501)), 47001),
        ("version", json!(1), 47001),
        ("scene", json!(5), 40129),
        ("openid", json!("nobody"), 40003),
        ("openid", json!(format!("o{}", "x".repeat(27))), 43104),
    ] {
        let mut body = good.clone();
        body[name] = value;
        assert_eq!(world.post("/wxa/msg_sec_check", &body).await["errcode"], expected, "{name}");
    }
    let token = world.token().await;
    let url = format!("{}/wxa/msg_sec_check?access_token={token}", world.sim.url());
    let told = async |request: reqwest::RequestBuilder| -> Value {
        request.send().await.unwrap().json().await.unwrap()
    };
    assert_eq!(told(world.http.get(&url)).await["errcode"], 43002);
    assert_eq!(told(world.http.post(&url)).await["errcode"], 44002);
    assert_eq!(told(world.http.post(&url).body("{")).await["errcode"], 47001);
}

#[tokio::test]
async fn nothing_of_a_person_is_checked_who_was_away_for_two_hours() {
    let world = World::new().await;
    let person = world.sim.person();
    let text = json!({"content": "a", "version": 2, "scene": 1, "openid": person.openid()});
    let picture = json!({
        "media_url": "https://x/y.png", "media_type": 2, "version": 2, "scene": 1, "openid": person.openid(),
    });
    world.sim.advance(Duration::from_secs(7201));
    assert_eq!(world.post("/wxa/msg_sec_check", &text).await["errcode"], 61010);
    assert_eq!(world.post("/wxa/media_check_async", &picture).await["errcode"], 61010);
    person.visits();
    assert_eq!(world.post("/wxa/msg_sec_check", &text).await["errcode"], 0);
    assert_eq!(world.post("/wxa/media_check_async", &picture).await["errcode"], 0);
}

async fn with_receiver(config: Config, format: Format) -> (World, Receiver) {
    let (world, receiver) = (World::with(config).await, Receiver::start().await);
    let url = format!("{}/events", receiver.url);
    world.sim.push_to(Push { url, format, guard: Guard::Container });
    (world, receiver)
}

#[tokio::test]
async fn the_verdict_on_a_picture_is_pushed() {
    let (world, receiver) = with_receiver(Config::default(), Format::Json).await;
    let person = world.sim.person();
    world.sim.judge_pictures("bad", Verdict::RISKY);
    let check = async |url: &str| {
        let body =
            json!({"media_url": url, "media_type": 2, "version": 2, "scene": 1, "openid": person.openid()});
        let answer = world.post("/wxa/media_check_async", &body).await;
        world.sim.quiet(SOON).await.unwrap();
        let event = receiver.heard().pop().unwrap().json();
        assert_eq!((&event["Event"], &event["trace_id"]), (&json!("wxa_media_check"), &answer["trace_id"]));
        event
    };
    assert_eq!(check("https://pictures.example.com/good.png").await["result"]["suggest"], "pass");
    assert_eq!(check("https://pictures.example.com/bad.png").await["result"]["suggest"], "risky");
    for url in ["cloud://env.bucket/x.png", ""] {
        let body =
            json!({"media_url": url, "media_type": 2, "version": 2, "scene": 1, "openid": person.openid()});
        assert_eq!(world.post("/wxa/media_check_async", &body).await["errcode"], 47001);
    }
}

#[tokio::test]
async fn a_request_without_a_version_gets_the_old_shape() {
    let (world, receiver) = with_receiver(Config::default(), Format::Json).await;
    world.sim.judge_pictures("", Verdict::RISKY);
    world.post("/wxa/media_check_async", &json!({"media_url": "https://x/y", "media_type": 2})).await;
    world.sim.quiet(SOON).await.unwrap();
    let event = receiver.heard()[0].json();
    assert_eq!((&event["isrisky"], &event["result"]), (&json!(1), &Value::Null));
}

#[tokio::test]
async fn a_picture_that_cannot_be_fetched_gets_no_verdict() {
    let config = Config { fetches_media: true, ..Config::default() };
    let (world, receiver) = with_receiver(config, Format::Json).await;
    let pictures = Receiver::start().await;
    pictures.usually("bytes of a picture");
    pictures.answers(&[(404, "")]);
    world.sim.route("https://pictures.example.com", &pictures.url);
    let person = world.sim.person();
    for expected in [-1008, 0] {
        let body = json!({
            "media_url": "https://pictures.example.com/a.png", "media_type": 2, "version": 2, "scene": 1,
            "openid": person.openid(),
        });
        world.post("/wxa/media_check_async", &body).await;
        world.sim.quiet(SOON).await.unwrap();
        let event = receiver.heard().pop().unwrap().json();
        assert_eq!(event["errcode"], expected);
        assert_eq!(event["result"].is_null(), expected != 0);
    }
}

#[tokio::test]
async fn one_consent_is_one_message() {
    let world = World::new().await;
    let person = world.sim.person();
    let template = "tmpl-picture-ready";
    let body = json!({
        "touser": person.openid(), "template_id": template, "page": "pages/artwork?id=1",
        "data": {
            "thing1": {"value": "海边的灯塔"}, "phrase2": {"value": "已完成"}, "time3": {"value": "2026-11-22 20:01"},
        },
        "miniprogram_state": "formal", "lang": "zh_CN",
    });
    let send = async |body: &Value| {
        world.post("/cgi-bin/message/subscribe/send", body).await["errcode"].as_i64().unwrap()
    };
    assert_eq!(send(&body).await, 43101);
    person.consents(template);
    for (pointer, value, expected) in [
        ("/touser", json!("nobody"), 40003),
        ("/template_id", json!("none"), 40037),
        ("/page", json!("https://x"), 41030),
        ("/data/thing1/value", json!("字".repeat(21)), 47003),
        ("/data/phrase2/value", json!("六个字的词语"), 47003),
        ("/data/time3", json!({}), 47003),
        ("/lang", json!("de"), 47001),
    ] {
        let mut wrong = body.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        assert_eq!(send(&wrong).await, expected, "{pointer}");
    }
    assert_eq!((send(&body).await, send(&body).await), (0, 43101));
    let messages = world.sim.messages();
    assert_eq!(messages.len(), 1);
    assert_eq!(
        (messages[0].openid.as_str(), messages[0].page.as_str()),
        (person.openid(), "pages/artwork?id=1")
    );
}
