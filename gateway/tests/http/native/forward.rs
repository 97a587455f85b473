//! Routes of custom nodes that are passed on to an instance.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use gateway::http::route_table;
use gateway::store::Scope;
use reqwest::{Body, Method, StatusCode};
use serde_json::{Value, json};

use super::slow_reader;
use crate::walk;
use crate::world::{World, picture, slow_picture, until};

const RULE: &str = "[[native.forward]]\nprefix = \"/sim_node\"\nmethods = [\"GET\", \"POST\", \"PUT\"]\n";

/// A gateway that passes `/sim_node` on to one of so many instances.
async fn world(instances: usize, more: &str) -> World {
    let sims = vec![comfyui_sim::Config::default(); instances];
    let world = World::with(sims, &format!("{RULE}{more}")).await;
    if instances > 0 {
        world.usable().await;
    }
    world
}

async fn code(response: reqwest::Response, status: StatusCode) -> String {
    assert_eq!(response.status(), status);
    let body: Value = response.json().await.unwrap();
    body["error"]["type"].as_str().unwrap().to_owned()
}

/// Waits until so many answers without end are waited for at all instances together.
async fn endless(world: &World, count: u64) {
    until("the instances have as many open answers", || async {
        let open: u64 = world.sims.iter().map(|sim| sim.observed().endless).sum();
        (open == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_request_goes_as_it_came_without_what_says_who_sent_it() {
    let world = world(1, "headers = [\"X-My-Node\"]\n").await;
    let key = world.key("team", Scope::Submit).await;
    let ask = |path: &str| {
        let request = world.request(Method::GET, path);
        let request = request.header("x-my-node", "1").header("x-api-key", "k").header("accept", "text/x");
        request.header("cookie", format!("darkroom_key={key}; other=1")).header("referer", "http://a/")
    };
    for path in ["/sim_node/echo/a%2Fb?x=1&y=%20", "/api/sim_node/echo"] {
        for path in [path.to_owned(), format!("/k/{key}{path}")] {
            let answer: Value = ask(&path).send().await.unwrap().json().await.unwrap();
            assert_eq!(answer["uri"], path.replace(&format!("/k/{key}"), ""));
            let headers = answer["headers"].as_array().unwrap();
            let mut names: Vec<&str> = headers.iter().map(|header| header[0].as_str().unwrap()).collect();
            names.sort_unstable();
            assert_eq!(names, ["accept", "host", "x-my-node"], "{answer}");
            assert!(!answer.to_string().contains(&key));
        }
    }
    let moved = world.get(&format!("/k/{key}/sim_node/moved")).await;
    assert_eq!(moved.status(), StatusCode::FOUND);
    assert_eq!(moved.headers()["location"], format!("/k/{key}/sim_node/echo").as_str());
    let head =
        world.request(Method::HEAD, "/sim_node/bytes?bytes=100").bearer_auth(&key).send().await.unwrap();
    assert_eq!((head.status(), &head.headers()["content-length"]), (StatusCode::OK, &"100".parse().unwrap()));
    let unknown = ask("/sim_node/nothing").send().await.unwrap();
    assert_eq!((unknown.status(), unknown.text().await.unwrap()), (StatusCode::NOT_FOUND, String::new()));
    let refused = world.request(Method::POST, "/sim_node/refuse").bearer_auth(&key).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.json::<Value>().await.unwrap(), json!({"mine": "no"}), "in its own words");
}

#[tokio::test]
async fn nothing_passes_but_what_is_named() {
    let world = world(1, "tenants = [\"team\"]\n").await;
    let (team, other) = (world.key("team", Scope::Submit).await, world.key("other", Scope::Submit).await);
    let reader = world.key("team", Scope::Read).await;
    let ask = async |method: Method, path: &str, key: &str| {
        world.request(method, path).bearer_auth(key).send().await.unwrap().status()
    };
    assert_eq!(ask(Method::GET, "/sim_node/echo", &team).await, StatusCode::OK);
    assert_eq!(ask(Method::GET, "/sim_node/echo", &other).await, StatusCode::NOT_FOUND);
    assert_eq!(ask(Method::GET, "/sim_node/echo", "dk_wrong").await, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(Method::GET, "/sim_node/echo", &reader).await, StatusCode::OK);
    assert_eq!(ask(Method::POST, "/sim_node/echo", &reader).await, StatusCode::FORBIDDEN);
    assert_eq!(ask(Method::DELETE, "/sim_node/echo", &team).await, StatusCode::METHOD_NOT_ALLOWED);
    for path in ["/sim_nodes/echo", "/internal/files/output", "/api/assets", "/_sim/faults"] {
        assert_eq!(ask(Method::GET, path, &team).await, StatusCode::NOT_FOUND, "{path}");
    }
    let socket = world.request(Method::GET, "/sim_node/echo").bearer_auth(&team);
    let socket = socket.header("connection", "upgrade").header("upgrade", "websocket").send().await.unwrap();
    assert_eq!(code(socket, StatusCode::BAD_REQUEST).await, "upgrade_refused");
}

#[tokio::test]
async fn a_path_that_leads_elsewhere_is_refused() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let world = world(1, "").await;
    let address = world.app.address();
    for path in
        ["/sim_node/../queue", "/sim_node/%2e%2e/queue", "/sim_node/..%2fqueue", "/sim_node/a%5c..%5cb"]
    {
        // A client of HTTP would mend it before it is sent.
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
    }
}

#[test]
fn no_rule_can_stand_before_a_route_of_ours() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let table = runtime.block_on(async { route_table(walk::state().await) });
    for route in table {
        let bare = route.path.strip_prefix("/api").unwrap_or(route.path);
        let Some(first) = bare.split('/').find(|part| !part.is_empty() && !part.starts_with('{')) else {
            continue;
        };
        let toml = format!("[[native.forward]]\nprefix = \"/{first}\"\n");
        assert!(gateway::config::Config::from_text(&toml, |_| None).is_err(), "{}", route.path);
    }
}

#[tokio::test]
async fn bodies_larger_than_any_buffer_flow_both_ways() {
    const BYTES: usize = 24 << 20;
    let world = world(1, "[runner]\nserialise_link = true\n").await;
    let piece = Bytes::from(vec![7_u8; 1 << 20]);
    let expected = blake3::hash(&vec![7_u8; BYTES]).to_hex().to_string();
    for has_length in [true, false] {
        let pieces = stream::iter(vec![piece.clone(); BYTES >> 20]).map(Ok::<_, std::io::Error>);
        let mut request = world.request(Method::POST, "/sim_node/digest").body(Body::wrap_stream(pieces));
        if has_length {
            request = request.header("content-length", BYTES);
        }
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer, json!({"bytes": BYTES, "blake3": expected}));
    }
    let answer = world.get(&format!("/sim_node/bytes?bytes={BYTES}")).await;
    assert_eq!(answer.headers()["content-length"], BYTES.to_string().as_str());
    assert_eq!(answer.bytes().await.unwrap().len(), BYTES);
    let metrics = world.get("/metrics").await.text().await.unwrap();
    let figure = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() as usize
    };
    assert_eq!(figure("gateway_forward_bytes_total{part=\"request\"}"), BYTES * 2);
    assert!(figure("gateway_forward_bytes_total{part=\"answer\"}") > BYTES);
    assert_eq!(figure("gateway_forwards_open"), 0);
}

