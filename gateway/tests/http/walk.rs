//! Every route there is, with every kind of stranger. The table is the router's own, so no route can be forgotten:
//! one that is added without a line in [`foreign`] fails here.

use std::sync::Arc;

use gateway::artifacts::Artifacts;
use gateway::engine::{Engine, Parts, Settings};
use gateway::http::{Doors, Limits, Need, RouteInfo, State, route_table};
use gateway::metrics::Metrics;
use gateway::outside::Outside;
use gateway::sinks::Sinks;
use gateway::store::sqlite::SqliteStore;
use gateway::store::{Scope, Store};
use gateway::tenant::{KeyDraft, Tenants};
use gateway::ticket_desk::TicketDesk;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::world::{World, picture};

const SCOPES: [Scope; 5] = [Scope::Metrics, Scope::Read, Scope::Submit, Scope::Admin, Scope::Runner];

pub async fn table() -> Vec<RouteInfo> {
    route_table(state().await)
}

pub async fn state() -> State {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = SqliteStore::temporary().unwrap();
    let artifacts = Artifacts::local(folder.path()).unwrap();
    let settings = Settings {
        scheduler: scheduler::Config::default(),
        reserve_mib: 0,
        max_output_bytes: 1,
        body_cache_bytes: 1,
        inbox: 1,
        workflow: gateway::workflow::Limits::default(),
        shared_inputs: Arc::new([]),
        told_apart: Arc::new([]),
        retention_ms: 1,
        prices: gateway::prices::Prices::default(),
    };
    let sinks = Sinks::from(artifacts.clone());
    let outside = Outside::open(&Default::default()).unwrap();
    let desk = TicketDesk::new(outside, Box::new(|_| Vec::new()));
    let parts = Parts {
        store: store.clone(),
        sinks: sinks.clone(),
        desk: desk.clone(),
        links: vec![],
        metrics: Metrics::new(),
        settings,
    };
    let (_, engine) = Engine::open(parts).await.unwrap();
    let native = gateway::http::Desk::open(&engine, &sinks, Default::default()).await.unwrap();
    State {
        engine,
        artifacts,
        sinks,
        desk,
        tenants: Tenants::open(store).await.unwrap(),
        metrics: Metrics::new(),
        limits: Limits::default(),
        doors: Doors::default(),
        public_url: None,
        shared_inputs: Arc::new([]),
        outside: gateway::outside::Outside::open(&gateway::config::Outside::default()).unwrap(),
        prices: gateway::prices::Prices::default(),
        retention: std::time::Duration::from_secs(1),
        native,
        editor: None,
        closing: CancellationToken::new(),
    }
}

/// What a stranger with a good key of another tenant gets: 404 where the path names something of ours, success or a
/// complaint about the request where it does not. What admins do, they do to all tenants: there the path names nobody.
fn foreign(route: &RouteInfo) -> Option<StatusCode> {
    if let Some(status) = foreign_native(route) {
        return Some(status);
    }
    let status = match (route.method.as_str(), route.path) {
        ("GET", "/livez" | "/readyz" | "/api/v2/health" | "/" | "/console") => StatusCode::OK,
        ("GET", "/login") => StatusCode::OK,
        ("POST", "/login") => StatusCode::BAD_REQUEST,
        ("POST", "/logout") => StatusCode::SEE_OTHER,
        ("GET", "/console/console.js" | "/console/console.css" | "/metrics" | "/v1/fleet") => StatusCode::OK,
        ("GET", "/api/v2/jobs" | "/v1/jobs" | "/v1/events") => StatusCode::OK,
        ("GET", "/v1/webhooks" | "/v1/webhooks/dead") => StatusCode::OK,
        ("POST", "/v1/webhooks/dead/replay") => StatusCode::BAD_REQUEST,
        ("GET", "/openapi.json") => StatusCode::OK,
        ("GET", "/v1/tenants" | "/v1/keys" | "/v1/audit") => StatusCode::OK,
        ("POST", "/api/v2/jobs" | "/v1/jobs" | "/api/v2/assets/from-hash") => StatusCode::BAD_REQUEST,
        ("POST", "/v1/tenants" | "/v1/keys") | ("PATCH", "/v1/tenants/{name}") => StatusCode::BAD_REQUEST,
        ("POST", "/api/v2/assets") => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ("POST", "/v1/jobs/status" | "/v1/jobs/cancel" | "/v1/batches") => StatusCode::BAD_REQUEST,
        ("POST", "/v1/estimate" | "/v1/templates") => StatusCode::BAD_REQUEST,
        ("GET", "/v1/usage" | "/v1/templates") => StatusCode::OK,
        ("GET" | "DELETE", "/v1/templates/{name}") => StatusCode::NOT_FOUND,
        ("POST", "/v1/templates/{name}/versions/{version}/disable") => StatusCode::NOT_FOUND,
        ("POST", "/v1/templates/{name}/versions/{version}/enable") => StatusCode::NOT_FOUND,
        ("POST", "/v1/jobs/{id}/class") => StatusCode::BAD_REQUEST,
        ("POST", "/v1/drain") => StatusCode::ACCEPTED,
        ("PUT" | "POST", "/v1/tickets/{token}") => StatusCode::GONE,
        ("GET", "/api/v2/jobs/{id}" | "/api/v2/jobs/{id}/workflow" | "/api/v2/jobs/{id}/events")
        | ("GET", "/v1/jobs/{id}" | "/v1/jobs/{id}/explain" | "/v1/jobs/{id}/events" | "/v1/batches/{id}")
        | ("POST", "/v1/jobs/{id}/retry")
        | ("POST", "/api/v2/jobs/{id}/cancel" | "/v1/jobs/{id}/cancel")
        | ("HEAD", "/api/v2/assets/by-hash/{hash}")
        | ("GET" | "DELETE", "/api/v2/assets/{id}")
        | ("GET", "/api/v2/assets/{id}/content")
        | ("GET" | "DELETE", "/v1/tenants/{name}")
        | ("GET", "/v1/tenants/{name}/export")
        | ("DELETE", "/v1/tenants/{name}/data" | "/v1/keys/{id}")
        | ("POST", "/v1/keys/{id}/rotate")
        | ("POST", "/v1/instances/{name}/cordon" | "/v1/instances/{name}/uncordon") => StatusCode::NOT_FOUND,
        _ => return None,
    };
    Some(status)
}

