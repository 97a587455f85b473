//! Lists of jobs by what few of them have.

use std::sync::Arc;

use gateway::store::{JobRecord, ListQuery, NewJob, Store, StoredState, TemplateUse};
use scheduler::{Class, Outcome};
use uuid::Uuid;

use super::builders::*;

async fn ids(store: &Arc<dyn Store>, query: ListQuery) -> Vec<Uuid> {
    store.list(query).await.unwrap().rows.into_iter().map(|row| row.id).collect()
}

fn all() -> ListQuery {
    ListQuery { tenant: 1, limit: 100, ..ListQuery::default() }
}

/// Which of the numbered jobs a query wants.
type Wanted = Box<dyn Fn(u128) -> bool>;

/// A job whose id carries the time of its acceptance, as those of the gateway do.
fn accepted_at(at: i64, number: u128) -> NewJob {
    let mut job = new_job();
    job.id = Uuid::from_u128((u128::try_from(at).unwrap() << 80) | (0x7000_8000 << 48) | number);
    job.accepted_at = at;
    job
}

pub async fn what_a_job_was_submitted_with_is_read_back(store: Arc<dyn Store>) {
    let mut job = new_job();
    job.user = Some("openid-7".into());
    let seeds = [("seed".to_owned(), u64::MAX)].into();
    job.template = Some(TemplateUse { name: "portrait".into(), version: 3, seeds });
    job.retry_of = Some("earlier".into());
    job.batch = Some(Uuid::from_u128(9));
    let expected = job.clone();
    let id = insert_fresh(&*store, job).await;
    let row = store.job(id).await.unwrap().unwrap();
    assert_eq!((row.user, row.template, row.retry_of), (expected.user, expected.template, expected.retry_of));
    assert_eq!((row.batch, row.due_at), (expected.batch, expected.plan.due_at));
}

pub async fn filters_combine_and_every_driver_keeps_the_order(store: Arc<dyn Store>) {
    let mut made = Vec::new();
    for number in 0..24_u128 {
        let mut job = accepted_at(T0 + i64::try_from(number).unwrap(), number);
        job.user = number.is_multiple_of(2).then(|| "even".into());
        job.template = number.is_multiple_of(3).then(|| TemplateUse {
            name: "third".into(),
            version: 1,
            seeds: Default::default(),
        });
        job.batch = number.is_multiple_of(4).then(|| Uuid::from_u128(4));
        job.plan.class = if number.is_multiple_of(5) { Class::Batch } else { Class::Normal };
        if number.is_multiple_of(6) {
            job.labels.insert("six".into(), "yes".into());
            job.labels.insert("twelve".into(), number.is_multiple_of(12).to_string());
        }
        made.push(insert_fresh(&*store, job).await);
    }
    let canceled = |job| JobRecord::Ended {
        job,
        attempt: None,
        outcome: Outcome::Canceled,
        error: None,
        outputs: Vec::new(),
        used: None,
        started_at: None,
        at: T0 + 100,
    };
    let some = made.iter().step_by(7).copied().map(canceled).collect();
    write(&*store, some).await.unwrap();

    fn is(number: u128, of: u128) -> bool {
        number.is_multiple_of(of)
    }
    let (queued, ended) = (StoredState::Queued, StoredState::Canceled);
    let (user, template) = (Some("even".to_owned()), Some("third".to_owned()));
    let six = [("six".to_owned(), "yes".to_owned())];
    let twelve = [("twelve".to_owned(), "true".to_owned())];
    let cases: Vec<(ListQuery, Wanted)> = vec![
        (ListQuery { states: vec![ended], ..all() }, Box::new(|n| is(n, 7))),
        (ListQuery { states: vec![queued, ended], ..all() }, Box::new(|_| true)),
        (ListQuery { user: user.clone(), ..all() }, Box::new(|n| is(n, 2))),
        (ListQuery { user: user.clone(), states: vec![ended], ..all() }, Box::new(|n| is(n, 14))),
        (
            ListQuery { template: template.clone(), states: vec![queued, ended], ..all() },
            Box::new(|n| is(n, 3)),
        ),
        (ListQuery { template, user: user.clone(), ..all() }, Box::new(|n| is(n, 6))),
        (ListQuery { batch: Some(Uuid::from_u128(4)), ..all() }, Box::new(|n| is(n, 4))),
        (ListQuery { class: Some(Class::Batch), ..all() }, Box::new(|n| is(n, 5))),
        (ListQuery { labels: six.clone().into(), ..all() }, Box::new(|n| is(n, 6))),
        (
            ListQuery { labels: [six, twelve].concat().into_iter().collect(), ..all() },
            Box::new(|n| is(n, 12)),
        ),
        (
            ListQuery { user, labels: [("six".into(), "yes".into())].into(), states: vec![queued], ..all() },
            Box::new(|n| is(n, 6) && !is(n, 7)),
        ),
        (ListQuery { accepted: Some(T0 + 5..T0 + 11), ..all() }, Box::new(|n| (5..11).contains(&n))),
        (
            ListQuery { accepted: Some(T0 + 5..i64::MAX), states: vec![ended], ..all() },
            Box::new(|n| n >= 5 && is(n, 7)),
        ),
    ];
    for (query, wanted) in cases {
        let expected: Vec<_> =
            (0..24).rev().filter(|n| wanted(*n)).map(|n| made[usize::try_from(n).unwrap()]).collect();
        assert_eq!(ids(&store, query.clone()).await, expected, "{query:?}");
        for limit in [1, 2, 5] {
            let mut paged = Vec::new();
            let mut before = None;
            loop {
                let page = ids(&store, ListQuery { limit, before, ..query.clone() }).await;
                let Some(last) = page.last() else { break };
                before = Some(*last);
                paged.extend(page);
            }
            assert_eq!(paged, expected, "page by page of {limit}: {query:?}");
        }
    }
    let foreign = ListQuery { tenant: 2, user: Some("even".into()), ..all() };
    assert!(ids(&store, foreign).await.is_empty());
}

