//! The SQLite adapter: the suite of every store, and what only a file can do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod store_suite;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use gateway::store::sqlite::{Options, SqliteStore};
use gateway::store::{Inserted, Store, StoreError};
use store_suite::builders::*;
use store_suite::people::{new_key, put_key};
use uuid::Uuid;

macro_rules! suite {
    ($($module:ident: $($test:ident)*;)*) => { $($(
        #[tokio::test]
        async fn $test() {
            store_suite::$module::$test(SqliteStore::temporary().unwrap()).await;
        }
    )*)* };
}

suite! {
    jobs:
        a_submission_is_read_back_as_it_was a_dropped_turn_leaves_nothing a_second_turn_waits_for_the_first
        a_key_is_claimed_once_per_tenant_and_face an_expired_key_may_be_claimed_again
        the_first_answer_is_kept_for_repeats a_refused_job_takes_its_key_and_id_with_it
        an_acknowledged_job_cannot_be_refused a_public_id_is_unique_among_open_jobs_only
        a_job_goes_through_its_life a_job_ends_once_and_the_turn_that_says_otherwise_fails_whole
        after_a_failed_statement_the_rest_of_the_turn_fails_too outputs_get_the_tenants_own_running_numbers
        jobs_are_listed_newest_first_by_state_and_label equal_requirements_are_one_value_after_a_restart
        what_the_fleet_taught_is_remembered an_empty_turn_commits;
    assets:
        the_same_upload_twice_is_one_record_and_lives_longer another_name_for_the_same_bytes_shares_them
        a_record_is_made_from_a_hash_the_tenant_holds bytes_said_to_be_held_stay_mintable_for_a_while
        asking_for_a_hash_waits_for_the_open_turn references_are_resolved_and_pinned_at_acceptance
        the_newest_upload_under_a_name_is_meant missing_references_are_all_named_and_nothing_stays
        a_refused_job_lets_go_of_its_pins an_output_is_read_as_an_asset_of_its_job;
    deliverables:
        a_delivery_is_kept_with_its_job an_output_is_its_primary_deliverable_with_its_variants
        chaining_reads_the_original deleting_an_output_frees_all_its_files_wherever_they_are
        bytes_to_be_removed_come_again_until_they_are_gone
        attempts_that_did_not_win_are_swept_once_their_job_has_ended
        bytes_in_a_callers_bucket_cannot_be_named_again originals_and_deliverables_go_each_at_their_time
        originals_and_deliverables_are_held_and_what_lies_at_the_callers_is_not;
    lists:
        what_a_job_was_submitted_with_is_read_back filters_combine_and_every_driver_keeps_the_order
        a_rare_combination_is_looked_for_so_far_and_no_further many_jobs_are_read_by_their_public_ids_at_once
        a_retry_reads_the_bytes_of_the_first_time;
    housekeeping:
        a_job_past_its_retention_is_a_tombstone_for_a_day a_tombstone_does_not_hide_a_newer_job_of_its_id
        open_jobs_are_never_swept bytes_go_an_hour_after_the_last_record any_use_saves_bytes_that_were_to_go
        pinned_bytes_outlive_their_record dead_keys_are_forgotten a_sweep_is_bounded;
    outbox:
        every_committed_change_is_an_event_in_order a_feed_is_read_page_by_page_without_gaps
        a_refused_job_leaves_no_event listeners_hear_of_their_tenants_commits_only
        forgotten_events_expire_cursors_and_none_is_used_twice events_of_a_job_are_due_one_after_the_other
        only_the_wanted_events_are_sent a_dead_letter_lets_the_next_event_through_and_can_be_replayed
        a_failing_receiver_concerns_nobody_else;
    templates:
        versions_count_up_and_the_same_contents_make_none a_disabled_version_makes_room_for_the_one_before
        a_tenants_own_template_wins_over_everybodys;
    usage:
        the_sums_of_usage_are_the_sums_of_the_jobs_by_every_key usage_outlives_its_jobs_and_ends_after_years
        a_day_counts_so_many_people_by_name_and_the_others_together;
    people:
        a_key_makes_its_tenant_once a_key_is_revoked_by_id_or_prefix_and_stays_revoked
        a_change_is_logged_without_secrets_and_one_that_fails_is_not
        a_rotated_key_goes_on_for_its_overlap_and_no_longer_than_it_would
        a_removed_tenant_has_no_keys_until_it_is_made_again
        the_file_wins_over_the_store_and_lets_go_of_what_it_no_longer_names
        what_a_tenant_holds_is_counted_until_its_bytes_are_gone all_that_a_tenant_has_goes_part_by_part
        a_body_and_outputs_may_go_before_the_record
        what_was_done_for_a_person_goes_and_the_sums_stay templates_of_a_tenant_go_with_it;
}

