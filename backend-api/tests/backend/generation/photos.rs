//! Photos that people give, and what is made of them.

use backend_api::config::Config;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use wechat_sim::{Fault, Trouble, Verdict};

use super::kit::{Studio, purse, sees};
use super::studio_gateway::output;
use crate::engines::{Engine, on_every_engine};
use crate::money::market::{Customer, SOON};
use crate::people::code;
use crate::support::{answer, eventually};

on_every_engine!(
    a_photo_is_checked_and_then_its_owner_alone_may_name_it,
    of_fifty_photos_at_once_no_more_are_kept_than_one_person_may_give_a_day,
    photos_go_with_their_owner_in_the_bucket_and_at_the_gateway,
    a_photo_is_forgotten_when_its_time_is_over,
);

pub const PNG: &[u8] = include_bytes!("../../../../tests/fixtures/pictures/bits.png");
const JPEG: &[u8] = include_bytes!("../../../../tests/fixtures/pictures/grey.jpg");

pub async fn gives(customer: &Customer<'_>, bytes: &[u8]) -> (u16, Value) {
    answer(customer.ask(Method::POST, "/photos").body(bytes.to_vec()).send().await.unwrap()).await
}

async fn given(customer: &Customer<'_>, bytes: &[u8]) -> String {
    let (status, body) = gives(customer, bytes).await;
    assert_eq!(status, 201, "{body}");
    body["id"].as_str().unwrap().to_owned()
}

