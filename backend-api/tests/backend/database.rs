//! The database's functions alone, on every kind of database.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backend_api::db::{Database, Error, Options, Place, Tls, erase_user_in};
use backend_api::domain::{OpenId, Role, User, UserId, WechatAccount};
use reqwest::{Method, Url};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement};
use tempfile::TempDir;
use uuid::Uuid;

use crate::engines::{Engine, on_every_engine, options, tls_folder};
use crate::people::{Login, World};
use crate::relay::Relay;
use crate::support::eventually;

on_every_engine!(
    what_was_written_is_read_back_after_the_database_is_opened_again,
    replicas_that_start_at_once_migrate_once,
    a_schema_of_a_newer_version_is_refused_with_words,
    a_migration_that_was_cut_off_is_finished_by_the_next_start,
    what_a_later_version_gave_up_is_taken_away,
    text_is_compared_byte_by_byte,
    of_two_first_sights_of_one_person_one_is_a_duplicate,
    a_transaction_that_is_dropped_leaves_nothing,
);

fn user() -> User {
    User { id: UserId(Uuid::now_v7()), role: Role::User, created_at: 1_000 }
}

fn account(openid: &str) -> WechatAccount {
    WechatAccount { appid: "wx1".to_owned(), openid: OpenId::new(openid) }
}

async fn fresh(engine: Engine) -> (TempDir, Options, Database) {
    let folder = TempDir::new().unwrap();
    let options = engine.options(&folder).await;
    let database = Database::open(&options).await.unwrap();
    (folder, options, database)
}

/// A connection that does not go through backend-api.
async fn beside(options: &Options) -> DatabaseConnection {
    let url = match &options.place {
        Place::Sqlite { file } => format!("sqlite:{}", file.display()),
        Place::MySql(server) => {
            format!("mysql://darkroom:darkroom@{}:{}/{}", server.host, server.port, server.database)
        }
        Place::PostgreSql(server) => {
            format!("postgres://darkroom:darkroom@{}:{}/{}", server.host, server.port, server.database)
        }
    };
    sea_orm::Database::connect(url).await.unwrap()
}

async fn count(connection: &DatabaseConnection, query: &str) -> i64 {
    let statement = Statement::from_string(connection.get_database_backend(), query);
    connection.query_one_raw(statement).await.unwrap().unwrap().try_get("", "count").unwrap()
}

async fn what_was_written_is_read_back_after_the_database_is_opened_again(engine: Engine) {
    let (_folder, options, database) = fresh(engine).await;
    let user = user();
    database.insert_user(&user, &account("oA"), None).await.unwrap();
    database.close().await.unwrap();

    let database = Database::open(&options).await.unwrap();
    assert_eq!(database.find_user(user.id).await.unwrap(), Some(user));
    assert_eq!(database.find_user(UserId(Uuid::from_u128(1))).await.unwrap(), None);
}

#[tokio::test]
async fn no_character_of_a_files_path_is_special() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("people?#%20.sqlite3");
    let options = Options { place: Place::Sqlite { file: file.clone() }, ..options("sqlite:x") };
    Database::open(&options).await.unwrap();
    assert!(file.exists());
}

