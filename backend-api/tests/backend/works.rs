//! A work's road: recorded, submitted exactly once, followed to its end.

use reqwest::Method;
use serde_json::json;

use crate::engines::{Engine, on_every_engine};
use crate::stub_gateway::{Fault, StubGateway, nowhere};
use crate::support::{Backend, TOKEN, answer, config_on, gateway_and_backend_on, order};

on_every_engine!(
    a_work_goes_to_the_gateway_and_its_outputs_come_back,
    the_workflow_reaches_the_gateway_byte_for_byte,
    a_lost_reply_is_resolved_by_the_same_bytes_under_the_same_key,
    a_submission_in_doubt_survives_a_restart_and_still_makes_one_job,
    a_work_recorded_while_the_gateway_is_away_is_submitted_when_it_is_back,
    readers_at_the_same_time_submit_a_work_in_doubt_as_one_job,
    a_restart_keeps_works_and_a_finished_one_needs_no_gateway,
    what_the_gateway_will_never_take_is_refused_in_its_words,
    a_full_gateway_is_passed_on_with_its_time_to_come_back,
    a_full_gateway_leaves_a_work_already_promised_in_doubt_not_failed,
    a_wrong_gateway_key_is_our_fault_not_the_callers,
    a_silent_gateway_makes_the_answer_stale_and_keeps_the_work,
    a_failed_job_shows_its_code_and_a_forgotten_one_expires,
    a_reader_may_wait_for_the_end,
    bad_requests_get_the_one_envelope_and_reach_no_gateway,
);

async fn a_work_goes_to_the_gateway_and_its_outputs_come_back(engine: Engine) {
    let (gateway, backend) = gateway_and_backend_on(engine).await;
    let (status, work) = backend
        .post_work(json!({"workflow": {"9": {"seed": 1.50}}, "class": "interactive", "labels": {"shop": "a"}, "user_key": "u1"}))
        .await;
    assert_eq!((status, &work["status"], &work["job_id"]), (201, &json!("queued"), &json!("job-1")));
    assert_eq!(work["user_key"], "u1");

    gateway.show([
        json!({"status": "running"}),
        json!({"status": "succeeded", "outputs": [{"id": "o1", "node_id": "9", "name": "a.png", "type": "output",
            "content_type": "image/png", "size_bytes": 5, "hash": "blake3:00", "object_key": "k/a.png", "url": "/o1"}]}),
    ]);
    assert_eq!(backend.get_work(&work).await["status"], "running");
    let done = backend.get_work(&work).await;
    assert_eq!((&done["status"], &done["stale"]), (&json!("succeeded"), &json!(false)));
    assert_eq!(done["outputs"][0]["object_key"], "k/a.png");
    assert_eq!(done["outputs"][0]["size_bytes"], 5);
}

