//! The gateway client alone: each fault of the other side ends in the variant that says what to do.

use std::time::Duration;

use backend_api::gateway_client::{
    AskError, Class, FollowError, GatewayClient, JobStatus, Options, SubmitError, SubmitTemplate,
    TemplateCall, TransportError, Webhook,
};
use secrecy::SecretString;
use serde_json::{Map, json};
use tokio::time::Instant;

use crate::stub_gateway::{Fault, KEY, StubGateway, nowhere};

fn client(url: &reqwest::Url) -> GatewayClient {
    GatewayClient::new(&Options {
        url: url.clone(),
        key: Some(SecretString::from(KEY)),
        request_timeout: Duration::from_millis(500),
        max_reply_bytes: 10_000,
    })
    .unwrap()
}

fn wish() -> SubmitTemplate {
    SubmitTemplate {
        template: TemplateCall { name: "portrait".to_owned(), parameters: Map::new() },
        class: Class::Interactive,
        user: "somebody".to_owned(),
        labels: [("a".to_owned(), "b".to_owned())].into(),
        finish_within_seconds: None,
        ticket_url: None,
        webhook: None,
    }
}

fn body() -> String {
    wish().encode()
}

async fn submit_through(fault: Fault) -> SubmitError {
    let gateway = StubGateway::start().await;
    gateway.script([fault]);
    client(&gateway.url).submit(body(), "k").await.unwrap_err()
}

#[tokio::test]
async fn a_submission_carries_every_wish_and_nothing_that_was_not_wished() {
    let gateway = StubGateway::start().await;
    let webhook = Webhook { url: "https://backend.example.com/callbacks/gateway".to_owned() };
    let wishes = SubmitTemplate {
        finish_within_seconds: Some(60),
        ticket_url: Some("https://backend.example.com/internal/upload-tickets".to_owned()),
        webhook: Some(webhook),
        ..wish()
    };
    client(&gateway.url).submit(wishes.encode(), "k1").await.unwrap();
    client(&gateway.url).submit(body(), "k2").await.unwrap();
    let sent = gateway.submissions();
    let bare = json!({
        "template": {"name": "portrait", "parameters": {}}, "class": "interactive", "user": "somebody",
        "labels": {"a": "b"},
    });
    let mut full = bare.clone();
    full["finish_within_seconds"] = 60.into();
    full["ticket_url"] = json!("https://backend.example.com/internal/upload-tickets");
    full["webhook"] = json!({"url": "https://backend.example.com/callbacks/gateway"});
    assert_eq!(serde_json::from_str::<serde_json::Value>(&sent[0].body).unwrap(), full);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&sent[1].body).unwrap(), bare);
    assert_eq!(sent[1].idempotency_key, "k2");
}

#[tokio::test]
async fn refusals_are_told_apart_by_what_the_caller_does() {
    assert!(matches!(submit_through(Fault::Refuse(422, "invalid_workflow", None)).await,
        SubmitError::Invalid(refusal) if refusal.code == "invalid_workflow" && refusal.message == "because invalid_workflow"));
    assert!(matches!(
        submit_through(Fault::Refuse(409, "idempotency_conflict", None)).await,
        SubmitError::Invalid(_)
    ));
    assert!(matches!(
        submit_through(Fault::Refuse(401, "unauthorized", None)).await,
        SubmitError::Unauthorized
    ));
    assert!(matches!(submit_through(Fault::Refuse(429, "queue_full", Some(9))).await,
        SubmitError::Busy { retry_after } if retry_after == Duration::from_secs(9)));
}