async fn replicas_that_start_at_once_migrate_once(engine: Engine) {
    let folder = TempDir::new().unwrap();
    let options = engine.options(&folder).await;
    let starts = (0..4).map(|_| {
        let options = options.clone();
        tokio::spawn(async move { Database::open(&options).await })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.unwrap().unwrap();
    }
    let beside = beside(&options).await;
    let twice = "SELECT COUNT(*) - COUNT(DISTINCT version) AS count FROM seaql_migrations";
    assert_eq!(count(&beside, twice).await, 0);
    assert_eq!(count(&beside, "SELECT COUNT(*) AS count FROM users").await, 0);
}

async fn a_schema_of_a_newer_version_is_refused_with_words(engine: Engine) {
    let (_folder, options, database) = fresh(engine).await;
    database.close().await.unwrap();
    let insert = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('9999_from_the_future', 0)";
    beside(&options).await.execute_unprepared(insert).await.unwrap();
    let error = Database::open(&options).await.unwrap_err();
    assert!(matches!(&error, Error::Newer { found } if found == "9999_from_the_future"), "{error:?}");
    assert!(error.to_string().contains("newer version"), "{error}");
}

/// MySQL commits each change of a table by itself; elsewhere the rows are only told to be missing.
async fn a_migration_that_was_cut_off_is_finished_by_the_next_start(engine: Engine) {
    let (_folder, options, database) = fresh(engine).await;
    database.close().await.unwrap();
    let beside = beside(&options).await;
    beside.execute_unprepared("DELETE FROM seaql_migrations").await.unwrap();
    beside.execute_unprepared("DROP TABLE partner_nonces").await.unwrap();
    let database = Database::open(&options).await.unwrap();
    assert!(database.note_nonce([1; 32], 1).await.unwrap());
}

/// The first form of generation left a table behind, which nothing reads any more.
async fn what_a_later_version_gave_up_is_taken_away(engine: Engine) {
    let (_folder, options, database) = fresh(engine).await;
    database.close().await.unwrap();
    let beside = beside(&options).await;
    beside.execute_unprepared("DELETE FROM seaql_migrations WHERE version = '0006_no_works'").await.unwrap();
    beside.execute_unprepared("CREATE TABLE works (id INTEGER)").await.unwrap();
    Database::open(&options).await.unwrap();
    assert!(beside.execute_unprepared("SELECT id FROM works").await.is_err());
}

async fn text_is_compared_byte_by_byte(engine: Engine) {
    let (_folder, options, database) = fresh(engine).await;
    database.insert_user(&user(), &account("oABC"), None).await.unwrap();
    database.insert_user(&user(), &account("oabc"), None).await.unwrap();
    assert!(database.find_user_by_account(&account("OABC")).await.unwrap().is_none());
    if engine == Engine::MariaDb {
        let others = "SELECT COUNT(*) AS count FROM information_schema.tables WHERE table_schema = DATABASE() \
             AND table_name <> 'seaql_migrations' AND table_collation <> 'utf8mb4_bin'";
        assert_eq!(
            count(&beside(&options).await, others).await,
            0,
            "make tables by migrations::create_table"
        );
    }
}

async fn of_two_first_sights_of_one_person_one_is_a_duplicate(engine: Engine) {
    let (_folder, _, database) = fresh(engine).await;
    let (one, other, account) = (user(), user(), account("oOne"));
    let (first, second) = tokio::join!(
        database.insert_user(&one, &account, Some("u1")),
        database.insert_user(&other, &account, Some("u1"))
    );
    let (winner, loser) = match (first, second) {
        (Ok(()), Err(Error::Duplicate(_))) => (one, other),
        (Err(Error::Duplicate(_)), Ok(())) => (other, one),
        both => panic!("{both:?}"),
    };
    assert_eq!(database.find_user_by_account(&account).await.unwrap(), Some(winner));
    assert_eq!(
        database.find_user(loser.id).await.unwrap(),
        None,
        "the loser's row is undone with its account"
    );
}

async fn a_transaction_that_is_dropped_leaves_nothing(engine: Engine) {
    let (_folder, _, database) = fresh(engine).await;
    let (user, account) = (user(), account("oGone"));
    database.insert_user(&user, &account, None).await.unwrap();
    let transaction = database.begin().await.unwrap();
    assert!(erase_user_in(&transaction, user.id, 5).await.unwrap());
    drop(transaction);
    assert_eq!(database.find_user(user.id).await.unwrap(), Some(user.clone()));

    let transaction = database.begin().await.unwrap();
    assert!(erase_user_in(&transaction, user.id, 5).await.unwrap());
    database.commit(transaction).await.unwrap();
    assert_eq!(database.find_user(user.id).await.unwrap(), None);
}

#[tokio::test]
async fn in_a_schema_of_its_own_it_does_not_meet_the_tables_of_others() {
    let (_folder, options, public) = fresh(Engine::PostgreSql).await;
    beside(&options).await.execute_unprepared("CREATE SCHEMA backend").await.unwrap();
    let mut apart = options.clone();
    let Place::PostgreSql(server) = &mut apart.place else { panic!("{:?}", apart.place) };
    server.schema = Some("backend".to_owned());
    let apart = Database::open(&apart).await.unwrap();
    let (here, there) = (user(), user());
    public.insert_user(&here, &account("oA"), None).await.unwrap();
    apart.insert_user(&there, &account("oA"), None).await.unwrap();
    assert_eq!(public.find_user_by_account(&account("oA")).await.unwrap(), Some(here));
    assert_eq!(apart.find_user_by_account(&account("oA")).await.unwrap(), Some(there));
}

/// A database behind a relay that can lose connections.
async fn behind_a_relay(engine: Engine) -> (TempDir, Relay, Options) {
    let folder = TempDir::new().unwrap();
    let url = Url::parse(&engine.fresh(&folder).await).unwrap();
    let relay = Relay::to(&url).await;
    let options = Options { check_idle_after: Duration::from_secs(3_600), ..options(&relay.url(&url)) };
    (folder, relay, options)
}

async fn a_transaction_that_lost_its_connection_is_begun_again(engine: Engine) {
    let (_folder, relay, options) = behind_a_relay(engine).await;
    let database = Database::open(&options).await.unwrap();
    let (user, account) = (user(), account("oLost"));
    database.insert_user(&user, &account, None).await.unwrap();
    let is_first = AtomicBool::new(true);
    let erased = database.retry(|| async {
        let transaction = database.begin().await?;
        if is_first.swap(false, Ordering::SeqCst) {
            relay.cut().await;
        }
        let erased = erase_user_in(&transaction, user.id, 5).await?;
        database.commit(transaction).await?;
        Ok::<_, Error>(erased)
    });
    assert!(erased.await.unwrap());
    assert!(database.retries().get() > 0, "nothing was lost, so the test shows nothing");
    let found = database.retry(|| database.find_user(user.id)).await.unwrap();
    assert_eq!(found, None);
}

async fn an_attempt_whose_answer_is_lost_is_repeated_and_counts_once(engine: Engine) {
    let (_folder, relay, options) = behind_a_relay(engine).await;
    let database = Database::open(&options).await.unwrap();
    for cut_after in [0, 12, 40, 80, 120, 160, 200, 240] {
        let (user, account) = (user(), account(&format!("o{cut_after}")));
        database.find_user(user.id).await.unwrap(); // a connection is there, and warm
        relay.cut_after(cut_after);
        let inserted = database.retry(|| database.insert_user(&user, &account, None)).await;
        assert!(matches!(inserted, Ok(()) | Err(Error::Duplicate(_))), "{inserted:?}");
        let found = database.retry(|| database.find_user_by_account(&account)).await.unwrap();
        assert_eq!(found, Some(user));
    }
    assert!(database.retries().get() > 0, "nothing was lost, so the test shows nothing");
}

async fn people_do_not_notice_that_the_database_dropped_its_connections(engine: Engine) {
    let folder = TempDir::new().unwrap();
    let url = Url::parse(&engine.fresh(&folder).await).unwrap();
    let relay = Relay::to(&url).await;
    let through = relay.url(&url);
    let world = World::by(engine, "[database]\ncheck_idle_after_seconds = 3600", |environment| {
        environment.retain(|(name, _)| *name != "BACKEND_DATABASE_URL");
        environment.push(("BACKEND_DATABASE_URL", through));
    })
    .await;
    let login = world.login("oA").await;
    for (method, path) in [(Method::GET, "/me"), (Method::GET, "/me/export"), (Method::POST, "/auth/logout")]
    {
        relay.cut().await;
        let status = world.status_as(&login, method, path).await;
        assert!(status < 300, "{path}: {status}");
    }
    relay.cut().await;
    let again = world.login("oA").await;
    assert_eq!(again.id, login.id);
    relay.cut().await;
    let (status, next) = world.refresh(&again.refresh).await;
    assert_eq!(status, 200, "{next}");
}

async fn people_wait_for_a_database_that_fell_asleep_and_are_told_when_it_does_not_wake(engine: Engine) {
    let folder = TempDir::new().unwrap();
    let url = Url::parse(&engine.fresh(&folder).await).unwrap();
    let relay = Relay::to(&url).await;
    let through = relay.url(&url);
    let settings = "[database]\ncheck_idle_after_seconds = 3600\nretry_seconds = 3";
    let world = World::by(engine, settings, |environment| {
        environment.retain(|(name, _)| *name != "BACKEND_DATABASE_URL");
        environment.push(("BACKEND_DATABASE_URL", through));
    })
    .await;
    let login = world.login("oA").await;
    relay.sleep(true);
    relay.cut().await;
    let before = relay.connections();
    let (refreshed, ()) = tokio::join!(world.refresh(&login.refresh), async {
        eventually("it is tried again", || relay.connections() >= before + 3).await;
        relay.sleep(false);
    });
    assert_eq!(refreshed.0, 200, "{}", refreshed.1);
    let login = Login::of(&refreshed.1);

    relay.sleep(true);
    relay.cut().await;
    assert_eq!(world.status_as(&login, Method::GET, "/me").await, 503);
    relay.sleep(false);
    assert_eq!(world.status_as(&login, Method::GET, "/me").await, 200);
}

async fn a_server_that_sleeps_is_waited_for_at_start(engine: Engine) {
    let (_folder, relay, options) = behind_a_relay(engine).await;
    relay.sleep(true);
    let start = tokio::spawn(async move { Database::open(&options).await });
    eventually("it tries again", || relay.connections() >= 2).await;
    relay.sleep(false);
    start.await.unwrap().unwrap();
}

async fn a_server_that_never_wakes_is_given_up_in_time(engine: Engine) {
    let (_folder, relay, options) = behind_a_relay(engine).await;
    relay.sleep(true);
    let options = Options { start_timeout: Duration::from_secs(1), ..options };
    let error = Database::open(&options).await.unwrap_err();
    assert!(matches!(error, Error::Lost(_)), "{error:?}");
}

async fn a_certificate_counts_when_it_is_asked_for(engine: Engine) {
    let folder = TempDir::new().unwrap();
    let options = engine.options(&folder).await;
    let with = |tls: Tls, host: &str, authority: &str| {
        let mut options = Options { start_timeout: Duration::from_secs(5), ..options.clone() };
        let (Place::MySql(server) | Place::PostgreSql(server)) = &mut options.place else { panic!() };
        server.tls = tls;
        server.host = host.to_owned();
        server.ca_file = (!authority.is_empty()).then(|| tls_folder().join(authority));
        options
    };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default(); // another test may have
    let opens = async |options: Options| Database::open(&options).await.is_ok();
    assert!(opens(with(Tls::Require, "127.0.0.1", "")).await);
    assert!(opens(with(Tls::VerifyFull, "localhost", "ca.pem")).await);
    assert!(opens(with(Tls::VerifyCa, "127.0.0.1", "ca.pem")).await);
    assert!(!opens(with(Tls::VerifyFull, "127.0.0.1", "ca.pem")).await, "the certificate is for localhost");
    assert!(!opens(with(Tls::VerifyFull, "localhost", "other-ca.pem")).await, "another authority");
    assert!(opens(with(Tls::Off, "127.0.0.1", "")).await);
}

/// Makes a test of each, on the two servers.
macro_rules! on_every_server {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[tokio::test]
            async fn mariadb() {
                super::$name($crate::engines::Engine::MariaDb).await;
            }

            #[tokio::test]
            async fn postgresql() {
                super::$name($crate::engines::Engine::PostgreSql).await;
            }
        }
    )*};
}

on_every_server!(
    a_transaction_that_lost_its_connection_is_begun_again,
    an_attempt_whose_answer_is_lost_is_repeated_and_counts_once,
    people_do_not_notice_that_the_database_dropped_its_connections,
    people_wait_for_a_database_that_fell_asleep_and_are_told_when_it_does_not_wake,
    a_server_that_sleeps_is_waited_for_at_start,
    a_server_that_never_wakes_is_given_up_in_time,
    a_certificate_counts_when_it_is_asked_for,
);