async fn the_workflow_reaches_the_gateway_byte_for_byte(engine: Engine) {
    let (gateway, backend) = gateway_and_backend_on(engine).await;
    let workflow = r#"{"2":{"b":1.50,"a":18446744073709551616},"1":{"t":"\u4f60"}}"#;
    let response = backend
        .bare(Method::POST, "/works")
        .bearer_auth(TOKEN)
        .header("content-type", "application/json")
        .body(format!(r#"{{"workflow":{workflow}}}"#))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(gateway.submissions()[0].body, format!(r#"{{"workflow":{workflow},"class":"normal"}}"#));
}

async fn a_lost_reply_is_resolved_by_the_same_bytes_under_the_same_key(engine: Engine) {
    let (gateway, backend) = gateway_and_backend_on(engine).await;
    gateway.script([Fault::LoseReply]);
    let (status, work) = backend.post_work(order()).await;
    assert_eq!((status, &work["status"], &work["job_id"]), (202, &json!("submitting"), &json!(null)));

    let seen = backend.get_work(&work).await;
    assert_eq!((&seen["status"], &seen["job_id"]), (&json!("queued"), &json!("job-1")));
    let submissions = gateway.submissions();
    assert_eq!(submissions.len(), 2);
    assert_eq!(submissions[0], submissions[1]);
    assert_eq!(submissions[0].idempotency_key, format!("work-{}", work["id"].as_str().unwrap()));
    assert_eq!(gateway.job_count(), 1);
}

async fn a_submission_in_doubt_survives_a_restart_and_still_makes_one_job(engine: Engine) {
    for fault in [Fault::LoseReply, Fault::Cut, Fault::Hang, Fault::Refuse(503, "unavailable", Some(1))] {
        let (gateway, backend) = gateway_and_backend_on(engine).await;
        gateway.script([fault.clone()]);
        let (status, work) = backend.post_work(order()).await;
        assert_eq!((status, &work["status"]), (202, &json!("submitting")), "{fault:?}");

        let backend = backend.restart().await;
        assert_eq!(backend.get_work(&work).await["status"], "queued", "{fault:?}");
        assert_eq!(gateway.job_count(), 1, "{fault:?}");
        let keys: Vec<_> = gateway.submissions().into_iter().map(|sent| sent.idempotency_key).collect();
        assert_eq!(keys.len(), 2, "{fault:?}");
        assert_eq!(keys[0], keys[1], "{fault:?}");
    }
}

async fn a_work_recorded_while_the_gateway_is_away_is_submitted_when_it_is_back(engine: Engine) {
    let backend = Backend::start_on(engine, &nowhere().await).await;
    let (status, work) = backend.post_work(order()).await;
    assert_eq!((status, &work["status"]), (202, &json!("submitting")));
    let still = backend.get_work(&work).await;
    assert_eq!((&still["status"], &still["stale"]), (&json!("submitting"), &json!(true)));

    let gateway = StubGateway::start().await;
    let backend = backend.restart_towards(&gateway.url).await;
    assert_eq!(backend.get_work(&work).await["job_id"], "job-1");
}

async fn readers_at_the_same_time_submit_a_work_in_doubt_as_one_job(engine: Engine) {
    let (gateway, backend) = gateway_and_backend_on(engine).await;
    gateway.script([Fault::Cut]);
    let (_, work) = backend.post_work(order()).await;
    let (a, b, c) = tokio::join!(backend.get_work(&work), backend.get_work(&work), backend.get_work(&work));
    assert_eq!([&a["job_id"], &b["job_id"], &c["job_id"]], ["job-1"; 3]);
    assert_eq!(gateway.job_count(), 1);
}

async fn a_restart_keeps_works_and_a_finished_one_needs_no_gateway(engine: Engine) {
    let (gateway, backend) = gateway_and_backend_on(engine).await;
    let (_, work) = backend.post_work(order()).await;
    gateway.show([json!({"status": "succeeded", "outputs": [{"id": "o1", "name": "a.png"}]})]);
    let done = backend.get_work(&work).await;

    let backend = backend.restart_towards(&nowhere().await).await;
    assert_eq!(backend.get_work(&work).await, done);
}

async fn what_the_gateway_will_never_take_is_refused_in_its_words(engine: Engine) {
    let (gateway, backend) = gateway_and_backend_on(engine).await;
    for (status, code) in
        [(422, "invalid_workflow"), (422, "missing_asset"), (400, "invalid_request"), (413, "too_large")]
    {
        gateway.script([Fault::Refuse(status, code, None)]);
        let (answered, body) = backend.post_work(order()).await;
        assert_eq!(answered, 422, "{code}");
        assert_eq!(body, json!({"error": {"code": code, "message": format!("because {code}")}}));
    }
    assert_eq!(gateway.submissions().len(), 4, "a refusal is never repeated");
}

async fn a_full_gateway_is_passed_on_with_its_time_to_come_back(engine: Engine) {
    let (gateway, backend) = gateway_and_backend_on(engine).await;
    gateway.script([Fault::Refuse(429, "queue_full", Some(7))]);
    let response =
        backend.bare(Method::POST, "/works").bearer_auth(TOKEN).json(&order()).send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "7");
    let (status, body) = answer(response).await;
    assert_eq!((status, &body["error"]["code"]), (429, &json!("queue_full")));
}

async fn a_full_gateway_leaves_a_work_already_promised_in_doubt_not_failed(engine: Engine) {
    let (gateway, backend) = gateway_and_backend_on(engine).await;
    gateway.script([Fault::Cut, Fault::Refuse(429, "queue_full", Some(7))]);
    let (_, work) = backend.post_work(order()).await;
    assert_eq!(backend.get_work(&work).await["status"], "submitting");
    assert_eq!(backend.get_work(&work).await["status"], "queued");
}

async fn a_wrong_gateway_key_is_our_fault_not_the_callers(engine: Engine) {
    let folder = tempfile::TempDir::new().unwrap();
    let gateway = StubGateway::start().await;
    let mut settings = config_on(engine, &folder, &gateway.url).await;
    settings.gateway.key = None;
    let backend = Backend::start_with(folder, settings).await;
    let (status, body) = backend.post_work(order()).await;
    assert_eq!((status, &body["error"]["code"]), (502, &json!("gateway_unauthorized")));
}

async fn a_silent_gateway_makes_the_answer_stale_and_keeps_the_work(engine: Engine) {
    let (gateway, backend) = gateway_and_backend_on(engine).await;
    let (_, work) = backend.post_work(order()).await;
    gateway.show([json!({"status": "running"})]);
    backend.get_work(&work).await;
    for fault in
        [Fault::Cut, Fault::Hang, Fault::Say(200, "{".to_owned()), Fault::Say(404, "proxy".to_owned())]
    {
        gateway.script([fault.clone()]);
        let seen = backend.get_work(&work).await;
        assert_eq!((&seen["status"], &seen["stale"]), (&json!("running"), &json!(true)), "{fault:?}");
    }
    assert_eq!(backend.get_work(&work).await["stale"], false);
}

async fn a_failed_job_shows_its_code_and_a_forgotten_one_expires(engine: Engine) {
    let (gateway, backend) = gateway_and_backend_on(engine).await;
    let (_, failed) = backend.post_work(order()).await;
    let (_, forgotten) = backend.post_work(order()).await;
    gateway.show([
        json!({"status": "failed", "error": {"code": "out_of_memory", "message": "m", "traceback": ["x"]}}),
    ]);
    let failed = backend.get_work(&failed).await;
    assert_eq!((&failed["status"], &failed["error_code"]), (&json!("failed"), &json!("out_of_memory")));
    gateway.forget();
    let forgotten = backend.get_work(&forgotten).await;
    assert_eq!(
        (&forgotten["status"], &forgotten["error_code"]),
        (&json!("expired"), &json!("job_forgotten"))
    );
}

async fn a_reader_may_wait_for_the_end(engine: Engine) {
    let (gateway, backend) = gateway_and_backend_on(engine).await;
    let (_, work) = backend.post_work(order()).await;
    gateway.show([
        json!({"status": "running"}),
        json!({"status": "collecting"}),
        json!({"status": "succeeded"}),
    ]);
    let (status, seen) =
        backend.get(&format!("/works/{}?wait_seconds=99", work["id"].as_str().unwrap())).await;
    assert_eq!((status, &seen["status"]), (200, &json!("succeeded")));
    assert_eq!(gateway.polls(), 3);
}

async fn bad_requests_get_the_one_envelope_and_reach_no_gateway(engine: Engine) {
    let (gateway, backend) = gateway_and_backend_on(engine).await;
    let long = "x".repeat(129);
    for body in [
        json!({}),
        json!({"workflow": []}),
        json!({"workflow": {}, "clas": "batch"}),
        json!({"workflow": {}, "class": "vip"}),
        json!({"workflow": {}, "labels": {"a": 1}}),
        json!({"workflow": {}, "user_key": ""}),
        json!({"workflow": {}, "user_key": long}),
    ] {
        let (status, answer) = backend.post_work(body.clone()).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!("invalid_request")), "{body}");
        assert!(answer["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
    }
    let (status, answer) = backend.post_work(json!({"workflow": {"x": "y".repeat(1 << 20)}})).await;
    assert_eq!((status, &answer["error"]["code"]), (413, &json!("too_large")));
    for (path, expected) in [
        ("/works/not-an-id", (404, "not_found")),
        ("/works/00000000-0000-7000-8000-000000000000", (404, "not_found")),
        ("/works/00000000-0000-7000-8000-000000000000?wait_seconds=x", (400, "invalid_request")),
        ("/nothing", (404, "not_found")),
        ("/works", (405, "method_not_allowed")),
    ] {
        let (status, answer) = backend.get(path).await;
        assert_eq!((status, answer["error"]["code"].as_str().unwrap()), expected, "{path}");
    }
    assert_eq!(gateway.submissions(), []);
}
