//! Submissions: keys are claimed, ids checked, references resolved and pinned, all in the turn (DESIGN §4.3, §4.8).
//!
//! Everything is checked before the first row is written, so a submission that fails leaves nothing behind.

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::error::StoreFault;
use super::events::{self, Touched};
use super::writer::{Fresh, Writer};
use super::{blobs, codec, outbox};
use crate::store::{
    EventKind, EventKinds, IdempotencyKey, Inserted, KeepFor, Named, NewJob, PinnedInput, Reference, Result,
    StoredResponse,
};

/// Inserts one submission.
pub(super) fn submission(writer: &mut Writer, job: NewJob) -> Result<Inserted> {
    writer.note_time(job.accepted_at);
    let connection = &writer.connection;
    if let Some(key) = &job.idempotency
        && let Some(duplicate) = used_key(connection, &job, key)?
    {
        return Ok(duplicate);
    }
    if is_live(connection, job.tenant, &job.public_id)? {
        return Ok(Inserted::DuplicateId);
    }
    let found = match resolve(connection, (job.tenant, job.accepted_at), &job.references)? {
        Ok(found) => found,
        Err(missing) => return Ok(Inserted::MissingAssets(missing)),
    };
    let seq = write_job(connection, &job)?;
    write_body(connection, seq, &job, &found)?;
    for held in &found {
        pin(connection, seq, held)?;
    }
    let claim = claim_key(connection, &job)?;
    if let Some(webhook) = &job.webhook {
        outbox::subscribe(connection, seq, job.tenant, webhook, job.accepted_at)?;
    }
    let sent = job.webhook.as_ref().map_or(EventKinds::of_bits(0), |webhook| webhook.events);
    let touched = Touched { seq, tenant: job.tenant, revision: 1, sent };
    let event = events::write(writer, job.id, &touched, EventKind::Accepted, job.accepted_at)?;
    writer.fresh.insert(job.id, Fresh { seq, claim, event });
    Ok(Inserted::Fresh)
}

/// A reference after its resolution.
struct Held {
    blob: i64,
    asset: Uuid,
    input: PinnedInput,
}

fn used_key(connection: &Connection, job: &NewJob, key: &IdempotencyKey) -> Result<Option<Inserted>> {
    let row = connection
        .prepare_cached(
            "SELECT job, body_hash, status, response FROM idempotency
             WHERE claim = ?1 AND expires_at > ?2",
        )
        .or_fault()?
        .query_row(params![codec::claim(job.tenant, job.face, &key.key), job.accepted_at], |row| {
            let earlier: [u8; 16] = row.get(0)?;
            let body_hash: [u8; 32] = row.get(1)?;
            Ok((Uuid::from_bytes(earlier), body_hash, row.get(2)?, row.get(3)?))
        })
        .optional()
        .or_fault()?;
    Ok(row.map(|(earlier, body_hash, status, body)| Inserted::DuplicateKey {
        job: earlier,
        same_body: body_hash == key.body_hash,
        response: stored_response(status, body),
    }))
}

/// The stored answer in its two columns, if any.
pub(super) fn stored_response(status: Option<u16>, body: Option<String>) -> Option<StoredResponse> {
    Some(StoredResponse { status: status?, body: body? })
}

fn is_live(connection: &Connection, tenant: u32, public_id: &str) -> Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM jobs WHERE tenant = ?1 AND public_id = ?2 AND state < 3")
        .and_then(|mut select| select.exists(params![tenant, public_id]))
        .or_fault()
}

