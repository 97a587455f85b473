//! Who may pass which door. A route that is missing from the table fails the test, and so does a method and path that
//! the OpenAPI document does not have.

use std::collections::BTreeSet;

use backend_api::http::{Access, endpoints};
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::engines::Engine;
use crate::people::{World, code};
use crate::support::answer;

/// Every route, a concrete path of it, and who may use it.
const DOORS: &[(&str, &str, &str, Access)] = &[
    ("GET", "/", "/", Access::Open),
    ("GET", "/livez", "/livez", Access::Open),
    ("GET", "/healthz", "/healthz", Access::Open),
    ("GET", "/readyz", "/readyz", Access::Open),
    ("GET", "/openapi.json", "/openapi.json", Access::Open),
    ("GET", "/metrics", "/metrics", Access::Metrics),
    ("POST", "/auth/login", "/auth/login", Access::Open),
    ("POST", "/auth/refresh", "/auth/refresh", Access::Open),
    ("POST", "/auth/logout", "/auth/logout", Access::User),
    ("GET", "/me", "/me", Access::User),
    ("DELETE", "/me", "/me", Access::User),
    ("POST", "/me/phone", "/me/phone", Access::User),
    ("GET", "/me/export", "/me/export", Access::User),
    ("POST", "/api/wechat/auth", "/api/wechat/auth", Access::Partner),
    ("POST", "/api/sessions/payment-complete", "/api/sessions/payment-complete", Access::Partner),
    ("GET", "/shop/items", "/shop/items", Access::Open),
    ("POST", "/orders", "/orders", Access::User),
    ("GET", "/orders", "/orders", Access::User),
    ("GET", "/orders/{id}", "/orders/00000000-0000-7000-8000-000000000000", Access::User),
    ("POST", "/orders/{id}/cancel", "/orders/00000000-0000-7000-8000-000000000000/cancel", Access::User),
    ("GET", "/credits", "/credits", Access::User),
    ("POST", "/callbacks/wechat-pay", "/callbacks/wechat-pay", Access::Signed),
    ("POST", "/callbacks/wechat-pay/refunds", "/callbacks/wechat-pay/refunds", Access::Signed),
    ("POST", "/callbacks/cloud-run-pay", "/callbacks/cloud-run-pay", Access::Signed),
    ("GET", "/callbacks/wechat-events", "/callbacks/wechat-events", Access::Signed),
    ("POST", "/callbacks/wechat-events", "/callbacks/wechat-events", Access::Signed),
    ("POST", "/admin/credits", "/admin/credits", Access::Admin),
    (
        "POST",
        "/admin/orders/{id}/refund",
        "/admin/orders/00000000-0000-7000-8000-000000000000/refund",
        Access::Admin,
    ),
    ("GET", "/admin/ledger/audit", "/admin/ledger/audit", Access::Admin),
    ("GET", "/admin/bills", "/admin/bills?rail=virtual", Access::Admin),
    ("POST", "/internal/chores", "/internal/chores", Access::Trigger),
    ("GET", "/templates", "/templates", Access::Open),
    ("POST", "/artworks", "/artworks", Access::User),
    ("GET", "/artworks", "/artworks", Access::User),
    ("GET", "/artworks/{id}", "/artworks/00000000-0000-7000-8000-000000000000", Access::User),
    ("DELETE", "/artworks/{id}", "/artworks/00000000-0000-7000-8000-000000000000", Access::User),
    ("POST", "/artworks/{id}/cancel", "/artworks/00000000-0000-7000-8000-000000000000/cancel", Access::User),
    (
        "POST",
        "/artworks/{id}/favourite",
        "/artworks/00000000-0000-7000-8000-000000000000/favourite",
        Access::User,
    ),
    ("POST", "/artworks/{id}/share", "/artworks/00000000-0000-7000-8000-000000000000/share", Access::User),
    ("DELETE", "/artworks/{id}/share", "/artworks/00000000-0000-7000-8000-000000000000/share", Access::User),
    ("POST", "/artworks/{id}/report", "/artworks/00000000-0000-7000-8000-000000000000/report", Access::User),
    ("POST", "/photos", "/photos", Access::User),
    ("GET", "/photos", "/photos", Access::User),
    ("GET", "/photos/{id}", "/photos/00000000-0000-7000-8000-000000000000", Access::User),
    ("DELETE", "/photos/{id}", "/photos/00000000-0000-7000-8000-000000000000", Access::User),
    ("GET", "/shared/{token}", "/shared/t", Access::Open),
    ("POST", "/shared/{token}/report", "/shared/t/report", Access::User),
    ("POST", "/callbacks/gateway", "/callbacks/gateway", Access::Signed),
    ("POST", "/internal/upload-tickets", "/internal/upload-tickets", Access::Signed),
    ("POST", "/sockets", "/sockets", Access::User),
    ("GET", "/ws", "/ws?ticket=wrong", Access::Signed),
    ("GET", "/admin/reviews", "/admin/reviews", Access::Admin),
    (
        "POST",
        "/admin/artworks/{id}/approve",
        "/admin/artworks/00000000-0000-7000-8000-000000000000/approve",
        Access::Admin,
    ),
    (
        "POST",
        "/admin/artworks/{id}/takedown",
        "/admin/artworks/00000000-0000-7000-8000-000000000000/takedown",
        Access::Admin,
    ),
];

