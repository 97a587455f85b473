//! The official Python SDK of Tencent COS beside our client: `tests/stores/test_cos.py`, run by pytest.

use std::path::Path;
use std::time::Duration;

use gateway::artifacts::{Artifacts, Reach};
use gateway::link::message::Ticket;
use gateway::link::ticket::{Answer, Ask, Desk};
use serde_json::{Value, json};
use tokio::process::Command;
use wechat_sim::cos::{self, Cos};

use crate::{DEADLINE, installed};

fn case(name: &str, ticket: &Ticket) -> Value {
    let Ticket::Http { method, url, headers, .. } = ticket else { panic!("{ticket:?}") };
    let headers: serde_json::Map<_, _> =
        headers.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    json!({"name": name, "method": method, "url": url.0, "headers": headers})
}

/// Requests that our client signs, each kind of a URL there is.
async fn requests(cos: &Cos) -> Value {
    let open = |more: &str, token: Option<&'static str>| {
        let keys = move |name: &str| match name {
            "COS_SECRET_ID" => Some(cos::ID.to_owned()),
            "COS_SECRET_KEY" => Some(cos::KEY.to_owned()),
            "COS_SESSION_TOKEN" => token.map(str::to_owned),
            _ => None,
        };
        Artifacts::open_with(&cos.location(more), keys).unwrap()
    };
    let (plain, guarded, temporary) =
        (open("", None), open("&forbid_overwrite=true", None), open("", Some("TO/KEN+1=")));
    let key = "outputs/job/1-0.png";
    let ticket = plain.upload_ticket(key, "image/png", 1 << 30, Reach::Here).await.unwrap();
    let Ticket::BySize { whole: Some(whole), pieces } = ticket else { panic!("{ticket:?}") };
    let begun = plain.ask(&pieces.token, Ask::Begin { size_bytes: None }).await.unwrap();
    let Answer::Parts { upload, .. } = begun else { panic!("{begun:?}") };
    let urls = plain.ask(&pieces.token, Ask::Urls { upload, numbers: vec![7] }).await.unwrap();
    let Answer::Urls { urls, .. } = urls else { panic!("{urls:?}") };
    let (signed, _) = plain.signed_url(key, Duration::from_secs(60)).await.unwrap().unwrap();
    json!([
        case("put", &whole),
        case("get", &plain.get_ticket(key).await.unwrap()),
        case("put once", &guarded.put_ticket(key, "video/mp4; codecs=\"a b\"").await.unwrap()),
        case("put with a token", &temporary.put_ticket(key, "image/png").await.unwrap()),
        {"name": "part", "method": "PUT", "url": urls[0].0, "headers": {}},
        {"name": "download", "method": "GET", "url": signed, "headers": {}},
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_sdk_signs_as_we_do_and_is_served_as_we_are() {
    let cos = Cos::start().await;
    let address = cos.url.replace("http://cos.localhost", "127.0.0.1");
    let suite = Command::new(installed("bin/python"))
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/stores"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("STAND_IN", address)
        .env("COS_SECRET_ID", cos::ID)
        .env("COS_SECRET_KEY", cos::KEY)
        .env("REQUESTS", requests(&cos).await.to_string())
        .kill_on_drop(true)
        .output();
    let suite = tokio::time::timeout(DEADLINE * 2, suite).await.expect("the suite hangs").unwrap();
    let told = String::from_utf8_lossy(&suite.stdout);
    assert!(suite.status.success(), "{told}\n{}", String::from_utf8_lossy(&suite.stderr));
    assert!(told.contains("9 passed") && !told.contains("skipped"), "{told}");
}
