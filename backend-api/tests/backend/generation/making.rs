//! The road from a wish to a picture, and what may go wrong on it.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::kit::{
    MAX_OPEN, PRICE, Studio, asks, bucket_of, comes_to, purse, seconds_now, sees, signature, wants,
};
use super::studio_gateway::output;
use crate::engines::{Engine, on_every_engine};
use crate::people::code;
use crate::support::answer;

on_every_engine!(
    a_picture_is_made_paid_checked_and_seen_by_its_owner,
    a_failed_job_gives_the_credits_back,
    fifty_copies_of_an_event_at_once_settle_once,
    a_person_who_leaves_takes_their_pictures_along,
    of_fifty_wishes_at_once_no_more_are_made_than_one_person_may,
    who_leaves_while_they_wish_leaves_nothing_behind,
);

async fn a_picture_is_made_paid_checked_and_seen_by_its_owner(engine: Engine) {
    let studio = Studio::on(engine).await;
    let customer = studio.customer(10).await;
    let (status, offered) = customer.get("/templates").await;
    assert_eq!(status, 200, "{offered}");
    let names: Vec<&str> =
        offered["templates"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["lacking", "portrait"], "only what is offered");
    assert_eq!(offered["templates"][1]["credits"], PRICE);
    assert_eq!(offered["templates"][1]["parameters"].as_array().unwrap().len(), 3, "{offered}");
    assert!(!offered.to_string().contains("targets"), "{offered}");

    let id = wants(&customer, "一只猫").await;
    assert_eq!(purse(&customer).await, (10 - PRICE, PRICE));
    let job = studio.gateway.job();
    studio.gateway.tell(&job, json!({"status": "running", "progress": {"value": 0.5}}));
    let running = sees(&customer, &id).await;
    assert_eq!((&running["state"], &running["progress"]), (&json!("running"), &json!(0.5)), "{running}");

    let event = studio.gateway.succeed(&job, json!([output("a.png"), output("b.png")]));
    assert_eq!(studio.hears("/callbacks/gateway", &event).await.0, 204);
    assert_eq!(purse(&customer).await, (10 - PRICE, 0));
    let seen = comes_to(&customer, &id, "visible").await;
    assert_eq!(seen["pictures"].as_array().unwrap().len(), 2, "{seen}");
    assert_eq!(seen["pictures"][0]["url"], "https://gateway.example.com/a.png");
    let (_, list) = customer.get("/artworks").await;
    assert_eq!(list["artworks"][0]["id"], json!(id), "{list}");
    studio.books_balance().await;
}

async fn a_failed_job_gives_the_credits_back(engine: Engine) {
    let studio = Studio::on(engine).await;
    let customer = studio.customer(5).await;
    let id = wants(&customer, "一只猫").await;
    let event = studio.gateway.fail(&studio.gateway.job());
    assert_eq!(studio.hears("/callbacks/gateway", &event).await.0, 204);
    let seen = sees(&customer, &id).await;
    assert_eq!((&seen["state"], &seen["reason"]), (&json!("failed"), &json!("out_of_memory")), "{seen}");
    assert_eq!(purse(&customer).await, (5, 0));
    studio.books_balance().await;
}

async fn fifty_copies_of_an_event_at_once_settle_once(engine: Engine) {
    let studio = Studio::on(engine).await;
    let customer = studio.customer(10).await;
    let id = wants(&customer, "一只猫").await;
    let event = studio.gateway.succeed(&studio.gateway.job(), json!([output("a.png")]));
    let answers = join_all((0..50).map(|_| studio.hears("/callbacks/gateway", &event))).await;
    assert!(answers.iter().any(|(status, _)| *status == 204), "{answers:?}");
    assert!(answers.iter().all(|(status, _)| [204, 503].contains(status)), "{answers:?}");
    comes_to(&customer, &id, "visible").await;
    assert_eq!(purse(&customer).await, (10 - PRICE, 0));
    studio.books_balance().await;
}

