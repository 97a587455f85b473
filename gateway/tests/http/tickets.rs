//! Runners on other machines bring files of a local folder to their tickets' URLs.

use gateway::artifacts::{Artifacts, Reach};
use gateway::link::message::Ticket;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::world::World;

async fn url(world: &World, artifacts: &Artifacts, key: &str, max_bytes: u64) -> String {
    let reach = Reach::Gateway(&world.base);
    let ticket = artifacts.upload_ticket(key, "image/png", max_bytes, reach).await.unwrap();
    let Ticket::Http { method, url, .. } = ticket else { panic!("{ticket:?}") };
    assert_eq!(method, "PUT");
    url.0
}

#[tokio::test]
async fn a_ticket_takes_one_file_as_often_as_it_comes_and_no_other() {
    let world = World::with(vec![], "").await;
    let artifacts = world.app.artifacts();
    let key = "outputs/job/1-0.png";
    let url = url(&world, artifacts, key, 5).await;
    let put = async |body: &'static str| {
        let answer = world.client.put(&url).body(body).send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let problem: Value = answer.json().await.unwrap_or_default();
        (status.as_u16(), headers, problem["code"].as_str().unwrap_or_default().to_owned())
    };
    let (status, _, code) = put("too long").await;
    assert_eq!((status, code.as_str()), (413, "payload_too_large"));
    for _ in 0..2 {
        let (status, headers, _) = put("bytes").await;
        assert_eq!(status, 200);
        assert_eq!(headers["etag"], "\"4b3a6218bb3e3a7303e8a171a60fcf92\"");
    }
    let (status, _, code) = put("other").await;
    assert_eq!((status, code.as_str()), (409, "ticket_used"));
    let stored = std::fs::read(artifacts.public_path(key).unwrap()).unwrap();
    assert_eq!(stored, b"bytes");

    let elsewhere = url.replace("/v1/tickets/", "/v1/tickets/x");
    for (method, url) in [(Method::PUT, &elsewhere), (Method::POST, &elsewhere)] {
        let answer = world.client.request(method, url).body("bytes").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::GONE);
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "ticket_expired");
    }
    let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>("bytes")]));
    let answer = world.client.put(&url).body(chunked).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "a length is wanted");
    let ask = world.client.post(&url).body("{}").send().await.unwrap();
    assert_eq!(ask.status(), StatusCode::BAD_REQUEST);
    let ask = world.client.post(&url).body("\"check\"").send().await.unwrap();
    assert_eq!(ask.status(), StatusCode::UNPROCESSABLE_ENTITY, "a folder takes files whole");
    assert_eq!(ask.json::<Value>().await.unwrap()["code"], "ticket_refused");
}