fn refusal(opened: Result<Arc<SqliteStore>, StoreError>) -> String {
    match opened {
        Ok(_) => panic!("it opened"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_store_opened_again_has_its_cell_and_its_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/store.db");
    let cell = Uuid::new_v4();
    let options = Options { cell: Some(cell), ..Options::default() };
    let store = SqliteStore::open_with(&path, &options).unwrap();
    let id = insert_fresh(&*store, new_job()).await;
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.cell(), cell);
    assert_eq!(store.latest_time().await.unwrap(), T0);
    assert!(store.job(id).await.unwrap().is_some());
}

#[test]
fn each_filter_of_a_list_is_driven_by_an_index_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    drop(SqliteStore::open(&path).unwrap());
    let database = rusqlite::Connection::open(&path).unwrap();
    let plan = |condition: &str| -> String {
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT id FROM jobs WHERE jobs.tenant = 1 AND jobs.tombstone_until IS NULL
             AND jobs.id < x'ff' AND {condition} ORDER BY jobs.id DESC LIMIT 5"
        );
        database.query_row(&sql, [], |row| row.get(3)).unwrap()
    };
    for (condition, index) in [
        ("jobs.state = 4", "jobs_by_state"),
        ("jobs.on_behalf_of = 'x' AND +jobs.state = 4", "jobs_by_user"),
        ("jobs.template = 'x'", "jobs_by_template"),
        ("jobs.batch = x'00'", "jobs_by_batch"),
    ] {
        let plan = plan(condition);
        assert!(plan.contains(index) && plan.contains("id<?"), "{condition}: {plan}");
    }
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data/store.db");
    let store = SqliteStore::open(&path).unwrap();
    insert_fresh(&*store, new_job()).await;
    assert_eq!(mode(&folder.path().join("data")), 0o700);
    for entry in std::fs::read_dir(folder.path().join("data")).unwrap() {
        let file = entry.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_second_gateway_is_refused_and_the_command_line_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    assert!(refusal(SqliteStore::open(&path)).contains("another gateway"));
    let mut turn = store.begin().await.unwrap();
    turn.insert(vec![new_job()]).await.unwrap();
    let beside = SqliteStore::open_shared(&path).unwrap();
    let put = tokio::spawn(async move { put_key(&*beside, new_key("a", "club")).await });
    turn.commit().await.unwrap();
    let key = put.await.unwrap().unwrap();
    assert_eq!(store.keys().await.unwrap(), [key]);
    assert_eq!(store.open_jobs().await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_command_line_may_make_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let beside = SqliteStore::open_shared(&path).unwrap();
    let key = put_key(&*beside, new_key("a", "club")).await.unwrap();
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.cell(), beside.cell());
    assert_eq!(store.keys().await.unwrap(), [key]);
}

#[test]
fn foreign_newer_and_broken_files_are_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    assert!(refusal(SqliteStore::open(&foreign)).contains("another program"));

    let newer = folder.path().join("newer.db");
    drop(SqliteStore::open(&newer).unwrap());
    rusqlite::Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(refusal(SqliteStore::open(&newer)).contains("newer version"));
    assert!(refusal(SqliteStore::open_shared(&newer)).contains("newer version"));

    let broken = folder.path().join("broken.db");
    std::fs::write(&broken, "this is not a database, whatever its name says").unwrap();
    assert!(refusal(SqliteStore::open(&broken)).contains("not a database"));

    let in_the_way = folder.path().join("newer.db/store.db");
    assert!(refusal(SqliteStore::open(&in_the_way)).contains("unavailable"));
}