async fn a_person_who_leaves_takes_their_pictures_along(engine: Engine) {
    let studio = Studio::on(engine).await;
    let customer = studio.customer(10).await;
    let open = wants(&customer, "一只狗").await;
    let leave = customer.ask(Method::DELETE, "/me").send().await.unwrap();
    assert_eq!(leave.status(), 409, "one is being made");
    let (status, canceled) = customer.post(&format!("/artworks/{open}/cancel"), json!({})).await;
    assert_eq!((status, &canceled["state"]), (200, &json!("canceled")), "{canceled}");
    assert_eq!(purse(&customer).await, (10, 0));
    studio.made_for(&customer).await;
    let (_, copy) = customer.get("/me/export").await;
    let held = copy["artworks"].to_string();
    assert!(held.contains("一只猫") && held.contains("portrait"), "{held}");
    assert_eq!(customer.ask(Method::DELETE, "/me").send().await.unwrap().status(), 204);
    studio.books_balance().await;
}

async fn of_fifty_wishes_at_once_no_more_are_made_than_one_person_may(engine: Engine) {
    let studio = Studio::on(engine).await;
    let customer = studio.customer(1_000).await;
    let answers = join_all((0..50).map(|_| asks(&customer, "一只猫"))).await;
    let made = answers.iter().filter(|(status, _)| *status == 201).count();
    let refused = answers.iter().filter(|(status, _)| *status == 409).count();
    let busy = answers.iter().filter(|(status, _)| *status == 503).count();
    assert_eq!((made, made + refused + busy), (MAX_OPEN, 50), "{answers:?}");
    let is_word = |body: &Value| code(body) == "too_many_open_artworks";
    assert!(answers.iter().all(|(status, body)| *status != 409 || is_word(body)), "{answers:?}");
    assert_eq!(studio.gateway.jobs().len(), MAX_OPEN);
    let held = PRICE * i64::try_from(MAX_OPEN).unwrap();
    assert_eq!(purse(&customer).await, (1_000 - held, held));
    studio.books_balance().await;
}

/// Either a wish came first and nobody can leave, or the person left first and there is no wish.
async fn who_leaves_while_they_wish_leaves_nothing_behind(engine: Engine) {
    let studio = Studio::on(engine).await;
    for _ in 0..5 {
        let customer = studio.customer(10).await;
        let leave = customer.ask(Method::DELETE, "/me").send();
        let (answers, left) = tokio::join!(join_all((0..3).map(|_| asks(&customer, "一只猫"))), leave);
        let made = answers.iter().filter(|(status, _)| *status == 201).count();
        match left.unwrap().status().as_u16() {
            204 => assert_eq!(made, 0, "{answers:?}"),
            409 => assert!(made > 0, "{answers:?}"),
            status => assert_eq!(status, 503),
        }
    }
    studio.books_balance().await;
}

#[tokio::test]
async fn the_feed_alone_tells_of_an_end() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    let id = wants(&customer, "一只猫").await;
    studio.gateway.succeed(&studio.gateway.job(), json!([output("a.png")]));
    let done = studio.market.chores().await;
    assert_eq!(done["events"], 1, "{done}");
    assert_eq!(purse(&customer).await, (10 - PRICE, 0));
    comes_to(&customer, &id, "visible").await;
    let looks = studio.gateway.asked().into_iter().filter(|asked| asked.line.starts_with("GET /v1/jobs/"));
    assert_eq!(looks.count(), 0, "nobody had to look at the job");
}

#[tokio::test]
async fn a_lost_reply_makes_one_job_which_is_found_by_its_label() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    studio.gateway.lose_replies(1);
    let id = wants(&customer, "一只猫").await;
    assert_eq!(sees(&customer, &id).await["state"], "created");
    let event = studio.gateway.succeed(&studio.gateway.job(), json!([output("a.png")]));
    assert_eq!(studio.hears("/callbacks/gateway", &event).await.0, 204);
    comes_to(&customer, &id, "visible").await;
    assert_eq!(purse(&customer).await, (10 - PRICE, 0));
}

