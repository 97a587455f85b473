//! The OpenAPI document: every route of `/v1` and operations is in it, and nothing else.

use std::collections::BTreeSet;

use gateway::http::Need;
use serde_json::Value;

use crate::walk;
use crate::world::World;

/// Routes with a contract or a page of their own, and what any server has.
fn is_elsewhere(path: &str) -> bool {
    path.starts_with("/api/") || path.starts_with("/console") || path == "/" || is_comfyuis(path)
}

/// ComfyUI's own API has neither a version nor a document.
fn is_comfyuis(path: &str) -> bool {
    !(path.starts_with("/v1/")
        || path.ends_with(".json")
        || matches!(path, "/livez" | "/readyz" | "/metrics"))
}

async fn document() -> Value {
    serde_json::from_str(&gateway::http::openapi(walk::state().await)).unwrap()
}

fn operations(document: &Value) -> impl Iterator<Item = (String, &str, &Value)> {
    document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (method.to_uppercase(), path.as_str(), operation))
    })
}

#[tokio::test]
async fn every_route_is_documented_and_every_documented_route_is_there() {
    let document = document().await;
    let documented: BTreeSet<(String, String)> =
        operations(&document).map(|(method, path, _)| (method, path.to_owned())).collect();
    let table = walk::table().await;
    let there: BTreeSet<(String, String)> = table
        .iter()
        .filter(|route| !is_elsewhere(route.path))
        .map(|route| (route.method.to_string(), route.path.to_owned()))
        .collect();
    assert_eq!(documented, there);
    for route in table.iter().filter(|route| !is_elsewhere(route.path)) {
        let method = route.method.as_str().to_lowercase();
        let operation = &document["paths"][route.path][&method];
        let is_open = operation["security"] == serde_json::json!([{}]);
        assert_eq!(is_open, !matches!(route.need, Need::Scope(_)), "{} {}", route.method, route.path);
    }
}

#[tokio::test]
async fn every_operation_says_what_it_does_and_how_it_fails() {
    let document = document().await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let name = format!("{method} {path}");
        assert!(
            operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()),
            "{name} has no summary"
        );
        assert!(operation["tags"].as_array().is_some_and(|tags| tags.len() == 1), "{name} has no tag");
        let id = operation["operationId"].as_str().unwrap_or_default();
        assert!(ids.insert(id.to_owned()), "{name}: the id {id} is there twice");
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{name} {status}");
            if status.as_str() >= "400" && path != "/readyz" {
                let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/Problem", "{name} {status}");
            }
        }
    }
}

#[tokio::test]
async fn the_document_is_served_to_all_as_it_is() {
    let world = World::with(vec![], "").await;
    world.key("anyone", gateway::store::Scope::Read).await;
    let served = world.get_json("/openapi.json").await;
    assert_eq!(served, document().await);
}