#[tokio::test]
async fn a_full_disk_fails_the_turn_whole_and_the_store_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let options = Options { max_pages: Some(120), ..Options::default() };
    let store = SqliteStore::open_with(&path, &options).unwrap();
    let small = insert_fresh(&*store, new_job()).await;
    let mut large = new_job();
    large.body.workflow = "x".repeat(1_000_000).into();
    let (before, large_id) = (new_job(), large.id);
    let before_id = before.id;

    let mut turn = store.begin().await.unwrap();
    assert_eq!(turn.insert(vec![before]).await.unwrap(), [Inserted::Fresh]);
    let failed = turn.insert(vec![large]).await;
    assert!(matches!(&failed, Err(StoreError::Unavailable(why)) if why.contains("full")), "{failed:?}");
    assert!(matches!(turn.commit().await, Err(StoreError::Unavailable(_))));

    assert!(store.job(before_id).await.unwrap().is_none());
    assert!(store.job(large_id).await.unwrap().is_none());
    assert!(store.job(small).await.unwrap().is_some());
    insert_fresh(&*store, new_job()).await;
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_database_that_another_process_locks_is_unavailable_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let pinged = store.ping().await;
    assert!(
        matches!(&pinged, Err(StoreError::Unavailable(why)) if why.contains("another process")),
        "{pinged:?}"
    );
    other.execute_batch("ROLLBACK").unwrap();
    store.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_whole_turns_only() {
    let store = SqliteStore::temporary().unwrap();
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for _ in 0..60 {
                insert(&*store, vec![new_job(), new_job(), new_job()]).await;
            }
        }
    });
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                loop {
                    let open = store.open_jobs().await.unwrap().len();
                    assert_eq!(open % 3, 0);
                    if open == 180 {
                        break;
                    }
                }
            })
        })
        .collect();
    writer.await.unwrap();
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn a_hundred_thousand_open_jobs_come_back_in_order() {
    let store = SqliteStore::temporary().unwrap();
    let mut accepted = Vec::new();
    for _ in 0..100 {
        let jobs: Vec<_> = (0..1000).map(|_| new_job()).collect();
        accepted.extend(jobs.iter().map(|job| job.id));
        insert(&*store, jobs).await;
    }
    let open = store.open_jobs().await.unwrap();
    assert!(open.iter().map(|job| job.id).eq(accepted));
    assert!(open.iter().all(|job| Arc::ptr_eq(&job.plan.requirement, &open[0].plan.requirement)));
}

const CHILD_STORE: &str = "STORE_OF_THE_CHILD";

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut acknowledged = Vec::new();
    for round in 1..=3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_commits_turns_until_it_is_killed", "--ignored", "--nocapture"])
            .env(CHILD_STORE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let ids = |line: String| line.split_whitespace().find_map(|word| Uuid::parse_str(word).ok());
        acknowledged.extend(lines.by_ref().filter_map(ids).take(40));
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged.extend(lines.filter_map(ids)); // what it said before it died counts too
        assert!(acknowledged.len() >= 40 * round);
    }
    let store = SqliteStore::open(&path).unwrap();
    let known: std::collections::HashSet<_> =
        store.open_jobs().await.unwrap().into_iter().map(|job| job.id).collect();
    assert!(acknowledged.iter().all(|id| known.contains(id)));
    for id in &acknowledged {
        assert!(store.body(*id).await.unwrap().is_some());
    }
}

#[tokio::test]
#[ignore = "started and killed by another test"]
async fn child_commits_turns_until_it_is_killed() {
    let store = SqliteStore::open(std::env::var(CHILD_STORE).unwrap()).unwrap();
    loop {
        let id = insert_fresh(&*store, with_key(new_job(), &Uuid::new_v4().to_string(), 1)).await;
        println!("{id}");
    }
}
