//! Files of the mini program, inside the container and outside.

use std::collections::HashMap;
use std::time::Duration;

use backend_api::wechat::storage::{Place, StorageError, Upload};
use backend_api::wechat::{CallError, Options, Platform};
use jiff::Timestamp;
use serde_json::json;

use crate::stub::{Answer, Seen, Stub, fail, say};

const BUCKET: &str = "7072-prod-1-1300000000";

fn place(stub: &Stub) -> Place {
    Place {
        env: "prod-1".to_owned(),
        bucket: BUCKET.to_owned(),
        region: "ap-shanghai".to_owned(),
        endpoint: Some(stub.url.clone()),
        lifetime: Duration::from_secs(900),
    }
}

fn outside(stub: &Stub) -> Platform {
    Platform::new(Options { storage: Some(place(stub)), ..stub.options() }).unwrap()
}

fn inside(stub: &Stub) -> Platform {
    let container_base = Some(stub.url.clone());
    Platform::new(Options { storage: Some(place(stub)), container_base, ..stub.options() }).unwrap()
}

fn sidecar(seen: &Seen) -> Answer {
    match seen.path.as_str() {
        "/_/cos/getauth" => say(json!({
            "TmpSecretId": "id", "TmpSecretKey": "secret", "Token": "lent",
            "ExpiredTime": Timestamp::now().as_second() + 1800,
        })),
        "/_/cos/metaid/encode" => {
            let count = seen.json()["paths"].as_array().unwrap().len();
            let marks: Vec<String> = (0..count).map(|index| format!("mark-{index}")).collect();
            say(json!({ "errcode": 0, "respdata": { "x_cos_meta_field_strs": marks } }))
        }
        _ => Answer::Reply { status: 204, headers: Vec::new(), body: Vec::new() },
    }
}

fn paths(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn inside_a_ticket_is_a_signed_put_with_the_mark_of_the_mini_program() {
    let stub = Stub::platform(sidecar).await;
    let tickets = inside(&stub).upload_tickets(&paths(&["ai/a b.png", "ai/c.png"])).await.unwrap();
    let [asked] = &stub.asked("/_/cos/metaid/encode")[..] else { panic!("one call") };
    let body = json!({ "openid": "", "bucket": BUCKET, "paths": ["/ai/a b.png", "/ai/c.png"] });
    assert_eq!(asked.json(), body, "nobody's openid is in a file");
    let ticket = &tickets[0];
    assert_eq!(ticket.file_id, format!("cloud://prod-1.{BUCKET}/ai/a b.png"));
    assert_eq!(ticket.url.path(), "/ai/a%20b.png");
    let Upload::Put { headers } = &ticket.upload else { panic!("a PUT") };
    let headers: HashMap<&str, &str> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!((headers["x-cos-meta-fileid"], headers["x-cos-security-token"]), ("mark-0", "lent"));
    assert_eq!(headers["x-cos-forbid-overwrite"], "true");
    let signed = "q-header-list=host;x-cos-forbid-overwrite;x-cos-meta-fileid;x-cos-security-token&";
    assert!(headers["authorization"].contains(signed), "{}", headers["authorization"]);
    let left = ticket.expires_at.as_second() - Timestamp::now().as_second();
    assert!((890..=900).contains(&left), "{left}");
    assert!(tickets[1].url.as_str().ends_with("/ai/c.png"));
    let shown = format!("{tickets:?}");
    assert!(!shown.contains("lent") && !shown.contains("q-signature"), "{shown}");
}

#[tokio::test]
async fn inside_keys_are_borrowed_once_for_many_and_never_a_token() {
    let stub = Stub::platform(sidecar).await;
    let platform = inside(&stub);
    let wanted = paths(&["a.png"]);
    let tickets = futures_util::future::join_all((0..20).map(|_| platform.upload_tickets(&wanted))).await;
    assert!(tickets.into_iter().all(|tickets| tickets.unwrap().len() == 1));
    assert_eq!(stub.asked("/_/cos/getauth").len(), 1);
    assert!(stub.seen().iter().all(|seen| seen.token().is_empty()));
}

#[tokio::test]
async fn inside_a_ticket_does_not_outlive_the_keys_and_dying_keys_are_no_keys() {
    let lending = |seconds: i64| {
        move |seen: &Seen| match seen.path.as_str() {
            "/_/cos/getauth" => say(json!({
                "TmpSecretId": "id", "TmpSecretKey": "secret", "Token": "lent",
                "ExpiredTime": Timestamp::now().as_second() + seconds,
            })),
            _ => sidecar(seen),
        }
    };
    let stub = Stub::platform(lending(300)).await;
    let tickets = inside(&stub).upload_tickets(&paths(&["a.png"])).await.unwrap();
    let left = tickets[0].expires_at.as_second() - Timestamp::now().as_second();
    assert!((170..=180).contains(&left), "{left}");
    let stub = Stub::platform(lending(100)).await;
    inside(&stub).upload_tickets(&paths(&["a.png"])).await.unwrap_err();
}

#[tokio::test]
async fn inside_links_and_deletions_are_signed_here() {
    let stub = Stub::platform(|seen| match seen.path.as_str() {
        "/gone.png" => Answer::Reply { status: 404, headers: Vec::new(), body: Vec::new() },
        "/kept.png" => Answer::Reply { status: 403, headers: Vec::new(), body: Vec::new() },
        _ => sidecar(seen),
    })
    .await;
    let platform = inside(&stub);
    let id = |path: &str| format!("cloud://prod-1.{BUCKET}/{path}");
    let links = platform.download_links(&[id("ai/a.png")]).await.unwrap();
    assert!(links[0].as_str().contains("/ai/a.png?q-sign-algorithm=sha1&"), "{}", links[0]);
    platform.delete_files(&[id("ai/a.png"), id("gone.png")]).await.unwrap();
    let [deleted] = &stub.asked("/ai/a.png")[..] else { panic!("one call") };
    assert_eq!(deleted.method, "DELETE");
    assert_eq!(deleted.query["x-cos-security-token"], "lent");
    platform.delete_files(&[id("kept.png")]).await.unwrap_err();

    for foreign in ["cloud://prod-2.b/a.png", "https://example.com/a.png", "cloud://prod-1.other/a.png"] {
        let error = platform.download_links(&paths(&[foreign])).await.unwrap_err();
        assert!(matches!(error, StorageError::Unfitting), "{foreign}");
        let error = platform.delete_files(&paths(&[foreign])).await.unwrap_err();
        assert!(matches!(error, StorageError::Unfitting), "{foreign}");
    }
}

#[tokio::test]
async fn outside_a_ticket_is_a_form_whose_fields_keep_their_order() {
    let stub = Stub::platform(|seen| {
        let path = seen.json()["path"].as_str().unwrap().to_owned();
        say(json!({
            "errcode": 0, "url": format!("https://cos.ap-shanghai.myqcloud.com/{BUCKET}/{path}"),
            "token": "t", "authorization": "q-sign-algorithm=sha1&q-sign-time=1795320000;1795323600&q-ak=x",
            "file_id": format!("cloud://prod-1.{BUCKET}/{path}"), "cos_file_id": format!("mark of {path}"),
        }))
    })
    .await;
    let tickets = outside(&stub).upload_tickets(&paths(&["a.png", "b.png", "c.png"])).await.unwrap();
    assert_eq!(tickets.len(), 3);
    for (ticket, path) in tickets.iter().zip(["a.png", "b.png", "c.png"]) {
        assert!(ticket.file_id.ends_with(path), "in the order of the question");
        let Upload::Form { fields } = &ticket.upload else { panic!("a form") };
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["key", "Signature", "x-cos-security-token", "x-cos-meta-fileid"]);
        assert_eq!((fields[0].1.as_str(), fields[3].1.as_str()), (path, format!("mark of {path}").as_str()));
        assert_eq!(ticket.expires_at.as_second(), 1_795_323_600);
    }
    let asked = stub.asked("/tcb/uploadfile");
    assert!(asked.iter().all(|seen| seen.token() == "token-1" && seen.json()["env"] == "prod-1"));
}

