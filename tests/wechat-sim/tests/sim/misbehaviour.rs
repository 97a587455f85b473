//! What goes wrong on command, and only then.

use std::time::Duration;

use serde_json::json;
use wechat_sim::{Fault, Seal, TradeState, Trouble};

use crate::support::{World, is_sealed};

const PREPAY: &str = "/v3/pay/transactions/jsapi";

fn once(world: &World, matching: &str, trouble: Trouble) {
    world.sim.fault(Fault { matching: matching.to_owned(), times: 1, trouble });
}

#[tokio::test]
async fn a_connection_breaks_before_or_after_the_deed() {
    let world = World::new().await;
    let person = world.sim.person();
    let code = person.login_code();
    let ask = async || {
        let config = world.sim.config();
        let query = [
            ("appid", config.appid.as_str()),
            ("secret", &config.secret),
            ("js_code", &code),
            ("grant_type", "authorization_code"),
        ];
        let response =
            world.http.get(format!("{}/sns/jscode2session", world.sim.url())).query(&query).send().await?;
        response.error_for_status()?.json::<serde_json::Value>().await
    };
    once(&world, "GET /sns", Trouble::DropBefore);
    ask().await.unwrap_err();
    once(&world, "GET /sns", Trouble::DropAfter);
    ask().await.unwrap_err();
    assert_eq!(ask().await.unwrap()["errcode"], 40163, "the second try used the code up, the first did not");
}

#[tokio::test]
async fn answers_can_be_slow_empty_nonsense_or_endless() {
    let world = World::new().await;
    let url = format!("{}/cgi-bin/token", world.sim.url());
    once(&world, "/cgi-bin/token", Trouble::Status { status: 502 });
    assert_eq!(world.http.get(&url).send().await.unwrap().status(), 502);
    once(&world, "/cgi-bin/token", Trouble::Garbage);
    let garbage = world.http.get(&url).send().await.unwrap();
    assert!(garbage.json::<serde_json::Value>().await.is_err());
    once(&world, "/cgi-bin/token", Trouble::Endless);
    let mut endless = world.http.get(&url).send().await.unwrap();
    let mut length = 0;
    while length < 10 << 20 {
        length += endless.chunk().await.unwrap().unwrap().len();
    }
    once(&world, "/cgi-bin/token", Trouble::Slow { ms: 600_000 });
    let impatient = world.http.get(&url).timeout(Duration::from_millis(200)).send().await;
    assert!(impatient.unwrap_err().is_timeout());
}

#[tokio::test]
async fn any_documented_error_can_be_had() {
    let world = World::new().await;
    let person = world.sim.person();
    once(&world, "msg_sec_check", Trouble::Wx { errcode: 45009 });
    let body = json!({"content": "a", "version": 2, "scene": 1, "openid": person.openid()});
    assert_eq!(world.post("/wxa/msg_sec_check", &body).await["errcode"], 45009);
    assert_eq!(world.post("/wxa/msg_sec_check", &body).await["errcode"], 0);
    let code = "FREQUENCY_LIMITED".to_owned();
    once(&world, "jsapi", Trouble::Pay { status: 429, code: code.clone() });
    let order = world.order(&person, "order-0001");
    assert_eq!(world.v3("POST", PREPAY, Some(&order)).await.refusal(), (429, code));
    assert_eq!(world.sim.order("order-0001"), None);
    once(&world, "jsapi", Trouble::Status { status: 500 });
    world.sim.clear_faults();
    assert_eq!(world.v3("POST", PREPAY, Some(&order)).await.status, 200);
}

#[tokio::test]
async fn an_answer_of_wechat_pay_can_be_sealed_wrongly_though_the_deed_is_done() {
    let world = World::new().await;
    let person = world.sim.person();
    let merchant = world.sim.merchant();
    let public_key = merchant.public_key_pem.unwrap();
    for (index, seal) in Seal::BAD.into_iter().enumerate() {
        let number = format!("order-seal-{index}");
        once(&world, "jsapi", Trouble::Seal { seal });
        let answer = world.v3_unchecked("POST", PREPAY, Some(&world.order(&person, &number))).await;
        let is_ours = answer
            .headers
            .get("wechatpay-serial")
            .is_some_and(|serial| serial.to_str().ok() == merchant.public_key_id.as_deref());
        assert!(!is_ours || !is_sealed(&public_key, &answer.headers, &answer.body), "{seal:?}");
        assert_eq!((answer.status, world.sim.order(&number)), (200, Some(TradeState::NotPay)), "{seal:?}");
    }
}

#[tokio::test]
async fn everything_that_came_is_written_down() {
    let world = World::new().await;
    world.session("0unknown").await;
    world.v3("POST", PREPAY, Some(&json!({}))).await;
    let told: Vec<_> = world.sim.requests().into_iter().map(|one| (one.line, one.status, one.code)).collect();
    let expected =
        [("GET /sns/jscode2session", 200, "40029"), ("POST /v3/pay/transactions/jsapi", 400, "PARAM_ERROR")];
    assert_eq!(told, expected.map(|(line, status, code)| (line.to_owned(), status, code.to_owned())));
}
