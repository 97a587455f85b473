//! Forms, and tickets of others, whose answers say little.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Multipart, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{post, put as put_route};

use super::*;
use crate::artifacts::sums::Sums;

type Posted = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

async fn take_form(
    State(posted): State<Posted>,
    headers: HeaderMap,
    mut form: Multipart,
) -> Result<(StatusCode, HeaderMap), StatusCode> {
    if !headers.contains_key("content-length") {
        return Err(StatusCode::LENGTH_REQUIRED);
    }
    let mut fields = Vec::new();
    while let Some(field) = form.next_field().await.unwrap() {
        let name = field.name().unwrap().to_owned();
        fields.push((name, field.bytes().await.unwrap().to_vec()));
    }
    let md5 = hex::encode(Sums::of([&fields.last().unwrap().1[..]]).md5);
    *posted.lock().unwrap() = fields;
    let etag = HeaderMap::from_iter([(reqwest::header::ETAG, format!("\"{md5}\"").parse().unwrap())]);
    Ok((StatusCode::NO_CONTENT, etag))
}

async fn serve(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = app.layer(axum::extract::DefaultBodyLimit::disable());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

#[tokio::test]
async fn a_form_is_posted_with_its_fields_in_order_and_the_file_last() {
    let world = World::start("").await;
    let posted = Posted::default();
    let url =
        serve(Router::new().route("/bucket/ai/1.png", post(take_form)).with_state(posted.clone())).await;
    let field = |name: &str, value: &str| (name.to_owned(), Secret(value.to_owned()));
    // as `tcb/uploadfile` wants them (FACTS §6.1)
    let fields = vec![
        field("key", "ai/1.png"),
        field("Signature", "q-sign-algorithm=sha1&q-ak=a"),
        field("x-cos-security-token", "token"),
        field("x-cos-meta-fileid", "ZmlsZWlkPTE="),
    ];
    let ticket = Ticket::Form {
        url: Secret(format!("{url}/bucket/ai/1.png")),
        fields: fields.clone(),
        expires_at: i64::MAX,
    };
    let large = bytes(2 * MIB);
    put(world.means(), &ticket, &world.file(&large), large.len() as u64).await.unwrap();
    let mut expected: Vec<_> = fields.into_iter().map(|(name, value)| (name, value.0.into_bytes())).collect();
    expected.push(("file".to_owned(), large));
    assert!(*posted.lock().unwrap() == expected);
}

#[tokio::test]
async fn there_already_is_believed_only_of_an_earlier_try_of_ours() {
    let world = World::start("").await;
    let answers = |answers: &[u16]| {
        let left = Arc::new(Mutex::new(answers.iter().rev().copied().collect::<Vec<_>>()));
        serve(Router::new().route(
            "/x",
            put_route(async move |_: axum::body::Bytes| {
                StatusCode::from_u16(left.lock().unwrap().pop().unwrap()).unwrap()
            }),
        ))
    };
    let path = world.file(b"bytes");
    for (given, is_done) in [(&[409][..], false), (&[500, 409], true), (&[412], false)] {
        let url = Secret(format!("{}/x", answers(given).await));
        let ticket = Ticket::Http { method: "PUT".into(), url, headers: vec![], expires_at: i64::MAX };
        let sent = put(world.means(), &ticket, &path, 5).await;
        assert_eq!(sent.is_ok(), is_done, "{given:?}: {sent:?}");
    }
}

#[tokio::test]
async fn a_desk_on_another_machine_is_asked_over_http() {
    let world = World::start("").await;
    let artifacts = world.artifacts.clone();
    let answer = async move |axum::extract::Path(token): axum::extract::Path<String>,
                             axum::Json(ask): axum::Json<Ask>| {
        match artifacts.ask(&Secret(token), ask).await {
            Ok(answer) => Ok(axum::Json(answer)),
            Err(DeskError::Expired) => Err(StatusCode::GONE),
            Err(error) => panic!("{error}"),
        }
    };
    let url = serve(Router::new().route("/v1/tickets/{token}", post(answer))).await;
    let ticket =
        world.artifacts.upload_ticket(KEY, "video/mp4", 1 << 30, Reach::Gateway(&url)).await.unwrap();
    let large = bytes(3 * MIB);
    let means = Means { desk: None, ..world.means() };
    put(means, &ticket, &world.file(&large), large.len() as u64).await.unwrap();
    assert!(world.holds(&large));
    let other = World::start("").await;
    let ticket =
        other.artifacts.upload_ticket(KEY, "video/mp4", 1 << 30, Reach::Gateway(&url)).await.unwrap();
    let strange = put(means, &ticket, &world.file(&large), large.len() as u64).await;
    assert!(matches!(strange, Err(UploadError::Expired)), "{strange:?}");
}