/// Polls until the photo is in that state.
async fn photo_is(customer: &Customer<'_>, id: &str, state: &str) -> Value {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let (status, photo) = customer.get(&format!("/photos/{id}")).await;
        assert_eq!(status, 200, "{photo}");
        if photo["state"] == state {
            return photo;
        }
        assert!(tokio::time::Instant::now() < deadline, "never {state}: {photo}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn wants_of(customer: &Customer<'_>, photo: &str) -> (u16, Value) {
    let inputs = json!({"prompt": "一只猫", "photo": photo});
    customer.post("/artworks", json!({"template": "portrait", "inputs": inputs})).await
}

pub async fn delete(customer: &Customer<'_>, path: &str) -> u16 {
    customer.ask(Method::DELETE, path).send().await.unwrap().status().as_u16()
}

async fn a_photo_is_checked_and_then_its_owner_alone_may_name_it(engine: Engine) {
    let studio = Studio::on(engine).await;
    let (owner, other) = (studio.customer(10).await, studio.customer(10).await);
    let id = given(&owner, PNG).await;
    let photo = photo_is(&owner, &id, "ready").await;
    assert_eq!((&photo["content_type"], &photo["size_bytes"]), (&json!("image/png"), &json!(PNG.len())));
    let url = photo["url"].as_str().unwrap();
    let seen = studio.market.backend.client.get(url).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(&seen[..], PNG);

    let (status, artwork) = wants_of(&owner, &id).await;
    assert_eq!(status, 201, "{artwork}");
    let asked = studio.gateway.asked();
    let submission = asked.iter().find(|asked| asked.line == "POST /v1/jobs").unwrap();
    assert!(submission.body.contains(&studio.gateway.assets()[0]), "{}", submission.body);
    assert!(asked.iter().all(|asked| !asked.body.contains(&id)), "our names are nobody else's");
    let (_, copy) = owner.get("/me/export").await;
    assert_eq!(copy["artworks"][0]["inputs"]["photo"], json!(id), "{copy}");
    assert_eq!(copy["photos"][0]["id"], json!(id), "{copy}");

    for (status, body) in [wants_of(&other, &id).await, wants_of(&other, &studio.gateway.assets()[0]).await] {
        assert_eq!((status, code(&body)), (404, "no_such_photo"));
    }
    assert_eq!(other.get(&format!("/photos/{id}")).await.0, 404);
    assert_eq!(delete(&other, &format!("/photos/{id}")).await, 404);
    let (_, listed) = other.get("/photos").await;
    assert_eq!(listed["photos"], json!([]));
    assert_eq!(purse(&other).await, (10, 0));
}

async fn of_fifty_photos_at_once_no_more_are_kept_than_one_person_may_give_a_day(engine: Engine) {
    let studio = Studio::on(engine).await;
    let customer = studio.customer(1).await;
    let answers = join_all((0..50).map(|_| gives(&customer, PNG))).await;
    let kept = answers.iter().filter(|(status, _)| *status == 201).count();
    let refused = answers.iter().filter(|(status, _)| *status == 429).count();
    let busy = answers.iter().filter(|(status, _)| *status == 503).count();
    assert_eq!((kept, kept + refused + busy), (3, 50), "{answers:?}");
    assert_eq!(studio.gateway.assets().len(), 3);
    let (status, body) = gives(&customer, PNG).await;
    assert_eq!((status, code(&body)), (429, "too_many_photos"));
}

async fn photos_go_with_their_owner_in_the_bucket_and_at_the_gateway(engine: Engine) {
    let studio = Studio::on(engine).await;
    let customer = studio.customer(1).await;
    let (first, second) = (given(&customer, PNG).await, given(&customer, JPEG).await);
    photo_is(&customer, &first, "ready").await;
    assert_eq!(delete(&customer, &format!("/photos/{first}")).await, 204);
    assert_eq!(customer.get(&format!("/photos/{first}")).await.0, 404);
    let (_, listed) = customer.get("/photos").await;
    assert_eq!(listed["photos"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed["photos"][0]["id"], json!(second));
    let done = studio.market.chores().await;
    assert_eq!(done["files"], 2, "{done}");
    assert_eq!((studio.market.sim.cos().keys().len(), studio.gateway.assets().len()), (1, 1));

    assert_eq!(customer.ask(Method::DELETE, "/me").send().await.unwrap().status(), 204);
    studio.gateway.hold_assets(true);
    studio.market.chores().await;
    assert_eq!(studio.gateway.assets().len(), 1, "a job uses it");
    studio.gateway.hold_assets(false);
    studio.time_passes().await;
    studio.market.chores().await;
    assert!(studio.market.sim.cos().keys().is_empty() && studio.gateway.assets().is_empty());
}

async fn a_photo_is_forgotten_when_its_time_is_over(engine: Engine) {
    let studio = Studio::on(engine).await;
    let customer = studio.customer(10).await;
    let id = given(&customer, PNG).await;
    photo_is(&customer, &id, "ready").await;
    studio.time_passes().await;
    let (status, body) = wants_of(&customer, &id).await;
    assert_eq!((status, code(&body)), (404, "no_such_photo"));
    studio.market.chores().await;
    let (_, listed) = customer.get("/photos").await;
    assert_eq!(listed["photos"], json!([]));
    assert!(studio.market.sim.cos().keys().is_empty() && studio.gateway.assets().is_empty());
}

#[tokio::test]
async fn what_the_check_advises_against_is_seen_by_nobody_and_used_for_nothing() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    for verdict in [Verdict::RISKY, Verdict::REVIEW] {
        studio.market.sim.judge_pictures("photos/", verdict);
        let id = given(&customer, PNG).await;
        let photo = photo_is(&customer, &id, "refused").await;
        assert_eq!(photo["url"], Value::Null);
        let (status, body) = wants_of(&customer, &id).await;
        assert_eq!((status, code(&body)), (422, "content_refused"));
    }
    assert_eq!(purse(&customer).await, (10, 0));
}

#[tokio::test]
async fn a_photo_that_is_not_checked_yet_is_used_for_nothing() {
    let studio = Studio::with_slow_checks(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    let id = given(&customer, JPEG).await;
    let photo = photo_is(&customer, &id, "checking").await;
    assert_eq!(photo["url"], Value::Null);
    let (status, body) = wants_of(&customer, &id).await;
    assert_eq!((status, code(&body)), (409, "photo_not_ready"));
    assert_eq!(purse(&customer).await, (10, 0));

    let checks = || {
        let seen = studio.market.sim.requests();
        seen.iter().filter(|seen| seen.line.ends_with("/wxa/media_check_async")).count()
    };
    assert_eq!(checks(), 1);
    studio.market.execute("UPDATE photos SET asked_at = 1").await;
    for _ in 0..3 {
        photo_is(&customer, &id, "checking").await;
    }
    assert_eq!(checks(), 2, "a check whose end nobody told is asked for again, once");
}

#[tokio::test]
async fn a_photo_whose_giver_has_to_come_again_is_kept_once_and_checked_at_a_later_look() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(1).await;
    for (kept, errcode) in [(1, 61010), (2, 43104)] {
        let refuse_checks = || {
            let matching = "/wxa/media_check_async".to_owned();
            studio.market.sim.fault(Fault { matching, times: 1, trouble: Trouble::Wx { errcode } });
        };
        refuse_checks();
        let (status, photo) = gives(&customer, PNG).await;
        assert_eq!((status, &photo["state"]), (201, &json!("checking")), "{photo}");
        let id = photo["id"].as_str().unwrap();

        refuse_checks();
        studio.market.execute("UPDATE photos SET asked_at = 1").await;
        let (status, body) = customer.get(&format!("/photos/{id}")).await;
        assert_eq!((status, code(&body)), (409, "login_again"));

        studio.market.execute("UPDATE photos SET asked_at = 1").await;
        photo_is(&customer, id, "ready").await;
        let (_, listed) = customer.get("/photos").await;
        assert_eq!(listed["photos"].as_array().unwrap().len(), kept, "{listed}");
        assert_eq!((studio.market.sim.cos().keys().len(), studio.gateway.assets().len()), (kept, kept));
    }
}

#[tokio::test]
async fn a_key_names_one_wish_of_one_photo() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    let (first, second) = (given(&customer, PNG).await, given(&customer, JPEG).await);
    photo_is(&customer, &first, "ready").await;
    photo_is(&customer, &second, "ready").await;
    let ask = async |photo: &str| {
        let body = json!({"template": "portrait", "inputs": {"prompt": "一只猫", "photo": photo}});
        let request = customer.ask(Method::POST, "/artworks").header("Idempotency-Key", "wish-1");
        answer(request.json(&body).send().await.unwrap()).await
    };
    let (_, made) = ask(&first).await;
    assert_eq!(delete(&customer, &format!("/photos/{first}")).await, 204);
    let (status, again) = ask(&first).await;
    assert_eq!(
        (status, &again["id"]),
        (201, &made["id"]),
        "the wish is recorded, whatever became of the photo"
    );
    let (status, other) = ask(&second).await;
    assert_eq!((status, code(&other)), (409, "key_reused"));
    studio.gateway.succeed(&studio.gateway.job(), json!([output("a.png")]));
    studio.market.chores().await;
    let seen = sees(&customer, made["id"].as_str().unwrap()).await;
    assert_ne!(seen["state"], "failed", "{seen}");
}