#[tokio::test]
async fn whatever_leaves_the_fate_open_is_unreachable() {
    for fault in [
        Fault::Cut,
        Fault::LoseReply,
        Fault::Hang,
        Fault::Refuse(500, "internal", None),
        Fault::Say(502, "<html>".to_owned()),
        Fault::Say(404, "<html>".to_owned()),
        Fault::Say(201, "{\"id\":".to_owned()),
        Fault::Say(201, "[]".to_owned()),
        Fault::Say(307, String::new()),
    ] {
        let error = submit_through(fault.clone()).await;
        assert!(matches!(error, SubmitError::Unreachable { .. }), "{fault:?}: {error:?}");
    }
    assert!(matches!(submit_through(Fault::Refuse(503, "unavailable", Some(2))).await,
        SubmitError::Unreachable { retry_after: Some(wait), .. } if wait == Duration::from_secs(2)));
    let error = client(&nowhere().await).submit(body(), "k").await.unwrap_err();
    assert!(matches!(error, SubmitError::Unreachable { source: TransportError::Call(_), .. }), "{error:?}");
}

#[tokio::test]
async fn a_reply_over_the_bound_is_not_read() {
    let error = submit_through(Fault::Say(201, " ".repeat(10_001))).await;
    assert!(
        matches!(error, SubmitError::Unreachable { source: TransportError::TooLong { limit: 10_000 }, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn words_and_fields_of_a_newer_gateway_are_ignored() {
    let gateway = StubGateway::start().await;
    let client = client(&gateway.url);
    let id = client.submit(body(), "k").await.unwrap().id;
    gateway
        .show([json!({"status": "levitating", "mood": {"x": [1]}, "progress": {"value": 0.5, "more": 1}})]);
    let seen = client.job(&id).await.unwrap();
    assert_eq!(seen.status, JobStatus::Unknown);
    assert!(!seen.status.is_ended());
    assert_eq!(seen.progress.unwrap().value, 0.5);
}

#[tokio::test]
async fn following_outlasts_a_gateway_that_is_away_for_a_while() {
    let gateway = StubGateway::start().await;
    let client = client(&gateway.url);
    let id = client.submit(body(), "k").await.unwrap().id;
    gateway.script([Fault::Cut, Fault::Refuse(503, "unavailable", Some(1))]);
    gateway.show([json!({"status": "running"}), json!({"status": "succeeded"})]);
    let ended = client.follow(&id, Instant::now() + Duration::from_secs(30)).await.unwrap();
    assert_eq!((ended.status, gateway.polls()), (JobStatus::Succeeded, 4));
}

#[tokio::test]
async fn following_stops_at_the_deadline_with_what_it_saw_last() {
    let gateway = StubGateway::start().await;
    let client = client(&gateway.url);
    let id = client.submit(body(), "k").await.unwrap().id;
    gateway.show([json!({"status": "running"})]);
    let error = client.follow(&id, Instant::now()).await.unwrap_err();
    assert!(matches!(error, FollowError::StillOpen { last } if last.status == JobStatus::Running));
    assert_eq!(gateway.polls(), 1);
    let error = client.follow("no-such-job", Instant::now() + Duration::from_secs(30)).await.unwrap_err();
    assert!(matches!(error, FollowError::Ask(AskError::NotFound)));
}

#[tokio::test]
async fn a_job_is_canceled_and_a_strange_id_cannot_leave_its_place_in_the_path() {
    let gateway = StubGateway::start().await;
    let client = client(&gateway.url);
    let id = client.submit(body(), "k").await.unwrap().id;
    assert_eq!(client.cancel(&id).await.unwrap().status, JobStatus::Canceled);
    assert!(matches!(client.job("x/../../../readyz?").await.unwrap_err(), AskError::NotFound));
}

#[tokio::test]
async fn a_base_url_with_a_path_keeps_it() {
    let gateway = StubGateway::start().await;
    let below = gateway.url.join("/v1/jobs/").unwrap();
    // `/v1/jobs/` + `/v1/jobs` is no route of the stub, which proves that the path was kept.
    let error = client(&below).submit(body(), "k").await.unwrap_err();
    assert!(
        matches!(error, SubmitError::Unreachable { source: TransportError::Status { .. }, .. }),
        "{error:?}"
    );
    assert_eq!(gateway.submissions(), []);
}
