//! Logins, tokens, what people tell, and their leaving.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use backend_api::config::Config;
use backend_api::db::{self, Database, SessionRow};
use backend_api::domain::UserId;
use backend_api::identity::{Erasable, Identity, IdentityError, LeaveError, NotNow, Services};
use backend_api::wechat::Platform;
use futures_util::future::BoxFuture;
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::engines::{Engine, on_every_engine};
use crate::people::{IDENTITY_SECRET, World, code};
use crate::stub_wechat::{APP_ID, PHONE, SECRET, SESSION_KEY, StubWechat};
use crate::support::answer;

on_every_engine!(
    a_session_key_that_wechat_replaced_wants_a_new_login,
    what_another_part_holds_goes_with_the_person_or_nothing_does,
    what_has_ended_is_forgotten_and_what_has_not_stays,
    a_person_who_logs_in_twice_is_one_person,
    logins_at_once_of_a_new_person_make_one_person,
    a_refresh_token_is_good_once_and_gives_the_next,
    a_refresh_whose_answer_was_lost_is_answered_the_same_again,
    a_refresh_token_that_comes_back_ends_the_login_of_both,
    refreshes_at_once_agree_on_one_token,
    logging_out_ends_the_tokens_of_that_login_alone,
    a_phone_number_is_kept_sealed_and_shown_masked,
    a_person_who_leaves_is_forgotten_and_may_come_again_as_another,
    a_copy_has_everything_that_is_known,
);

async fn a_person_who_logs_in_twice_is_one_person(engine: Engine) {
    let world = World::on(engine).await;
    let (first, second, other) = (world.login("oA").await, world.login("oA").await, world.login("oB").await);
    assert_eq!(first.id, second.id);
    assert_ne!(first.id, other.id);
    let (status, me) = world.get_as(&second, "/me").await;
    assert_eq!((status, &me["id"], &me["role"]), (200, &json!(first.id), &json!("user")));
    assert_eq!(me["phone"], json!(null));
}

async fn logins_at_once_of_a_new_person_make_one_person(engine: Engine) {
    let world = World::on(engine).await;
    let logins =
        tokio::join!(world.login("oNew"), world.login("oNew"), world.login("oNew"), world.login("oNew"));
    let ids = [logins.0.id, logins.1.id, logins.2.id, logins.3.id];
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

async fn a_refresh_token_is_good_once_and_gives_the_next(engine: Engine) {
    let world = World::on(engine).await;
    let login = world.login("oA").await;
    let (status, next) = world.refresh(&login.refresh).await;
    assert_eq!((status, &next["user"]["id"]), (200, &json!(login.id)));
    assert_ne!(next["refresh_token"], json!(login.refresh));
    let (status, last) = world.refresh(next["refresh_token"].as_str().unwrap()).await;
    assert_eq!(status, 200, "{last}");
    let (status, refused) = world.refresh("never one of ours").await;
    assert_eq!((status, code(&refused)), (401, "refresh_refused"));
}

async fn a_refresh_whose_answer_was_lost_is_answered_the_same_again(engine: Engine) {
    let world = World::on(engine).await;
    let login = world.login("oA").await;
    let (_, lost) = world.refresh(&login.refresh).await;
    let (status, again) = world.refresh(&login.refresh).await;
    assert_eq!((status, &again["refresh_token"]), (200, &lost["refresh_token"]));
}

async fn a_refresh_token_that_comes_back_ends_the_login_of_both(engine: Engine) {
    let world = World::on(engine).await;
    let (stolen, untouched) = (world.login("oA").await, world.login("oA").await);
    let (_, second) = world.refresh(&stolen.refresh).await;
    let (_, third) = world.refresh(second["refresh_token"].as_str().unwrap()).await;
    let (status, refused) = world.refresh(&stolen.refresh).await;
    assert_eq!((status, code(&refused)), (401, "refresh_reused"));
    let (status, refused) = world.refresh(third["refresh_token"].as_str().unwrap()).await;
    assert_eq!((status, code(&refused)), (401, "refresh_refused"), "the newest token is ended too");
    let access = third["access_token"].as_str().unwrap();
    let me = world.ask(Method::GET, "/me").bearer_auth(access).send().await.unwrap();
    assert_eq!(me.status(), 401, "and so is its access token");
    assert_eq!(world.get_as(&untouched, "/me").await.0, 200);
}

async fn refreshes_at_once_agree_on_one_token(engine: Engine) {
    let world = World::on(engine).await;
    let login = world.login("oA").await;
    let (a, b, c) = tokio::join!(
        world.refresh(&login.refresh),
        world.refresh(&login.refresh),
        world.refresh(&login.refresh)
    );
    assert_eq!([a.0, b.0, c.0], [200; 3]);
    assert_eq!(a.1["refresh_token"], b.1["refresh_token"]);
    assert_eq!(a.1["refresh_token"], c.1["refresh_token"]);
}

async fn logging_out_ends_the_tokens_of_that_login_alone(engine: Engine) {
    let world = World::on(engine).await;
    let (one, other) = (world.login("oA").await, world.login("oA").await);
    assert_eq!(world.get_as(&one, "/me").await.0, 200);
    assert_eq!(world.status_as(&one, Method::POST, "/auth/logout").await, 204);
    assert_eq!(world.get_as(&one, "/me").await.0, 401);
    let (status, refused) = world.refresh(&one.refresh).await;
    assert_eq!((status, code(&refused)), (401, "refresh_refused"));
    assert_eq!(world.get_as(&other, "/me").await.0, 200);
}

async fn a_phone_number_is_kept_sealed_and_shown_masked(engine: Engine) {
    let world = World::on(engine).await;
    let login = world.login("oA").await;
    let (status, me) = world.post_as(&login, "/me/phone", json!({"code": "p"})).await;
    assert_eq!((status, &me["phone"]), (200, &json!("+86 138****8000")));
    assert_eq!(world.get_as(&login, "/me").await.1["phone"], json!("+86 138****8000"));
    let (status, refused) = world.post_as(&login, "/me/phone", json!({"code": "errcode-40029"})).await;
    assert_eq!((status, code(&refused)), (401, "code_refused"));
    if engine == Engine::Sqlite {
        let folder = world.backend.folder.path().join("data");
        for file in std::fs::read_dir(folder).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            for secret in [PHONE, SESSION_KEY] {
                let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
                assert!(!found, "{secret} lies in the database as it is");
            }
        }
    }
}

