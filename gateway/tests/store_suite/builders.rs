//! Builders that hide all that does not matter to a test.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway::link::message::OutputKind;
use gateway::store::{
    AssetAnswer, AssetCall, AssetRow, Face, IdempotencyKey, Inserted, JobBody, JobPlan, JobRecord, KeepFor,
    Left, Named, NewAsset, NewJob, NewOutput, NewRecord, Reference, Result, Store, Swept, Used,
};
use scheduler::{Class, FamilyId, ModelId, ModelKind, ModelUse, Outcome, Part, Requirement, Shape, ShapeId};
use uuid::Uuid;

/// The hour in milliseconds.
pub const HOUR: i64 = 3_600_000;
/// The day in milliseconds.
pub const DAY: i64 = 24 * HOUR;
/// When the tests begin.
pub const T0: i64 = 1_700_000_000_000;

pub fn requirement(parts: &[u64]) -> Arc<Requirement> {
    let models = [ModelUse { id: ModelId(u64::MAX - 1), kind: ModelKind::Lora }];
    Arc::new(Requirement { parts: parts.iter().copied().map(Part).collect(), models: models.into() })
}

/// A job of tenant 1, accepted at [`T0`], retained for a day.
pub fn new_job() -> NewJob {
    NewJob {
        id: Uuid::now_v7(),
        public_id: Uuid::new_v4().to_string(),
        tenant: 1,
        face: Face::V2,
        idempotency: None,
        plan: JobPlan {
            class: Class::Interactive,
            weight: 3,
            concurrency: u32::MAX,
            order: Some(-4),
            start_deadline: None,
            due_at: Some(T0 + 5_000),
            deadline: T0 + DAY,
            requirement: requirement(&[1, u64::MAX]),
            provisional: true,
            shape: Shape {
                id: ShapeId(u64::MAX - 7),
                family: FamilyId(0),
                prior_run_ms: 9_000,
                prior_vram_mib: 8_000,
            },
            graph: None,
        },
        body: JobBody {
            workflow: r#"{"1":{"class_type":"KSampler"}}"#.into(),
            extra_pnginfo: Some("{}".into()),
            inputs: Vec::new(),
            strict: true,
            needs_partner_key: false,
            delivery: None,
            native: None,
        },
        references: Vec::new(),
        labels: BTreeMap::new(),
        user: None,
        template: None,
        retry_of: None,
        batch: None,
        accepted_at: T0,
        retention_ms: DAY,
        webhook: None,
        keep_for: KeepFor::default(),
        queue: u32::MAX,
    }
}

pub fn with_key(mut job: NewJob, key: &str, body: u8) -> NewJob {
    let expires_at = job.accepted_at + DAY;
    job.idempotency =
        Some(IdempotencyKey { key: key.into(), body_hash: [body; 32], expires_at, response: None });
    job
}

pub fn reading(mut job: NewJob, names: Named) -> NewJob {
    let pointer = format!("/{}/inputs/image", job.references.len() + 1);
    job.references.push(Reference { pointer, names });
    job
}

/// 64 lower-case hex digits.
pub fn hash(letter: char) -> String {
    letter.to_string().repeat(64)
}

/// A record of tenant 1 made at [`T0`], kept.
pub fn record(file_path: &str) -> NewRecord {
    NewRecord {
        id: Uuid::new_v4(),
        tenant: 1,
        file_path: file_path.into(),
        content_type: "image/png".into(),
        tags: vec!["input".into()],
        created_at: T0,
        expires_at: None,
    }
}

pub fn new_asset(record: NewRecord, hash: String) -> NewAsset {
    let blob = Uuid::new_v4();
    NewAsset { record, hash, size_bytes: 7, blob, object_key: format!("blobs/{blob}") }
}

pub fn output(name: &str, hash: String) -> NewOutput {
    let blob = Uuid::new_v4();
    NewOutput {
        id: Uuid::new_v4(),
        blob,
        node_id: "9".into(),
        kind: OutputKind::Image,
        name: name.into(),
        content_type: "image/png".into(),
        size_bytes: 11,
        hash,
        object_key: format!("outputs/{blob}"),
        made: None,
    }
}

pub fn succeeded(job: Uuid, at: i64, outputs: Vec<NewOutput>) -> JobRecord {
    let outcome = Outcome::Succeeded;
    let used = Used { device_class: "t4".into(), gpu_ms: 5, price_micros: 7 };
    let (used, started_at) = (Some(used), Some(at - 5));
    JobRecord::Ended { job, attempt: None, outcome, error: None, outputs, used, started_at, at }
}

pub fn placed(job: Uuid, attempt: u32, at: i64) -> JobRecord {
    JobRecord::Placed { job, attempt, instance: 70 + attempt, prompt: Uuid::new_v4(), at }
}

/// Inserts in a turn of their own.
pub async fn insert(store: &dyn Store, jobs: Vec<NewJob>) -> Vec<Inserted> {
    let mut turn = store.begin().await.unwrap();
    let inserted = turn.insert(jobs).await.unwrap();
    turn.commit().await.unwrap();
    inserted
}

/// Inserts one that must be fresh.
pub async fn insert_fresh(store: &dyn Store, job: NewJob) -> Uuid {
    let id = job.id;
    assert_eq!(insert(store, vec![job]).await, [Inserted::Fresh]);
    id
}

/// Writes records in a turn of their own.
pub async fn write(store: &dyn Store, records: Vec<JobRecord>) -> Result<()> {
    let mut turn = store.begin().await?;
    turn.write(records).await?;
    turn.commit().await
}

/// One asset call in a turn of its own.
pub async fn call(store: &dyn Store, call: AssetCall) -> AssetAnswer {
    let mut turn = store.begin().await.unwrap();
    let mut answers = turn.assets(vec![call]).await.unwrap();
    turn.commit().await.unwrap();
    answers.pop().unwrap()
}

/// Mints and returns the record, whether it is fresh and whether the upload is kept.
pub async fn mint(store: &dyn Store, asset: NewAsset) -> (AssetRow, bool, bool) {
    minted(call(store, AssetCall::Mint(asset)).await)
}

/// The parts of a [`AssetAnswer::Minted`].
pub fn minted(answer: AssetAnswer) -> (AssetRow, bool, bool) {
    match answer {
        AssetAnswer::Minted { asset, fresh, keep } => (*asset, fresh, keep),
        other => panic!("not minted: {other:?}"),
    }
}

pub async fn delete(store: &dyn Store, id: Uuid, now: i64) -> AssetAnswer {
    call(store, AssetCall::Delete { tenant: 1, id, now }).await
}

/// The keys of the objects that a sweep wants removed.
pub fn objects(swept: &Swept) -> Vec<String> {
    let objects = swept.residue.iter().filter_map(|residue| match &residue.what {
        Left::Object(object) => Some(object.key.clone()),
        Left::Attempt { .. } => None,
    });
    objects.collect()
}
