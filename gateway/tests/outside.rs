//! The client for URLs that callers name, over real sockets and with a resolver that lies.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::get;
use gateway::config;
use gateway::outside::{Outside, OutsideError, Refusal, Request};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::TcpListener;

/// Answers with each list in turn, then with the last for ever.
struct Script {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Script {
    fn of(answers: &[&str]) -> Arc<Self> {
        let list = |answer: &&str| answer.split_whitespace().map(|ip| ip.parse().unwrap()).collect();
        Arc::new(Self { answers: Mutex::new(answers.iter().map(list).collect()), asked: AtomicUsize::new(0) })
    }
}

struct Scripted(Arc<Script>);

impl Resolve for Scripted {
    fn resolve(&self, _: Name) -> Resolving {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.0.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        let found: Vec<_> = answer.unwrap().into_iter().map(|ip| SocketAddr::new(ip, 0)).collect();
        Box::pin(async move { Ok(Box::new(found.into_iter()) as Addrs) })
    }
}

/// A server that counts who comes.
struct Server {
    address: SocketAddr,
    heard: Arc<AtomicUsize>,
}

impl Server {
    async fn start(ip: &str, port: u16) -> Self {
        let heard = Arc::new(AtomicUsize::new(0));
        let count = heard.clone();
        let listener = TcpListener::bind((ip, port)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new()
            .route(
                "/",
                get(|| async { ([(header::CONNECTION, "close")], "hello") })
                    .post(|body: String| async { body }),
            )
            .route("/headers", get(|headers: HeaderMap| async move { format!("{headers:?}") }))
            .route("/big", get(|| async { "x".repeat(100_000) }))
            .route("/busy", get(|| async { (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "7")]) }))
            .route("/never", get(std::future::pending::<()>))
            .route(
                "/away",
                get(move || async move {
                    (StatusCode::FOUND, [(header::LOCATION, format!("http://127.0.0.1:{}/", address.port()))])
                }),
            )
            .layer(axum::middleware::from_fn(move |request, next: axum::middleware::Next| {
                count.fetch_add(1, Ordering::SeqCst);
                next.run(request)
            }));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, heard }
    }

    fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.address.port())
    }

    fn heard(&self) -> usize {
        self.heard.load(Ordering::SeqCst)
    }
}

fn settings(allow: &[&str], http: &[&str]) -> config::Outside {
    let list = |entries: &[&str]| entries.iter().map(|&entry| entry.to_owned()).collect();
    config::Outside {
        allow: list(allow),
        allow_http: list(http),
        ports: vec![],
        ..config::Outside::default()
    }
}

async fn fetch(outside: &Outside, url: &str) -> Result<(StatusCode, String), OutsideError> {
    let answer = outside.send(Request::get(outside.check(url)?)).await?;
    let status = answer.status();
    Ok((status, String::from_utf8(answer.bytes().await?.to_vec()).unwrap()))
}