#[tokio::test]
async fn a_photo_that_is_deleted_while_it_comes_leaves_nothing_behind() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(1).await;
    studio.gateway.be_slow_with_assets(true);
    let deletes = async {
        eventually("the gateway has the photo", || studio.gateway.assets().len() == 1).await;
        let (_, listed) = customer.get("/photos").await;
        assert_eq!(listed["photos"][0]["state"], "storing", "{listed}");
        let id = listed["photos"][0]["id"].as_str().unwrap().to_owned();
        assert_eq!(delete(&customer, &format!("/photos/{id}")).await, 204);
        studio.gateway.be_slow_with_assets(false);
    };
    let ((status, body), ()) = tokio::join!(gives(&customer, PNG), deletes);
    assert_eq!((status, code(&body)), (404, "not_found"));
    studio.market.chores().await;
    assert!(studio.market.sim.cos().keys().is_empty() && studio.gateway.assets().is_empty());
}

#[tokio::test]
async fn what_is_no_picture_is_not_kept() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(1).await;
    let mut huge = PNG.to_vec();
    huge[16..24].copy_from_slice(&[0, 0, 0x40, 0, 0, 0, 0x40, 0]);
    for (bytes, expected) in [
        (&b""[..], (422, "photo_unfit")),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", (422, "photo_unfit")),
        (b"GIF89a\x01\0\x01\0", (422, "photo_unfit")),
        (&PNG[..20], (422, "photo_unfit")),
        (&huge, (422, "photo_unfit")),
        (&[PNG, &vec![0; 100_001]].concat(), (413, "too_large")),
        (&vec![0; 2 << 20], (413, "too_large")),
    ] {
        let (status, body) = gives(&customer, bytes).await;
        assert_eq!((status, code(&body)), expected);
    }
    assert!(studio.market.sim.cos().keys().is_empty() && studio.gateway.assets().is_empty());
}

#[tokio::test]
async fn where_photos_cannot_be_checked_none_are_taken() {
    let studio = Studio::on(Engine::Sqlite).await;
    let Customer { person, login, .. } = studio.customer(10).await;
    let without_bucket = |config: &mut Config| {
        config.wechat.platform.as_mut().unwrap().storage = None;
        config.generation.as_mut().unwrap().ticket_url = None;
    };
    let studio = studio.restarts_with(without_bucket).await;
    let customer = studio.is_still((person, login));
    let (status, body) = gives(&customer, PNG).await;
    assert_eq!((status, code(&body)), (503, "photos_not_configured"));
    let (_, offered) = customer.get("/templates").await;
    assert!(!offered.to_string().contains("\"image\""), "{offered}");
    let (status, body) = wants_of(&customer, "00000000-0000-7000-8000-000000000000").await;
    assert_eq!((status, code(&body)), (400, "invalid_request"));
}

#[tokio::test]
async fn inside_the_container_a_photo_goes_into_the_bucket_by_a_signed_request() {
    let studio = Studio::inside_the_container(Engine::Sqlite).await;
    let customer = studio.customer(1).await;
    let id = given(&customer, PNG).await;
    photo_is(&customer, &id, "ready").await;
    assert_eq!(studio.market.sim.cos().keys().len(), 1);
}