/// The same for ComfyUI's own API, where unknown and foreign are empty rather than missing.
fn foreign_native(route: &RouteInfo) -> Option<StatusCode> {
    let bare = route.path.strip_prefix("/api").unwrap_or(route.path);
    let status = match (route.method.as_str(), bare) {
        (
            "GET",
            "/prompt" | "/queue" | "/history" | "/history/{id}" | "/object_info" | "/object_info/{class}",
        )
        | ("POST", "/queue" | "/interrupt" | "/free" | "/history")
        | ("GET", "/system_stats" | "/features" | "/embeddings" | "/extensions" | "/models")
        | ("GET", "/experiment/models" | "/users" | "/i18n" | "/workflow_templates" | "/global_subgraphs")
        | ("GET", "/node_replacements" | "/internal/logs" | "/internal/logs/raw" | "/v2/userdata")
        | ("PATCH", "/internal/logs/subscribe")
        | ("GET", "/settings" | "/settings/{id}" | "/jobs")
        | ("POST", "/userdata/{file}") => StatusCode::OK,
        ("POST", "/prompt" | "/upload/image" | "/upload/mask" | "/settings" | "/settings/{id}")
        | ("POST", "/jobs/cancel")
        | ("GET", "/ws" | "/userdata") => StatusCode::BAD_REQUEST,
        (
            "GET",
            "/global_subgraphs/{id}"
            | "/models/{folder}"
            | "/experiment/models/{folder}"
            | "/view"
            | "/userdata/{file}"
            | "/jobs/{id}",
        )
        | ("POST", "/jobs/{id}/cancel" | "/userdata/{file}/move/{dest}")
        | ("DELETE", "/userdata/{file}") => StatusCode::NOT_FOUND,
        _ => return None,
    };
    let is_own = bare == "/jobs" || bare.starts_with("/jobs/");
    (!is_own || route.path.starts_with("/api/")).then_some(status)
}

struct Ours {
    job: String,
    asset: String,
    hash: String,
}

impl Ours {
    /// Something of each kind, owned by `key`.
    async fn make(world: &World, key: &str) -> Self {
        let body = json!({"workflow": picture(1)});
        let job =
            world.request(Method::POST, "/api/v2/jobs").bearer_auth(key).json(&body).send().await.unwrap();
        let form = reqwest::multipart::Form::new()
            .text("content_type", "image/png")
            .text("file_path", "a.png")
            .part("file", reqwest::multipart::Part::bytes(b"bytes".to_vec()));
        let asset = world.request(Method::POST, "/api/v2/assets").bearer_auth(key).multipart(form);
        let (job, asset): (Value, Value) =
            (job.json().await.unwrap(), asset.send().await.unwrap().json().await.unwrap());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self { job: text(&job["id"]), asset: text(&asset["id"]), hash: text(&asset["hash"]) }
    }