fn write_job(connection: &Connection, job: &NewJob) -> Result<i64> {
    let plan = &job.plan;
    connection
        .prepare_cached(
            "INSERT INTO jobs (id, public_id, tenant, face, state, revision, class, weight, concurrency,
                sort_order, accepted_at, start_deadline, deadline, retention_ms, expires_at, attempt, placed_at,
                faults, losses, cancel_requested, provisional, shape, family, prior_run_ms, prior_vram_mib, parts,
                models, labels, due_at, delivery, on_behalf_of, template, template_version, seeds, retry_of, batch)
             VALUES (?1, ?2, ?3, ?4, 0, 1, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 0, 0, 0, 0, 0, ?14, ?15, ?16,
                ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29)",
        )
        .or_fault()?
        .execute(params![
            job.id.as_bytes(),
            job.public_id,
            job.tenant,
            codec::face_code(job.face),
            codec::class_code(plan.class),
            plan.weight,
            plan.concurrency,
            plan.order,
            job.accepted_at,
            plan.start_deadline,
            plan.deadline,
            job.retention_ms,
            plan.deadline.saturating_add(job.retention_ms),
            plan.provisional,
            plan.shape.id.0.cast_signed(),
            plan.shape.family.0.cast_signed(),
            plan.shape.prior_run_ms,
            plan.shape.prior_vram_mib,
            codec::parts_bytes(&plan.requirement),
            codec::models_bytes(&plan.requirement),
            codec::labels_text(&job.labels)?,
            plan.due_at,
            job.body.delivery.as_deref().map(codec::json).transpose()?,
            job.user,
            job.template.as_ref().map(|template| &template.name),
            job.template.as_ref().map(|template| template.version),
            job.template.as_ref().map(|template| codec::json(&template.seeds)).transpose()?,
            job.retry_of,
            job.batch.map(Uuid::into_bytes),
        ])
        .or_fault()?;
    let seq = connection.last_insert_rowid();
    if job.keep_for != KeepFor::default() {
        keep_for(connection, seq, job.keep_for)?;
    }
    for (name, value) in &job.labels {
        connection
            .prepare_cached("INSERT INTO job_labels (tenant, name, value, job) VALUES (?1, ?2, ?3, ?4)")
            .and_then(|mut insert| insert.execute(params![job.tenant, name, value, job.id.as_bytes()]))
            .or_fault()?;
    }
    Ok(seq)
}

fn keep_for(connection: &Connection, seq: i64, keep: KeepFor) -> Result<()> {
    connection
        .prepare_cached(
            "UPDATE jobs SET body_for_ms = ?2, originals_for_ms = ?3, deliverables_for_ms = ?4 WHERE seq = ?1",
        )
        .and_then(|mut update| {
            update.execute(params![seq, keep.body_ms, keep.originals_ms, keep.deliverables_ms])
        })
        .or_fault()?;
    Ok(())
}

