//! The web editor as an instance serves it, with the scripts of its custom nodes.

use gateway::store::Scope;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::slow_reader;
use crate::world::{World, until};

/// A gateway whose editor comes from its only instance, or from any of several.
async fn world(sims: usize, more: &str) -> World {
    let sim = comfyui_sim::Config {
        extensions: vec!["sim_node/widget.js".to_owned()],
        ..comfyui_sim::Config::default()
    };
    let world = World::with(vec![sim; sims], &format!("[native]\neditor = \"any\"\n{more}")).await;
    world.usable().await;
    world
}

fn served(world: &World) -> u64 {
    world.sims.iter().map(|sim| sim.observed().files).sum()
}

#[tokio::test]
async fn page_scripts_and_custom_nodes_come_from_the_instance_and_are_kept() {
    let world = world(2, "").await;
    let page = world.request(Method::GET, "/").header("accept", "text/html").send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert!(page.text().await.unwrap().contains("ComfyUI"));
    for path in ["/extensions", "/api/extensions"] {
        assert_eq!(world.get_json(path).await, json!(["/extensions/sim_node/widget.js"]));
    }
    for path in ["/i18n", "/workflow_templates", "/global_subgraphs", "/node_replacements"] {
        assert_eq!(world.get_json(path).await, json!({}), "{path}");
    }
    let mut etags = Vec::new();
    for _ in 0..3 {
        let script = world.get("/extensions/sim_node/widget.js").await;
        assert_eq!(script.headers()["content-type"], "text/javascript; charset=utf-8");
        etags.push(script.headers()["etag"].clone());
        assert_eq!(script.text().await.unwrap(), "// sim_node/widget.js");
        assert_eq!(world.get("/assets/app.js").await.text().await.unwrap(), "void 0");
    }
    assert_eq!(served(&world), 2, "each was fetched once");
    let again =
        world.request(Method::GET, "/extensions/sim_node/widget.js").header("if-none-match", &etags[0]);
    assert_eq!(again.send().await.unwrap().status(), StatusCode::NOT_MODIFIED);
    let head = world.request(Method::HEAD, "/assets/app.js").send().await.unwrap();
    assert_eq!(head.headers()["content-length"], "6");
    let large = world.get("/assets/large.js").await;
    assert_eq!(large.bytes().await.unwrap().len(), 9 << 20, "what is too large to keep goes by");
}

#[tokio::test]
async fn large_files_under_way_are_bounded_as_other_requests_that_are_passed_on() {
    let world = world(1, "max_forwards = 2\nmax_forwards_per_key = 1\n").await;
    let mut keys = Vec::new();
    for tenant in ["one", "two", "three"] {
        keys.push(world.key(tenant, Scope::Read).await);
    }
    let reader = slow_reader();
    let ask = async |path: &str, key: &str| {
        reader.get(format!("{}{path}", world.base)).bearer_auth(key).send().await.unwrap()
    };
    let unread = ask("/assets/large.js", &keys[0]).await;
    assert_eq!(unread.status(), StatusCode::OK);
    let second = ask("/assets/large.js", &keys[0]).await;
    assert_eq!(
        (second.status(), &second.headers()["retry-after"]),
        (StatusCode::TOO_MANY_REQUESTS, &"1".parse().unwrap())
    );
    let also_unread = ask("/assets/large.js", &keys[1]).await;
    assert_eq!(also_unread.status(), StatusCode::OK);
    assert_eq!(ask("/assets/large.js", &keys[2]).await.status(), StatusCode::TOO_MANY_REQUESTS, "of all");
    for key in &keys {
        assert_eq!(
            ask("/assets/app.js", key).await.status(),
            StatusCode::OK,
            "small ones have room of their own"
        );
    }
    drop(unread);
    until("there is room again", || async {
        (ask("/assets/large.js", &keys[0]).await.status() == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn nothing_but_the_editors_files_is_asked_of_the_instance() {
    let world = world(1, "").await;
    for path in [
        "/internal/files/output",
        "/internal/folder_paths",
        "/api/assets",
        "/api/tags",
        "/_sim/observed",
        "/sim_node/echo",
        "/sim_node/echo/a.js",
        "/extensions/other.py",
        "/extensions/nope.js",
        "/extensions/a%2f..%2f..%2fsim_node%2fpage.html",
        "/api/extensions/sim_node/widget.js",
        "/nope.js",
    ] {
        assert_eq!(world.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let posted = world.request(Method::POST, "/assets/app.js").send().await.unwrap();
    assert_eq!(posted.status(), StatusCode::NOT_FOUND);
    let foreign = world.request(Method::GET, "/assets/app.js").header("host", "evil.example");
    assert_eq!(foreign.send().await.unwrap().status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_an_instance_has_is_shown_to_those_who_may_read() {
    let world = world(1, "").await;
    let key = world.key("team", Scope::Read).await;
    let scraper = world.key("team", Scope::Metrics).await;
    let page = |path: &str| world.request(Method::GET, path).header("accept", "text/html");
    let led = page("/").send().await.unwrap();
    assert_eq!(
        (led.status(), &led.headers()["location"]),
        (StatusCode::SEE_OTHER, &"/login".parse().unwrap())
    );
    for path in ["/assets/app.js", "/extensions/sim_node/widget.js", "/extensions"] {
        let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status();
        assert_eq!(status(page(path)).await, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(status(page(path).bearer_auth(&scraper)).await, StatusCode::FORBIDDEN, "{path}");
        let cookie = page(path).header("cookie", format!("darkroom_key={key}"));
        assert_eq!(status(cookie).await, StatusCode::OK, "{path}");
        assert_eq!(status(page(&format!("/k/{key}{path}"))).await, StatusCode::OK, "{path}");
    }
    assert_eq!(page(&format!("/k/{key}/")).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn the_editor_stays_while_its_instance_is_away_and_any_other_takes_over() {
    let sim =
        || comfyui_sim::Config { extensions: vec!["a.js".to_owned()], ..comfyui_sim::Config::default() };
    let mut world = World::with(vec![sim(), sim()], "").await;
    let name = world.sims[0].url();
    world.reconfigure(|config| config.file.native.editor = Some(name.into()));
    let world = world.restart().await;
    world.usable().await;
    assert_eq!(world.get("/assets/app.js").await.status(), StatusCode::OK);
    world.sims[0].kill().await;
    let gone = async |world: &World| {
        until("it is known to be gone", || async {
            let fleet = world.app.engine().fleet();
            fleet.instances.iter().any(|instance| !instance.up).then_some(())
        })
        .await;
    };
    gone(&world).await;
    assert_eq!(world.get("/assets/app.js").await.text().await.unwrap(), "void 0");
    let new = world.get("/extensions/a.js").await;
    assert_eq!(new.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.get_json("/extensions").await, json!([]), "what cannot be told is nothing");

    let mut world = world;
    world.reconfigure(|config| config.file.native.editor = Some("any".into()));
    let world = world.restart().await;
    gone(&world).await;
    until("the other one serves it", || async {
        (world.get("/extensions/a.js").await.status() == StatusCode::OK).then_some(())
    })
    .await;
}
