//! What becomes of a wish when something around it fails.

use reqwest::Method;
use serde_json::{Value, json};

use super::kit::{PRICE, Studio, asks, purse, sees, wants};
use super::studio_gateway::output;
use crate::engines::{Engine, on_every_engine};
use crate::money::market::Customer;
use crate::people::code;
use crate::stub_gateway::nowhere;
use crate::support::{answer, eventually};

on_every_engine!(
    a_wish_in_doubt_survives_a_restart_and_becomes_one_job,
    what_cannot_be_recorded_is_never_submitted,
    a_wish_of_any_length_is_kept_whole,
);

async fn a_wish_in_doubt_survives_a_restart_and_becomes_one_job(engine: Engine) {
    let studio = Studio::on(engine).await;
    let Customer { person, login, .. } = studio.customer(10).await;
    studio.gateway.lose_replies(1);
    let id = wants(&studio.is_still((person.clone(), login.clone())), "一只猫").await;

    let studio = studio.restarts().await;
    let customer = studio.is_still((person, login));
    assert_eq!(sees(&customer, &id).await["state"], "created");
    studio.time_passes().await;
    studio.market.chores().await;
    assert_eq!(sees(&customer, &id).await["state"], "submitted");
    assert_eq!(studio.gateway.jobs().len(), 1);
    let asked = studio.gateway.asked();
    let submissions: Vec<_> = asked.iter().filter(|asked| asked.line == "POST /v1/jobs").collect();
    assert_eq!(submissions.len(), 2);
    assert_eq!(submissions[0].body, submissions[1].body);
    assert_eq!(submissions[0].header("idempotency-key"), submissions[1].header("idempotency-key"));
}

async fn what_cannot_be_recorded_is_never_submitted(engine: Engine) {
    let studio = Studio::on(engine).await;
    let customer = studio.customer(10).await;
    studio.market.execute("DROP TABLE credit_holds").await;
    let (status, body) = asks(&customer, "一只猫").await;
    assert_eq!((status, code(&body)), (503, "unavailable"));
    assert!(studio.gateway.jobs().is_empty());
    let (_, list) = customer.get("/artworks").await;
    assert_eq!(list["artworks"], json!([]), "half of it was recorded");
}

/// What is no text is not checked, so it alone may be long: longer than the short texts of MySQL.
async fn a_wish_of_any_length_is_kept_whole(engine: Engine) {
    let studio = Studio::on(engine).await;
    let customer = studio.customer(10).await;
    let inputs = json!({"prompt": "画🖼️", "seed": vec![123_456; 20_000]});
    let wish = json!({"template": "portrait", "inputs": inputs});
    let (status, body) = customer.post("/artworks", wish).await;
    assert_eq!(status, 201, "{body}");
    let (_, copy) = customer.get("/me/export").await;
    assert!(copy["artworks"][0]["inputs"] == inputs, "it was cut");
}

#[tokio::test]
async fn a_row_of_a_newer_version_is_an_error_not_a_guess() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    let id = wants(&customer, "一只猫").await;
    studio.market.execute("UPDATE artworks SET state = 'paused'").await;
    let (status, body) = customer.get(&format!("/artworks/{id}")).await;
    assert_eq!((status, code(&body)), (500, "internal"));
}

#[tokio::test]
async fn a_submission_in_doubt_for_too_long_is_given_up_instead_of_risking_a_second_job() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    studio.gateway.lose_replies(1);
    let id = wants(&customer, "一只猫").await;
    studio.gateway.lose_events();
    studio.market.execute("UPDATE artworks SET created_at = created_at - 24 * 3600 * 1000").await;
    studio.time_passes().await;
    studio.market.chores().await;
    let seen = sees(&customer, &id).await;
    assert_eq!((&seen["state"], &seen["reason"]), (&json!("failed"), &json!("submission_lost")), "{seen}");
    assert_eq!(purse(&customer).await, (10, 0));
    assert_eq!(studio.gateway.jobs().len(), 1);
}

#[tokio::test]
async fn an_open_request_is_finished_before_the_drain_ends() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    customer.get("/templates").await; // what is offered is known from here
    studio.gateway.be_mute(true);
    let wish = json!({"template": "portrait", "inputs": {"prompt": "一只猫"}});
    let post = customer.ask(Method::POST, "/artworks").json(&wish);
    let known = (customer.person, customer.login);
    let post = tokio::spawn(async move { answer(post.send().await.unwrap()).await });
    eventually("the gateway has the submission", || studio.gateway.jobs().len() == 1).await;

    let studio = studio.restarts().await;
    let (status, artwork) = post.await.unwrap();
    assert_eq!((status, &artwork["state"]), (201, &json!("created")), "{artwork}");
    studio.gateway.be_mute(false);
    studio.time_passes().await;
    studio.market.chores().await;
    let seen = sees(&studio.is_still(known), artwork["id"].as_str().unwrap()).await;
    assert_eq!(seen["state"], "submitted");
    assert_eq!(studio.gateway.jobs().len(), 1);
}

#[tokio::test]
async fn a_silent_gateway_makes_the_answer_stale_and_changes_nothing() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    let id = wants(&customer, "一只猫").await;
    studio.gateway.tell(&studio.gateway.job(), json!({"status": "running"}));
    let states = |seen: Value| (seen["state"].clone(), seen["stale"].clone());
    assert_eq!(states(sees(&customer, &id).await), (json!("running"), json!(false)));
    studio.gateway.be_mute(true);
    assert_eq!(states(sees(&customer, &id).await), (json!("running"), json!(true)));
    studio.gateway.be_mute(false);
    assert_eq!(states(sees(&customer, &id).await), (json!("running"), json!(false)));
    assert_eq!(purse(&customer).await, (10 - PRICE, PRICE));
}

#[tokio::test]
async fn a_reader_may_wait_for_the_end() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    let path = format!("/artworks/{}?wait_seconds=99", wants(&customer, "一只猫").await);
    let looks = |studio: &Studio| {
        studio.gateway.asked().iter().filter(|asked| asked.line.starts_with("GET /v1/jobs/")).count()
    };
    let ends = async {
        eventually("somebody asks for the job again", || looks(&studio) == 2).await;
        studio.gateway.succeed(&studio.gateway.job(), json!([output("a.png")]));
    };
    let ((status, seen), ()) = tokio::join!(customer.get(&path), ends);
    assert_eq!(status, 200, "{seen}");
    let is_made = matches!(seen["state"].as_str(), Some("made" | "checking" | "visible"));
    assert!(is_made, "{seen}");
}

#[tokio::test]
async fn what_has_ended_needs_no_gateway() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    let id = studio.made_for(&customer).await;
    let before = sees(&customer, &id).await;
    assert_eq!(before["state"], "visible");
    let known = (customer.person, customer.login);
    let away = nowhere().await;
    let studio = studio.restarts_with(|config| config.gateway.url = away).await;
    assert_eq!(sees(&studio.is_still(known), &id).await, before);
}
