//! Two roles of one program, and whom each believes.

use backend_api::config::Config;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::engines::{Engine, on_every_engine};
use crate::people::World;
use crate::stub_wechat::APP_ID;
use crate::support::answer;

on_every_engine!(behind_wechat_its_headers_tell_who_calls);

fn by_headers(request: RequestBuilder, openid: &str) -> RequestBuilder {
    request.header("x-wx-source", "wx_client").header("x-wx-openid", openid).header("X-WX-APPID", APP_ID)
}

async fn me(request: RequestBuilder) -> (u16, Value) {
    answer(request.send().await.unwrap()).await
}

async fn behind_wechat_its_headers_tell_who_calls(engine: Engine) {
    let world = World::app(engine).await;
    let ask = || world.ask(Method::GET, "/me");
    let (status, first) = me(by_headers(ask(), "oA")).await;
    assert_eq!(status, 200, "{first}");
    let (_, again) = me(by_headers(ask(), "oA")).await;
    let (_, other) = me(by_headers(ask(), "oB")).await;
    assert_eq!(first["id"], again["id"]);
    assert_ne!(first["id"], other["id"]);
    assert_eq!(world.login("oA").await.id, first["id"].as_str().unwrap(), "by code it is the same person");

    let leave = world.ask(Method::DELETE, "/me");
    assert_eq!(by_headers(leave, "oA").send().await.unwrap().status(), 204);
    let (_, anew) = me(by_headers(ask(), "oA")).await;
    assert_ne!(anew["id"], first["id"]);
}

#[tokio::test]
async fn headers_that_wechat_would_not_write_tell_nothing() {
    let world = World::app(Engine::Sqlite).await;
    let ask = || world.ask(Method::GET, "/me");
    let without_source = ask().header("x-wx-openid", "oA").header("x-wx-appid", APP_ID);
    assert_eq!(me(without_source).await.0, 401, "no X-WX-SOURCE: it did not come through WeChat");
    let of_others =
        ask().header("x-wx-source", "wx").header("x-wx-openid", "oA").header("x-wx-appid", "wxother");
    assert_eq!(me(of_others).await.0, 401, "people of another mini program are not ours");
    assert_eq!(me(by_headers(ask(), "with space")).await.0, 401);
    assert_eq!(me(by_headers(ask(), &"x".repeat(129))).await.0, 401);
    let login = world.login("oA").await;
    let (_, both) = me(by_headers(ask(), "oB").bearer_auth(&login.access)).await;
    assert_eq!(both["id"], json!(login.id), "a token goes before headers");
    assert_eq!(me(by_headers(ask(), "oB").bearer_auth("forged")).await.0, 401);
}

#[tokio::test]
async fn forged_headers_on_a_public_path_tell_nothing() {
    for file in ["", "role = \"callbacks\"", "role = \"app\""] {
        let world = World::with(Engine::Sqlite, file).await;
        let response = by_headers(world.ask(Method::GET, "/me"), "oA").send().await.unwrap();
        let expected = if file.contains("callbacks") { 404 } else { 401 };
        assert_eq!(response.status().as_u16(), expected, "{file}");
    }
}

#[tokio::test]
async fn each_role_serves_its_own_side() {
    let signed = "/api/wechat/auth";
    for (file, login, bridge) in
        [("", 400, 401), ("role = \"app\"", 400, 404), ("role = \"callbacks\"", 404, 401)]
    {
        let world = World::with(Engine::Sqlite, file).await;
        assert_eq!(world.post("/auth/login", json!({})).await.0, login, "{file}");
        assert_eq!(world.post(signed, json!({})).await.0, bridge, "{file}");
        for open in ["/livez", "/healthz", "/", "/readyz", "/openapi.json"] {
            assert_eq!(world.ask(Method::GET, open).send().await.unwrap().status(), 200, "{file} {open}");
        }
    }
}

#[test]
fn trusting_headers_where_anybody_can_write_them_is_refused_at_start() {
    let check = |file: &str| Config::resolve(file, &|_| None).map(|_| ()).map_err(|error| error.to_string());
    let trust = "[identity]\ntrust_wx_headers = true\n[wechat]\napp_id = \"wx1\"\n";
    for (rest, is_refused) in
        [("[http]\npublic_access = false", true), ("[http]\npublic_access = true", true), ("", true)]
    {
        let refused = check(&format!("{trust}{rest}")).is_err();
        assert_eq!(refused, is_refused, "single {rest}");
        assert!(check(&format!("role = \"callbacks\"\n{trust}{rest}")).is_err(), "callbacks {rest}");
    }
    assert!(check(&format!("role = \"app\"\n{trust}")).unwrap_err().contains("identity.trust_wx_headers: "));
    assert!(check(&format!("role = \"app\"\n{trust}[http]\npublic_access = false")).is_ok());
    let nobodys = "role = \"app\"\n[identity]\ntrust_wx_headers = true\n[http]\npublic_access = false";
    assert!(check(nobodys).unwrap_err().contains("wechat.app_id: "));
}
