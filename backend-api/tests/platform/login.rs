//! Login, phone, checks, messages and pushed events.

use std::time::Duration;

use backend_api::wechat::events::{self, Event, Push, PushQuery};
use backend_api::wechat::platform::{
    Audience, CheckError, LoginError, Message, MessageError, PhoneError, Scene, Suggestion,
};
use secrecy::{ExposeSecret as _, SecretString};
use wechat_sim::{Config, Fault, Format, Guard, Trouble, Verdict};

use crate::world::{World, openid};

#[tokio::test]
async fn a_person_logs_in_and_tells_a_phone_number() {
    let world = World::with(Config { has_unionid: true, ..Config::default() }).await;
    let person = world.sim.person();
    let code = person.login_code();
    let session = world.platform.code2session(&code).await.unwrap();
    assert_eq!((session.openid, session.unionid.is_some()), (openid(&person), true));
    assert!(matches!(world.platform.code2session(&code).await, Err(LoginError::CodeRefused)));
    let key = SecretString::from(person.session_key().unwrap());
    assert_eq!(session.session_key.expose_secret(), key.expose_secret());
    assert!(world.platform.check_session(&openid(&person), &key).await.unwrap());
    world.platform.code2session(&person.login_code()).await.unwrap();
    assert!(!world.platform.check_session(&openid(&person), &key).await.unwrap());

    let phone = world.platform.phone_number(&person.phone_code()).await.unwrap();
    assert_eq!(phone.number.expose_secret(), person.phone());
    let wrong = world.platform.phone_number(&person.login_code()).await;
    assert!(matches!(wrong, Err(PhoneError::CodeRefused)), "{wrong:?}");
    person.is_blocked(true);
    assert!(matches!(world.platform.code2session(&person.login_code()).await, Err(LoginError::Blocked)));
}

#[tokio::test]
async fn a_busy_platform_is_asked_once_more_and_an_old_token_replaced() {
    let world = World::new().await;
    let person = world.sim.person();
    let trouble = Trouble::Wx { errcode: -1 };
    world.sim.fault(Fault { matching: "jscode2session".to_owned(), times: 1, trouble });
    world.platform.code2session(&person.login_code()).await.unwrap();
    let check = async || world.platform.check_text(&openid(&person), "a", Scene::Social).await;
    check().await.unwrap();
    world.sim.expire_tokens();
    check().await.unwrap();
    world.sim.forget_tokens();
    check().await.unwrap();
    let tokens = world.sim.requests().iter().filter(|seen| seen.line.ends_with("stable_token")).count();
    assert_eq!(tokens, 3);
}

#[tokio::test]
async fn texts_are_judged_and_absent_people_named() {
    let world = World::new().await;
    let person = world.sim.person();
    let check = async |text: &str| world.platform.check_text(&openid(&person), text, Scene::Social).await;
    assert_eq!(check("海边的灯塔").await.unwrap().suggestion, Suggestion::Pass);
    assert_eq!(check("可疑").await.unwrap().suggestion, Suggestion::Review);
    assert_eq!(check("违禁").await.unwrap().suggestion, Suggestion::Risky);
    world.sim.advance(Duration::from_secs(7201));
    assert!(matches!(check("a").await, Err(CheckError::UserInactive)));
}

/// Has a picture checked; the event as we read it and the name of the check.
async fn checked(world: &World, format: Format, guard: Guard) -> (events::Received, String) {
    let url = "https://callbacks.example.com/events".to_owned();
    world.sim.push_to(wechat_sim::Push { url, format, guard: guard.clone() });
    let person = world.sim.person();
    let picture = "https://pictures.example.com/a.png";
    let trace = world.platform.check_image(&openid(&person), picture, Scene::Social).await.unwrap();
    let (query, _, body) = world.heard().await.pop().unwrap();
    let query: PushQuery = serde_json::from_value(serde_json::json!(query)).unwrap();
    let received = match guard {
        Guard::Container => events::parse(&body).unwrap(),
        Guard::Plain { token } => push(world, token, None).open(&query, &body).unwrap(),
        Guard::Aes { token, encoding_aes_key } => {
            push(world, token, Some(encoding_aes_key)).open(&query, &body).unwrap()
        }
    };
    (received, trace.0)
}

fn push(world: &World, token: String, key: Option<String>) -> Push {
    Push::new(world.platform.app_id(), token.into(), key.map(SecretString::from).as_ref()).unwrap()
}

#[tokio::test]
async fn the_verdict_on_a_picture_is_read_however_it_is_written_and_sealed() {
    let world = World::new().await;
    world.sim.judge_pictures("", Verdict::RISKY);
    let token = "token".to_owned();
    let encoding_aes_key = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ".to_owned();
    for format in [Format::Json, Format::Xml] {
        let sealed = Guard::Aes { token: token.clone(), encoding_aes_key: encoding_aes_key.clone() };
        for guard in [Guard::Container, Guard::Plain { token: token.clone() }, sealed] {
            let (received, trace) = checked(&world, format, guard.clone()).await;
            let Event::ContentChecked(checked) = received.event else { panic!("{received:?}") };
            assert_eq!(checked.verdict.suggestion, Suggestion::Risky, "{format:?} {guard:?}");
            assert_eq!((checked.verdict.trace_id.0, checked.failure), (trace, None));
        }
    }
}

#[tokio::test]
async fn one_consent_lets_one_message_through() {
    let world = World::new().await;
    let person = world.sim.person();
    let to = openid(&person);
    let fields = [
        ("thing1", "海边的灯塔".to_owned()),
        ("phrase2", "已完成".to_owned()),
        ("time3", "2026-11-22 20:01".to_owned()),
    ];
    let message = Message {
        to: &to,
        template: "tmpl-picture-ready",
        page: Some("pages/artwork?id=1"),
        fields: &fields,
        audience: Audience::Formal,
    };
    let send = async || world.platform.subscribe_message(&message).await;
    assert!(matches!(send().await, Err(MessageError::NotConsented)));
    person.consents("tmpl-picture-ready");
    send().await.unwrap();
    assert!(matches!(send().await, Err(MessageError::NotConsented)));
    assert_eq!(world.sim.messages().len(), 1);
    let wrong = Message { template: "none", ..message.clone() };
    let wrong = world.platform.subscribe_message(&wrong).await;
    assert!(matches!(wrong, Err(MessageError::Misconfigured(_))), "{wrong:?}");
}