#[tokio::test]
async fn what_the_gateway_had_no_room_for_is_submitted_later() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    studio.gateway.be_full(true);
    let id = wants(&customer, "一只猫").await;
    studio.gateway.be_full(false);
    studio.time_passes().await;
    studio.market.chores().await;
    assert_eq!(sees(&customer, &id).await["state"], "submitted");
    assert_eq!(studio.gateway.jobs().len(), 1);
}

#[tokio::test]
async fn what_the_gateway_refuses_costs_nothing() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    studio.gateway.refuse("template_parameters_invalid");
    let (status, body) = asks(&customer, "一只猫").await;
    assert_eq!((status, code(&body)), (422, "template_parameters_invalid"));
    assert_eq!(purse(&customer).await, (10, 0));
}

#[tokio::test]
async fn words_that_are_risky_or_doubtful_reach_nobody_and_cost_nothing() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    for words in ["something forbidden", "可疑的东西"] {
        let (status, body) = asks(&customer, words).await;
        assert_eq!((status, code(&body)), (422, "content_refused"), "{words}");
    }
    assert_eq!(purse(&customer).await, (10, 0));
    assert!(studio.gateway.jobs().is_empty());
}

#[tokio::test]
async fn nothing_is_made_on_credit() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(PRICE - 1).await;
    let (status, body) = asks(&customer, "一只猫").await;
    assert_eq!((status, code(&body)), (409, "not_enough_credits"));
    assert!(studio.gateway.jobs().is_empty());
    assert_eq!(purse(&customer).await, (PRICE - 1, 0));
}

#[tokio::test]
async fn a_key_names_one_wish() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    let ask = async |prompt: &str| {
        let body = json!({"template": "portrait", "inputs": {"prompt": prompt}});
        let request = customer.ask(Method::POST, "/artworks").header("Idempotency-Key", "wish-1");
        answer(request.json(&body).send().await.unwrap()).await
    };
    let (first, second) = tokio::join!(ask("一只猫"), ask("一只猫"));
    assert_eq!((first.0, second.0), (201, 201), "{first:?} {second:?}");
    assert_eq!(first.1["id"], second.1["id"]);
    let (status, other) = ask("一只狗").await;
    assert_eq!((status, code(&other)), (409, "key_reused"));
    assert_eq!(studio.gateway.jobs().len(), 1);
    assert_eq!(purse(&customer).await, (10 - PRICE, PRICE));
}

#[tokio::test]
async fn what_cannot_be_made_is_told_by_name() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    let cases = [
        (json!({"template": "secret"}), 404, "no_such_template"),
        (json!({"template": "nobody"}), 404, "no_such_template"),
        (json!({"template": "lacking"}), 503, "template_unavailable"),
        (json!({"template": "portrait", "inputs": {"prompt": "x", "photo": "id"}}), 404, "no_such_photo"),
        (json!({"template": "portrait", "inputs": {"prompt": "x", "photo": 1}}), 404, "no_such_photo"),
        (json!({"template": "portrait", "inputs": {"prompt": "x", "other": 1}}), 400, "invalid_request"),
        (json!({"template": "portrait", "inputs": {"prompt": "x".repeat(2_501)}}), 400, "invalid_request"),
        (json!({"template": "portrait", "inputs": {"prompt": "x".repeat(1 << 20)}}), 413, "too_large"),
        (json!({"template": "portrait", "class": "vip"}), 400, "invalid_request"),
        (json!({"template": "portrait", "inputs": []}), 400, "invalid_request"),
        (json!([]), 400, "invalid_request"),
    ];
    for (body, status, expected) in cases {
        let (found, answer) = customer.post("/artworks", body).await;
        assert_eq!((found, code(&answer)), (status, expected), "{answer}");
    }
    for _ in 0..MAX_OPEN {
        wants(&customer, "一只猫").await;
    }
    let (status, body) = asks(&customer, "一只猫").await;
    assert_eq!((status, code(&body)), (409, "too_many_open_artworks"));
}

