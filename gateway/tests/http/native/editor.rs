//! The web editor: its files, and how people come to it.

use std::path::Path;

use gateway::store::Scope;
use reqwest::{Method, StatusCode};

use crate::world::World;

/// What stands for the editor: a page, a script, a file outside that a link leads to.
fn folder(at: &Path) -> String {
    let editor = at.join("static");
    std::fs::create_dir_all(editor.join("assets")).unwrap();
    std::fs::write(editor.join("index.html"), "<!doctype html><title>editor</title>").unwrap();
    std::fs::write(editor.join("assets/index-1.js"), "void 0").unwrap();
    std::fs::write(at.join("secret.txt"), "secret").unwrap();
    std::os::unix::fs::symlink(at.join("secret.txt"), editor.join("link.txt")).unwrap();
    format!("[native]\neditor = {:?}\n", editor.display().to_string())
}

#[tokio::test]
async fn the_editor_is_served_from_its_folder_and_nothing_beside_it() {
    let at = tempfile::tempdir().unwrap();
    let world = World::with(vec![], &folder(at.path())).await;
    let page = world.request(Method::GET, "/").header("accept", "text/html").send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert!(page.text().await.unwrap().contains("editor"));
    let script = world.get("/assets/index-1.js").await;
    assert_eq!(script.headers()["content-type"], "text/javascript; charset=utf-8");
    let etag = script.headers()["etag"].clone();
    assert_eq!(script.text().await.unwrap(), "void 0");
    let again = world.request(Method::GET, "/assets/index-1.js").header("if-none-match", etag);
    assert_eq!(again.send().await.unwrap().status(), StatusCode::NOT_MODIFIED);
    for nothing in ["/link.txt", "/assets", "/assets/..%2f..%2fsecret.txt", "/secret.txt", "/nope"] {
        assert_eq!(world.get(nothing).await.status(), StatusCode::NOT_FOUND, "{nothing}");
    }
    let posted = world.request(Method::POST, "/assets/index-1.js").send().await.unwrap();
    assert_eq!(posted.status(), StatusCode::NOT_FOUND);
    let foreign = world.request(Method::GET, "/assets/index-1.js").header("host", "evil.example");
    assert_eq!(foreign.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    assert_eq!(world.get_json("/queue").await["queue_running"], serde_json::json!([]));
}

#[tokio::test]
async fn people_without_a_key_are_led_to_the_login_page() {
    let at = tempfile::tempdir().unwrap();
    let world = World::with(vec![], &folder(at.path())).await;
    let key = world.key("team", Scope::Submit).await;
    let page = |path: &str| world.request(Method::GET, path).header("accept", "text/html");
    let led = page("/").send().await.unwrap();
    assert_eq!(
        (led.status(), &led.headers()["location"]),
        (StatusCode::SEE_OTHER, &"/login".parse().unwrap())
    );
    let cookie = format!("darkroom_key={key}");
    assert_eq!(page("/").header("cookie", cookie).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(page(&format!("/k/{key}/")).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_folder_that_is_no_editor_ends_the_start() {
    let at = tempfile::tempdir().unwrap();
    assert!(gateway::http::Editor::open(at.path()).is_err());
    assert!(gateway::http::Editor::open(&at.path().join("nowhere")).is_err());
}
