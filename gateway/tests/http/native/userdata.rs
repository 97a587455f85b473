//! What the web editor keeps.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::World;

async fn put(world: &World, path: &str, body: &str) -> (StatusCode, Value) {
    let response = world.request(Method::POST, path).body(body.to_owned()).send().await.unwrap();
    (response.status(), response.json().await.unwrap_or_default())
}

#[tokio::test]
async fn a_saved_workflow_is_there_after_a_restart() {
    let world = World::with(vec![], "").await;
    let path = "/api/userdata/workflows%2Fmine.json";
    assert_eq!(put(&world, path, "{\"nodes\":[]}").await, (StatusCode::OK, json!("workflows/mine.json")));
    let again = put(&world, &format!("{path}?overwrite=false"), "{}").await;
    assert_eq!(again.0, StatusCode::CONFLICT);
    let told = put(&world, &format!("{path}?full_info=true"), "{\"nodes\":[1]}").await.1;
    assert_eq!((&told["path"], &told["size"]), (&json!("workflows/mine.json"), &json!(13)));
    let world = world.restart().await;
    assert_eq!(world.get_json(path).await, json!({"nodes": [1]}));
    assert_eq!(world.get_json("/userdata?dir=workflows&recurse=true").await, json!(["mine.json"]));
    let full = world.get_json("/userdata?dir=.&recurse=true&full_info=true").await;
    assert_eq!(full[0]["path"], "workflows/mine.json");
    let entries = world.get_json("/v2/userdata?path=").await;
    assert_eq!(entries, json!([{"name": "workflows", "path": "workflows", "type": "directory"}]));
    let moved = put(&world, &format!("{path}/move/workflows%2Fyours.json"), "").await;
    assert_eq!(moved, (StatusCode::OK, json!("workflows/yours.json")));
    assert_eq!(world.get(path).await.status(), StatusCode::NOT_FOUND);
    let delete = world.request(Method::DELETE, "/userdata/workflows%2Fyours.json").send().await.unwrap();
    assert_eq!(delete.status(), StatusCode::NO_CONTENT);
    assert_eq!(world.get_json("/userdata?dir=.").await, json!([]));
    assert_eq!(world.get("/userdata?dir=").await.status(), StatusCode::BAD_REQUEST);
    for outside in ["/userdata/..%2Fx", "/userdata/%2Fetc%2Fpasswd"] {
        assert_eq!(world.get(outside).await.status(), StatusCode::FORBIDDEN, "{outside}");
    }
}

#[tokio::test]
async fn settings_are_kept_one_by_one() {
    let world = World::with(vec![], "").await;
    assert_eq!(put(&world, "/settings", r#"{"a": 1, "b": {"c": true}}"#).await.0, StatusCode::OK);
    assert_eq!(put(&world, "/api/settings/a", "\"two\"").await.0, StatusCode::OK);
    assert_eq!(world.get_json("/settings").await, json!({"a": "two", "b": {"c": true}}));
    assert_eq!(world.get_json("/settings/a").await, json!("two"));
    assert_eq!(world.get_json("/settings/unknown").await, Value::Null);
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let toml = "[native]\nmax_userdata_file_bytes = 100\nmax_userdata_bytes = 150\nmax_userdata_files = 2\n";
    let world = World::with(vec![], toml).await;
    assert_eq!(put(&world, "/userdata/a", &"x".repeat(101)).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(put(&world, "/userdata/a", &"x".repeat(100)).await.0, StatusCode::OK);
    assert_eq!(put(&world, "/userdata/b", &"x".repeat(60)).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(put(&world, "/userdata/a", &"x".repeat(10)).await.0, StatusCode::OK);
    assert_eq!(put(&world, "/userdata/b", &"x".repeat(60)).await.0, StatusCode::OK);
    assert_eq!(put(&world, "/userdata/c", "x").await.0, StatusCode::PAYLOAD_TOO_LARGE);
}