#[tokio::test]
async fn outside_links_and_deletions_are_asked_for_in_one_call() {
    let stub = Stub::platform(|seen| match seen.path.as_str() {
        "/tcb/batchdownloadfile" => say(json!({ "errcode": 0, "file_list": [
            { "fileid": "b", "download_url": "https://example.com/b", "status": 0 },
            { "fileid": "a", "download_url": "https://example.com/a", "status": 0 },
            { "fileid": "gone", "download_url": "", "status": -503003, "errmsg": "storage file not exists" },
        ]})),
        _ => say(json!({ "errcode": 0, "delete_list": [
            { "fileid": "a", "status": 0, "errmsg": "ok" },
            { "fileid": "gone", "status": 1, "errmsg": "STORAGE_FILE_NONEXIST" },
            { "fileid": "kept", "status": -1, "errmsg": "no" },
        ]})),
    })
    .await;
    let platform = outside(&stub);
    let links = platform.download_links(&paths(&["a", "b"])).await.unwrap();
    assert_eq!(
        links.iter().map(reqwest::Url::as_str).collect::<Vec<_>>(),
        ["https://example.com/a", "https://example.com/b",]
    );
    let asked = stub.asked("/tcb/batchdownloadfile")[0].json();
    let list = json!([{ "fileid": "a", "max_age": 900 }, { "fileid": "b", "max_age": 900 }]);
    assert_eq!(asked, json!({ "env": "prod-1", "file_list": list }));
    let error = platform.download_links(&paths(&["gone"])).await.unwrap_err();
    assert!(matches!(error, StorageError::NotFound));

    platform.delete_files(&paths(&["a", "gone"])).await.unwrap();
    let asked = stub.asked("/tcb/batchdeletefile")[0].json();
    assert_eq!(asked, json!({ "env": "prod-1", "fileid_list": ["a", "gone"] }));
    platform.delete_files(&paths(&["a", "kept"])).await.unwrap_err();
    platform.delete_files(&paths(&["unmentioned"])).await.unwrap_err();
}

#[tokio::test]
async fn too_many_files_and_a_missing_bucket_are_no_calls() {
    let stub = Stub::platform(|_| fail(0)).await;
    let error = stub.client().upload_tickets(&paths(&["a"])).await.unwrap_err();
    assert!(matches!(error, StorageError::NotConfigured));
    let many: Vec<String> = (0..51).map(|index| format!("{index}")).collect();
    for platform in [inside(&stub), outside(&stub)] {
        assert!(matches!(platform.upload_tickets(&many).await.unwrap_err(), StorageError::Unfitting));
        assert!(matches!(platform.download_links(&many).await.unwrap_err(), StorageError::Unfitting));
        assert!(matches!(platform.delete_files(&many).await.unwrap_err(), StorageError::Unfitting));
    }
    assert!(stub.seen().is_empty());
}

#[tokio::test]
async fn an_environment_without_storage_is_an_error_of_the_settings() {
    let stub = Stub::platform(|_| fail(85088)).await;
    let error = outside(&stub).upload_tickets(&paths(&["a"])).await.unwrap_err();
    assert!(matches!(error, StorageError::Platform(CallError::Misconfigured(_))), "{error}");
}
