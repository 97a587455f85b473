//! Templates: stored, listed, run, disabled, judged against the fleet.

use gateway::store::Scope;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::v1_jobs::{path, submit};
use crate::world::{World, picture, problem_code, until};

fn template(name: &str) -> Value {
    json!({
        "name": name,
        "workflow": picture(1),
        "parameters": [
            {"name": "color", "type": "int", "targets": ["/1/inputs/color"], "min": 0, "max": 255, "default": 7},
            {"name": "size", "type": "size", "targets": ["/1/inputs"], "sizes": [[16, 16], [32, 8]], "default": [16, 16]},
            {"name": "prefix", "type": "text", "targets": ["/2/inputs/filename_prefix"], "max_length": 8},
        ],
        "meta": {"title": {"zh": "头像"}, "credits": 3},
    })
}

async fn store(world: &World, body: &Value) -> Value {
    let response = world.post("/v1/templates", body).await;
    let status = response.status();
    let stored: Value = response.json().await.unwrap();
    assert!(status.is_success(), "{stored}");
    stored
}

async fn run(world: &World, template: Value) -> Response {
    world.post("/v1/jobs", &json!({"template": template})).await
}

#[tokio::test]
async fn a_template_is_stored_listed_and_run_with_values() {
    let world = World::start().await;
    let stored = store(&world, &template("avatar")).await;
    assert_eq!(
        (&stored["version"], &stored["available"], &stored["global"]),
        (&json!(1), &json!(true), &json!(false))
    );
    assert_eq!((&stored["unavailable"], &stored["meta"]["credits"]), (&json!([]), &json!(3)));
    let again = world.post("/v1/templates", &template("avatar")).await;
    assert_eq!(again.status(), StatusCode::OK, "the same contents make no new version");
    let list = world.get_json("/v1/templates").await;
    assert_eq!((&list["templates"][0]["name"], &list["next_cursor"]), (&json!("avatar"), &Value::Null));
    assert_eq!(
        list["templates"][0]["parameters"][0],
        template("avatar")["parameters"][0]
            .as_object()
            .map(|one| {
                let mut one = one.clone();
                one.insert("required".into(), json!(false));
                Value::Object(one)
            })
            .unwrap()
    );
    let full = world.get_json("/v1/templates/avatar").await;
    assert_eq!((&full["workflow"], &full["versions"][0]["version"]), (&picture(1), &json!(1)));

    let body =
        json!({"template": {"name": "avatar", "parameters": {"color": 9, "size": [32, 8], "prefix": "me"}}});
    let job = submit(&world, body).await;
    assert_eq!(job["template"], json!({"name": "avatar", "version": 1, "seeds": {}}));
    let ended = world.reaches(path(&job), "succeeded").await;
    assert_eq!(ended["outputs"][0]["name"], "me_00001_.png");
    let id = job["id"].as_str().unwrap();
    let graph = world.get_json(&format!("/api/v2/jobs/{id}/workflow")).await;
    assert_eq!(
        graph["workflow"]["1"]["inputs"],
        json!({"width": 32, "height": 8, "batch_size": 1, "color": 9})
    );
    let of_it = world.get_json("/v1/jobs?template=avatar").await;
    assert_eq!(of_it["jobs"][0]["id"], id);
}

#[tokio::test]
async fn a_seed_is_drawn_reported_and_can_be_repeated() {
    let world = World::start().await;
    let mut seeded = template("seeded");
    seeded["parameters"] =
        json!([{"name": "seed", "type": "seed", "targets": ["/1/inputs/color"], "max": 16_777_215}]);
    store(&world, &seeded).await;
    let body = json!({"template": {"name": "seeded"}});
    let (one, other) = (submit(&world, body.clone()).await, submit(&world, body).await);
    let seed = |job: &Value| job["template"]["seeds"]["seed"].as_u64().unwrap();
    assert_ne!(seed(&one), seed(&other), "drawn anew");
    let body = json!({"template": {"name": "seeded", "version": 1, "parameters": {"seed": seed(&one)}}});
    let again = submit(&world, body).await;
    assert_eq!(seed(&again), seed(&one));
    let hash = async |job: &Value| world.reaches(path(job), "succeeded").await["outputs"][0]["hash"].clone();
    assert_eq!(hash(&one).await, hash(&again).await, "the same picture");
}