async fn a_person_who_leaves_is_forgotten_and_may_come_again_as_another(engine: Engine) {
    let world = World::on(engine).await;
    let (login, elsewhere) = (world.login("oA").await, world.login("oA").await);
    world.post_as(&login, "/me/phone", json!({"code": "p"})).await;
    assert_eq!(world.get_as(&elsewhere, "/me").await.0, 200);
    assert_eq!(world.status_as(&login, Method::DELETE, "/me").await, 204);
    for token in [&login, &elsewhere] {
        assert_eq!(world.get_as(token, "/me").await.0, 401);
        assert_eq!(world.refresh(&token.refresh).await.0, 401);
    }
    let again = world.login("oA").await;
    assert_ne!(again.id, login.id);
    assert_eq!(world.get_as(&again, "/me").await.1["phone"], json!(null));
}

async fn a_copy_has_everything_that_is_known(engine: Engine) {
    let world = World::on(engine).await;
    let login = world.login("oA").await;
    world.post_as(&login, "/me/phone", json!({"code": "p"})).await;
    let (status, copy) = world.get_as(&login, "/me/export").await;
    assert_eq!((status, &copy["user"]["id"]), (200, &json!(login.id)));
    assert_eq!(copy["profile"]["phone"], json!(format!("+86 {PHONE}")));
    let account = &copy["wechat_accounts"][0];
    assert_eq!((&account["appid"], &account["openid"]), (&json!(APP_ID), &json!("oA")));
    assert_eq!(account["unionid"], json!("union-oA"));
    assert_eq!(copy["logins"].as_array().unwrap().len(), 1);
    assert!(!copy.to_string().contains(SESSION_KEY), "the session key is WeChat's secret, not the person's");
}