pub async fn a_rare_combination_is_looked_for_so_far_and_no_further(store: Arc<dyn Store>) {
    let mut turn = store.begin().await.unwrap();
    let jobs: Vec<_> = (0..10_500_u128)
        .map(|number| {
            let mut job = accepted_at(T0, number);
            job.body.workflow = "{}".into();
            job.plan.class = if number == 1 { Class::Batch } else { Class::Normal };
            job
        })
        .collect();
    let rare = jobs[1].id;
    turn.insert(jobs).await.unwrap();
    turn.commit().await.unwrap();
    let query = ListQuery { class: Some(Class::Batch), limit: 10, ..all() };
    let first = store.list(query.clone()).await.unwrap();
    assert!(first.rows.is_empty());
    let before = first.more_before.expect("there is more to look at");
    let second = store.list(ListQuery { before: Some(before), ..query }).await.unwrap();
    assert_eq!((second.rows[0].id, second.rows.len(), second.more_before), (rare, 1, None));
}

pub async fn many_jobs_are_read_by_their_public_ids_at_once(store: Arc<dyn Store>) {
    let mut mine = new_job();
    mine.public_id = "mine".into();
    let mut theirs = new_job();
    (theirs.public_id, theirs.tenant) = ("theirs".into(), 2);
    let id = insert_fresh(&*store, mine).await;
    insert_fresh(&*store, theirs).await;
    let asked = ["theirs", "none", "mine"].map(str::to_owned).to_vec();
    let found = store.jobs_by_public_ids(1, asked).await.unwrap();
    assert_eq!(found.iter().map(|row| row.id).collect::<Vec<_>>(), [id]);
}

pub async fn a_retry_reads_the_bytes_of_the_first_time(store: Arc<dyn Store>) {
    use gateway::store::{Inserted, Named};
    let mut upload = record("a.png");
    upload.expires_at = Some(T0 + HOUR);
    let (asset, ..) = mint(&*store, new_asset(upload, hash('a'))).await;
    let first = insert_fresh(&*store, reading(new_job(), Named::Asset(asset.id))).await;
    let input = store.body(first).await.unwrap().unwrap().inputs.remove(0);
    write(&*store, vec![succeeded(first, T0 + 2 * HOUR, Vec::new())]).await.unwrap();
    store.sweep(T0 + 2 * HOUR, 10).await.unwrap();
    let mut again = reading(new_job(), Named::Again(Box::new(input.clone())));
    again.accepted_at = T0 + 2 * HOUR + 1;
    let second = insert_fresh(&*store, again).await;
    assert_eq!(
        store.body(second).await.unwrap().unwrap().inputs,
        std::slice::from_ref(&input),
        "the record is gone, they are not"
    );
    write(&*store, vec![succeeded(second, T0 + 3 * HOUR, Vec::new())]).await.unwrap();
    let swept = store.sweep(T0 + 5 * HOUR, 10).await.unwrap();
    assert_eq!(objects(&swept), std::slice::from_ref(&input.object_key));
    let late = insert(&*store, vec![reading(new_job(), Named::Again(Box::new(input)))]).await;
    assert_eq!(late, [Inserted::MissingAssets(vec!["a.png".into()])]);
}
