//! Who may come in.

use gateway::store::Scope;
use reqwest::{Method, Response, StatusCode};
use serde_json::json;

use crate::world::{World, picture, problem_code, until, v2_code};

async fn get(world: &World, path: &str, headers: &[(&'static str, &str)]) -> Response {
    let request = world.request(Method::GET, path);
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.unwrap()
}

#[tokio::test]
async fn the_open_door_keeps_foreign_hosts_and_pages_out() {
    let world = World::with(vec![], "[http]\nallowed_origins = [\"https://editor.example\"]\n").await;
    let host = world.base.trim_start_matches("http://").to_owned();
    let own = world.base.clone();
    for (headers, code) in [
        (vec![("host", "evil.example")], "forbidden_host"),
        (vec![("origin", "https://evil.example")], "forbidden_origin"),
        (vec![("origin", "http://127.0.0.1:1")], "forbidden_origin"),
        (vec![("origin", "null")], "forbidden_origin"),
        (vec![("sec-fetch-site", "cross-site")], "forbidden_origin"),
    ] {
        let response = get(&world, "/api/v2/jobs", &headers).await;
        assert_eq!(v2_code(response, StatusCode::FORBIDDEN).await, code, "{headers:?}");
        let response = get(&world, "/v1/jobs", &headers).await;
        assert_eq!(problem_code(response, StatusCode::FORBIDDEN).await, code, "{headers:?}");
        assert_eq!(get(&world, "/livez", &headers).await.status(), StatusCode::OK);
    }
    for headers in [
        vec![("host", host.as_str())],
        vec![("host", "localhost:8190")],
        vec![("host", "[::1]:8190")],
        vec![("origin", own.as_str())],
        vec![("sec-fetch-site", "same-origin")],
        vec![("authorization", "Bearer anything")],
    ] {
        assert_eq!(get(&world, "/v1/jobs", &headers).await.status(), StatusCode::OK, "{headers:?}");
    }
    let allowed = [("origin", "https://editor.example"), ("sec-fetch-site", "cross-site")];
    let response = get(&world, "/v1/jobs", &allowed).await;
    assert_eq!(response.headers()["access-control-allow-origin"], "https://editor.example");
    let preflight = world.request(Method::OPTIONS, "/api/v2/jobs").header("origin", "https://editor.example");
    let preflight = preflight.send().await.unwrap();
    assert_eq!(preflight.status(), StatusCode::NO_CONTENT);
    assert!(preflight.headers()["access-control-allow-headers"].to_str().unwrap().contains("authorization"));
}

#[tokio::test]
async fn once_a_key_existed_nobody_enters_without_one_even_when_it_is_revoked() {
    let world = World::with(vec![], "").await;
    let request = gateway::tenant::KeyRequest {
        tenant: "team".into(),
        scope: Scope::Read,
        weight: 1,
        concurrency: u32::MAX,
    };
    let created = world.app.tenants().create_key(request).await.unwrap();
    assert!(created.secret.0.starts_with("dk_") && created.secret.0.starts_with(&created.row.prefix));
    assert_eq!(format!("{:?}", created.secret), "[redacted]");
    let with_key = world.request(Method::GET, "/v1/jobs").bearer_auth(&created.secret.0);
    assert_eq!(with_key.send().await.unwrap().status(), StatusCode::OK);
    assert!(world.app.tenants().revoke(&created.row.id).await.unwrap());
    for authorization in [None, Some(format!("Bearer {}", created.secret.0)), Some("Basic x".into())] {
        let mut request = world.request(Method::GET, "/v1/jobs");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        assert_eq!(problem_code(response, StatusCode::UNAUTHORIZED).await, "unauthorized");
    }
    let listed = world.app.tenants().list().await.unwrap();
    assert!(listed.iter().all(|key| key.hash == *blake3::hash(created.secret.0.as_bytes()).as_bytes()));
}

#[tokio::test]
async fn a_key_revoked_by_another_process_stops_working() {
    let world = World::with(vec![], "").await;
    let key = world.key("team", Scope::Read).await;
    let row = world.app.engine().store().keys().await.unwrap().remove(0);
    let order = gateway::store::PeopleOrder::RevokeKey { id: row.id };
    let change = gateway::store::PeopleChange { by: "elsewhere".into(), at: 1, order };
    world.app.engine().store().change_people(change).await.unwrap();
    until("the key is refused", || async {
        let response = world.request(Method::GET, "/v1/jobs").bearer_auth(&key).send().await.unwrap();
        (response.status() == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_foreign_job_is_not_there_on_any_route_and_in_no_list() {
    let world = World::with(vec![], "").await;
    let (mine, theirs) = (world.key("mine", Scope::Admin).await, world.key("theirs", Scope::Admin).await);
    let body = json!({"workflow": picture(1)});
    let job =
        world.request(Method::POST, "/api/v2/jobs").bearer_auth(&mine).json(&body).send().await.unwrap();
    let id = job.json::<serde_json::Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    for (method, path) in [
        (Method::GET, format!("/api/v2/jobs/{id}")),
        (Method::GET, format!("/api/v2/jobs/{id}/workflow")),
        (Method::GET, format!("/api/v2/jobs/{id}/events")),
        (Method::POST, format!("/api/v2/jobs/{id}/cancel")),
        (Method::GET, format!("/v1/jobs/{id}")),
        (Method::GET, format!("/v1/jobs/{id}/explain")),
        (Method::POST, format!("/v1/jobs/{id}/cancel")),
    ] {
        let foreign = world.request(method.clone(), &path).bearer_auth(&theirs).send().await.unwrap();
        assert_eq!(foreign.status(), StatusCode::NOT_FOUND, "{method} {path}");
    }
    for path in ["/api/v2/jobs", "/v1/jobs"] {
        let list = world.request(Method::GET, path).bearer_auth(&theirs).send().await.unwrap();
        assert_eq!(list.json::<serde_json::Value>().await.unwrap()["jobs"], json!([]));
    }
    let own =
        world.request(Method::GET, &format!("/api/v2/jobs/{id}")).bearer_auth(&mine).send().await.unwrap();
    assert_eq!(own.json::<serde_json::Value>().await.unwrap()["status"], "queued", "nobody has stopped it");
}
