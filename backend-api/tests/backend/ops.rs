//! Health, and what the database promises.

use backend_api::app::App;
use backend_api::db::Place;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection};
use serde_json::json;

use crate::stub_gateway::{StubGateway, nowhere};
use crate::support::{Backend, config, gateway_and_backend};

async fn second_connection(backend: &Backend) -> DatabaseConnection {
    let mut options = ConnectOptions::new(format!("sqlite:{}", backend.database().display()));
    options.max_connections(1);
    Database::connect(options).await.unwrap()
}

#[tokio::test]
async fn readyz_is_green_with_database_and_gateway() {
    let (_gateway, backend) = gateway_and_backend().await;
    let (status, body) = backend.get("/readyz").await;
    assert_eq!(
        (status, body),
        (200, json!({"status": "ready", "checks": {"database": "ok", "gateway": "ok"}}))
    );
}

#[tokio::test]
async fn a_gateway_that_is_away_degrades_but_does_not_turn_readyz_red() {
    let backend = Backend::start(&nowhere().await).await;
    let (status, body) = backend.get("/readyz").await;
    assert_eq!(
        (status, body),
        (200, json!({"status": "degraded", "checks": {"database": "ok", "gateway": "unreachable"}}))
    );

    let (gateway, backend) = gateway_and_backend().await;
    gateway.set_ready(false);
    let (status, body) = backend.get("/readyz").await;
    assert_eq!((status, &body["checks"]["gateway"]), (200, &json!("not_ready")));
}

#[tokio::test]
async fn readyz_is_red_while_the_database_is_locked_and_green_again_after() {
    let (_gateway, backend) = gateway_and_backend().await;
    let other = second_connection(&backend).await;
    other.execute_unprepared("BEGIN IMMEDIATE").await.unwrap();
    let (status, body) = backend.get("/readyz").await;
    assert_eq!(
        (status, &body["status"], &body["checks"]["database"]),
        (503, &json!("unready"), &json!("failed"))
    );
    assert_eq!(backend.get("/livez").await.0, 200);

    other.execute_unprepared("ROLLBACK").await.unwrap();
    assert_eq!(backend.get("/readyz").await.0, 200);
}

#[tokio::test]
async fn readyz_is_red_when_the_database_file_is_gone() {
    let (_gateway, backend) = gateway_and_backend().await;
    std::fs::remove_file(backend.database()).unwrap();
    assert_eq!(backend.get("/readyz").await.0, 503);
}

#[tokio::test]
async fn the_database_is_in_wal_mode() {
    let (_gateway, backend) = gateway_and_backend().await;
    let row = second_connection(&backend)
        .await
        .query_one_raw(sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, "PRAGMA journal_mode"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.try_get::<String>("", "journal_mode").unwrap(), "wal");
}

#[tokio::test]
async fn an_address_in_use_and_an_impossible_folder_are_named_at_start() {
    let gateway = StubGateway::start().await;
    let folder = tempfile::TempDir::new().unwrap();
    let mut taken = config(&folder, &gateway.url);
    taken.listen = format!("127.0.0.1:{}", gateway.url.port().unwrap()).parse().unwrap();
    let error = App::start(taken).await.err().unwrap();
    assert!(format!("{error:#}").contains("cannot listen on 127.0.0.1:"), "{error:#}");

    std::fs::write(folder.path().join("file"), "").unwrap();
    let mut blocked = config(&folder, &gateway.url);
    blocked.database.place = Place::Sqlite { file: folder.path().join("file/backend.sqlite3") };
    let error = App::start(blocked).await.err().unwrap();
    assert!(format!("{error:#}").contains("cannot create the database folder"), "{error:#}");
}