fn refused<T: std::fmt::Debug>(result: Result<T, OutsideError>) -> Refusal {
    match result {
        Err(OutsideError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn an_allowed_host_is_spoken_to_and_nothing_of_the_environment_is_used() {
    let server = Server::start("127.0.0.2", 0).await;
    let outside = Outside::open(&settings(&["127.0.0.2"], &["127.0.0.2"])).unwrap();
    assert_eq!(
        fetch(&outside, &server.url("127.0.0.2", "/")).await.unwrap(),
        (StatusCode::OK, "hello".into())
    );
    let headers = fetch(&outside, &server.url("127.0.0.2", "/headers")).await.unwrap().1;
    assert!(headers.contains("darkroom-gateway/") && !headers.contains("cookie"), "{headers}");
    let post = Request::post(outside.check(&server.url("127.0.0.2", "/")).unwrap(), "body");
    assert_eq!(outside.send(post).await.unwrap().bytes().await.unwrap(), "body");
    let busy =
        outside.send(Request::get(outside.check(&server.url("127.0.0.2", "/busy")).unwrap())).await.unwrap();
    assert_eq!((busy.status().as_u16(), busy.retry_after()), (429, Some(Duration::from_secs(7))));
}

#[tokio::test]
async fn a_name_that_changes_its_address_after_the_first_answer_gains_nothing() {
    let good = Server::start("127.0.0.2", 0).await;
    let inner = Server::start("127.0.0.1", good.address.port()).await;
    let script = Script::of(&["127.0.0.2", "127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254"]);
    let settings = settings(&["127.0.0.2"], &["rebind.example"]);
    let outside = Outside::with_resolver(&settings, Arc::new(Scripted(script.clone()))).unwrap();
    let url = good.url("rebind.example", "/");
    assert_eq!(fetch(&outside, &url).await.unwrap().0, StatusCode::OK);
    for _ in 0..4 {
        assert_eq!(refused(fetch(&outside, &url).await), Refusal::Address);
    }
    assert_eq!(
        script.asked.load(Ordering::SeqCst),
        5,
        "asked once a connection: what was judged is what is used"
    );
    assert_eq!((good.heard(), inner.heard()), (1, 0));
}

#[tokio::test]
async fn of_many_addresses_only_those_that_may_be_reached_are_tried() {
    let good = Server::start("127.0.0.2", 0).await;
    let inner = Server::start("127.0.0.1", good.address.port()).await;
    let script = Script::of(&["127.0.0.1 10.0.0.1 ::1 127.0.0.2"]);
    let settings = settings(&["127.0.0.2"], &["mixed.example"]);
    let outside = Outside::with_resolver(&settings, Arc::new(Scripted(script))).unwrap();
    assert_eq!(fetch(&outside, &good.url("mixed.example", "/")).await.unwrap().0, StatusCode::OK);
    assert_eq!((good.heard(), inner.heard()), (1, 0));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let server = Server::start("127.0.0.2", 0).await;
    let inner = Server::start("127.0.0.1", server.address.port()).await;
    let outside = Outside::open(&settings(&["127.0.0.2"], &["127.0.0.2"])).unwrap();
    assert_eq!(fetch(&outside, &server.url("127.0.0.2", "/away")).await.unwrap().0, StatusCode::FOUND);
    assert_eq!(inner.heard(), 0);
}

#[tokio::test]
async fn private_names_and_addresses_are_refused_without_a_connection() {
    let inner = Server::start("127.0.0.1", 0).await;
    let script = Script::of(&["127.0.0.1"]);
    let settings = settings(&[], &["a.example", "127.0.0.0/8", "localhost"]);
    let outside = Outside::with_resolver(&settings, Arc::new(Scripted(script.clone()))).unwrap();
    assert_eq!(refused(fetch(&outside, &inner.url("a.example", "/")).await), Refusal::Address);
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "[::ffff:7f00:1]"] {
        assert_eq!(refused(fetch(&outside, &inner.url(host, "/")).await), Refusal::Address, "{host}");
    }
    assert_eq!(refused(fetch(&outside, &inner.url("localhost", "/")).await), Refusal::Host);
    assert_eq!(
        script.asked.load(Ordering::SeqCst),
        1,
        "an address is not looked up, and neither is localhost"
    );
    assert_eq!(inner.heard(), 0);
}

#[tokio::test]
async fn an_answer_is_bounded_in_bytes_and_in_time() {
    let server = Server::start("127.0.0.2", 0).await;
    let outside = Outside::open(&settings(&["127.0.0.2"], &["127.0.0.2"])).unwrap();
    let request = |path: &str| Request::get(outside.check(&server.url("127.0.0.2", path)).unwrap());
    let big = Request { max_answer_bytes: Some(50_000), ..request("/big") };
    assert!(matches!(outside.send(big).await.unwrap().bytes().await, Err(OutsideError::TooLarge(50_000))));
    assert_eq!(outside.send(request("/big")).await.unwrap().bytes().await.unwrap().len(), 100_000);
    let never = Request { within: Some(Duration::from_millis(50)), ..request("/never") };
    assert!(matches!(outside.send(never).await, Err(OutsideError::TimedOut)));
}

#[tokio::test]
async fn one_destination_gets_its_share_of_requests_and_no_more() {
    let server = Server::start("127.0.0.2", 0).await;
    let other = Server::start("127.0.0.2", 0).await;
    let settings = config::Outside { per_destination: 2, ..settings(&["127.0.0.2"], &["127.0.0.2"]) };
    let outside = Outside::open(&settings).unwrap();
    let request =
        |server: &Server, path: &str| Request::get(outside.check(&server.url("127.0.0.2", path)).unwrap());
    let held = [
        outside.send(request(&server, "/big")).await.unwrap(),
        outside.send(request(&server, "/big")).await.unwrap(),
    ];
    let third = Request { within: Some(Duration::from_millis(50)), ..request(&server, "/") };
    assert!(matches!(outside.send(third.clone()).await, Err(OutsideError::Busy)));
    assert!(outside.send(request(&other, "/")).await.is_ok(), "another destination is not held up");
    drop(held);
    assert!(outside.send(Request { within: None, ..third }).await.is_ok());
}

#[tokio::test]
async fn nobody_there_is_told_without_the_url() {
    let port = TcpListener::bind("127.0.0.2:0").await.unwrap().local_addr().unwrap().port();
    let outside = Outside::open(&settings(&["127.0.0.2"], &["127.0.0.2"])).unwrap();
    let error = fetch(&outside, &format!("http://127.0.0.2:{port}/?token=secret")).await.unwrap_err();
    assert!(matches!(error, OutsideError::Unreachable(_)), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("secret"), "{error:?}");
}
