//! Who may pass which door. A route that is missing from the table fails the test.

use std::collections::BTreeSet;

use backend_api::http::{Access, endpoints};
use reqwest::{Method, header};
use serde_json::json;

use crate::support::{Backend, answer, config, gateway_and_backend};

/// Every route, a concrete path of it, and who may use it.
const DOORS: &[(&str, &str, &str, Access)] = &[
    ("GET", "/livez", "/livez", Access::Open),
    ("GET", "/readyz", "/readyz", Access::Open),
    ("POST", "/works", "/works", Access::Service),
    ("GET", "/works/{id}", "/works/00000000-0000-7000-8000-000000000000", Access::Service),
];

#[test]
fn the_table_of_doors_is_complete() {
    let served: BTreeSet<_> =
        endpoints().iter().map(|door| format!("{} {} {:?}", door.method, door.path, door.access)).collect();
    let tabled: BTreeSet<_> =
        DOORS.iter().map(|(method, route, _, access)| format!("{method} {route} {access:?}")).collect();
    assert_eq!(served, tabled);
}

#[tokio::test]
async fn without_the_service_token_only_open_doors_open() {
    let (gateway, backend) = gateway_and_backend().await;
    let wrong = [
        None,
        Some(""),
        Some("Bearer"),
        Some("Bearer "),
        Some("Bearer wrong"),
        Some("Bearer service-token-of-test"),
        Some("Bearer service-token-of-testsx"),
        Some("Bearer  service-token-of-tests"),
        Some("Basic service-token-of-tests"),
        Some("service-token-of-tests"),
    ];
    for (method, _, path, access) in DOORS {
        for credentials in wrong {
            let mut request = backend.bare(method.parse::<Method>().unwrap(), path);
            if let Some(credentials) = credentials {
                request = request.header(header::AUTHORIZATION, credentials);
            }
            let response = request.send().await.unwrap();
            let challenge = response.headers().contains_key(header::WWW_AUTHENTICATE);
            let (status, body) = answer(response).await;
            match access {
                Access::Open => assert_eq!(status, 200, "{method} {path} {credentials:?}"),
                Access::Service => {
                    assert_eq!(
                        (status, &body["error"]["code"]),
                        (401, &json!("unauthorized")),
                        "{method} {path} {credentials:?}"
                    );
                    assert!(challenge, "{method} {path}");
                }
            }
        }
    }
    assert_eq!(gateway.submissions(), []);
}

#[tokio::test]
async fn the_service_token_opens_every_door() {
    let (_gateway, backend) = gateway_and_backend().await;
    for (method, _, path, _) in DOORS {
        let request =
            backend.bare(method.parse::<Method>().unwrap(), path).bearer_auth(crate::support::TOKEN);
        assert_ne!(request.send().await.unwrap().status(), 401, "{method} {path}");
    }
}

#[tokio::test]
async fn without_a_configured_token_its_doors_do_not_exist() {
    let folder = tempfile::TempDir::new().unwrap();
    let gateway = crate::stub_gateway::StubGateway::start().await;
    let mut config = config(&folder, &gateway.url);
    config.service_token = None;
    let backend = Backend::start_with(folder, config).await;
    for (method, _, path, access) in DOORS {
        let expected = if *access == Access::Open { 200 } else { 404 };
        let request = backend.bare(method.parse::<Method>().unwrap(), path).bearer_auth("");
        assert_eq!(request.send().await.unwrap().status().as_u16(), expected, "{method} {path}");
    }
}
