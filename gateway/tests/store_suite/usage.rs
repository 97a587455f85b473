//! Usage: its sums are those of the jobs, whatever happens to either.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway::link::message::OutputKind;
use gateway::store::{JobRecord, NewOutput, Store, TemplateUse, UsageKey, UsageQuery, UsageRow, Used};
use scheduler::{Class, Failure, Outcome};
use uuid::Uuid;

use super::builders::*;

const T0_DAY: i64 = T0 / DAY;

fn query(by: Option<UsageKey>) -> UsageQuery {
    UsageQuery { tenant: 1, from_day: T0_DAY, to_day: T0_DAY + 9, user: None, by, after: None, limit: 100 }
}

fn ended(job: Uuid, used: Option<Used>, outputs: Vec<NewOutput>, at: i64) -> JobRecord {
    let outcome = if used.is_some() { Outcome::Succeeded } else { Outcome::Failed(Failure::NodeError) };
    JobRecord::Ended { job, attempt: None, outcome, error: None, outputs, used, started_at: None, at }
}

fn used(device_class: &str, gpu_ms: u64, price_micros: u64) -> Option<Used> {
    Some(Used { device_class: device_class.into(), gpu_ms, price_micros })
}

/// Numbers that look random and follow from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

type Sums = BTreeMap<String, [u64; 6]>;

fn add(sums: &mut Sums, key: &str, more: [u64; 6]) {
    let sum = sums.entry(key.to_owned()).or_default();
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum += more;
    }
}

fn of_rows(rows: &[UsageRow]) -> Sums {
    let mut sums = Sums::new();
    for row in rows {
        let numbers = [row.jobs, row.unbilled_jobs, row.images, row.bytes, row.gpu_ms, row.price_micros];
        add(&mut sums, &row.key, numbers);
    }
    sums
}

pub async fn the_sums_of_usage_are_the_sums_of_the_jobs_by_every_key(store: Arc<dyn Store>) {
    let mut dice = Dice(7);
    let keys = [UsageKey::Day, UsageKey::Class, UsageKey::User, UsageKey::DeviceClass, UsageKey::Template];
    let mut expected: Vec<Sums> = vec![Sums::new(); keys.len()];
    for _ in 0..120 {
        let mut job = new_job();
        let class = [Class::Batch, Class::Normal, Class::Interactive][dice.below(3) as usize];
        job.plan.class = class;
        let user = ["", "anna", "ben"][dice.below(3) as usize];
        job.user = (!user.is_empty()).then(|| user.into());
        let template = ["", "portrait"][dice.below(2) as usize];
        job.template = (!template.is_empty()).then(|| TemplateUse {
            name: template.into(),
            version: 1,
            seeds: BTreeMap::new(),
        });
        let device = ["t4", "a100"][dice.below(2) as usize];
        let spent = (dice.below(4) > 0).then(|| used(device, dice.below(90_000), dice.below(900))).flatten();
        let mut outputs = Vec::new();
        for n in 0..if spent.is_some() { dice.below(3) } else { 0 } {
            let mut file = output(&format!("f{n}"), hash('a'));
            file.kind = if n == 0 { OutputKind::Image } else { OutputKind::Video };
            outputs.push(file);
        }
        let at = T0 + i64::try_from(dice.below(5)).unwrap() * DAY;
        let images = outputs.iter().filter(|output| output.kind == OutputKind::Image).count() as u64;
        let bytes = outputs.iter().map(|output| output.size_bytes).sum();
        let (gpu_ms, price) = spent.as_ref().map_or((0, 0), |used| (used.gpu_ms, used.price_micros));
        let numbers = [u64::from(spent.is_some()), u64::from(spent.is_none()), images, bytes, gpu_ms, price];
        let class = match class {
            Class::Batch => "batch",
            Class::Normal => "normal",
            Class::Interactive => "interactive",
        };
        let day = at.div_euclid(DAY).to_string();
        let device = if spent.is_some() { device } else { "" };
        for (sums, key) in expected.iter_mut().zip([&*day, class, user, device, template]) {
            add(sums, key, numbers);
        }
        let id = insert_fresh(&*store, job).await;
        // A turn that is not kept counts nothing.
        let mut lost = store.begin().await.unwrap();
        lost.write(vec![ended(id, spent.clone(), outputs.clone(), at)]).await.unwrap();
        drop(lost);
        write(&*store, vec![ended(id, spent.clone(), outputs, at)]).await.unwrap();
        assert_eq!(store.job(id).await.unwrap().unwrap().used, spent);
    }
    for (key, expected) in keys.into_iter().zip(expected) {
        let rows = store.usage(query(Some(key))).await.unwrap();
        assert_eq!(of_rows(&rows), expected, "{key:?}");
        let mut paged = Vec::new();
        let mut after = None;
        loop {
            let page = store.usage(UsageQuery { after, limit: 1, ..query(Some(key)) }).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            paged.extend(page);
        }
        assert_eq!(paged, rows, "page by page: {key:?}");
    }
    let one_day = UsageQuery { to_day: T0_DAY, ..query(Some(UsageKey::Day)) };
    assert_eq!(
        store.usage(one_day).await.unwrap().iter().filter(|row| row.key != T0_DAY.to_string()).count(),
        0
    );
    let foreign = UsageQuery { tenant: 2, ..query(None) };
    assert!(store.usage(foreign).await.unwrap().is_empty());
}

pub async fn usage_outlives_its_jobs_and_ends_after_years(store: Arc<dyn Store>) {
    let id = insert_fresh(&*store, new_job()).await;
    write(&*store, vec![ended(id, used("t4", 5, 7), Vec::new(), T0)]).await.unwrap();
    store.sweep(T0 + 3 * DAY, 10).await.unwrap();
    store.sweep(T0 + 5 * DAY, 10).await.unwrap();
    assert!(store.job(id).await.unwrap().is_none(), "the job is forgotten");
    assert_eq!(store.usage(query(None)).await.unwrap()[0].price_micros, 7);
    store.sweep(T0 + 900 * DAY, 10).await.unwrap();
    assert!(store.usage(query(None)).await.unwrap().is_empty());
}

pub async fn a_day_counts_so_many_people_by_name_and_the_others_together(store: Arc<dyn Store>) {
    let mut turn = store.begin().await.unwrap();
    let jobs: Vec<_> = (0..10_010)
        .map(|number| {
            let mut job = new_job();
            job.body.workflow = "{}".into();
            job.user = Some(format!("user-{number:05}").into());
            job
        })
        .collect();
    let ids: Vec<Uuid> = jobs.iter().map(|job| job.id).collect();
    turn.insert(jobs).await.unwrap();
    turn.write(ids.into_iter().map(|id| ended(id, used("t4", 1, 1), Vec::new(), T0)).collect())
        .await
        .unwrap();
    turn.commit().await.unwrap();
    let all = store.usage(query(None)).await.unwrap();
    assert_eq!((all[0].jobs, all[0].price_micros), (10_010, 10_010));
    let nobody = store.usage(UsageQuery { limit: 1, ..query(Some(UsageKey::User)) }).await.unwrap();
    assert_eq!((nobody[0].key.as_str(), nobody[0].jobs), ("", 10), "growth is bounded");
}
