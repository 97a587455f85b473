//! What owners, strangers and reviewers do with pictures.

use reqwest::Method;
use serde_json::json;

use super::kit::{Studio, comes_to, sees};
use crate::engines::{Engine, on_every_engine};
use crate::people::code;

on_every_engine!(
    a_link_shows_the_picture_to_strangers_until_it_is_taken_back,
    what_is_reported_is_reviewed_and_taken_down_for_good,
    favourites_are_listed_and_the_deleted_are_not,
);

async fn a_link_shows_the_picture_to_strangers_until_it_is_taken_back(engine: Engine) {
    let studio = Studio::on(engine).await;
    let customer = studio.customer(10).await;
    let id = studio.made_for(&customer).await;
    comes_to(&customer, &id, "visible").await;
    let (status, link) = customer.post(&format!("/artworks/{id}/share"), json!({})).await;
    assert_eq!(status, 200, "{link}");
    assert_eq!(customer.post(&format!("/artworks/{id}/share"), json!({})).await.1, link, "one link");
    let path = format!("/shared/{}", link["token"].as_str().unwrap());
    let stranger = || studio.market.backend.get(&path);
    let (status, seen) = stranger().await;
    assert_eq!((status, seen["pictures"].as_array().unwrap().len()), (200, 1), "{seen}");
    assert!(!seen.to_string().contains("一只猫"), "what was asked for is the owner's: {seen}");
    let unshared = customer.ask(Method::DELETE, &format!("/artworks/{id}/share")).send().await.unwrap();
    assert_eq!(unshared.status(), 204);
    assert_eq!(stranger().await.0, 404);
}

async fn what_is_reported_is_reviewed_and_taken_down_for_good(engine: Engine) {
    let studio = Studio::on(engine).await;
    let (customer, stranger) = (studio.customer(10).await, studio.customer(1).await);
    let id = studio.made_for(&customer).await;
    comes_to(&customer, &id, "visible").await;
    let (_, link) = customer.post(&format!("/artworks/{id}/share"), json!({})).await;
    let path = format!("/shared/{}/report", link["token"].as_str().unwrap());
    for _ in 0..2 {
        let request = stranger.ask(Method::POST, &path).json(&json!({"reason": "不合适"}));
        assert_eq!(request.send().await.unwrap().status(), 204);
    }
    let reviewer = studio.reviewer().await;
    let (_, queue) = reviewer.get("/admin/reviews").await;
    let review = &queue["reviews"][0];
    assert_eq!((&review["reports"], &review["reasons"]), (&json!(1), &json!(["不合适"])), "{queue}");
    let (status, hidden) = reviewer.post(&format!("/admin/artworks/{id}/takedown"), json!({})).await;
    assert_eq!((status, &hidden["reason"]), (200, &json!("taken_down")), "{hidden}");
    let seen = sees(&customer, &id).await;
    assert_eq!((&seen["state"], &seen["pictures"]), (&json!("hidden"), &json!([])), "{seen}");
    let (status, body) = reviewer.post(&format!("/admin/artworks/{id}/approve"), json!({})).await;
    assert_eq!((status, code(&body)), (409, "artwork_not_visible"), "for good");
    assert_eq!(studio.market.backend.get(&path.replace("/report", "")).await.0, 404, "the link too");
}

async fn favourites_are_listed_and_the_deleted_are_not(engine: Engine) {
    let studio = Studio::on(engine).await;
    let customer = studio.customer(10).await;
    let (one, other) = (studio.made_for(&customer).await, studio.made_for(&customer).await);
    let favour = customer.ask(Method::POST, &format!("/artworks/{one}/favourite"));
    assert_eq!(favour.json(&json!({"favourite": true})).send().await.unwrap().status(), 204);
    let ids = async |query: &str| {
        let (status, list) = customer.get(&format!("/artworks{query}")).await;
        assert_eq!(status, 200, "{list}");
        let artworks = list["artworks"].as_array().unwrap();
        artworks.iter().map(|one| one["id"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(ids("?favourites=true").await, one);
    assert_eq!(ids("?limit=1").await, other, "newest first");
    assert_eq!(ids(&format!("?before={other}")).await, one);
    for status in [204, 404] {
        let delete = customer.ask(Method::DELETE, &format!("/artworks/{other}")).send().await.unwrap();
        assert_eq!(delete.status(), status);
    }
    assert_eq!(ids("").await, one);
    assert_eq!(customer.get(&format!("/artworks/{other}")).await.0, 404);
}

#[tokio::test]
async fn nobody_does_anything_with_what_is_not_theirs() {
    let studio = Studio::on(Engine::Sqlite).await;
    let (customer, other) = (studio.customer(10).await, studio.customer(1).await);
    let id = studio.made_for(&customer).await;
    comes_to(&customer, &id, "visible").await;
    let doors = [
        (Method::GET, "", json!(null)),
        (Method::DELETE, "", json!(null)),
        (Method::POST, "/cancel", json!({})),
        (Method::POST, "/favourite", json!({"favourite": true})),
        (Method::POST, "/share", json!({})),
        (Method::DELETE, "/share", json!(null)),
        (Method::POST, "/report", json!({"reason": "mine"})),
    ];
    for (method, more, body) in doors {
        let path = format!("/artworks/{id}{more}");
        let request = other.ask(method.clone(), &path).json(&body);
        assert_eq!(request.send().await.unwrap().status(), 404, "{method} {path}");
    }
    for path in ["/admin/reviews".to_owned(), format!("/admin/artworks/{id}/takedown")] {
        let method = if path.ends_with("reviews") { Method::GET } else { Method::POST };
        assert_eq!(other.ask(method, &path).send().await.unwrap().status(), 403, "{path}");
    }
    assert_eq!(other.get("/artworks").await.1["artworks"], json!([]));
}
