//! What proxies say of callers, and keys that work from some networks only.

use gateway::store::Scope;
use gateway::tenant::KeyDraft;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::world::World;

const TRUSTING: &str = "[http]\ntrusted_proxies = [\"127.0.0.0/8\"]\n";

async fn key_of_the_office(world: &World) -> String {
    world.key("club", Scope::Admin).await;
    let draft = KeyDraft {
        tenant: "club".into(),
        scope: Scope::Submit,
        networks: vec!["203.0.113.0/24".parse().unwrap()],
        expires_at: None,
    };
    world.app.tenants().admin("test").add_key(draft).await.unwrap().secret.0
}

#[tokio::test]
async fn a_key_works_from_its_networks_as_trusted_proxies_tell_them() {
    for (toml, forwarded, expected) in [
        (TRUSTING, Some("203.0.113.7"), StatusCode::OK),
        (TRUSTING, Some("203.0.113.7, 198.51.100.1"), StatusCode::FORBIDDEN),
        (TRUSTING, None, StatusCode::FORBIDDEN),
        ("", Some("203.0.113.7"), StatusCode::FORBIDDEN),
    ] {
        let world = World::with(vec![], toml).await;
        let key = key_of_the_office(&world).await;
        let request = world.request(Method::GET, "/v1/jobs").bearer_auth(&key);
        let request =
            forwarded.into_iter().fold(request, |it, forwarded| it.header("x-forwarded-for", forwarded));
        assert_eq!(request.send().await.unwrap().status(), expected, "{toml} {forwarded:?}");
    }
}

#[tokio::test]
async fn absolute_urls_follow_trusted_proxies_only() {
    for (toml, expected) in [(TRUSTING, "https://images.example/"), ("", "http://127.0.0.1:")] {
        let world = World::with(vec![], toml).await;
        let key = world.key("club", Scope::Submit).await;
        let form = reqwest::multipart::Form::new()
            .text("content_type", "image/png")
            .text("file_path", "a.png")
            .part("file", reqwest::multipart::Part::bytes(b"bytes".to_vec()));
        let upload = world.request(Method::POST, "/api/v2/assets").bearer_auth(&key).multipart(form);
        let upload = upload.header("x-forwarded-proto", "https").header("x-forwarded-host", "images.example");
        let asset: Value = upload.send().await.unwrap().json().await.unwrap();
        let url =
            asset["content_url"].as_str().or(asset["url"].as_str()).unwrap_or_else(|| panic!("{asset}"));
        assert!(url.starts_with(expected), "{url}");
    }
}
