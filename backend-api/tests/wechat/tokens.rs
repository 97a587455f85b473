//! The access token: one fetch for all who wait, renewed in time, renewed once when a call says it no longer counts.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use backend_api::domain::OpenId;
use backend_api::wechat::platform::Scene;
use backend_api::wechat::{CallError, Options, Platform};
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Duration, advance, pause, resume};

use crate::keys::APP;
use crate::stub::{Answer, SECRET, Seen, Stub, fail, say};

const TOKEN: &str = "/cgi-bin/stable_token";
const RESET: &str = "/wxa/resetusersessionkey";

/// Any call with a token.
async fn call(platform: &Platform) -> Result<(), CallError> {
    platform.reset_session(&OpenId::new("o"), &"k".into()).await.map(drop)
}

fn fine() -> Answer {
    say(json!({ "session_key": "k2" }))
}

#[tokio::test]
async fn a_hundred_calls_at_once_fetch_one_token() {
    let stub = Stub::platform(|_| fine()).await;
    let platform = stub.client();
    for outcome in join_all((0..100).map(|_| call(&platform))).await {
        outcome.unwrap();
    }
    let [fetched] = &stub.asked(TOKEN)[..] else { panic!("one token") };
    let wanted = json!({
        "grant_type": "client_credential", "appid": APP, "secret": SECRET, "force_refresh": false,
    });
    assert_eq!(fetched.json(), wanted);
    let calls = stub.asked(RESET);
    assert_eq!(calls.len(), 100);
    assert!(calls.iter().all(|seen| seen.token() == "token-1"));
}

#[tokio::test]
async fn a_hundred_calls_at_once_share_one_failure_to_fetch() {
    let stub = Stub::start(|_| fail(40125)).await;
    let platform = stub.client();
    for outcome in join_all((0..100).map(|_| call(&platform))).await {
        assert!(matches!(outcome.unwrap_err(), CallError::Misconfigured(refusal) if refusal.code == 40125));
    }
    assert_eq!(stub.seen().len(), 1);
    call(&platform).await.unwrap_err();
    assert_eq!(stub.seen().len(), 2, "who comes later tries again");
}

#[tokio::test]
async fn a_token_that_no_longer_counts_is_renewed_once_and_the_call_repeated_once() {
    for code in [40001, 40014, 42001] {
        let stub =
            Stub::platform(move |seen| if seen.token() == "token-1" { fail(code) } else { fine() }).await;
        let platform = stub.client();
        for outcome in join_all((0..100).map(|_| call(&platform))).await {
            outcome.unwrap();
        }
        assert_eq!(stub.asked(TOKEN).len(), 2, "{code}");
        call(&platform).await.unwrap();
        assert_eq!(stub.asked(RESET).last().unwrap().token(), "token-2");
    }
}

#[tokio::test]
async fn tokens_that_are_always_refused_end_in_an_error_of_the_settings() {
    let stub = Stub::platform(|_| fail(40001)).await;
    let error = call(&stub.client()).await.unwrap_err();
    assert!(matches!(error, CallError::Misconfigured(_)), "{error}");
    assert_eq!((stub.asked(TOKEN).len(), stub.asked(RESET).len()), (2, 2));
}

#[tokio::test]
async fn a_platform_that_keeps_a_dead_token_is_forced_to_a_new_one_but_not_again_soon() {
    fn script(seen: &Seen, forced: &AtomicUsize) -> Answer {
        if seen.path != TOKEN {
            return if seen.token() == "alive" { fine() } else { fail(40001) };
        }
        let token = match seen.json()["force_refresh"].as_bool().unwrap() {
            true if forced.fetch_add(1, Ordering::Relaxed) == 0 => "alive",
            _ => "dead",
        };
        say(json!({ "access_token": token, "expires_in": 7200 }))
    }
    let forced = AtomicUsize::new(0);
    let stub = Stub::start(move |seen| script(seen, &forced)).await;
    call(&stub.client()).await.unwrap();
    let forces: Vec<bool> =
        stub.asked(TOKEN).iter().map(|seen| seen.json()["force_refresh"].as_bool().unwrap()).collect();
    assert_eq!(forces, [false, false, true]);

    // every token is dead now
    let stub = Stub::start(|seen| match seen.path.as_str() {
        TOKEN => say(json!({ "access_token": "dead", "expires_in": 7200 })),
        _ => fail(40001),
    })
    .await;
    let platform = stub.client();
    for _ in 0..5 {
        call(&platform).await.unwrap_err();
    }
    let forces = stub.asked(TOKEN).iter().filter(|seen| seen.json()["force_refresh"] == true).count();
    assert_eq!(forces, 1, "the platform takes twenty a day");
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let stub = Stub::platform(|_| fine()).await;
    let platform = stub.client();
    call(&platform).await.unwrap();
    later(Duration::from_secs(6_890)).await;
    call(&platform).await.unwrap();
    assert_eq!(stub.asked(TOKEN).len(), 1);
    later(Duration::from_secs(20)).await;
    call(&platform).await.unwrap();
    assert_eq!(stub.asked(TOKEN).len(), 2);
    assert_eq!(stub.asked(RESET).last().unwrap().token(), "token-2");
}

#[tokio::test]
async fn a_token_in_its_last_minutes_serves_while_no_new_one_comes() {
    let given = Mutex::new(0);
    let stub = Stub::start(move |seen| {
        if seen.path != TOKEN {
            return fine();
        }
        let mut given = given.lock().unwrap();
        *given += 1;
        match *given {
            1 => say(json!({ "access_token": "old", "expires_in": 7200 })),
            _ => Answer::Reply { status: 502, headers: Vec::new(), body: Vec::new() },
        }
    })
    .await;
    let platform = stub.client();
    call(&platform).await.unwrap();
    later(Duration::from_secs(6_950)).await;
    call(&platform).await.unwrap();
    call(&platform).await.unwrap();
    assert_eq!(stub.asked(TOKEN).len(), 2, "not every call tries anew");
    assert_eq!(stub.asked(RESET).last().unwrap().token(), "old");
    later(Duration::from_secs(300)).await;
    call(&platform).await.unwrap_err();
}

/// Lets the clock of tokens jump.
async fn later(by: Duration) {
    pause();
    advance(by).await;
    resume();
}

#[tokio::test]
async fn inside_the_container_nobody_needs_a_token() {
    let stub = Stub::platform(|_| fine()).await;
    let options = Options { container_base: Some(stub.url.clone()), ..stub.options() };
    let platform = Platform::new(options).unwrap();
    call(&platform).await.unwrap();
    let [seen] = &stub.seen()[..] else { panic!("one call") };
    assert_eq!((seen.path.as_str(), seen.query.contains_key("access_token")), (RESET, false));
}

#[tokio::test]
async fn a_sidecar_that_is_switched_off_is_an_error_of_the_settings() {
    let stub = Stub::platform(|_| fail(41001)).await;
    let options = Options { container_base: Some(stub.url.clone()), ..stub.options() };
    let platform = Platform::new(options).unwrap();
    let error = platform.check_text(&OpenId::new("o"), "text", Scene::Social).await.unwrap_err();
    assert!(error.to_string().contains("settings"), "{error}");
}