#[tokio::test]
async fn an_answer_that_nobody_reads_waits_at_the_instance() {
    const BYTES: usize = 512 << 20;
    /// What sockets and their buffers hold between the instance and the reader.
    const BETWEEN: u64 = 64 << 20;
    let world = world(1, "").await;
    let mut answer = world.get(&format!("/sim_node/bytes?bytes={BYTES}")).await;
    assert!(answer.chunk().await.unwrap().is_some());
    let mut made = 0;
    let mut stands = 0;
    until("it stands still", || {
        let now = world.sims[0].observed().made_bytes;
        stands = if now == made { stands + 1 } else { 0 };
        made = now;
        async move { (stands == 100).then_some(()) }
    })
    .await;
    assert!(made < BETWEEN, "{made} bytes were taken, and nobody read them");
    // Others are served meanwhile.
    assert_eq!(world.get("/sim_node/slow").await.text().await.unwrap(), "at last");
    assert!(answer.chunk().await.unwrap().is_some(), "and it goes on when it is read");
}

#[tokio::test]
async fn a_body_over_its_bound_is_refused_and_ends_at_the_instance() {
    let world = world(1, "max_body_bytes = 1000000\n").await;
    let declared = world.request(Method::POST, "/sim_node/digest").body(vec![0; 1_000_001]);
    assert_eq!(
        code(declared.send().await.unwrap(), StatusCode::PAYLOAD_TOO_LARGE).await,
        "payload_too_large"
    );
    let pieces = stream::iter(vec![Bytes::from(vec![0_u8; 100_000]); 11]).map(Ok::<_, std::io::Error>);
    let streamed = world.request(Method::POST, "/sim_node/digest").body(Body::wrap_stream(pieces));
    assert_eq!(
        code(streamed.send().await.unwrap(), StatusCode::PAYLOAD_TOO_LARGE).await,
        "payload_too_large"
    );
    until("nothing is under way", || async { (world.app.engine().forwards().count() == 0).then_some(()) })
        .await;
}

