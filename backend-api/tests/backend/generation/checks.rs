//! What is seen by whom, before and after checks.

use std::time::Duration;

use serde_json::json;
use wechat_sim::Verdict;

use super::kit::{Studio, comes_to, sees, wants};
use super::studio_gateway::output;
use crate::engines::{Engine, on_every_engine};
use crate::people::code;
use crate::support::eventually;

on_every_engine!(
    a_picture_that_a_check_is_unsure_of_is_seen_once_a_person_approves_it,
    a_word_that_comes_before_its_question_is_noted_counts,
);

async fn a_picture_that_a_check_is_unsure_of_is_seen_once_a_person_approves_it(engine: Engine) {
    let studio = Studio::on(engine).await;
    studio.market.sim.judge_pictures("cat.png", Verdict::REVIEW);
    let customer = studio.customer(10).await;
    let id = studio.made_for(&customer).await;
    let hidden = comes_to(&customer, &id, "hidden").await;
    assert_eq!((&hidden["reason"], &hidden["pictures"]), (&json!("review"), &json!([])), "{hidden}");

    let reviewer = studio.reviewer().await;
    let (_, queue) = reviewer.get("/admin/reviews").await;
    let review = &queue["reviews"][0];
    assert_eq!(review["artwork"]["id"], json!(id), "{queue}");
    assert_eq!(review["inputs"]["prompt"], "一只猫");
    assert_eq!(review["artwork"]["pictures"].as_array().unwrap().len(), 1, "a reviewer sees it");
    let (status, approved) = reviewer.post(&format!("/admin/artworks/{id}/approve"), json!({})).await;
    assert_eq!((status, &approved["state"]), (200, &json!("visible")), "{approved}");
    let seen = sees(&customer, &id).await;
    assert_eq!(seen["pictures"].as_array().unwrap().len(), 1, "{seen}");
    assert_eq!(reviewer.get("/admin/reviews").await.1["reviews"], json!([]));
}

/// The platform may push its word before its answer to our question has reached the table.
async fn a_word_that_comes_before_its_question_is_noted_counts(engine: Engine) {
    use backend_api::db::Database;
    use backend_api::domain::artwork::Verdict;

    let folder = tempfile::TempDir::new().unwrap();
    let database = Database::open(&engine.options(&folder).await).await.unwrap();
    database.note_verdict("trace-1", Verdict::Risky, 20_002, 1).await.unwrap();
    database.note_verdict("trace-1", Verdict::Pass, 100, 2).await.unwrap(); // the first word stays
    assert_eq!(database.apply_verdict("trace-1").await.unwrap(), None, "nobody asked yet");
    assert_eq!(database.apply_verdict("trace-2").await.unwrap(), None, "nothing was said");
}

#[tokio::test]
async fn nobody_sees_a_picture_before_its_check() {
    let studio = Studio::with_slow_checks(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    let id = wants(&customer, "一只猫").await;
    let event = studio.gateway.succeed(&studio.gateway.job(), json!([output("cat.png")]));
    assert_eq!(studio.hears("/callbacks/gateway", &event).await.0, 204);
    let seen = sees(&customer, &id).await;
    assert_eq!((&seen["state"], &seen["pictures"]), (&json!("checking"), &json!([])), "{seen}");
    let (_, list) = customer.get("/artworks").await;
    assert!(!list.to_string().contains("cat.png"), "{list}");
    let (status, body) = customer.post(&format!("/artworks/{id}/share"), json!({})).await;
    assert_eq!((status, code(&body)), (409, "artwork_not_visible"));
    let reviewer = studio.reviewer().await;
    let (status, body) = reviewer.post(&format!("/admin/artworks/{id}/approve"), json!({})).await;
    assert_eq!((status, code(&body)), (409, "artwork_not_visible"), "not past a check that runs");
}

#[tokio::test]
async fn a_risky_picture_stays_hidden_and_stays_paid() {
    let studio = Studio::on(Engine::Sqlite).await;
    studio.market.sim.judge_pictures("cat.png", Verdict::RISKY);
    let customer = studio.customer(10).await;
    let id = studio.made_for(&customer).await;
    let hidden = comes_to(&customer, &id, "hidden").await;
    assert_eq!((&hidden["reason"], &hidden["pictures"]), (&json!("risky"), &json!([])), "{hidden}");
    let reviewer = studio.reviewer().await;
    assert_eq!(reviewer.get("/admin/reviews").await.1["reviews"], json!([]), "nobody has to look");
}

#[tokio::test]
async fn who_was_away_for_two_hours_has_the_check_at_the_next_visit() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    let id = wants(&customer, "一只猫").await;
    studio.market.sim.advance(Duration::from_secs(3 * 3_600));
    let event = studio.gateway.succeed(&studio.gateway.job(), json!([output("cat.png")]));
    assert_eq!(studio.hears("/callbacks/gateway", &event).await.0, 204);
    studio.time_passes().await;
    studio.market.chores().await;
    let waiting = sees(&customer, &id).await;
    assert_eq!((&waiting["state"], &waiting["pictures"]), (&json!("made"), &json!([])), "{waiting}");
    customer.person.visits();
    let login = studio.market.login(&customer.person).await;
    assert_eq!(login.id, customer.login.id);
    let (_, list) = customer.get("/artworks").await;
    assert_ne!(list["artworks"][0]["state"], "made", "{list}");
    comes_to(&customer, &id, "visible").await;
}

#[tokio::test]
async fn who_consented_is_told_once_and_who_did_not_is_not() {
    let studio = Studio::on(Engine::Sqlite).await;
    let (told, other) = (studio.customer(10).await, studio.customer(10).await);
    told.person.consents("tmpl-picture-ready");
    told.person.consents("tmpl-picture-ready");
    let id = studio.made_for(&told).await;
    comes_to(&told, &id, "visible").await;
    let not_told = studio.made_for(&other).await;
    comes_to(&other, &not_told, "visible").await;
    eventually("somebody is told", || !studio.market.sim.messages().is_empty()).await;
    let messages = studio.market.sim.messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!(messages[0].openid, told.person.openid());
    assert_eq!(messages[0].page, format!("pages/artwork?id={id}"));
}