#[test]
fn the_table_of_doors_is_complete() {
    let served: BTreeSet<_> = endpoints()
        .iter()
        .map(|endpoint| format!("{} {} {:?}", endpoint.method, endpoint.path, endpoint.door.access))
        .collect();
    let tabled: BTreeSet<_> =
        DOORS.iter().map(|(method, route, _, access)| format!("{method} {route} {access:?}")).collect();
    assert_eq!(served, tabled);
}

#[tokio::test]
async fn without_good_credentials_only_open_doors_open() {
    let world = World::on(Engine::Sqlite).await;
    let wrong = [
        None,
        Some(""),
        Some("Bearer"),
        Some("Bearer "),
        Some("Bearer wrong"),
        Some("Bearer chores-token-of-test"),
        Some("Bearer chores-token-of-testsx"),
        Some("Bearer  chores-token-of-tests"),
        Some("Basic chores-token-of-tests"),
        Some("chores-token-of-tests"),
        Some("Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."),
    ];
    for (method, _, path, access) in DOORS {
        for credentials in wrong {
            let mut request = world.ask(method.parse::<Method>().unwrap(), path);
            if let Some(credentials) = credentials {
                request = request.header(header::AUTHORIZATION, credentials);
            }
            let response = request.send().await.unwrap();
            let (status, challenge) =
                (response.status().as_u16(), response.headers().contains_key(header::WWW_AUTHENTICATE));
            match access {
                Access::Open => assert_ne!(status, 401, "{method} {path} {credentials:?}"),
                // Not believed, or not set up; and never taken.
                Access::Signed => assert!([401, 503].contains(&status), "{method} {path}: {status}"),
                _ => {
                    let (_, body) = answer(response).await;
                    assert_eq!(
                        (status, code(&body)),
                        (401, "unauthorized"),
                        "{method} {path} {credentials:?}"
                    );
                    assert!(challenge, "{method} {path}");
                }
            }
        }
    }
    assert_eq!(world.gateway.submissions(), []);
    assert_eq!(world.wechat.exchanges(), 0);
}

#[tokio::test]
async fn no_credential_opens_the_doors_of_another_kind() {
    let world = World::on(Engine::Sqlite).await;
    let person = world.login("oA").await.access;
    let kinds = [
        (Access::User, person.as_str()),
        (Access::Trigger, crate::people::CHORES),
        (Access::Metrics, crate::people::METRICS),
    ];
    // Two of them end the very login that is tried here.
    let ends_login = |method: &str, path: &str| path == "/auth/logout" || (method, path) == ("DELETE", "/me");
    for (method, _, path, access) in DOORS {
        if matches!(access, Access::Open | Access::Signed) || ends_login(method, path) {
            continue;
        }
        for (kind, token) in kinds {
            let request = world.ask(method.parse::<Method>().unwrap(), path).bearer_auth(token);
            let status = request.send().await.unwrap().status().as_u16();
            let is_refused = status == 401 || status == 403;
            assert_eq!(is_refused, kind != *access, "{method} {path} {kind:?}: {status}");
        }
    }
}

#[tokio::test]
async fn doors_whose_credential_is_not_configured_do_not_exist() {
    let world = World::on(Engine::Sqlite).await;
    let backend = world.backend.restart_with(|config| {
        config.machines.metrics_token = None;
        config.machines.trigger_token = None;
        config.machines.partner = None;
    });
    let world = World { backend: backend.await, ..world };
    for (method, _, path, access) in DOORS {
        let is_machines = matches!(access, Access::Partner | Access::Trigger | Access::Metrics);
        let request = world.ask(method.parse::<Method>().unwrap(), path).bearer_auth("");
        let status = request.send().await.unwrap().status().as_u16();
        assert_eq!(status == 404, is_machines, "{method} {path}: {status}");
    }
}

#[tokio::test]
async fn the_document_has_every_door_and_who_may_use_it() {
    let world = World::on(Engine::Sqlite).await;
    let (status, document) = answer(world.ask(Method::GET, "/openapi.json").send().await.unwrap()).await;
    assert_eq!(
        (status, document["openapi"].as_str().map(|version| version.starts_with("3.1"))),
        (200, Some(true))
    );
    let mut ids = BTreeSet::new();
    for (method, route, _, access) in DOORS {
        let operation = &document["paths"][route][method.to_lowercase()];
        assert!(operation.is_object(), "{method} {route} is missing");
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{method} {route}");
        assert!(operation["summary"].as_str().is_some_and(|words| !words.is_empty()), "{method} {route}");
        let is_open = matches!(access, Access::Open | Access::Signed);
        assert_eq!(operation["security"] == json!([{}]), is_open, "{method} {route}");
        assert_eq!(
            operation["responses"]["401"].is_object(),
            *access != Access::Open || route.starts_with("/auth"),
            "{method} {route}"
        );
    }
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is referred to and not there");
    }
    let operations = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|item| item.as_object().map_or(0, |item| item.len()));
    assert_eq!(operations.sum::<usize>(), DOORS.len());
    assert!(schemas.values().all(Value::is_object));
}
