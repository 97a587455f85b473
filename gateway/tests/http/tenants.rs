//! Tenants and keys at run time, their log, and all that a tenant has.

use gateway::store::Scope;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::world::{World, picture, problem_code, slow_picture, until};

struct Office {
    world: World,
    admin: String,
}

impl Office {
    async fn open(toml: &str) -> Self {
        let world = World::with(vec![comfyui_sim::Config::default()], toml).await;
        let admin = world.key("ops", Scope::Admin).await;
        world.usable().await;
        Self { world, admin }
    }

    async fn ask(&self, key: &str, method: Method, path: &str, body: Option<&Value>) -> Response {
        let request = self.world.request(method, path).bearer_auth(key);
        let request = body.into_iter().fold(request, |request, body| request.json(body));
        request.send().await.unwrap()
    }

    /// As admin; the answer's body.
    async fn order(&self, method: Method, path: &str, body: Value, status: StatusCode) -> Value {
        let body = Some(&body).filter(|body| !body.is_null());
        let response = self.ask(&self.admin, method, path, body).await;
        let (got, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(got, status, "{path}: {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    async fn refusal(&self, method: Method, path: &str, body: Value, status: StatusCode) -> String {
        let body = Some(&body).filter(|body| !body.is_null());
        problem_code(self.ask(&self.admin, method, path, body).await, status).await
    }

    async fn works(&self, key: &str) -> bool {
        self.ask(key, Method::GET, "/v1/jobs", None).await.status() == StatusCode::OK
    }
}

#[tokio::test]
async fn a_tenant_is_made_changed_in_part_and_removed() {
    let office = Office::open("").await;
    let secret = "a very secret secret of 32 bytes";
    let settings = json!({
        "limits": {"steps": 30, "retention": {"bodies_seconds": 60}},
        "webhook": {"url": "https://backend.example/hook", "keys": [{"id": "k1", "secret": secret}]},
    });
    let new = json!({"name": "club", "weight": 2, "settings": settings});
    let made = office.order(Method::POST, "/v1/tenants", new.clone(), StatusCode::CREATED).await;
    assert_eq!(
        (&made["weight"], &made["concurrency"], &made["defined_in"]),
        (&json!(2), &Value::Null, &json!("api"))
    );
    assert_eq!(made["settings"]["webhook"]["keys"], json!([{"id": "k1"}]), "secrets are not shown");
    assert_eq!(office.refusal(Method::POST, "/v1/tenants", new, StatusCode::CONFLICT).await, "tenant_exists");

    let patch = json!({
        "concurrency": 3,
        "settings": {"limits": {"steps": null, "frames": 4}, "webhook": {"keys": [{"id": "k1"}, {"id": "k2", "secret": secret}]}},
    });
    let changed = office.order(Method::PATCH, "/v1/tenants/club", patch, StatusCode::OK).await;
    assert_eq!((&changed["weight"], &changed["concurrency"]), (&json!(2), &json!(3)));
    assert_eq!(changed["settings"]["limits"], json!({"frames": 4, "retention": {"bodies_seconds": 60}}));
    let stored = office.world.app.tenants().tenants().await.unwrap();
    let webhook = stored.iter().find(|it| it.name == "club").unwrap().settings.webhook.clone().unwrap();
    assert!(webhook.keys.iter().all(|key| key.secret.0 == secret), "the secret of k1 stayed");

    for bad in [
        json!({"weight": 0}),
        json!({"settings": {"limits": {"stepps": 1}}}),
        json!({"settings": {"sink": "nowhere"}}),
        json!({"settings": {"webhook": {"keys": [{"id": "k3"}]}}}),
        json!({"name": "other"}),
        json!([]),
    ] {
        let response = office.ask(&office.admin, Method::PATCH, "/v1/tenants/club", Some(&bad)).await;
        assert!(response.status().is_client_error(), "{bad}");
    }
    let key = office.world.key("club", Scope::Submit).await;
    assert!(office.works(&key).await);
    office.order(Method::DELETE, "/v1/tenants/club", Value::Null, StatusCode::NO_CONTENT).await;
    assert!(!office.works(&key).await, "at once");
    assert!(
        office.order(Method::GET, "/v1/tenants/club", Value::Null, StatusCode::OK).await["removed_at"]
            .is_string()
    );
    let key = json!({"tenant": "club", "scope": "read"});
    assert_eq!(office.refusal(Method::POST, "/v1/keys", key, StatusCode::CONFLICT).await, "tenant_removed");
    let everybody =
        office.refusal(Method::DELETE, "/v1/tenants/default", Value::Null, StatusCode::CONFLICT).await;
    assert_eq!(everybody, "tenant_is_default");

    let log = office.order(Method::GET, "/v1/audit?limit=3", Value::Null, StatusCode::OK).await;
    let by = office.world.app.tenants().list().await.unwrap().remove(0).id;
    assert_eq!(log["entries"][0]["action"], "tenant.removed");
    assert_eq!(log["entries"][0]["by"], by.as_str());
    let older = format!("/v1/audit?before={}", log["next_before"]);
    let older = office.order(Method::GET, &older, Value::Null, StatusCode::OK).await;
    assert_eq!(older["next_before"], Value::Null);
    let all = format!("{log}{older}");
    assert!(all.contains("\"frames\":4") && !all.contains(secret), "{all}");
}

#[tokio::test]
async fn a_tenant_of_the_file_is_changed_there_only() {
    let office =
        Office::open("[[tenants]]\nname = \"shop\"\nweight = 4\n[tenants.limits]\nqueued = 9\n").await;
    let shop = office.order(Method::GET, "/v1/tenants/shop", Value::Null, StatusCode::OK).await;
    assert_eq!((&shop["weight"], &shop["defined_in"]), (&json!(4), &json!("file")));
    assert_eq!(shop["settings"]["limits"]["queued"], 9);
    for (method, body) in [(Method::PATCH, json!({"weight": 1})), (Method::DELETE, Value::Null)] {
        let code = office.refusal(method, "/v1/tenants/shop", body, StatusCode::CONFLICT).await;
        assert_eq!(code, "tenant_in_file");
    }
    let key = json!({"tenant": "shop", "scope": "submit"});
    office.order(Method::POST, "/v1/keys", key, StatusCode::CREATED).await;
}

#[tokio::test]
async fn a_key_is_made_rotated_with_an_overlap_and_revoked() {
    let office = Office::open("").await;
    let new =
        json!({"tenant": "ops", "scope": "read", "networks": ["127.0.0.0/8"], "expires_in_seconds": 3600});
    let made = office.order(Method::POST, "/v1/keys", new, StatusCode::CREATED).await;
    let first = made["key"].as_str().unwrap().to_owned();
    let path = |made: &Value, what: &str| format!("/v1/keys/{}{what}", made["id"].as_str().unwrap());
    assert!(office.works(&first).await);

    let rotated = office
        .order(Method::POST, &path(&made, "/rotate"), json!({"overlap_seconds": 60}), StatusCode::CREATED)
        .await;
    let second = rotated["key"].as_str().unwrap().to_owned();
    assert_eq!((&rotated["scope"], &rotated["networks"]), (&json!("read"), &made["networks"]));
    assert!(office.works(&first).await && office.works(&second).await, "both for a while");
    let third = office
        .order(Method::POST, &path(&rotated, "/rotate"), json!({"overlap_seconds": 0}), StatusCode::CREATED)
        .await;
    assert!(!office.works(&second).await, "no overlap");
    office.order(Method::DELETE, &path(&made, ""), Value::Null, StatusCode::NO_CONTENT).await;
    assert!(!office.works(&first).await);
    assert!(office.works(third["key"].as_str().unwrap()).await);

    let listed = office.order(Method::GET, "/v1/keys?tenant=ops", Value::Null, StatusCode::OK).await;
    assert_eq!(listed["keys"].as_array().unwrap().len(), 4);
    let text = listed.to_string();
    assert!([first, second].iter().all(|key| !text.contains(key.as_str())), "never the keys");
    for (body, status) in [
        (json!({"tenant": "nobody", "scope": "read"}), StatusCode::NOT_FOUND),
        (json!({"tenant": "ops", "scope": "root"}), StatusCode::BAD_REQUEST),
        (json!({"tenant": "ops", "scope": "read", "networks": ["10/8"]}), StatusCode::BAD_REQUEST),
        (json!({"tenant": "ops", "scope": "read", "expires_in_seconds": 0}), StatusCode::BAD_REQUEST),
    ] {
        let response = office.ask(&office.admin, Method::POST, "/v1/keys", Some(&body)).await;
        assert_eq!(response.status(), status, "{body}");
    }
}

#[tokio::test]
async fn all_that_a_tenant_has_is_exported_and_then_deleted() {
    let office = Office::open("").await;
    let (club, other) =
        (office.world.key("club", Scope::Submit).await, office.world.key("other", Scope::Submit).await);
    let submit = async |key: &str, workflow: Value| {
        let body = json!({"workflow": workflow, "labels": {"who": "me"}});
        let response = office.ask(key, Method::POST, "/v1/jobs", Some(&body)).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        response.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let ended = async |key: &str, id: &str| {
        until("the job has ended", async || {
            let job: Value =
                office.ask(key, Method::GET, &format!("/v1/jobs/{id}"), None).await.json().await.unwrap();
            (job["status"] == "succeeded").then_some(())
        })
        .await;
    };
    let (mine, theirs) = (submit(&club, picture(1)).await, submit(&other, picture(2)).await);
    ended(&club, &mine).await;
    ended(&other, &theirs).await;
    let form = reqwest::multipart::Form::new()
        .text("content_type", "image/png")
        .text("file_path", "a.png")
        .part("file", reqwest::multipart::Part::bytes(b"bytes".to_vec()));
    let upload = office.world.request(Method::POST, "/api/v2/assets").bearer_auth(&club).multipart(form);
    assert_eq!(upload.send().await.unwrap().status(), StatusCode::CREATED);
    let long = submit(&club, slow_picture(60.0)).await;

    let export = office.ask(&office.admin, Method::GET, "/v1/tenants/club/export", None).await;
    assert_eq!(export.headers()["content-type"], "application/x-ndjson");
    let text = export.text().await.unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["tenant", "asset", "job", "job", "usage", "end"]);
    assert_eq!((&lines[2]["id"], &lines[3]["id"]), (&json!(long), &json!(mine)));
    assert_eq!(lines[3]["workflow"], picture(1));
    assert_eq!(lines[3]["labels"], json!({"who": "me"}));
    assert_eq!(lines[4]["jobs"], 1, "{}", lines[4]);
    assert_eq!(lines[5], json!({"type": "end", "assets": 1, "jobs": 2}));
    let url = lines[3]["outputs"][0]["url"].as_str().unwrap();
    let bytes = office.world.client.get(url).bearer_auth(&club).send().await.unwrap();
    assert_eq!(bytes.status(), StatusCode::OK);
    assert!(!text.contains(&theirs));

    let delete =
        async || office.order(Method::DELETE, "/v1/tenants/club/data", Value::Null, StatusCode::OK).await;
    let counts = std::cell::Cell::new((0, 0, 0));
    until("everything is gone, the running job too", async || {
        let answer = delete().await;
        let count = |name: &str| answer[name].as_u64().unwrap();
        let (jobs, assets, files) = counts.get();
        counts.set((jobs + count("jobs"), assets + count("assets"), files + count("files")));
        (answer["done"] == true).then_some(())
    })
    .await;
    assert_eq!(counts.get(), (2, 1, 3), "the original, what stood for it, and the upload");
    assert_eq!(delete().await["done"], true, "it may be repeated");
    for id in [&mine, &long] {
        let gone = office.ask(&club, Method::GET, &format!("/v1/jobs/{id}"), None).await;
        assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    }
    assert_eq!(
        office.order(Method::GET, "/v1/tenants/club", Value::Null, StatusCode::OK).await["held_bytes"],
        0
    );
    let kept = office.ask(&other, Method::GET, &format!("/v1/jobs/{theirs}"), None).await;
    assert_eq!(kept.json::<Value>().await.unwrap()["status"], "succeeded");
    let log = office.order(Method::GET, "/v1/audit", Value::Null, StatusCode::OK).await;
    let deleted = log["entries"].as_array().unwrap().iter().filter(|line| line["action"] == "data.deleted");
    assert!(deleted.clone().count() >= 2 && deleted.clone().all(|line| line["subject"] == "club"), "{log}");
}

/// Files of a folder and of those below.
fn files(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
}

#[tokio::test]
async fn all_that_was_done_for_one_person_is_exported_and_deleted_in_every_store() {
    let sink = tempfile::tempdir().unwrap();
    let toml = format!("[[sinks]]\nname = \"cn\"\nurl = \"file:{}\"\n", sink.path().display());
    let office = Office::open(&toml).await;
    let club = office.world.key("club", Scope::Submit).await;
    let settings = json!({"settings": {"sinks": ["cn"], "sink": "cn"}});
    office.order(Method::PATCH, "/v1/tenants/club", settings, StatusCode::OK).await;
    let job = |user: &str, color| json!({"workflow": picture(color), "user": user, "labels": {"of": user}});
    let together = json!({"jobs": [job("berta", 1), job("anna", 2)]});
    let request = office.world.request(Method::POST, "/v1/batches").bearer_auth(&club).json(&together);
    let batch: Value = request.header("idempotency-key", "k").send().await.unwrap().json().await.unwrap();
    let path = format!("/v1/batches/{}", batch["id"].as_str().unwrap());
    until("both have ended", async || {
        let batch: Value = office.ask(&club, Method::GET, &path, None).await.json().await.unwrap();
        (batch["counts"] == json!({"succeeded": 2})).then_some(())
    })
    .await;
    assert_eq!(files(sink.path()), 2);
    let slow = json!({"workflow": slow_picture(60.0), "user": "anna"});
    assert_eq!(office.ask(&club, Method::POST, "/v1/jobs", Some(&slow)).await.status(), StatusCode::CREATED);

    let export = async |user: &str| -> Vec<Value> {
        let path = format!("/v1/tenants/club/export?user={user}");
        let text = office.ask(&office.admin, Method::GET, &path, None).await.text().await.unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let lines = export("anna").await;
    let kinds: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["tenant", "job", "job", "usage", "end"], "{lines:?}");
    let (open, ended) = (&lines[1], &lines[2]);
    assert!([open, ended].into_iter().all(|line| line["user"] == "anna"), "{lines:?}");
    assert_eq!((&ended["batch"], &ended["outputs"][0]["at"]["sink"]), (&batch["id"], &json!("cn")));
    let mint = json!({"hash": ended["originals"][0]["hash"], "file_path": "hers.png"});
    let minted = office.ask(&club, Method::POST, "/api/v2/assets/from-hash", Some(&mint)).await;
    let (status, minted) = (minted.status(), minted.json::<Value>().await.unwrap());
    assert_eq!(status, StatusCode::CREATED, "{minted}");
    let path = format!("/api/v2/assets/{}", minted["id"].as_str().unwrap());
    assert!(office.ask(&club, Method::DELETE, &path, None).await.status().is_success());
    let told: Vec<_> = ended["events"].as_array().unwrap().iter().map(|event| &event["type"]).collect();
    assert_eq!((told.first(), told.last()), (Some(&&json!("job.accepted")), Some(&&json!("job.succeeded"))));
    assert_eq!((&lines[3]["jobs"], &lines[4]["jobs"]), (&json!(1), &json!(2)));

    let delete = async || {
        let path = "/v1/tenants/club/data?user=anna";
        office.order(Method::DELETE, path, Value::Null, StatusCode::OK).await
    };
    until("all of hers is gone, the running job too", async || {
        (delete().await["done"] == true).then_some(())
    })
    .await;
    assert_eq!(export("anna").await.len(), 2, "nothing between the first line and the last");
    assert_eq!(files(sink.path()), 1, "what is berta's stays");
    let jobs: Value = office.ask(&club, Method::GET, "/v1/jobs", None).await.json().await.unwrap();
    let left: Vec<_> = jobs["jobs"].as_array().unwrap().iter().map(|job| &job["user"]).collect();
    assert_eq!(left, [&json!("berta")]);
    let usage = office.ask(&club, Method::GET, "/v1/usage?group_by=user", None).await.text().await.unwrap();
    assert!(usage.contains("berta") && !usage.contains("anna"), "{usage}");
    let total: Value = office.ask(&club, Method::GET, "/v1/usage", None).await.json().await.unwrap();
    assert_eq!(total["total"]["jobs"], 2, "the sums stay: {total}");
    let feed = office.ask(&club, Method::GET, "/v1/events", None).await.text().await.unwrap();
    let hers = batch["jobs"][1]["id"].as_str().unwrap();
    assert!(!feed.contains(hers) && feed.contains(batch["jobs"][0]["id"].as_str().unwrap()), "{feed}");
    let again = office.world.request(Method::POST, "/v1/batches").bearer_auth(&club).json(&together);
    let again = again.header("idempotency-key", "k").send().await.unwrap();
    assert!(!again.headers().contains_key("idempotency-replayed"), "the kept answer told of her");
    let log = office.order(Method::GET, "/v1/audit", Value::Null, StatusCode::OK).await.to_string();
    assert!(log.contains("data.deleted") && !log.contains("anna"), "{log}");
    let path = "/v1/tenants/club/data?user=";
    assert_eq!(
        office.refusal(Method::DELETE, path, Value::Null, StatusCode::BAD_REQUEST).await,
        "invalid_request"
    );
}
