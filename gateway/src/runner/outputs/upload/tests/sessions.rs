//! Resumable sessions against a stand-in that keeps to what Google documents of them; the emulator that the stores are
//! tested with takes a question for the end.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::*;
use crate::artifacts::sums::Sums;

/// Chunks but the last are multiples of that.
const UNIT: u64 = 256 << 10;

#[derive(Debug, Clone, Default)]
struct Server(Arc<Mutex<Session>>);

#[derive(Debug, Default)]
struct Session {
    bytes: Vec<u8>,
    done: bool,
    canceled: bool,
    begun: usize,
    received: usize,
    questions: usize,
    /// What goes wrong with the next requests that carry bytes.
    faults: Vec<Fault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Busy,
    LoseAnswer,
    /// The chunk is kept up to there, then the answer is lost.
    KeepHalf,
    Forget,
    Hang,
    Corrupt,
}

async fn serve(State(server): State<Server>, method: Method, headers: HeaderMap, body: Body) -> Response {
    let range = headers.get("content-range").map(|range| range.to_str().unwrap().to_owned());
    let has_bytes = range.as_ref().is_some_and(|range| !range.starts_with("bytes */"));
    let fault = if has_bytes { server.0.lock().unwrap().faults.pop() } else { None };
    if fault == Some(Fault::Hang) {
        std::future::pending::<()>().await;
    }
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut session = server.0.lock().unwrap();
    session.received += body.len();
    match (method, fault) {
        (Method::DELETE, _) => {
            session.canceled = true;
            return StatusCode::from_u16(499).unwrap().into_response();
        }
        (_, Some(Fault::Busy)) => {
            return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")]).into_response();
        }
        (_, Some(Fault::Forget)) => return StatusCode::NOT_FOUND.into_response(),
        _ => {}
    }
    let kept = match fault {
        Some(Fault::KeepHalf) => body.slice(..body.len() / 2 / UNIT as usize * UNIT as usize),
        Some(Fault::Corrupt) => body.iter().map(|byte| !byte).collect(),
        _ => body,
    };
    let answer = session.take(&range.unwrap(), &kept, fault == Some(Fault::KeepHalf));
    if matches!(fault, Some(Fault::LoseAnswer | Fault::KeepHalf)) {
        let broken = stream::iter([Err::<Vec<u8>, _>(std::io::Error::other("lost"))]);
        return Response::builder().header("content-length", "9").body(Body::from_stream(broken)).unwrap();
    }
    answer
}

impl Session {
    fn take(&mut self, range: &str, bytes: &[u8], is_cut: bool) -> Response {
        let (range, total) = range.strip_prefix("bytes ").unwrap().split_once('/').unwrap();
        let total: Option<usize> = total.parse().ok();
        if self.done {
            return self.made();
        }
        if range == "*" {
            self.questions += usize::from(total.is_none());
            self.done = total == Some(self.bytes.len());
        } else {
            let (first, last) = range.split_once('-').unwrap();
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            let is_last = total == Some(last + 1);
            if first != self.bytes.len() || (!is_last && !(last + 1 - first).is_multiple_of(UNIT as usize)) {
                return StatusCode::BAD_REQUEST.into_response();
            }
            self.bytes.extend_from_slice(bytes);
            self.done = is_last && !is_cut;
        }
        if self.done { self.made() } else { self.more() }
    }

    fn more(&self) -> Response {
        let held = self.bytes.len().checked_sub(1).map(|last| ("range", format!("bytes=0-{last}")));
        let mut answer = StatusCode::PERMANENT_REDIRECT.into_response();
        for (name, value) in held {
            answer.headers_mut().insert(name, value.parse().unwrap());
        }
        answer
    }

    fn made(&self) -> Response {
        let md5 = base64::prelude::BASE64_STANDARD.encode(Sums::of([&self.bytes[..]]).md5);
        axum::Json(serde_json::json!({"md5Hash": md5, "size": self.bytes.len().to_string()})).into_response()
    }
}