fn write_body(connection: &Connection, seq: i64, job: &NewJob, found: &[Held]) -> Result<()> {
    let inputs: Vec<&PinnedInput> = found.iter().map(|held| &held.input).collect();
    let inputs = if inputs.is_empty() { None } else { Some(codec::json(&inputs)?) };
    connection
        .prepare_cached(
            "INSERT INTO job_bodies (job, workflow, extra_pnginfo, inputs, strict, needs_partner_key, native)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .or_fault()?
        .execute(params![
            seq,
            &*job.body.workflow,
            job.body.extra_pnginfo.as_deref(),
            inputs,
            job.body.strict,
            job.body.needs_partner_key,
            job.body.native.as_deref().map(codec::json).transpose()?,
        ])
        .or_fault()?;
    Ok(())
}

fn pin(connection: &Connection, seq: i64, held: &Held) -> Result<()> {
    connection
        .prepare_cached("INSERT INTO pins (job, blob, asset) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")
        .and_then(|mut insert| insert.execute(params![seq, held.blob, held.asset.as_bytes()]))
        .or_fault()?;
    blobs::unmark(connection, held.blob)
}

fn claim_key(connection: &Connection, job: &NewJob) -> Result<Option<[u8; 16]>> {
    let Some(key) = &job.idempotency else { return Ok(None) };
    let response = key.response.as_ref();
    let claim = codec::claim(job.tenant, job.face, &key.key);
    // Only a dead key can stand in the way: a live one was answered before.
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO idempotency (claim, tenant, face, key, job, body_hash, expires_at, status,
                response)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .or_fault()?
        .execute(params![
            claim,
            job.tenant,
            codec::face_code(job.face),
            key.key,
            job.id.as_bytes(),
            key.body_hash,
            key.expires_at,
            response.map(|response| response.status),
            response.map(|response| &response.body),
        ])
        .or_fault()?;
    Ok(Some(claim))
}

/// What of these leads nowhere.
pub(super) fn missing(
    connection: &Connection,
    tenant: u32,
    references: &[Reference],
    now: i64,
) -> Result<Vec<String>> {
    Ok(resolve(connection, (tenant, now), references)?.err().unwrap_or_default())
}

/// Who looks, and when.
type Looker = (u32, i64);

/// All references, or the names of those that lead nowhere, each once.
fn resolve(
    connection: &Connection,
    looker: Looker,
    references: &[Reference],
) -> Result<Result<Vec<Held>, Vec<String>>> {
    let mut found = Vec::with_capacity(references.len());
    let mut missing: Vec<String> = Vec::new();
    for reference in references {
        match look_up(connection, looker, reference)? {
            Some(held) => found.push(held),
            None => {
                let name = as_written(&reference.names);
                if !missing.contains(&name) {
                    missing.push(name);
                }
            }
        }
    }
    Ok(if missing.is_empty() { Ok(found) } else { Err(missing) })
}

fn as_written(names: &Named) -> String {
    match names {
        Named::Asset(id) => id.to_string(),
        Named::Upload(name) => name.clone(),
        Named::Output(name) => format!("{name} [output]"),
        Named::Again(input) => input.name.clone(),
    }
}

const ASSET_BY_ID: &str =
    "SELECT b.seq, a.id, b.id, b.hash, b.size_bytes, a.content_type, a.file_path, b.object_key, b.sink
     FROM assets a JOIN blobs b ON b.seq = a.blob
     WHERE a.id = ?2 AND a.tenant = ?1 AND (a.expires_at IS NULL OR a.expires_at > ?3)";
const ASSET_BY_NAME: &str =
    "SELECT b.seq, a.id, b.id, b.hash, b.size_bytes, a.content_type, a.file_path, b.object_key, b.sink
     FROM assets a JOIN blobs b ON b.seq = a.blob
     WHERE a.tenant = ?1 AND a.file_path = ?2 AND (a.expires_at IS NULL OR a.expires_at > ?3)
     ORDER BY a.minted DESC LIMIT 1";
/// Chaining reads the original, whatever stands for it (DESIGN §4.14); once that is gone, nothing in its place.
const OUTPUT_BY_ID: &str =
    "SELECT b.seq, o.id, b.id, b.hash, b.size_bytes, coalesce(o.original_type, o.content_type),
        coalesce(o.original_name, o.name), b.object_key, b.sink
     FROM outputs o JOIN jobs j ON j.seq = o.job JOIN blobs b ON b.seq = coalesce(o.original, o.blob)
     WHERE o.id = ?2 AND o.tenant = ?1 AND (o.original IS NOT NULL OR o.original_name IS NULL) AND j.state = 3 AND j.expires_at > ?3";
const OUTPUT_BY_NAME: &str =
    "SELECT b.seq, o.id, b.id, b.hash, b.size_bytes, coalesce(o.original_type, o.content_type),
        coalesce(o.original_name, o.name), b.object_key, b.sink
     FROM outputs o JOIN jobs j ON j.seq = o.job JOIN blobs b ON b.seq = coalesce(o.original, o.blob)
     WHERE o.tenant = ?1 AND o.name = ?2 AND (o.original IS NOT NULL OR o.original_name IS NULL) AND j.state = 3 AND j.expires_at > ?3
     ORDER BY o.seq DESC LIMIT 1";

fn look_up(connection: &Connection, looker: Looker, reference: &Reference) -> Result<Option<Held>> {
    let find = |sql, name: &dyn rusqlite::ToSql| query(connection, sql, looker, name, &reference.pointer);
    match &reference.names {
        Named::Upload(name) => find(ASSET_BY_NAME, name),
        Named::Output(name) => find(OUTPUT_BY_NAME, name),
        Named::Asset(id) => match find(ASSET_BY_ID, id.as_bytes())? {
            None => find(OUTPUT_BY_ID, id.as_bytes()),
            held => Ok(held),
        },
        Named::Again(input) => again(connection, looker, input, &reference.pointer),
    }
}

/// Bytes are there as long as their row is, whatever became of the record that once named them.
fn again(
    connection: &Connection,
    (tenant, _): Looker,
    input: &PinnedInput,
    pointer: &str,
) -> Result<Option<Held>> {
    let blob: Option<i64> = connection
        .prepare_cached("SELECT seq FROM blobs WHERE id = ?1 AND tenant = ?2")
        .or_fault()?
        .query_row(params![input.blob.as_bytes(), tenant], |row| row.get(0))
        .optional()
        .or_fault()?;
    let input = PinnedInput { pointer: pointer.to_owned(), ..input.clone() };
    Ok(blob.map(|blob| Held { blob, asset: input.blob, input }))
}

fn query(
    connection: &Connection,
    sql: &str,
    (tenant, now): Looker,
    name: &dyn rusqlite::ToSql,
    pointer: &str,
) -> Result<Option<Held>> {
    connection
        .prepare_cached(sql)
        .or_fault()?
        .query_row(params![tenant, name, now], |row| {
            Ok(Held {
                blob: row.get(0)?,
                asset: Uuid::from_bytes(row.get(1)?),
                input: PinnedInput {
                    pointer: pointer.to_owned(),
                    blob: Uuid::from_bytes(row.get(2)?),
                    hash: row.get(3)?,
                    size_bytes: row.get::<_, i64>(4)?.unsigned_abs(),
                    content_type: row.get(5)?,
                    name: row.get(6)?,
                    object_key: row.get(7)?,
                    sink: row.get::<_, Option<String>>(8)?.filter(|sink| !sink.is_empty()).map(Into::into),
                },
            })
        })
        .optional()
        .or_fault()
}