#[tokio::test]
async fn nobody_but_the_gateway_tells_of_ends() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    let id = wants(&customer, "一只猫").await;
    let event = studio.gateway.succeed(&studio.gateway.job(), json!([output("a.png")]));
    let (path, now, body) = ("/callbacks/gateway", seconds_now(), event.to_string());
    assert_eq!(studio.hears_at(path, &event, now - 400).await.0, 401, "too old");
    assert_eq!(studio.hears_at(path, &event, now + 400).await.0, 401, "too early");
    let good = signature(&body, now);
    for (body, signature) in [
        (body.as_str(), String::new()),
        (body.as_str(), good.replace("v1=", "v1=0")),
        (body.as_str(), good.replace("kid=2026-11", "kid=other")),
        (&format!("{body} "), good.clone()),
        (&body.replace("a.png", "b.png"), good.clone()),
    ] {
        assert_eq!(studio.hears_signed(path, body, &signature).await.0, 401, "{signature}");
    }
    assert_eq!(purse(&customer).await, (10 - PRICE, PRICE), "still held");
    assert_eq!(studio.hears_signed(path, &body, &good).await.0, 204);
    assert_eq!(studio.hears_signed(path, &body, &good).await.0, 204, "a replay changes nothing");
    comes_to(&customer, &id, "visible").await;
    assert_eq!(purse(&customer).await, (10 - PRICE, 0));
}

#[tokio::test]
async fn a_late_contradiction_changes_nothing() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    let id = wants(&customer, "一只猫").await;
    let job = studio.gateway.job();
    let failed = studio.gateway.fail(&job);
    assert_eq!(studio.hears("/callbacks/gateway", &failed).await.0, 204);
    let succeeded = studio.gateway.succeed(&job, json!([output("a.png")]));
    assert_eq!(studio.hears("/callbacks/gateway", &succeeded).await.0, 204);
    assert_eq!(sees(&customer, &id).await["state"], "failed");
    assert_eq!(purse(&customer).await, (10, 0));
    studio.books_balance().await;
}

#[tokio::test]
async fn nothing_personal_reaches_the_gateway() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    let (status, _) = customer.post("/me/phone", json!({"code": customer.person.phone_code()})).await;
    assert_eq!(status, 200);
    let id = studio.made_for(&customer).await;
    sees(&customer, &id).await;
    studio.market.chores().await;
    let phone = customer.person.phone();
    let session_key = customer.person.session_key().unwrap();
    for asked in studio.gateway.asked() {
        let text = format!("{} {:?} {}", asked.line, asked.headers, asked.body);
        let secrets =
            [customer.person.openid(), &phone, &session_key, &customer.login.id, &customer.login.access];
        for secret in secrets {
            assert!(!text.contains(secret), "{}", asked.line);
        }
    }
    let body: Value = serde_json::from_str(
        &studio.gateway.asked().iter().find(|asked| asked.line == "POST /v1/jobs").unwrap().body,
    )
    .unwrap();
    assert_eq!(body["user"].as_str().unwrap().len(), 32, "{body}");
}

#[tokio::test]
async fn files_get_places_that_nobody_guesses_and_the_owner_gets_them_by_url() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    let id = wants(&customer, "一只猫").await;
    let job = studio.gateway.job();
    let asked = json!({"job_id": job, "attempt": 1, "user": null, "files": [
        {"index": 0, "output_id": "o", "role": "primary", "variant": null, "name": "a.png",
         "content_type": "image/png", "size_bytes": 4, "hash": "blake3:00"},
    ]});
    let path = "/internal/upload-tickets";
    let forged = signature("{}", seconds_now());
    assert_eq!(studio.hears_signed(path, &asked.to_string(), &forged).await.0, 401);
    let (status, text) = studio.hears(path, &asked).await;
    assert_eq!(status, 200, "{text}");
    let ticket = serde_json::from_str::<Value>(&text).unwrap()["tickets"][0].clone();
    let again: Value = serde_json::from_str(&studio.hears(path, &asked).await.1).unwrap();
    assert_eq!(again["tickets"][0]["key"], ticket["key"], "the same question, the same place");
    assert_eq!(ticket["method"], "POST");

    let mut form = reqwest::multipart::Form::new();
    for field in ticket["fields"].as_array().unwrap() {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        form = form.text(text(&field[0]), text(&field[1]));
    }
    let file = reqwest::multipart::Part::bytes(b"\x89PNG".to_vec()).file_name("file");
    let url = ticket["url"].as_str().unwrap();
    let uploaded = studio.market.backend.client.post(url).multipart(form.part("file", file)).send().await;
    assert!(uploaded.unwrap().status().is_success());

    let mut made = output("a.png");
    made["url"] = Value::Null;
    made["object_key"] = ticket["key"].clone();
    made["meta"] = ticket["meta"].clone();
    let event = studio.gateway.succeed(&job, json!([made]));
    assert_eq!(studio.hears("/callbacks/gateway", &event).await.0, 204);
    let seen = comes_to(&customer, &id, "visible").await;
    let picture = &seen["pictures"][0];
    assert!(picture["file_id"].as_str().unwrap().starts_with("cloud://prod-sim."), "{seen}");
    let url = picture["url"].as_str().unwrap();
    let bytes = studio.market.backend.client.get(url).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(&bytes[..], b"\x89PNG");

    let deleted = customer.ask(Method::DELETE, &format!("/artworks/{id}")).send().await.unwrap();
    assert_eq!(deleted.status(), 204);
    let done = studio.market.chores().await;
    assert_eq!(done["files"], 1, "{done}");
    assert!(studio.market.sim.cos().keys().is_empty(), "the object is gone");
}