#[tokio::test]
async fn every_documented_refusal_of_a_login_code_has_its_answer() {
    let world = World::on(Engine::Sqlite).await;
    for (errcode, status, word) in [
        (40029, 401, "code_refused"),
        (40163, 401, "code_refused"),
        (45011, 429, "too_many_logins"),
        (40226, 403, "login_blocked"),
        (40013, 502, "wechat_misconfigured"),
        (40125, 502, "wechat_misconfigured"),
        (41002, 502, "wechat_misconfigured"),
        (41004, 502, "wechat_misconfigured"),
        (41008, 502, "wechat_misconfigured"),
        (99999, 502, "wechat_misconfigured"),
    ] {
        let before = world.wechat.exchanges();
        let response = world
            .ask(Method::POST, "/auth/login")
            .json(&json!({"code": format!("errcode-{errcode}")}))
            .send()
            .await
            .unwrap();
        let has_time = response.headers().contains_key("retry-after");
        let (answered, body) = answer(response).await;
        assert_eq!((answered, code(&body)), (status, word), "{errcode}");
        assert_eq!(has_time, status == 429, "{errcode}");
        assert_eq!(world.wechat.exchanges(), before + 1, "{errcode} was repeated");
    }
    let before = world.wechat.exchanges();
    let (status, body) = world.login_code("errcode--1").await;
    assert_eq!((status, code(&body)), (503, "wechat_unavailable"));
    assert_eq!(world.wechat.exchanges(), before + 2, "a busy platform is asked the same code once more");
}

#[tokio::test]
async fn a_wechat_that_never_answers_is_not_waited_for_beyond_its_bound() {
    let world = World::with(Engine::Sqlite, "[wechat]\nrequest_timeout_seconds = 1").await;
    let (status, body) = world.login_code("hang").await;
    assert_eq!((status, code(&body)), (503, "wechat_unavailable"));
    assert_eq!(world.wechat.exchanges(), 1, "the code may be used up");
}

#[tokio::test]
async fn a_body_that_is_no_login_never_reaches_wechat() {
    let world = World::on(Engine::Sqlite).await;
    for body in [json!({}), json!({"code": ""}), json!({"code": "x".repeat(257)}), json!({"code": 1})] {
        let (status, refused) = world.post("/auth/login", body.clone()).await;
        assert_eq!((status, code(&refused)), (400, "invalid_request"), "{body}");
    }
    assert_eq!(world.wechat.exchanges(), 0);
}

#[tokio::test]
async fn tokens_of_another_secret_are_refused_and_of_the_previous_one_taken() {
    let world = World::on(Engine::Sqlite).await;
    let login = world.login("oA").await;
    let backend = world.backend.restart_with(|config| {
        config.identity.previous_secret = config.identity.secret.take();
        config.identity.secret = Some("another-secret-of-tests-32-bytes-long".into());
    });
    let world = World { backend: backend.await, ..world };
    assert_eq!(world.get_as(&login, "/me").await.0, 200);
    let (status, next) = world.refresh(&login.refresh).await;
    assert_eq!(status, 200, "{next}");
    let backend = world.backend.restart_with(|config| config.identity.previous_secret = None);
    let world = World { backend: backend.await, ..world };
    assert_eq!(world.get_as(&login, "/me").await.0, 401);
    assert_eq!(world.refresh(next["refresh_token"].as_str().unwrap()).await.0, 200);
}

#[tokio::test]
async fn without_a_secret_logins_are_not_set_up_and_say_so() {
    let world = World::on(Engine::Sqlite).await;
    let login = world.login("oA").await;
    let backend = world.backend.restart_with(|config| config.identity.secret = None);
    let world = World { backend: backend.await, ..world };
    let (status, body) = world.login_code("as-oA").await;
    assert_eq!((status, code(&body)), (503, "identity_not_configured"));
    let (status, body) = world.get_as(&login, "/me").await;
    assert_eq!((status, code(&body)), (503, "identity_not_configured"));
    assert_eq!(world.ask(Method::GET, "/me").send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn without_a_mini_program_logins_by_wechat_say_so() {
    let world = World::on(Engine::Sqlite).await;
    let backend = world.backend.restart_with(|config| config.wechat.platform = None);
    let world = World { backend: backend.await, ..world };
    let (status, body) = world.login_code("as-oA").await;
    assert_eq!((status, code(&body)), (503, "wechat_not_configured"));
}

/// A part that holds something of people, and may need them for a while.
#[derive(Debug, Default)]
struct Part {
    is_busy: AtomicBool,
    erased: AtomicUsize,
}

impl Erasable for Part {
    fn name(&self) -> &'static str {
        "part"
    }

    fn export(&self, user: UserId) -> BoxFuture<'_, Result<Value, db::Error>> {
        Box::pin(async move { Ok(json!({"held_of": user})) })
    }

    fn erase<'a>(&'a self, _: UserId, _: &'a db::Transaction) -> BoxFuture<'a, Result<(), LeaveError>> {
        Box::pin(async move {
            self.erased.fetch_add(1, Ordering::SeqCst);
            match self.is_busy.load(Ordering::SeqCst) {
                true => Err(LeaveError::NotNow(NotNow { message: "an order is under way" })),
                false => Ok(()),
            }
        })
    }
}

