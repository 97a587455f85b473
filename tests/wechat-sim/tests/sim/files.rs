//! Files of the environment: tickets and forms from outside, keys inside, downloads.

use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::support::World;

const PATH: &str = "ai/2026/11/a b.png";

async fn ticket(world: &World) -> Value {
    world.post("/tcb/uploadfile", &json!({"env": world.sim.config().env, "path": PATH})).await
}

fn form(ticket: &Value) -> Form {
    let text = |name: &str| ticket[name].as_str().unwrap().to_owned();
    Form::new()
        .text("key", PATH)
        .text("Signature", text("authorization"))
        .text("x-cos-security-token", text("token"))
        .text("x-cos-meta-fileid", text("cos_file_id"))
}

fn picture() -> Part {
    Part::bytes(b"bytes of a picture".to_vec()).file_name("a.png").mime_str("image/png").unwrap()
}

async fn post(world: &World, url: &str, form: Form) -> (u16, String) {
    let answer = world.http.post(url).multipart(form).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_file_is_posted_with_its_ticket_downloaded_and_deleted() {
    let world = World::new().await;
    let ticket = ticket(&world).await;
    let url = ticket["url"].as_str().unwrap();
    assert_eq!(post(&world, url, form(&ticket).part("file", picture())).await.0, 204);
    let object = world.sim.cos().object(PATH).unwrap();
    assert_eq!(
        (object.bytes.as_slice(), object.headers["content-type"].as_str()),
        (&b"bytes of a picture"[..], "image/png")
    );

    let (env, id) = (&world.sim.config().env, ticket["file_id"].as_str().unwrap());
    assert_eq!(id, format!("cloud://{env}.{}/{PATH}", world.sim.config().bucket));
    let list = json!({"env": env, "file_list": [{"fileid": id, "max_age": 60}, {"fileid": format!("{id}x"), "max_age": 60}]});
    let found = world.post("/tcb/batchdownloadfile", &list).await["file_list"].clone();
    assert_eq!((&found[0]["status"], &found[1]["status"]), (&json!(0), &json!(-503_003)));
    let link = found[0]["download_url"].as_str().unwrap().to_owned();
    let got = world.http.get(&link).send().await.unwrap();
    assert_eq!(got.headers()["content-type"], "image/png");
    assert_eq!(got.bytes().await.unwrap(), "bytes of a picture");
    let unsigned = world.http.get(link.split('?').next().unwrap()).send().await.unwrap();
    assert_eq!(unsigned.status(), 403);

    let gone = world.post("/tcb/batchdeletefile", &json!({"env": env, "fileid_list": [id, id]})).await;
    assert_eq!(
        (&gone["delete_list"][0]["status"], &gone["delete_list"][1]["status"]),
        (&json!(0), &json!(-503_003))
    );
    assert_eq!(world.http.get(&link).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_form_that_differs_from_its_ticket_is_refused() {
    let world = World::new().await;
    let ticket = ticket(&world).await;
    let url = ticket["url"].as_str().unwrap().to_owned();
    let with = |name: &str, value: &str| {
        let mut ticket = ticket.clone();
        ticket[name] = json!(value);
        form(&ticket).part("file", picture())
    };
    for name in ["authorization", "token", "cos_file_id"] {
        let (status, body) = post(&world, &url, with(name, "another")).await;
        assert_eq!(status, 403, "{name}: {body}");
    }
    let last = form(&ticket).part("file", picture()).text("more", "x");
    assert_eq!(post(&world, &url, last).await.0, 400, "the file has to be last");
    assert_eq!(post(&world, &url, form(&ticket)).await.0, 400, "no file");
    let elsewhere = url.replace("a%20b.png", "c.png");
    assert_eq!(post(&world, &elsewhere, form(&ticket).part("file", picture())).await.0, 403);
    world.sim.cos().expire_grants();
    assert_eq!(post(&world, &url, form(&ticket).part("file", picture())).await.0, 403, "too late");
    assert_eq!(world.sim.cos().object(PATH).map(|object| object.bytes), None);
}

#[tokio::test]
async fn tickets_are_for_this_environment_and_for_good_paths() {
    let world = World::new().await;
    let ask = async |env: &str, path: &str| {
        world.post("/tcb/uploadfile", &json!({"env": env, "path": path})).await["errcode"].clone()
    };
    let env = &world.sim.config().env;
    assert_eq!(ask("another", "a.png").await, 85088);
    assert_eq!(ask(env, "").await, 40101);
    assert_eq!(ask(env, "/a.png").await, 40097);
    let inside = json!({"env": env, "path": "a.png"});
    assert_eq!(world.inside("/tcb/uploadfile", &inside).await["errcode"], 48001);
    let many: Vec<Value> = (0..51).map(|n| json!({"fileid": format!("f{n}"), "max_age": 60})).collect();
    let many = world.post("/tcb/batchdownloadfile", &json!({"env": env, "file_list": many})).await;
    assert_eq!(many["errcode"], 40097);
}

#[tokio::test]
async fn keys_and_file_ids_are_given_inside_the_container_only() {
    let world = World::new().await;
    let outside = world.http.get(format!("{}/_/cos/getauth", world.sim.url())).send().await.unwrap();
    assert_eq!(outside.status(), 404);
    let url = format!("{}/_/cos/getauth", world.sim.container_url());
    let answer = world.http.get(url).send().await.unwrap();
    assert!(answer.headers().contains_key("x-openapi-seqid"));
    let keys: Value = answer.json().await.unwrap();
    for name in ["TmpSecretId", "TmpSecretKey", "Token"] {
        assert!(keys[name].as_str().is_some_and(|text| !text.is_empty()), "{keys}");
    }
    assert!(keys["ExpiredTime"].as_i64().unwrap() > crate::support::now());
    let bucket = &world.sim.config().bucket;
    let ask = json!({"openid": "", "bucket": bucket, "paths": ["/a.png", "/b.png"]});
    let ids = world.inside("/_/cos/metaid/encode", &ask).await["respdata"]["x_cos_meta_field_strs"].clone();
    assert_eq!(ids.as_array().unwrap().len(), 2);
    let back = world.inside("/_/cos/metaid/decode", &json!({"metaid": ids[1]})).await;
    assert_eq!(back["respdata"]["path"], "/b.png");
    let wrong = json!({"openid": "", "bucket": bucket, "paths": ["a.png"]});
    assert_eq!(world.inside("/_/cos/metaid/encode", &wrong).await["errcode"], 40097);
}

#[tokio::test]
async fn the_bucket_is_found_by_its_name_or_by_a_domain_that_was_bound_to_it() {
    let world = World::new().await;
    let cos = world.sim.cos();
    let address = cos.url.replace("cos.localhost", "127.0.0.1");
    let ask = async |host: &str| {
        let answer = world.http.get(format!("{address}/x")).header("host", host).send().await.unwrap();
        answer.text().await.unwrap()
    };
    let own = address.strip_prefix("http://").unwrap();
    let named = format!("{}.cos.localhost", world.sim.config().bucket);
    assert!(ask(own).await.contains("InvalidURI"));
    assert!(ask(&named).await.contains("AccessDenied"), "found, and not signed");
    assert_eq!(cos.bind_domain(), address);
    assert!(ask(own).await.contains("AccessDenied"));
}
