//! The controls over HTTP, for programs in other languages.

use serde_json::{Value, json};

use crate::support::{Receiver, World};

async fn control(world: &World, path: &str, body: Value) -> (u16, Value) {
    let answer = world.http.post(format!("{}/sim/{path}", world.sim.url())).json(&body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn seen(world: &World, list: &str) -> Value {
    world.http.get(format!("{}/sim/{list}", world.sim.url())).send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn a_person_is_made_logs_in_and_pays_over_http() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let openid = control(&world, "persons", json!({})).await.1["openid"].as_str().unwrap().to_owned();
    let code = control(&world, &format!("persons/{openid}/login-code"), json!({})).await.1;
    assert_eq!(world.session(code["code"].as_str().unwrap()).await["openid"], openid);
    let routes = json!({"https://pay.example.com": receiver.url});
    assert_eq!(control(&world, "routes", routes).await.0, 200);
    let fault = json!({"matching": "TRANSACTION.SUCCESS", "mishap": "copies", "count": 3});
    assert_eq!(control(&world, "courier-faults", fault).await.0, 200);

    let setup = seen(&world, "setup").await;
    assert_eq!(setup["merchant_private_key"], world.sim.merchant().private_key_pem);
    let mut order = world.order(&world.sim.person(), "order-0001");
    order["payer"]["openid"] = json!(openid);
    let prepay = world.v3("POST", "/v3/pay/transactions/jsapi", Some(&order)).await.json();
    let pays = format!("persons/{openid}/pays");
    let mut params = world.params(prepay["prepay_id"].as_str().unwrap());
    let right = std::mem::replace(&mut params["paySign"], json!("x"));
    assert_eq!(control(&world, &pays, params.clone()).await.0, 409);
    params["paySign"] = right;
    assert_eq!(control(&world, &pays, params).await.0, 200);
    assert_eq!(world.deliveries("TRANSACTION.SUCCESS").await.len(), 3);
    assert_eq!(seen(&world, "deliveries").await.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn faults_and_time_are_set_over_http() {
    let world = World::new().await;
    let fault = json!({"matching": "GET /sns", "trouble": "status", "status": 503});
    assert_eq!(control(&world, "faults", fault.clone()).await.0, 200);
    let url = format!("{}/sns/jscode2session", world.sim.url());
    assert_eq!(world.http.get(&url).send().await.unwrap().status(), 503);
    control(&world, "faults", fault).await;
    world.http.delete(format!("{}/sim/faults", world.sim.url())).send().await.unwrap();
    assert_eq!(world.http.get(&url).send().await.unwrap().status(), 200);
    let code = world.sim.person().login_code();
    control(&world, "clock", json!({"advance_seconds": 301})).await;
    assert_eq!(world.session(&code).await["errcode"], 40029);
    assert_eq!(control(&world, "faults", json!({"trouble": "sulk"})).await.0, 400);
    assert_eq!(control(&world, "nonsense", json!({})).await.0, 404);
    assert_eq!(control(&world, "persons/nobody/pays", json!({})).await.0, 404);
}
