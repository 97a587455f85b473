//! Every route that makes jobs, held to the limits of its tenant, and the estimate that keeps nothing.

use gateway::store::Scope;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::world::{self, World, until};

/// A tenant with an ended job and a template, whose settings change.
struct Club {
    world: World,
    admin: String,
    key: String,
    ended: String,
}

impl Club {
    async fn open() -> Self {
        let world = World::with(vec![comfyui_sim::Config::default()], "").await;
        let admin = world.key("ops", Scope::Admin).await;
        let key = world.key("club", Scope::Submit).await;
        world.usable().await;
        let template = json!({
            "name": "avatar", "global": true, "workflow": picture(1),
            "parameters": [{"name": "color", "type": "int", "targets": ["/1/inputs/color"], "min": 0, "max": 255}],
        });
        let stored = world.request(Method::POST, "/v1/templates").bearer_auth(&admin).json(&template);
        assert_eq!(stored.send().await.unwrap().status(), StatusCode::CREATED);
        let mut club = Self { world, admin, key, ended: String::new() };
        let job = club.post("/v1/jobs", &json!({"workflow": picture(1)})).await;
        assert_eq!(job.status(), StatusCode::CREATED);
        let job: Value = job.json().await.unwrap();
        club.ended = job["id"].as_str().unwrap().to_owned();
        until("the job has ended", async || {
            let job = club.world.request(Method::GET, &format!("/v1/jobs/{}", club.ended));
            let job: Value = job.bearer_auth(&club.key).send().await.unwrap().json().await.unwrap();
            (job["status"] == "succeeded").then_some(())
        })
        .await;
        club
    }

    async fn post(&self, path: &str, body: &Value) -> Response {
        self.world.request(Method::POST, path).bearer_auth(&self.key).json(body).send().await.unwrap()
    }

    async fn may(&self, settings: Value) {
        let patch = json!({"settings": settings});
        let changed = self.world.request(Method::PATCH, "/v1/tenants/club").bearer_auth(&self.admin);
        assert_eq!(changed.json(&patch).send().await.unwrap().status(), StatusCode::OK, "{patch}");
    }

    /// Every way to a job, and what is sent there.
    fn ways(&self) -> Vec<(String, Value)> {
        let workflow = json!({"workflow": picture(2)});
        let template = json!({"template": {"name": "avatar", "parameters": {"color": 3}}});
        vec![
            ("/v1/jobs".into(), workflow.clone()),
            ("/v1/jobs".into(), template.clone()),
            ("/v1/batches".into(), json!({"jobs": [workflow, template]})),
            (format!("/v1/jobs/{}/retry", self.ended), json!({})),
            ("/v1/estimate".into(), workflow.clone()),
            ("/v1/estimate".into(), template.clone()),
            ("/api/v2/jobs".into(), workflow.clone()),
        ]
    }

    async fn is_refused_everywhere(&self, status: StatusCode, code: &str) {
        for (path, body) in self.ways() {
            assert_eq!(refusal(self.post(&path, &body).await).await, (status, code.to_owned()), "{path}");
        }
    }
}

/// Two frames.
fn picture(color: u32) -> Value {
    let mut picture = world::picture(color);
    picture["1"]["inputs"]["batch_size"] = json!(2);
    picture
}

/// Status and code of a failure, in the words of either face.
async fn refusal(response: Response) -> (StatusCode, String) {
    let status = response.status();
    let body: Value = response.json().await.unwrap();
    let code = body["code"].as_str().or(body["error"]["code"].as_str());
    (status, code.unwrap_or_default().to_owned())
}

fn batch(size: u32) -> Value {
    let jobs: Vec<_> = (0..size).map(|color| json!({"workflow": picture(color)})).collect();
    json!({"jobs": jobs})
}

#[tokio::test]
async fn no_way_to_a_job_goes_past_what_its_tenant_may_use_and_store() {
    let club = Club::open().await;
    for (path, body) in club.ways() {
        let taken = club.post(&path, &body).await.status();
        assert!(taken.is_success(), "{path}: {taken}");
    }
    club.may(json!({"limits": {"stored_bytes": 0}})).await;
    club.is_refused_everywhere(StatusCode::UNPROCESSABLE_ENTITY, "quota_exceeded").await;
    club.may(json!({"limits": {"stored_bytes": null, "frames": 1}})).await;
    club.is_refused_everywhere(StatusCode::UNPROCESSABLE_ENTITY, "limit_exceeded").await;
    club.may(json!({"limits": {"frames": null}, "allow": {"classes": {"deny": ["EmptyImage"]}}})).await;
    club.is_refused_everywhere(StatusCode::UNPROCESSABLE_ENTITY, "class_not_allowed").await;
}

#[tokio::test]
async fn every_way_to_a_job_counts_for_the_rate() {
    let club = Club::open().await;
    club.may(json!({"limits": {"submissions_per_minute": 1}})).await;
    let estimate = club.post("/v1/estimate", &json!({"workflow": picture(2)})).await;
    assert_eq!(estimate.status(), StatusCode::OK);
    club.is_refused_everywhere(StatusCode::TOO_MANY_REQUESTS, "rate_limited").await;
}

#[tokio::test]
async fn each_job_of_a_batch_counts() {
    let club = Club::open().await;
    let rate_limited = (StatusCode::TOO_MANY_REQUESTS, "rate_limited".to_owned());
    club.may(json!({"limits": {"submissions_per_minute": 1, "submissions_burst": 3}})).await;
    assert_eq!(refusal(club.post("/v1/batches", &batch(4)).await).await, rate_limited);
    assert_eq!(club.post("/v1/batches", &batch(2)).await.status(), StatusCode::CREATED);
    assert_eq!(refusal(club.post("/v1/batches", &batch(2)).await).await, rate_limited);
    assert_eq!(club.post("/v1/batches", &batch(1)).await.status(), StatusCode::CREATED);
    assert_eq!(refusal(club.post("/v1/batches", &batch(1)).await).await, rate_limited);

    club.may(json!({"limits": {"submissions_per_minute": null, "submissions_burst": null, "queued": 2}}))
        .await;
    let full = (StatusCode::TOO_MANY_REQUESTS, "queue_full".to_owned());
    assert_eq!(refusal(club.post("/v1/batches", &batch(3)).await).await, full);
    until("no job waits", async || {
        (club.post("/v1/batches", &batch(2)).await.status() == StatusCode::CREATED).then_some(())
    })
    .await;
}
