//! Ways in for clients that cannot set a header.

use gateway::store::Scope;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::json;

use super::{Socket, World};
use crate::world::until;

async fn status(request: RequestBuilder) -> StatusCode {
    request.send().await.unwrap().status()
}

#[tokio::test]
async fn a_key_is_taken_as_password_in_the_path_and_as_cookie() {
    let world = World::with(vec![], "").await;
    let key = world.key("team", Scope::Submit).await;
    let queue = || world.request(Method::GET, "/queue");
    assert_eq!(status(queue()).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(queue().bearer_auth(&key)).await, StatusCode::OK);
    assert_eq!(status(queue().basic_auth("anybody", Some(&key))).await, StatusCode::OK);
    assert_eq!(status(queue().header("cookie", format!("a=b; darkroom_key={key}"))).await, StatusCode::OK);
    let by_path = world.get(&format!("/k/{key}/api/queue")).await;
    assert_eq!(by_path.status(), StatusCode::OK);
    assert_eq!(by_path.headers()["referrer-policy"], "no-referrer");
    for wrong in [
        queue().bearer_auth("dk_wrong"),
        queue().basic_auth("anybody", Some("dk_wrong")),
        queue().header("cookie", "darkroom_key=dk_wrong"),
        world.request(Method::GET, "/k/dk_wrong/queue"),
        // What a client sends that has none (CLIENTS §4.14).
        queue().header("authorization", "Bearer "),
        queue().header("authorization", "Bearer None"),
    ] {
        assert_eq!(status(wrong).await, StatusCode::UNAUTHORIZED);
    }
    let saved = world.request(Method::POST, &format!("/k/{key}/userdata/a%2Fb.json")).body("{}");
    assert_eq!(status(saved).await, StatusCode::OK, "escaped slashes stay escaped");
    assert_eq!(
        status(world.request(Method::GET, "/userdata/a%2Fb.json").bearer_auth(&key)).await,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_key_without_a_slash_behind_it_leads_to_its_pages() {
    let world = World::with(vec![], "").await;
    let led = world.get("/k/dk_x?a=b").await;
    assert_eq!(led.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(led.headers()["location"], "/k/dk_x/?a=b");
    assert_eq!(led.headers()["referrer-policy"], "no-referrer");
    assert_eq!(world.get("/k/").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_socket_comes_in_as_a_request_does() {
    let world = World::with(vec![], "").await;
    let key = world.key("team", Scope::Read).await;
    let url = world.base.replace("http://", "ws://");
    let refused = tokio_tungstenite::connect_async(format!("{url}/ws?clientId=me")).await;
    assert!(format!("{:?}", refused.err()).contains("401"));
    let mut socket = Socket::at(&format!("{url}/k/{key}/ws?clientId=me")).await;
    assert_eq!(socket.next().await.kind(), "status");
}

#[tokio::test]
async fn a_page_of_somebody_else_cannot_use_what_a_browser_brings_along() {
    let world = World::with(vec![], "[http]\nallowed_origins = [\"https://editor.example\"]\n").await;
    let key = world.key("team", Scope::Submit).await;
    let cookie = || world.request(Method::GET, "/queue").header("cookie", format!("darkroom_key={key}"));
    let basic = || world.request(Method::GET, "/queue").basic_auth("x", Some(&key));
    for (name, value) in
        [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")]
    {
        assert_eq!(status(cookie().header(name, value)).await, StatusCode::FORBIDDEN, "{name}: {value}");
        assert_eq!(status(basic().header(name, value)).await, StatusCode::FORBIDDEN, "{name}: {value}");
    }
    assert_eq!(status(cookie().header("origin", &world.base)).await, StatusCode::OK);
    assert_eq!(status(cookie().header("origin", "https://editor.example")).await, StatusCode::OK);
}

#[tokio::test]
async fn what_is_not_given_deliberately_never_administers() {
    let world = World::with(vec![], "").await;
    let key = world.key("admins", Scope::Admin).await;
    let tenants = || world.request(Method::GET, "/v1/tenants");
    assert_eq!(status(tenants().bearer_auth(&key)).await, StatusCode::OK);
    for other in [
        tenants().basic_auth("x", Some(&key)),
        tenants().header("cookie", format!("darkroom_key={key}")),
        world.request(Method::GET, &format!("/k/{key}/v1/tenants")),
    ] {
        assert_eq!(status(other).await, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn the_login_page_turns_a_key_into_a_cookie_that_scripts_cannot_read() {
    let world = World::with(vec![], "").await;
    let key = world.key("team", Scope::Submit).await;
    let page = world.get("/login").await;
    assert!(page.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    // With `no-referrer` browsers would send the form from the origin `null`.
    assert_eq!(page.headers()["referrer-policy"], "same-origin");
    let login = |key: &str| world.request(Method::POST, "/login").body(format!("key={key}"));
    let refused = login("dk_wrong").send().await.unwrap();
    assert_eq!((refused.status(), refused.headers().get("set-cookie")), (StatusCode::SEE_OTHER, None));
    let taken = login(&key).header("origin", &world.base).send().await.unwrap();
    let cookie = taken.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(status(world.request(Method::GET, "/queue").header("cookie", cookie)).await, StatusCode::OK);
    let elsewhere = login(&key).header("origin", "https://evil.example");
    assert_eq!(status(elsewhere).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_listener_bound_to_a_key_lets_this_machine_in_as_its_tenant() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("local.key");
    std::fs::write(&file, "\n").unwrap();
    let toml =
        format!("[[listeners]]\nlisten = \"127.0.0.1:0\"\nkey_file = {:?}\n", file.display().to_string());
    let world = World::with(vec![], &toml).await;
    let key = world.key("team", Scope::Submit).await;
    std::fs::write(&file, format!("{key}\n")).unwrap();
    let world = world.restart().await;
    let bound = format!("http://{}", world.app.further_addresses()[0]);
    let get = |path: &str| world.client.get(format!("{bound}{path}"));
    assert_eq!(status(get("/queue")).await, StatusCode::OK);
    assert_eq!(status(get("/v1/tenants")).await, StatusCode::FORBIDDEN);
    assert_eq!(status(get("/queue").header("host", "evil.example")).await, StatusCode::FORBIDDEN);
    assert_eq!(status(get("/queue").header("origin", "https://evil.example")).await, StatusCode::FORBIDDEN);
    assert_eq!(status(get("/queue").bearer_auth("dk_wrong")).await, StatusCode::UNAUTHORIZED);
    let saved = world.client.post(format!("{bound}/userdata/a")).body("x").send().await.unwrap();
    assert_eq!(saved.status(), StatusCode::OK);
    until("its tenant sees it", || async {
        let list = world.request(Method::GET, "/userdata?dir=.").bearer_auth(&key).send().await.unwrap();
        (list.json::<serde_json::Value>().await.unwrap() == json!(["a"])).then_some(())
    })
    .await;
}