#[tokio::test]
async fn a_slow_answer_comes_and_one_that_is_too_slow_is_given_up() {
    let world = world(1, "timeout_seconds = 1\n").await;
    let slow = world.get("/sim_node/slow?ms=200").await;
    assert_eq!(slow.text().await.unwrap(), "at last");
    let silent = world.request(Method::POST, "/sim_node/deaf").body("x").send().await.unwrap();
    assert_eq!(code(silent, StatusCode::GATEWAY_TIMEOUT).await, "instance_silent");
    endless(&world, 0).await;
}

#[tokio::test]
async fn an_answer_without_end_ends_at_the_instance_when_its_reader_goes() {
    let world = world(1, "").await;
    let mut answer = world.get("/sim_node/endless?ms=5").await;
    for _ in 0..3 {
        assert!(answer.chunk().await.unwrap().unwrap().starts_with(b"data: tick"));
    }
    endless(&world, 1).await;
    drop(answer);
    endless(&world, 0).await;
    let deaf = world.request(Method::POST, "/sim_node/deaf").body("x").send();
    let waiting = tokio::spawn(deaf);
    endless(&world, 1).await;
    waiting.abort();
    endless(&world, 0).await;
}

#[tokio::test]
async fn an_instance_that_dies_midway_is_told_before_the_answer_and_cuts_it_after() {
    let world = world(1, "").await;
    let waiting = tokio::spawn(world.request(Method::GET, "/sim_node/deaf").send());
    endless(&world, 1).await;
    let mut answer = world.get("/sim_node/endless?ms=5").await;
    assert!(answer.chunk().await.unwrap().is_some());
    world.sims[0].kill().await;
    assert_eq!(code(waiting.await.unwrap().unwrap(), StatusCode::BAD_GATEWAY).await, "instance_failed");
    let broken = loop {
        match answer.chunk().await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert!(broken.is_err(), "an answer that was cut does not look complete");
    let gone = world.get("/sim_node/echo").await;
    assert_eq!(gone.headers()["retry-after"], "1");
    assert_eq!(code(gone, StatusCode::SERVICE_UNAVAILABLE).await, "no_instance");
}

#[tokio::test]
async fn requests_of_one_key_at_once_are_bounded_and_others_have_room() {
    let world = World::with(
        vec![comfyui_sim::Config::default()],
        &format!("[native]\nmax_forwards = 3\nmax_forwards_per_key = 2\n{RULE}"),
    )
    .await;
    world.usable().await;
    let (one, two) = (world.key("one", Scope::Submit).await, world.key("two", Scope::Submit).await);
    let open = async |key: &str| {
        world.request(Method::GET, "/sim_node/endless").bearer_auth(key).send().await.unwrap()
    };
    let first = [open(&one).await, open(&one).await];
    assert_eq!(code(open(&one).await, StatusCode::TOO_MANY_REQUESTS).await, "too_many_forwards");
    let second = open(&two).await;
    assert_eq!(second.status(), StatusCode::OK);
    assert_eq!(code(open(&two).await, StatusCode::TOO_MANY_REQUESTS).await, "too_many_forwards");
    drop(first);
    endless(&world, 1).await;
    until("there is room again", || async { (open(&two).await.status() == StatusCode::OK).then_some(()) })
        .await;
}

#[tokio::test]
async fn a_reader_that_stays_and_takes_nothing_gives_its_place_back() {
    let world = World::with(
        vec![comfyui_sim::Config::default()],
        &format!(
            "[http]\nrequest_timeout_seconds = 2\nidle_seconds = 3\n[native]\nmax_forwards_per_key = 1\n{RULE}"
        ),
    )
    .await;
    world.usable().await;
    let key = world.key("team", Scope::Submit).await;
    let reader = slow_reader();
    let ask = async |path: &str| {
        reader.get(format!("{}{path}", world.base)).bearer_auth(&key).send().await.unwrap()
    };
    let unread = ask("/sim_node/bytes?bytes=100000000").await;
    assert_eq!(unread.status(), StatusCode::OK);
    assert_eq!(code(ask("/sim_node/echo").await, StatusCode::TOO_MANY_REQUESTS).await, "too_many_forwards");
    // What is asked meanwhile keeps the connection from standing still.
    until("there is room again", || async {
        (ask("/sim_node/echo").await.status() == StatusCode::OK).then_some(())
    })
    .await;
    until("nothing is under way", || async { (world.app.engine().forwards().count() == 0).then_some(()) })
        .await;
    assert!(unread.bytes().await.is_err(), "an answer that was cut does not look complete");
}

#[tokio::test]
async fn what_an_instance_answers_cannot_act_or_claim_the_visitor() {
    let world = world(1, "").await;
    let page = world.get("/sim_node/page").await;
    let headers = page.headers();
    for never in ["set-cookie", "access-control-allow-origin", "location"] {
        assert!(!headers.contains_key(never), "{never}");
    }
    assert_eq!(headers["content-security-policy"], "default-src 'none'; sandbox");
    assert_eq!(headers["content-disposition"], "attachment");
    assert_eq!(headers["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn a_client_finds_what_it_put_and_moves_only_when_its_instance_is_gone() {
    let world = world(3, "").await;
    let put = async |client: &str| {
        let path = format!("/sim_node/memory/{client}?clientId={client}");
        world.request(Method::PUT, &path).body("mine").send().await.unwrap().status()
    };
    let get = async |client: &str| {
        world.get(&format!("/sim_node/memory/{client}?clientId={client}")).await.status()
    };
    let clients: Vec<String> = (0..16).map(|index| format!("client-{index}")).collect();
    for client in &clients {
        assert_eq!(put(client).await, StatusCode::NO_CONTENT);
        for _ in 0..3 {
            assert_eq!(get(client).await, StatusCode::OK, "{client}");
        }
    }
    let holders = async |sim: usize| {
        let mut held = Vec::new();
        for client in &clients {
            let url = format!("{}/sim_node/memory/{client}", world.sims[sim].url());
            if world.client.get(url).send().await.unwrap().status() == StatusCode::OK {
                held.push(client.clone());
            }
        }
        held
    };
    let (first, second) = (holders(0).await, holders(1).await);
    assert!(!first.is_empty() && !second.is_empty(), "clients are spread");
    world.sims[0].kill().await;
    until("it is known to be gone", || async {
        let fleet = world.app.engine().fleet();
        fleet.instances.iter().any(|instance| !instance.up).then_some(())
    })
    .await;
    for client in &clients {
        let expected = if first.contains(client) { StatusCode::NOT_FOUND } else { StatusCode::OK };
        assert_eq!(get(client).await, expected, "{client}");
    }
}

#[tokio::test]
async fn requests_follow_the_job_of_their_client() {
    let world = world(3, "").await;
    for round in 0..6 {
        let client = format!("client-{round}");
        let job = world.prompt(picture(round), Some(&client)).await;
        world.entry(&job).await;
        let color = format!("\"color\":{round}}}");
        let ran = |sim: &comfyui_sim::Simulator| {
            sim.observed().prompts.iter().any(|prompt| prompt.graph.to_string().contains(&color))
        };
        let ran: Vec<bool> = world.sims.iter().map(ran).collect();
        assert_eq!(ran.iter().filter(|ran| **ran).count(), 1);
        let path = format!("/sim_node/memory/{client}?client_id={client}");
        let put = world.request(Method::PUT, &path).body("mine").send().await.unwrap();
        assert_eq!(put.status(), StatusCode::NO_CONTENT);
        for (sim, ran) in world.sims.iter().zip(ran) {
            let held =
                world.client.get(format!("{}/sim_node/memory/{client}", sim.url())).send().await.unwrap();
            assert_eq!(held.status() == StatusCode::OK, ran, "{client}");
        }
    }
}

#[tokio::test]
async fn two_tenants_with_one_client_name_are_two_clients() {
    let world = world(2, "").await;
    let mut places = std::collections::BTreeSet::new();
    for tenant in 0..12 {
        let key = world.key(&format!("tenant-{tenant}"), Scope::Submit).await;
        let path = format!("/sim_node/memory/{tenant}?clientId=same");
        let put = world.request(Method::PUT, &path).bearer_auth(&key).body("mine").send().await.unwrap();
        assert_eq!(put.status(), StatusCode::NO_CONTENT);
        let first = world.client.get(format!("{}/sim_node/memory/{tenant}", world.sims[0].url()));
        places.insert(first.send().await.unwrap().status() == StatusCode::OK);
    }
    assert_eq!(places.len(), 2, "one name does not bring all tenants to one instance");
}

#[tokio::test]
async fn a_request_may_be_for_some_instances_only() {
    let sims = vec![comfyui_sim::Config::default(); 2];
    let mut world = World::with(sims, "").await;
    let name = world.sims[1].url();
    world.reconfigure(|config| {
        config.file.native.forward = vec![gateway::config::Forward {
            prefix: "/sim_node".into(),
            methods: vec!["PUT".into()],
            instances: vec![name.clone()],
            ..Default::default()
        }];
    });
    let world = world.restart().await;
    world.usable().await;
    for client in 0..8 {
        let path = format!("/sim_node/memory/{client}?clientId={client}");
        assert_eq!(
            world.request(Method::PUT, &path).body("x").send().await.unwrap().status(),
            StatusCode::NO_CONTENT
        );
        let held = world.client.get(format!("{name}/sim_node/memory/{client}")).send().await.unwrap();
        assert_eq!(held.status(), StatusCode::OK);
    }
    tokio::time::timeout(Duration::from_secs(20), world.sims[1].kill()).await.unwrap();
    until("the other one does not get them", || async {
        let put = world.request(Method::PUT, "/sim_node/memory/x").body("x").send().await.unwrap();
        (put.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
}

/// Three instances, `gpu-0` and so on, where jobs of a client go where its requests went.
async fn holding() -> World {
    let mut world = World::with(vec![comfyui_sim::Config::default(); 3], "").await;
    world.reconfigure(|config| {
        for (at, instance) in config.file.instances.iter_mut().enumerate() {
            instance.name = format!("gpu-{at}");
        }
        config.file.native.forward = vec![gateway::config::Forward {
            prefix: "/sim_node".into(),
            methods: vec!["PUT".into()],
            instances: (0..3).map(|at| format!("gpu-{at}")).collect(),
            jobs: true,
            ..Default::default()
        }];
    });
    let world = world.restart().await;
    world.usable().await;
    world
}

/// Puts something there for a client; the instance that holds it.
async fn put(world: &World, client: &str) -> usize {
    let path = format!("/sim_node/memory/{client}?clientId={client}");
    let put = world.request(Method::PUT, &path).body("x").send().await.unwrap();
    assert_eq!(put.status(), StatusCode::NO_CONTENT);
    for (at, sim) in world.sims.iter().enumerate() {
        let held = world.client.get(format!("{}/sim_node/memory/{client}", sim.url())).send().await.unwrap();
        if held.status() == StatusCode::OK {
            return at;
        }
    }
    panic!("no instance holds it");
}

#[tokio::test]
async fn jobs_run_where_requests_of_their_client_put_something() {
    let world = holding().await;
    let mut expected = vec![0; world.sims.len()];
    for client in ["one", "two", "three", "four"] {
        expected[put(&world, client).await] += 3;
        let mut jobs = Vec::new();
        for _ in 0..3 {
            jobs.push(world.prompt(slow_picture(0.05), Some(client)).await);
        }
        for job in &jobs {
            world.entry(job).await;
        }
        let ran: Vec<usize> = world.sims.iter().map(|sim| sim.observed().prompts.len()).collect();
        assert_eq!(ran, expected, "{client}");
    }
    for sim in &world.sims[1..] {
        sim.kill().await;
    }
    until("only one is left", || async {
        let fleet = world.app.engine().fleet();
        (fleet.instances.iter().filter(|instance| instance.up).count() == 1).then_some(())
    })
    .await;
    for client in ["one", "two", "three", "four"] {
        let job = world.prompt(picture(1), Some(client)).await;
        assert_eq!(world.entry(&job).await["status"]["status_str"], "success", "nothing is held any more");
    }
}

#[tokio::test]
async fn a_job_waits_for_what_holds_something_of_its_client_and_says_so() {
    let world = holding().await;
    let holder = put(&world, "me").await;
    let cordon = async |act: &str| {
        let path = format!("/v1/instances/gpu-{holder}/{act}");
        assert!(world.post(&path, &json!({})).await.status().is_success());
    };
    cordon("cordon").await;
    let job = world.prompt(picture(1), Some("me")).await;
    let elsewhere = world.prompt(picture(2), Some("you")).await;
    world.entry(&elsewhere).await;
    let why = world.get_json(&format!("/v1/jobs/{job}/explain")).await.to_string();
    assert!(why.contains(&format!("what requests of the job's client put on gpu-{holder}")), "{why}");
    assert_eq!(world.sims[holder].observed().prompts.len(), 0);
    cordon("uncordon").await;
    world.entry(&job).await;
    assert_eq!(world.sims[holder].observed().prompts.len(), 1);
}
