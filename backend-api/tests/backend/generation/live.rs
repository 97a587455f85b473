//! Progress over sockets.

use std::time::Duration;

use backend_api::generation::Options;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::kit::{Studio, wants};
use super::studio_gateway::output;
use crate::engines::Engine;
use crate::money::market::{Customer, SOON};
use crate::people::code;
use crate::support::eventually;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn ticket(customer: &Customer<'_>) -> String {
    let (status, body) = customer.post("/sockets", json!({})).await;
    assert_eq!(status, 200, "{body}");
    body["ticket"].as_str().unwrap().to_owned()
}

/// The socket, or the status of its refusal.
async fn open(studio: &Studio, ticket: &str) -> Result<Socket, u16> {
    let url = format!("{}/ws?ticket={ticket}", studio.market.base().replace("http://", "ws://"));
    match connect_async(url).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

/// Reads until an artwork is told of for which it holds.
async fn told(socket: &mut Socket, holds: impl Fn(&Value) -> bool) -> Value {
    tokio::time::timeout(SOON, async {
        loop {
            let message = socket.next().await.unwrap().unwrap();
            if !message.is_text() {
                continue;
            }
            let news: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
            if holds(&news["artwork"]) {
                return news["artwork"].clone();
            }
        }
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_socket_tells_of_progress_and_of_the_end() {
    let studio = Studio::on(Engine::Sqlite).await;
    let (customer, other) = (studio.customer(10).await, studio.customer(10).await);
    wants(&other, "一只狗").await;
    let id = wants(&customer, "一只猫").await;
    let mut socket = open(&studio, &ticket(&customer).await).await.unwrap();
    let first = told(&mut socket, |_| true).await;
    assert_eq!((&first["id"], &first["state"]), (&json!(id), &json!("submitted")), "only one's own");

    let job = studio.job_of(&id);
    studio.gateway.place(&job);
    studio.gateway.tell(&job, json!({"status": "running", "progress": {"value": 0.5}}));
    let running = told(&mut socket, |artwork| artwork["progress"] == 0.5).await;
    assert_eq!(running["state"], "running");
    studio.gateway.succeed(&job, json!([output("cat.png")]));
    let seen = told(&mut socket, |artwork| artwork["state"] == "visible").await;
    assert_eq!(seen["pictures"].as_array().unwrap().len(), 1, "{seen}");
}

/// Looks of its own come once an hour there: what is told sooner came by the feed.
async fn where_looks_are_rare() -> Studio {
    let studio = Studio::on(Engine::Sqlite).await;
    studio.restarts_with(|config| rarely(&mut config.generation)).await
}

fn rarely(options: &mut Option<Options>) {
    options.as_mut().unwrap().live.look_every = Duration::from_secs(3_600);
}

fn is_made(artwork: &Value) -> bool {
    matches!(artwork["state"].as_str(), Some("made" | "checking" | "visible"))
}

#[tokio::test]
async fn one_feed_serves_all_sockets_and_ends_with_the_last() {
    let studio = where_looks_are_rare().await;
    let (one, other) = (studio.customer(10).await, studio.customer(10).await);
    let (cat, dog) = (wants(&one, "一只猫").await, wants(&other, "一只狗").await);
    let mut first = open(&studio, &ticket(&one).await).await.unwrap();
    let mut second = open(&studio, &ticket(&other).await).await.unwrap();
    told(&mut first, |artwork| artwork["id"] == json!(cat)).await;
    told(&mut second, |artwork| artwork["id"] == json!(dog)).await;
    eventually("the feed is read", || studio.gateway.feeds() == 1).await;

    studio.gateway.succeed(&studio.job_of(&dog), json!([output("dog.png")]));
    studio.gateway.succeed(&studio.job_of(&cat), json!([output("cat.png")]));
    assert_eq!(told(&mut first, is_made).await["id"], json!(cat));
    assert_eq!(told(&mut second, is_made).await["id"], json!(dog));
    assert_eq!(studio.gateway.feeds_asked().len(), 1);

    first.close(None).await.unwrap();
    drop(first);
    let third = wants(&other, "一只鸟").await;
    drop(second);
    eventually("nobody reads the feed", || studio.gateway.feeds() == 0).await;
    let mut again = open(&studio, &ticket(&other).await).await.unwrap();
    told(&mut again, |artwork| artwork["id"] == json!(third)).await;
    eventually("the feed is read again", || studio.gateway.feeds() == 1).await;
}

#[tokio::test]
async fn a_feed_that_breaks_off_goes_on_where_it_was() {
    let studio = where_looks_are_rare().await;
    let customer = studio.customer(10).await;
    let (cat, dog) = (wants(&customer, "一只猫").await, wants(&customer, "一只狗").await);
    let mut socket = open(&studio, &ticket(&customer).await).await.unwrap();
    told(&mut socket, |artwork| artwork["id"] == json!(cat)).await;
    eventually("the feed is read", || studio.gateway.feeds() == 1).await;
    studio.gateway.succeed(&studio.job_of(&dog), json!([output("dog.png")]));
    assert_eq!(told(&mut socket, is_made).await["id"], json!(dog));

    studio.gateway.have_no_feed(true);
    studio.gateway.cut_feeds();
    studio.gateway.succeed(&studio.job_of(&cat), json!([output("cat.png")]));
    studio.gateway.have_no_feed(false);
    assert_eq!(
        told(&mut socket, |artwork| is_made(artwork) && artwork["id"] == json!(cat)).await["id"],
        json!(cat)
    );
    let asked = studio.gateway.feeds_asked();
    assert_eq!(asked.last().unwrap().header("last-event-id"), "1");
}

#[tokio::test]
async fn without_a_feed_jobs_are_asked_about() {
    let studio = Studio::on(Engine::Sqlite).await;
    studio.gateway.have_no_feed(true);
    let customer = studio.customer(10).await;
    let id = wants(&customer, "一只猫").await;
    let mut socket = open(&studio, &ticket(&customer).await).await.unwrap();
    told(&mut socket, |artwork| artwork["state"] == "submitted").await;
    let job = studio.job_of(&id);
    studio.gateway.tell(&job, json!({"status": "running", "progress": {"value": 0.25}}));
    told(&mut socket, |artwork| artwork["progress"] == 0.25).await;
    studio.gateway.succeed(&job, json!([output("cat.png")]));
    told(&mut socket, is_made).await;
}

#[tokio::test]
async fn with_a_feed_only_jobs_that_a_device_has_are_asked_about() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(10).await;
    let (cat, dog) = (wants(&customer, "一只猫").await, wants(&customer, "一只狗").await);
    let mut socket = open(&studio, &ticket(&customer).await).await.unwrap();
    told(&mut socket, |artwork| artwork["id"] == json!(cat)).await;
    let (cat, dog) = (studio.job_of(&cat), studio.job_of(&dog));
    eventually("the feed is read", || studio.gateway.feeds() == 1).await;
    // From here the feed tells that a device has the one; only its progress is worth a question.
    studio.gateway.place(&cat);
    studio.gateway.tell(&cat, json!({"status": "running", "progress": {"value": 0.25}}));
    told(&mut socket, |artwork| artwork["progress"] == 0.25).await;
    studio.gateway.tell(&cat, json!({"status": "running", "progress": {"value": 0.5}}));
    told(&mut socket, |artwork| artwork["progress"] == 0.5).await;
    let last =
        studio.gateway.asked().into_iter().rfind(|asked| asked.line == "POST /v1/jobs/status").unwrap();
    assert!(last.body.contains(&cat) && !last.body.contains(&dog), "{}", last.body);
}

#[tokio::test]
async fn a_ticket_opens_one_socket_and_sockets_are_bounded() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(1).await;
    let good = ticket(&customer).await;
    for wrong in ["", "x", &good.replacen('0', "1", 1)] {
        assert_eq!(open(&studio, wrong).await.err(), Some(401), "{wrong}");
    }
    let (status, body) = studio.market.backend.get(&format!("/ws?ticket={good}")).await;
    assert_eq!((status, code(&body)), (400, "invalid_request"), "no WebSocket, and the ticket stays good");
    let _one = open(&studio, &good).await.unwrap();
    assert_eq!(open(&studio, &good).await.err(), Some(401), "used up");
    let _other = open(&studio, &ticket(&customer).await).await.unwrap();
    assert_eq!(open(&studio, &ticket(&customer).await).await.err(), Some(503));
}
