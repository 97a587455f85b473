//! Assets: up, down, by hash.

use gateway::store::Scope;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::world::{World, v2_code};

fn hash(bytes: &[u8]) -> String {
    format!("blake3:{}", blake3::hash(bytes).to_hex())
}

fn form(bytes: &[u8]) -> Form {
    Form::new()
        .text("content_type", "image/png")
        .text("file_path", "photo.png")
        .part("file", Part::bytes(bytes.to_vec()).file_name("ignored"))
}

async fn upload(world: &World, form: Form) -> Response {
    world.request(Method::POST, "/api/v2/assets").multipart(form).send().await.unwrap()
}

#[tokio::test]
async fn an_upload_is_hashed_kept_and_served_whole_and_in_ranges() {
    let world = World::with(vec![], "").await;
    let bytes: Vec<u8> = (0..100_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let response = upload(&world, form(&bytes)).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let asset: Value = response.json().await.unwrap();
    assert_eq!((&asset["hash"], &asset["size_bytes"]), (&json!(hash(&bytes)), &json!(bytes.len())));
    assert_eq!((&asset["created_new"], &asset["file_path"]), (&json!(true), &json!("photo.png")));
    assert_eq!(asset["expires_at"], Value::Null);

    let url = asset["url"].as_str().unwrap();
    let whole = world.client.get(url).send().await.unwrap();
    let etag = whole.headers()["etag"].clone();
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    assert_eq!(whole.headers()["x-content-type-options"], "nosniff");
    assert!(whole.headers()["content-disposition"].to_str().unwrap().starts_with("inline"));
    assert_eq!(whole.bytes().await.unwrap(), bytes);

    let part = world.client.get(url).header("range", "bytes=10-19").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], "bytes 10-19/100000");
    assert_eq!(part.bytes().await.unwrap(), bytes[10..20]);
    let tail = world.client.get(url).header("range", "bytes=-5").send().await.unwrap();
    assert_eq!(tail.bytes().await.unwrap(), bytes[99_995..]);
    let outside = world.client.get(url).header("range", "bytes=100000-").send().await.unwrap();
    assert_eq!(outside.headers()["content-range"], "bytes */100000");
    assert_eq!(v2_code(outside, StatusCode::RANGE_NOT_SATISFIABLE).await, "range_not_satisfiable");

    let head = world.client.head(url).send().await.unwrap();
    assert_eq!(
        (head.status(), &head.headers()["content-length"]),
        (StatusCode::OK, &"100000".parse().unwrap())
    );
    let known = world.client.get(url).header("if-none-match", etag).send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn parts_may_come_in_any_order_and_the_same_bytes_again_are_a_dedup_hit() {
    let world = World::with(vec![], "").await;
    let backwards = Form::new()
        .part("file", Part::bytes(b"bytes".to_vec()))
        .text("tags", "a")
        .text("tags", "b")
        .text("expires_in", "60")
        .text("expected_hash", hash(b"bytes").to_uppercase().replace("BLAKE3", "blake3"))
        .text("file_path", "folder/x.bin")
        .text("content_type", "application/octet-stream");
    let first = upload(&world, backwards).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    assert!(first.json::<Value>().await.unwrap()["expires_at"].is_string());
    let second = upload(&world, form(b"bytes")).await;
    assert_eq!(second.status(), StatusCode::OK);
    let second: Value = second.json().await.unwrap();
    assert_eq!(second["created_new"], false);
    let content = world.client.get(second["url"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(content.bytes().await.unwrap(), b"bytes"[..], "the kept bytes stay");
}

#[tokio::test]
async fn a_bad_upload_is_refused_and_keeps_nothing() {
    let world = World::with(vec![], "[http]\nmax_asset_bytes = 10\n").await;
    let plain = |field: &'static str, value: &'static str| {
        let form = Form::new().part("file", Part::bytes(b"bytes".to_vec()));
        let others = [("content_type", "image/png"), ("file_path", "a.png")];
        let others = others.into_iter().filter(|(name, _)| *name != field);
        others.fold(form, |form, (name, value)| form.text(name, value)).text(field, value)
    };
    for (form, status, code) in [
        (form(b"more than ten bytes"), 413, "payload_too_large"),
        (
            plain("expected_hash", "blake3:0000000000000000000000000000000000000000000000000000000000000000"),
            409,
            "hash_mismatch",
        ),
        (plain("expected_hash", "md5:00"), 422, "invalid_request"),
        (plain("file_path", "../a"), 422, "invalid_request"),
        (plain("file_path", "models/checkpoints/x.safetensors"), 422, "invalid_request"),
        (plain("content_type", "nothing"), 422, "invalid_request"),
        (plain("expires_in", "59"), 422, "invalid_request"),
        (plain("expires_in", "soon"), 422, "invalid_request"),
        (Form::new().text("content_type", "image/png").text("file_path", "a"), 422, "invalid_request"),
        (Form::new().part("file", Part::bytes(b"x".to_vec())), 422, "invalid_request"),
    ] {
        let response = upload(&world, form).await;
        assert_eq!(v2_code(response, StatusCode::from_u16(status).unwrap()).await, code);
    }
    let head = world
        .request(Method::HEAD, &format!("/api/v2/assets/by-hash/{}", hash(b"bytes")))
        .send()
        .await
        .unwrap();
    assert_eq!(head.status(), StatusCode::NOT_FOUND);
    let json = world.post("/api/v2/assets", &json!({})).await;
    assert_eq!(v2_code(json, StatusCode::UNSUPPORTED_MEDIA_TYPE).await, "unsupported_media_type");
}

#[tokio::test]
async fn a_hash_that_is_there_can_be_minted_from_and_one_that_is_not_looks_like_a_foreign_one() {
    let world = World::with(vec![], "").await;
    let (mine, theirs) = (world.key("mine", Scope::Submit).await, world.key("theirs", Scope::Submit).await);
    let send = world.request(Method::POST, "/api/v2/assets").bearer_auth(&mine).multipart(form(b"bytes"));
    assert_eq!(send.send().await.unwrap().status(), StatusCode::CREATED);
    let by_hash = async |key: &str, hash: &str| {
        let head =
            world.request(Method::HEAD, &format!("/api/v2/assets/by-hash/{hash}")).bearer_auth(key).send();
        let body = json!({"hash": hash.replace("%3A", ":"), "file_path": "again.png"});
        let mint =
            world.request(Method::POST, "/api/v2/assets/from-hash").bearer_auth(key).json(&body).send();
        (head.await.unwrap().status(), mint.await.unwrap())
    };
    let (head, mint) = by_hash(&mine, &hash(b"bytes").replace(':', "%3A")).await;
    assert_eq!((head, mint.status()), (StatusCode::OK, StatusCode::CREATED));
    assert_eq!(mint.json::<Value>().await.unwrap()["file_path"], "again.png");
    for (key, hash) in [(&theirs, hash(b"bytes")), (&mine, hash(b"other"))] {
        let (head, mint) = by_hash(key, &hash).await;
        assert_eq!(head, StatusCode::NOT_FOUND);
        assert_eq!(v2_code(mint, StatusCode::NOT_FOUND).await, "blob_not_found");
    }
}

#[tokio::test]
async fn a_deleted_record_is_gone_and_its_bytes_stay_for_the_other_record() {
    let world = World::with(vec![], "").await;
    let one: Value = upload(&world, form(b"bytes")).await.json().await.unwrap();
    let body = json!({"hash": hash(b"bytes"), "file_path": "other.png"});
    let other: Value = world.post("/api/v2/assets/from-hash", &body).await.json().await.unwrap();
    let path = format!("/api/v2/assets/{}", one["id"].as_str().unwrap());
    let delete = async || world.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(delete().await.status(), StatusCode::NO_CONTENT);
    assert_eq!(v2_code(delete().await, StatusCode::NOT_FOUND).await, "not_found");
    assert_eq!(world.get(&path).await.status(), StatusCode::NOT_FOUND);
    let content = world.client.get(other["url"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(content.bytes().await.unwrap(), b"bytes"[..]);
}

#[tokio::test]
async fn an_active_type_is_only_ever_a_download() {
    let world = World::with(vec![], "").await;
    for media in ["text/html", "image/svg+xml"] {
        let bytes = Part::bytes(media.as_bytes().to_vec());
        let form = Form::new().text("content_type", media).text("file_path", "x").part("file", bytes);
        let asset: Value = upload(&world, form).await.json().await.unwrap();
        let content = world.client.get(asset["url"].as_str().unwrap()).send().await.unwrap();
        assert!(content.headers()["content-disposition"].to_str().unwrap().starts_with("attachment"));
        assert!(content.headers()["content-security-policy"].to_str().unwrap().contains("sandbox"));
    }
}