#[tokio::test]
async fn wrong_values_and_unknown_templates_are_refused_by_name() {
    let world = World::start().await;
    store(&world, &template("avatar")).await;
    let refused =
        run(&world, json!({"name": "avatar", "parameters": {"color": 256, "colour": 1, "size": [1, 1]}}))
            .await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["code"], "template_parameters_invalid");
    assert_eq!(
        problem["details"]["parameters"],
        json!([
            {"parameter": "colour", "reason": "there is no such parameter", "given": "1", "allowed": "color, size, prefix"},
            {"parameter": "color", "reason": "out of range", "given": "256", "allowed": "a whole number from 0 to 255"},
            {"parameter": "size", "reason": "not one of the sizes", "given": "[1,1]", "allowed": "one of [16, 16], [32, 8]"},
        ])
    );
    for (call, code) in [
        (json!({"name": "none"}), "template_not_found"),
        (json!({"name": "avatar", "version": 2}), "template_not_found"),
    ] {
        assert_eq!(problem_code(run(&world, call).await, StatusCode::UNPROCESSABLE_ENTITY).await, code);
    }
    let both = world.post("/v1/jobs", &json!({"template": {"name": "avatar"}, "workflow": picture(1)})).await;
    assert_eq!(problem_code(both, StatusCode::BAD_REQUEST).await, "invalid_request");
}

#[tokio::test]
async fn a_bad_definition_is_refused_with_all_its_faults() {
    let world = World::start().await;
    let mut bad = template("bad");
    bad["parameters"][0]["default"] = json!(999);
    bad["parameters"][1]["targets"] = json!(["/9/inputs"]);
    let refused = world.post("/v1/templates", &bad).await;
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(
        (&problem["code"], problem["details"]["faults"].as_array().unwrap().len()),
        (&json!("template_invalid"), 2)
    );
    for (body, status, code) in [
        (json!({"name": "a b", "workflow": picture(1)}), 400, "invalid_request"),
        (json!({"name": "a", "workflow": {}}), 422, "invalid_workflow"),
        (
            json!({"name": "a", "workflow": picture(1), "meta": {"x": "y".repeat(20_000)}}),
            422,
            "template_invalid",
        ),
        (json!({"name": "a", "workflow": picture(1), "paramters": []}), 400, "invalid_request"),
    ] {
        let refused = world.post("/v1/templates", &body).await;
        assert_eq!(problem_code(refused, StatusCode::from_u16(status).unwrap()).await, code, "{body}");
    }
}

#[tokio::test]
async fn what_the_fleet_lacks_is_told_and_told_anew_when_the_fleet_changes() {
    let world = World::start().await;
    let mut strange = template("strange");
    strange["workflow"]["1"]["class_type"] = json!("NoSuchClass");
    let refused = world.post("/v1/templates?strict=true", &strange).await;
    assert_eq!(problem_code(refused, StatusCode::UNPROCESSABLE_ENTITY).await, "template_unavailable");
    let stored = store(&world, &strange).await;
    assert_eq!(
        (&stored["available"], &stored["unavailable"][0]["missing"]),
        (&json!(false), &json!(["NoSuchClass"]))
    );

    let mut choosy = template("choosy");
    choosy["parameters"] = json!([{"name": "method", "type": "choice", "targets": ["/3/inputs/upscale_method"],
        "choices": ["bilinear", "magic"], "default": "bilinear"}]);
    choosy["workflow"] = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 1}},
        "3": {"class_type": "ImageScale", "inputs": {"image": ["1", 0], "upscale_method": "bilinear", "width": 8,
            "height": 8, "crop": "disabled"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
    });
    let stored = store(&world, &choosy).await;
    assert_eq!(stored["available"], true, "{stored}");
    assert_eq!(
        (&stored["unavailable"][0]["parameter"], &stored["unavailable"][0]["choice"]),
        (&json!("method"), &json!("magic"))
    );

    let nobody = World::with(vec![], "").await;
    let stored = store(&nobody, &template("avatar")).await;
    assert_eq!(stored["available"], Value::Null, "nobody knows");
}