/// A desk whose sessions are all at one server.
#[derive(Debug)]
struct Google {
    server: Server,
    url: String,
}

impl Desk for Google {
    fn ask<'a>(&'a self, _: &'a Secret, ask: Ask) -> BoxFuture<'a, Result<Answer, DeskError>> {
        assert!(matches!(ask, Ask::Begin { .. }), "{ask:?}");
        let mut session = self.server.0.lock().unwrap();
        (session.begun, session.done) = (session.begun + 1, false);
        session.bytes.clear();
        let begun = Answer::Session { url: Secret(self.url.clone()), chunk_bytes: 2 * UNIT };
        std::future::ready(Ok(begun)).boxed()
    }
}

async fn start() -> (World, Google) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/session", listener.local_addr().unwrap());
    let server = Server::default();
    let app = Router::new().fallback(serve).with_state(server.clone());
    let app = app.layer(axum::extract::DefaultBodyLimit::disable());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (World::start("").await, Google { server, url })
}

fn ticket() -> Ticket {
    let pieces = Pieces { above_bytes: 0, token: Secret("t".into()), desk: None, expires_at: i64::MAX };
    Ticket::BySize { whole: None, pieces }
}

const LENGTHS: [usize; 5] = [0, 1, 2 * UNIT as usize, 3 * UNIT as usize, 5 * UNIT as usize + 7];

#[tokio::test]
async fn a_file_goes_to_a_session_in_chunks() {
    for length in LENGTHS {
        let (world, google) = start().await;
        let means = Means { desk: Some(&google), ..world.means() };
        put(means, &ticket(), &world.file(&bytes(length)), length as u64).await.unwrap();
        let session = google.server.0.lock().unwrap();
        assert!(session.done && session.bytes == bytes(length), "{length}");
        assert_eq!((session.received, session.questions, world.notes()), (length, 0, 0), "{length}");
    }
}

#[tokio::test]
async fn a_session_is_asked_where_to_go_on_and_begun_anew_only_when_it_is_gone() {
    let length = LENGTHS[4];
    for (fault, begun) in [
        (Fault::Busy, 1),
        (Fault::LoseAnswer, 1),
        (Fault::KeepHalf, 1),
        (Fault::Hang, 1),
        (Fault::Forget, 2),
        (Fault::Corrupt, 2),
    ] {
        let (world, google) = start().await;
        google.server.0.lock().unwrap().faults.push(fault);
        let means = Means { desk: Some(&google), ..world.means() };
        put(means, &ticket(), &world.file(&bytes(length)), length as u64).await.unwrap();
        let session = google.server.0.lock().unwrap();
        assert!(session.done && session.bytes == bytes(length), "{fault:?}");
        assert_eq!(session.begun, begun, "{fault:?}");
    }
}

#[tokio::test]
async fn a_stream_goes_to_a_session_in_chunks_whatever_happens_to_one() {
    for length in LENGTHS {
        for fault in [None, Some(Fault::Busy), Some(Fault::LoseAnswer), Some(Fault::KeepHalf)] {
            let (world, google) = start().await;
            google.server.0.lock().unwrap().faults.extend(fault);
            let means = Means { desk: Some(&google), ..world.means() };
            let sent = super::stream(means, &ticket(), source(bytes(length)), None).await;
            assert_eq!(sent.unwrap(), length as u64);
            let session = google.server.0.lock().unwrap();
            assert!(session.done && session.bytes == bytes(length), "{length} {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_session_whose_stream_breaks_off_is_canceled() {
    let (world, google) = start().await;
    let means = Means { desk: Some(&google), ..world.means() };
    let broken = stream::iter([Ok(Bytes::from(bytes(MIB))), Err(std::io::Error::other("gone"))]);
    let sent = super::stream(means, &ticket(), broken, None).await;
    assert!(matches!(sent, Err(StreamError::Source(_))), "{sent:?}");
    assert!(google.server.0.lock().unwrap().canceled);
}