    fn path(&self, route: &RouteInfo) -> String {
        let id = if route.path.contains("/assets/") { &self.asset } else { &self.job };
        route
            .path
            .replace("{id}", id)
            .replace("{hash}", &self.hash)
            .replace("{name}", "none")
            .replace(
                "{file}",
                if route.path.ends_with("}/move/{dest}") || route.method != Method::POST {
                    "none.json"
                } else {
                    "kept.json"
                },
            )
            .replace("{version}", "1")
    }
}

/// Keys that were good once, or are good elsewhere.
async fn dead_keys(world: &World) -> Vec<String> {
    let draft = |networks: &[&str], expires_at| KeyDraft {
        tenant: "ours".into(),
        scope: Scope::Admin,
        networks: networks.iter().map(|it| it.parse().unwrap()).collect(),
        expires_at,
    };
    let admin = world.app.tenants().admin("test");
    let revoked = admin.add_key(draft(&[], None)).await.unwrap();
    admin.revoke_key(&revoked.row.id).await.unwrap();
    let replaced = admin.add_key(draft(&[], None)).await.unwrap();
    admin.rotate_key(&replaced.row.id, std::time::Duration::ZERO).await.unwrap();
    vec![String::new(), "dk_wrong".to_owned(), revoked.secret.0, replaced.secret.0]
}

#[tokio::test]
async fn every_route_refuses_every_stranger() {
    let world = World::with(vec![], "").await;
    let ours = world.key("ours", Scope::Admin).await;
    let things = Ours::make(&world, &ours).await;
    let mut theirs = Vec::new();
    for scope in SCOPES {
        theirs.push((scope, world.key("theirs", scope).await));
    }
    let dead = dead_keys(&world).await;
    let far = KeyDraft {
        tenant: "ours".into(),
        scope: Scope::Admin,
        networks: vec!["192.0.2.0/24".parse().unwrap()],
        expires_at: None,
    };
    let far = world.app.tenants().admin("test").add_key(far).await.unwrap().secret.0;
    let mut routes = table().await;
    routes.sort_by_key(|route| route.path == "/v1/drain"); // Last: it closes the door.
    assert!(routes.len() > 35);

    for route in &routes {
        let path = things.path(route);
        let name = format!("{} {}", route.method, route.path);
        let ask = async |key: Option<&str>| {
            let request = world.request(route.method.clone(), &path);
            let request = key.into_iter().fold(request, |request, key| request.bearer_auth(key));
            request.send().await.unwrap().status()
        };
        let needed = match route.need {
            Need::Nothing | Need::Door | Need::Ticket => None,
            Need::Scope(scope) => Some(scope),
        };
        for key in dead.iter().map(|key| Some(key.as_str())).chain([None]) {
            let status = ask(key).await;
            assert_eq!(status == StatusCode::UNAUTHORIZED, needed.is_some(), "{name} with {key:?}: {status}");
        }
        if needed.is_some() {
            assert_eq!(ask(Some(&far)).await, StatusCode::FORBIDDEN, "{name} from elsewhere");
        }
        let expected = foreign(route).unwrap_or_else(|| panic!("{name} is not in the table of strangers"));
        for (scope, key) in &theirs {
            let expected = match needed {
                Some(needed) if !scope.allows(needed) => StatusCode::FORBIDDEN,
                _ => expected,
            };
            assert_eq!(ask(Some(key)).await, expected, "{name} with a foreign key for {scope:?}");
        }
    }
    let open: Vec<_> =
        routes.iter().filter(|route| route.need == Need::Nothing).map(|route| route.path).collect();
    assert_eq!(open.len(), 3, "only health is open to all: {open:?}");
    let own = world.request(Method::GET, &format!("/api/v2/jobs/{}", things.job)).bearer_auth(&ours);
    assert_eq!(own.send().await.unwrap().json::<Value>().await.unwrap()["status"], "queued", "still ours");
}

#[test]
fn scopes_include_each_other_or_stand_beside() {
    let allowed = |scope: Scope| SCOPES.map(|needed| scope.allows(needed));
    //                                     metrics read   submit admin  runner
    assert_eq!(allowed(Scope::Metrics), [true, false, false, false, false]);
    assert_eq!(allowed(Scope::Read), [false, true, false, false, false]);
    assert_eq!(allowed(Scope::Submit), [false, true, true, false, false]);
    assert_eq!(allowed(Scope::Admin), [true, true, true, true, false]);
    assert_eq!(allowed(Scope::Runner), [false, false, false, false, true]);
}