#[tokio::test]
async fn inside_the_container_a_place_is_a_signed_request() {
    let studio = Studio::inside_the_container(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    let id = wants(&customer, "一只猫").await;
    let job = studio.gateway.job();
    let file = json!({"index": 0, "name": "a.png", "content_type": "image/png", "size_bytes": 4});
    let asked = json!({"job_id": job, "attempt": 1, "user": null, "files": [file]});
    let (status, text) = studio.hears("/internal/upload-tickets", &asked).await;
    assert_eq!(status, 200, "{text}");
    let ticket = serde_json::from_str::<Value>(&text).unwrap()["tickets"][0].clone();
    assert_eq!(ticket["method"], "PUT");

    let bucket = bucket_of(&studio.market.sim);
    let address = ([127, 0, 0, 1], bucket.port().unwrap()).into();
    let client = reqwest::Client::builder().no_proxy().resolve(bucket.host_str().unwrap(), address);
    let client = client.build().unwrap();
    let mut put = client.put(ticket["url"].as_str().unwrap()).body(b"\x89PNG".to_vec());
    for (name, value) in ticket["headers"].as_object().unwrap() {
        put = put.header(name, value.as_str().unwrap());
    }
    let put = put.send().await.unwrap();
    assert!(put.status().is_success(), "{}", put.text().await.unwrap());

    let mut made = output("a.png");
    made["meta"] = ticket["meta"].clone();
    let event = studio.gateway.succeed(&job, json!([made]));
    assert_eq!(studio.hears("/callbacks/gateway", &event).await.0, 204);
    let seen = comes_to(&customer, &id, "visible").await;
    let link = seen["pictures"][0]["url"].as_str().unwrap();
    let bytes = client.get(link).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(&bytes[..], b"\x89PNG");
}

#[tokio::test]
async fn a_look_at_the_job_alone_tells_of_its_end() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    let id = wants(&customer, "一只猫").await;
    studio.gateway.succeed(&studio.gateway.job(), json!([output("a.png")]));
    studio.gateway.lose_events();
    studio.time_passes().await;
    let done = studio.market.chores().await;
    assert_eq!((&done["events"], &done["artworks"]), (&json!(0), &json!(1)), "{done}");
    assert_eq!(purse(&customer).await, (10 - PRICE, 0));
    comes_to(&customer, &id, "visible").await;
}

#[tokio::test]
async fn a_job_that_the_gateway_forgot_gives_the_credits_back() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    let id = wants(&customer, "一只猫").await;
    studio.gateway.forget();
    studio.time_passes().await;
    studio.market.chores().await;
    let seen = sees(&customer, &id).await;
    assert_eq!((&seen["state"], &seen["reason"]), (&json!("failed"), &json!("job_forgotten")), "{seen}");
    assert_eq!(purse(&customer).await, (10, 0));
}
