//! Progress over sockets.

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
    studio.gateway.tell(&job, json!({"status": "running", "progress": {"value": 0.5}}));
    let running = told(&mut socket, |artwork| artwork["progress"] == 0.5).await;
    assert_eq!(running["state"], "running");
    studio.gateway.succeed(&job, json!([output("cat.png")]));
    let seen = told(&mut socket, |artwork| artwork["state"] == "visible").await;
    assert_eq!(seen["pictures"].as_array().unwrap().len(), 1, "{seen}");
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