/// Identity alone, with a part beside it.
async fn alone(engine: Engine) -> (TempDir, StubWechat, Arc<Part>, Identity) {
    let (folder, wechat, part) = (TempDir::new().unwrap(), StubWechat::start().await, Arc::<Part>::default());
    let config = Config::resolve("", &|name| match name {
        "BACKEND_IDENTITY_SECRET" => Some(IDENTITY_SECRET.to_owned()),
        "BACKEND_WECHAT_APP_ID" => Some(APP_ID.to_owned()),
        "BACKEND_WECHAT_SECRET" => Some(SECRET.to_owned()),
        "BACKEND_WECHAT_API_BASE" => Some(wechat.url.to_string()),
        _ => None,
    })
    .unwrap();
    let services = Services {
        database: Database::open(&engine.options(&folder).await).await.unwrap(),
        wechat: Some(Platform::new(config.wechat.platform.unwrap()).unwrap()),
        appid: config.wechat.app_id,
        parts: vec![part.clone()],
    };
    let identity = Identity::new(&config.identity, services).unwrap();
    (folder, wechat, part, identity)
}

async fn a_session_key_that_wechat_replaced_wants_a_new_login(engine: Engine) {
    let (_folder, wechat, _, identity) = alone(engine).await;
    let user = identity.login("as-oA").await.unwrap().user.id;
    let session = identity.checked_wechat_session(user).await.unwrap();
    assert_eq!(session.session_key.expose_secret(), format!("{SESSION_KEY}oA"));
    assert_eq!(session.account.openid.as_str(), "oA");
    wechat.replace_session_keys();
    let refused = identity.checked_wechat_session(user).await.unwrap_err();
    assert!(matches!(refused, IdentityError::LoginAgain), "{refused:?}");
    let stranger = identity.wechat_session(UserId(Uuid::now_v7())).await.unwrap_err();
    assert!(matches!(stranger, IdentityError::LoginAgain), "{stranger:?}");
}

async fn what_another_part_holds_goes_with_the_person_or_nothing_does(engine: Engine) {
    let (_folder, _wechat, part, identity) = alone(engine).await;
    let login = identity.login("as-oA").await.unwrap();
    let user = login.user.id;
    assert_eq!(identity.export(user).await.unwrap()["part"], json!({"held_of": user}));

    part.is_busy.store(true, Ordering::SeqCst);
    let refused = identity.leave(user).await.unwrap_err();
    assert!(matches!(refused, LeaveError::NotNow(_)), "{refused:?}");
    assert_eq!(identity.bearer(login.access_token.expose_secret()).await.unwrap().user, login.user);
    assert!(identity.account(user).await.unwrap().is_some(), "nothing is erased");

    part.is_busy.store(false, Ordering::SeqCst);
    identity.leave(user).await.unwrap();
    assert_eq!(part.erased.load(Ordering::SeqCst), 2);
    assert!(identity.account(user).await.unwrap().is_none());
    identity.leave(user).await.unwrap();
    assert_eq!(part.erased.load(Ordering::SeqCst), 2, "who is gone is not erased again");
}

async fn what_has_ended_is_forgotten_and_what_has_not_stays(engine: Engine) {
    let (folder, _wechat, _, identity) = alone(engine).await;
    let login = identity.login("as-oA").await.unwrap();
    assert_eq!(identity.tidy().await.unwrap(), 0);
    assert!(identity.note_signed([7; 32]).await.unwrap());
    assert_eq!(identity.tidy().await.unwrap(), 0, "a signature that still counts has to be remembered");
    assert!(!identity.note_signed([7; 32]).await.unwrap());
    assert!(identity.refresh(login.refresh_token.expose_secret()).await.is_ok());

    let database = Database::open(&engine.options(&folder).await).await.unwrap();
    let ended = SessionRow {
        id: Uuid::new_v4(),
        user: login.user.id,
        generation: 0,
        created_at: 1,
        rotated_at: 1,
        expires_at: 2,
        revoked_at: None,
    };
    database.insert_session(&ended).await.unwrap();
    assert_eq!(database.forget_sessions(3).await.unwrap(), 1);
    assert_eq!(database.find_session(ended.id).await.unwrap(), None);
}