#[tokio::test]
async fn a_disabled_version_cannot_be_run_and_a_deleted_template_is_gone() {
    let world = World::start().await;
    store(&world, &template("avatar")).await;
    let mut second = template("avatar");
    second["meta"] = json!({});
    assert_eq!(store(&world, &second).await["version"], 2);
    let order = async |what: &str| {
        let url = format!("/v1/templates/avatar/versions/2/{what}");
        world.request(Method::POST, &url).send().await.unwrap().status()
    };
    assert_eq!(order("disable").await, StatusCode::NO_CONTENT);
    let job = submit(&world, json!({"template": {"name": "avatar"}})).await;
    assert_eq!(job["template"]["version"], 1, "the newest that is enabled");
    let refused = run(&world, json!({"name": "avatar", "version": 2})).await;
    assert_eq!(problem_code(refused, StatusCode::UNPROCESSABLE_ENTITY).await, "template_disabled");
    assert_eq!(order("enable").await, StatusCode::NO_CONTENT);
    let job = submit(&world, json!({"template": {"name": "avatar"}})).await;
    assert_eq!(job["template"]["version"], 2);
    let delete =
        async || world.request(Method::DELETE, "/v1/templates/avatar").send().await.unwrap().status();
    assert_eq!((delete().await, delete().await), (StatusCode::NO_CONTENT, StatusCode::NOT_FOUND));
    let refused = run(&world, json!({"name": "avatar"})).await;
    assert_eq!(problem_code(refused, StatusCode::UNPROCESSABLE_ENTITY).await, "template_not_found");
    world.reaches(path(&job), "succeeded").await;
}

#[tokio::test]
async fn tenants_see_everybodys_templates_and_their_own_and_no_others() {
    let world = World::start().await;
    let (ours, theirs) = (world.key("ours", Scope::Admin).await, world.key("theirs", Scope::Admin).await);
    let send = async |key: &str, body: Value| {
        let request = world.request(Method::POST, "/v1/templates").bearer_auth(key).json(&body);
        request.send().await.unwrap().status()
    };
    let mut global = template("global");
    global["global"] = json!(true);
    assert_eq!(send(&ours, global).await, StatusCode::CREATED);
    assert_eq!(send(&ours, template("mine")).await, StatusCode::CREATED);
    assert_eq!(send(&theirs, template("global")).await, StatusCode::CREATED);
    let names = async |key: &str| -> Vec<(String, bool)> {
        let list: Value = world
            .request(Method::GET, "/v1/templates")
            .bearer_auth(key)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let name = |one: &Value| (one["name"].as_str().unwrap().to_owned(), one["global"].as_bool().unwrap());
        list["templates"].as_array().unwrap().iter().map(name).collect()
    };
    assert_eq!(names(&ours).await, [("global".to_owned(), true), ("mine".to_owned(), false)]);
    assert_eq!(names(&theirs).await, [("global".to_owned(), false)]);
    let peek = world.request(Method::GET, "/v1/templates/mine").bearer_auth(&theirs).send().await.unwrap();
    assert_eq!(peek.status(), StatusCode::NOT_FOUND);
    let reader = world.key("ours", Scope::Read).await;
    assert_eq!(send(&reader, template("x")).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn templates_survive_a_restart_and_are_judged_again() {
    let world = World::start().await;
    store(&world, &template("avatar")).await;
    let world = world.restart().await;
    world.usable().await;
    until("the template is judged", || async {
        let list = world.get_json("/v1/templates").await;
        (list["templates"][0]["available"] == true).then_some(())
    })
    .await;
}
