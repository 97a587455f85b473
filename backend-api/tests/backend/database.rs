//! The database's functions alone.

use std::time::Duration;

use backend_api::db::{Database, Options, Saved};
use backend_api::domain::{Sighting, Work, WorkId, WorkStatus};
use tempfile::TempDir;
use uuid::Uuid;

async fn open(folder: &TempDir) -> Database {
    let file = folder.path().join("works?#%20.sqlite3"); // no character of a path is special
    Database::open(&Options { file, max_connections: 2, busy_timeout: Duration::from_secs(5) }).await.unwrap()
}

fn work() -> Work {
    Work::new(WorkId(Uuid::now_v7()), Some("u".to_owned()), "{}".to_owned(), 1_000)
}

fn seen(status: WorkStatus) -> Sighting {
    Sighting { status: Some(status), outputs: Vec::new(), error_code: None }
}

#[tokio::test]
async fn a_late_writer_cannot_undo_what_a_newer_one_stored() {
    let folder = TempDir::new().unwrap();
    let database = open(&folder).await;
    let first = work();
    database.insert_work(&first).await.unwrap();
    let early = first.clone().submitted("j".to_owned());
    let late = early.clone().observed(seen(WorkStatus::Succeeded));

    assert!(matches!(database.save_work(late, 2_000).await.unwrap(), Saved::Written(_)));
    assert!(matches!(database.save_work(early, 3_000).await.unwrap(), Saved::Superseded));
    let stored = database.find_work(first.id).await.unwrap().unwrap();
    assert_eq!((stored.status, stored.revision, stored.updated_at), (WorkStatus::Succeeded, 2, 2_000));
}

#[tokio::test]
async fn what_was_written_is_read_back_after_the_file_is_opened_again() {
    let folder = TempDir::new().unwrap();
    let work = work();
    let database = open(&folder).await;
    database.insert_work(&work).await.unwrap();
    database.close().await.unwrap();

    let database = open(&folder).await;
    assert_eq!(database.find_work(work.id).await.unwrap(), Some(work));
    assert_eq!(database.find_work(WorkId(Uuid::from_u128(1))).await.unwrap(), None);
}
