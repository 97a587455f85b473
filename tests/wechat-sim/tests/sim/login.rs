//! Codes, session keys, phone numbers, tokens.

use std::time::Duration;

use serde_json::json;
use wechat_sim::Config;

use crate::support::{World, hmac_hex};

#[tokio::test]
async fn a_code_works_once_and_for_five_minutes() {
    let world = World::new().await;
    let person = world.sim.person();
    let code = person.login_code();
    let session = world.session(&code).await;
    assert_eq!(session["openid"], person.openid());
    assert!(session["errcode"].is_null() && session["unionid"].is_null(), "{session}");
    assert_eq!(world.session(&code).await["errcode"], 40163);
    assert_eq!(world.session("0unknown").await["errcode"], 40029);
    assert_eq!(world.session(&person.phone_code()).await["errcode"], 40029);
    let late = person.login_code();
    world.sim.advance(Duration::from_secs(301));
    assert_eq!(world.session(&late).await["errcode"], 40029);
}

#[tokio::test]
async fn a_login_that_names_another_program_or_says_too_little_is_refused() {
    let world = World::new().await;
    let code = world.sim.person().login_code();
    let config = world.sim.config();
    for (appid, secret, code, expected) in [
        ("", config.secret.as_str(), code.as_str(), 41002),
        ("wx0", &config.secret, &code, 40013),
        (&config.appid, "", &code, 41004),
        (&config.appid, "another", &code, 40125),
        (&config.appid, &config.secret, "", 41008),
    ] {
        let query =
            [("appid", appid), ("secret", secret), ("js_code", code), ("grant_type", "authorization_code")];
        assert_eq!(world.get("/sns/jscode2session", &query).await["errcode"], expected);
    }
    assert!(world.session(&code).await["openid"].is_string(), "a refused login used the code up");
}

#[tokio::test]
async fn who_is_blocked_or_too_eager_does_not_get_in() {
    let world = World::new().await;
    let (blocked, eager) = (world.sim.person(), world.sim.person());
    blocked.is_blocked(true);
    assert_eq!(world.session(&blocked.login_code()).await["errcode"], 40226);
    for _ in 0..100 {
        assert!(world.session(&eager.login_code()).await["errcode"].is_null());
    }
    assert_eq!(world.session(&eager.login_code()).await["errcode"], 45011);
    world.sim.advance(Duration::from_secs(61));
    assert!(world.session(&eager.login_code()).await["errcode"].is_null());
}

#[tokio::test]
async fn a_second_login_ends_the_session_key_of_the_first() {
    let world = World::with(Config { has_unionid: true, ..Config::default() }).await;
    let (person, first) = world.person().await;
    let token = world.token().await;
    let check = async |key: &str, method: &str| {
        let signature = hmac_hex(key, "");
        let query = [
            ("access_token", token.as_str()),
            ("openid", person.openid()),
            ("signature", &signature),
            ("sig_method", method),
        ];
        world.get("/wxa/checksession", &query).await["errcode"].as_i64().unwrap()
    };
    assert_eq!(check(&first, "hmac_sha256").await, 0);
    assert_eq!(check(&first, "hmac_sha1").await, 87008);
    let session = world.session(&person.login_code()).await;
    assert!(session["unionid"].is_string());
    assert_eq!(check(&first, "hmac_sha256").await, 87009);
    let second = session["session_key"].as_str().unwrap();
    let signature = hmac_hex(second, "");
    let query = [
        ("access_token", token.as_str()),
        ("openid", person.openid()),
        ("signature", &signature),
        ("sig_method", "hmac_sha256"),
    ];
    let third = world.get("/wxa/resetusersessionkey", &query).await;
    assert_eq!(check(second, "hmac_sha256").await, 87009);
    assert_eq!(check(third["session_key"].as_str().unwrap(), "hmac_sha256").await, 0);
}

#[tokio::test]
async fn a_phone_number_costs_a_code_of_its_own() {
    let world = World::new().await;
    let person = world.sim.person();
    let ask =
        async |code: String| world.post("/wxa/business/getuserphonenumber", &json!({"code": code})).await;
    let code = person.phone_code();
    let answer = ask(code.clone()).await;
    assert_eq!(answer["phone_info"]["purePhoneNumber"], person.phone());
    assert_eq!(answer["phone_info"]["watermark"]["appid"], world.sim.config().appid);
    assert_eq!(ask(code).await["errcode"], 40029);
    assert_eq!(ask(person.login_code()).await["errcode"], 40029);
}

#[tokio::test]
async fn a_stable_token_stays_until_shortly_before_its_end() {
    let world = World::new().await;
    let first = world.token().await;
    world.sim.advance(Duration::from_secs(6000));
    assert_eq!(world.token().await, first);
    world.sim.advance(Duration::from_secs(1000));
    let second = world.token().await;
    assert_ne!(second, first);
    let works = async |token: &str| {
        world.post_with("/wxa/msg_sec_check", &[("access_token", token)], &json!({})).await["errcode"]
            == 47001
    };
    assert!(works(&first).await && works(&second).await, "for five minutes both hold");
    world.sim.advance(Duration::from_secs(201));
    assert!(!works(&first).await && works(&second).await);
}

#[tokio::test]
async fn a_forced_token_ends_the_one_before_and_is_rationed() {
    let world = World::new().await;
    let config = world.sim.config();
    let forced = json!({
        "grant_type": "client_credential", "appid": config.appid, "secret": config.secret, "force_refresh": true,
    });
    let first = world.token().await;
    let second = world.post_with("/cgi-bin/stable_token", &[], &forced).await;
    assert_ne!(second["access_token"], first);
    let used = world.post_with("/wxa/msg_sec_check", &[("access_token", &first)], &json!({})).await;
    assert_eq!(used["errcode"], 42001);
    assert_eq!(world.post_with("/cgi-bin/stable_token", &[], &forced).await["errcode"], 45009);
    let plain = [
        ("grant_type", "client_credential"),
        ("appid", config.appid.as_str()),
        ("secret", config.secret.as_str()),
    ];
    let plain = world.get("/cgi-bin/token", &plain).await;
    assert_ne!(plain["access_token"], second["access_token"], "the kinds are apart");
    assert_eq!(world.token().await, second["access_token"].as_str().unwrap());
}

#[tokio::test]
async fn without_a_good_token_nothing_is_done() {
    let world = World::new().await;
    let body = json!({"code": world.sim.person().phone_code()});
    let path = "/wxa/business/getuserphonenumber";
    assert_eq!(world.post_with(path, &[], &body).await["errcode"], 41001);
    assert_eq!(world.post_with(path, &[("access_token", "x")], &body).await["errcode"], 40001);
    let token = world.token().await;
    world.sim.expire_tokens();
    assert_eq!(world.post_with(path, &[("access_token", &token)], &body).await["errcode"], 42001);
    world.sim.forget_tokens();
    assert_eq!(world.post_with(path, &[("access_token", &token)], &body).await["errcode"], 40001);
    assert_eq!(world.post(path, &body).await["errcode"], 0, "the code is still good");
}
