//! Outputs and the files of each: written with the end of their job, read for every face, let go of together.

use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::blobs::{self, NewBlob};
use super::error::StoreFault;
use super::{codec, naming};
use crate::delivery::Place;
use crate::link::message::Receipt;
use crate::store::{NewMade, NewOriginal, NewOutput, NewVariant, OutputRow, Result, VariantRow};

/// Writes the outputs of a job.
pub(super) fn write(connection: &Connection, job: i64, tenant: u32, outputs: Vec<NewOutput>) -> Result<()> {
    let names = naming::own_names(connection, tenant, outputs.iter().map(|output| output.name.as_str()))?;
    for (output, name) in outputs.into_iter().zip(names) {
        write_one(connection, job, tenant, &output, &name)?;
    }
    Ok(())
}

fn write_one(connection: &Connection, job: i64, tenant: u32, output: &NewOutput, name: &str) -> Result<()> {
    let plain = NewMade::default();
    let made = output.made.as_deref().unwrap_or(&plain);
    let blob = NewBlob {
        id: output.blob,
        tenant,
        hash: &output.hash,
        size_bytes: output.size_bytes,
        object_key: &output.object_key,
        place: &made.place,
    };
    let blob = blobs::write(connection, &blob)?;
    let original =
        made.original.as_ref().map(|original| write_original(connection, tenant, original)).transpose()?;
    connection
        .prepare_cached(
            "INSERT INTO outputs (id, job, tenant, node_id, kind, name, content_type, blob, original,
                original_name, original_type, width, height, placeholder, receipt, variants)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )
        .or_fault()?
        .execute(params![
            output.id.as_bytes(),
            job,
            tenant,
            output.node_id,
            codec::word(output.kind)?,
            name,
            output.content_type,
            blob,
            original,
            made.original.as_ref().map(|original| naming::renamed(&original.name, &output.name, name)),
            made.original.as_ref().map(|original| &original.content_type),
            made.size.map(|(width, _)| width),
            made.size.map(|(_, height)| height),
            made.placeholder,
            made.receipt.as_ref().map(codec::json).transpose()?,
            u32::try_from(made.variants.len()).unwrap_or(u32::MAX),
        ])
        .or_fault()?;
    let output = connection.last_insert_rowid();
    made.variants.iter().try_for_each(|variant| write_variant(connection, output, tenant, variant))
}

fn write_original(connection: &Connection, tenant: u32, original: &NewOriginal) -> Result<i64> {
    let blob = NewBlob {
        id: original.blob,
        tenant,
        hash: &original.hash,
        size_bytes: original.size_bytes,
        object_key: &original.object_key,
        place: &Place::Own,
    };
    blobs::write(connection, &blob)
}

fn write_variant(connection: &Connection, output: i64, tenant: u32, variant: &NewVariant) -> Result<()> {
    let blob = NewBlob {
        id: variant.blob,
        tenant,
        hash: &variant.hash,
        size_bytes: variant.size_bytes,
        object_key: &variant.object_key,
        place: &variant.place,
    };
    let blob = blobs::write(connection, &blob)?;
    connection
        .prepare_cached(
            "INSERT INTO variants (id, output, tenant, name, content_type, blob, width, height, receipt)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .or_fault()?
        .execute(params![
            variant.id.as_bytes(),
            output,
            tenant,
            variant.name,
            variant.content_type,
            blob,
            variant.size.map(|(width, _)| width),
            variant.size.map(|(_, height)| height),
            variant.receipt.as_ref().map(codec::json).transpose()?,
        ])
        .or_fault()?;
    Ok(())
}

/// The outputs of a job, in server order; not those whose deliverables are past their time.
pub(super) fn of_job(connection: &Connection, job: Uuid) -> Result<Vec<OutputRow>> {
    let mut statement = connection
        .prepare_cached(
            "SELECT o.id, o.node_id, o.kind, o.name, o.content_type, b.size_bytes, b.hash, b.object_key, b.sink,
                o.receipt, o.width, o.height, o.placeholder, o.variants, o.seq
             FROM jobs j JOIN outputs o ON o.job = j.seq JOIN blobs b ON b.seq = o.blob
             WHERE j.id = ?1 AND o.gone <> 2 ORDER BY o.seq",
        )
        .or_fault()?;
    let mut rows = statement.query([job.as_bytes()]).or_fault()?;
    let mut outputs = Vec::new();
    while let Some(row) = rows.next().or_fault()? {
        outputs.push(output_row(connection, job, row)?);
    }
    Ok(outputs)
}

fn output_row(connection: &Connection, job: Uuid, row: &Row<'_>) -> Result<OutputRow> {
    let variants: i64 = row.get(13).or_fault()?;
    Ok(OutputRow {
        id: Uuid::from_bytes(row.get(0).or_fault()?),
        job,
        node_id: row.get(1).or_fault()?,
        kind: codec::from_word(row.get(2).or_fault()?)?,
        name: row.get(3).or_fault()?,
        content_type: row.get(4).or_fault()?,
        size_bytes: row.get::<_, i64>(5).or_fault()?.unsigned_abs(),
        hash: row.get(6).or_fault()?,
        object_key: row.get(7).or_fault()?,
        place: place(row, 8)?,
        receipt: receipt(row, 9)?,
        size: size(row, 10)?,
        placeholder: row.get(12).or_fault()?,
        variants: if variants == 0 { Vec::new() } else { variants_of(connection, row.get(14).or_fault()?)? },
    })
}

fn variants_of(connection: &Connection, output: i64) -> Result<Vec<VariantRow>> {
    let mut statement = connection
        .prepare_cached(
            "SELECT v.id, v.name, v.content_type, b.size_bytes, b.hash, b.object_key, b.sink, v.receipt, v.width,
                v.height
             FROM variants v JOIN blobs b ON b.seq = v.blob WHERE v.output = ?1 ORDER BY v.seq",
        )
        .or_fault()?;
    let mut rows = statement.query([output]).or_fault()?;
    let mut variants = Vec::new();
    while let Some(row) = rows.next().or_fault()? {
        variants.push(VariantRow {
            id: Uuid::from_bytes(row.get(0).or_fault()?),
            name: row.get(1).or_fault()?,
            content_type: row.get(2).or_fault()?,
            size_bytes: row.get::<_, i64>(3).or_fault()?.unsigned_abs(),
            hash: row.get(4).or_fault()?,
            object_key: row.get(5).or_fault()?,
            place: place(row, 6)?,
            receipt: receipt(row, 7)?,
            size: size(row, 8)?,
        });
    }
    Ok(variants)
}

fn place(row: &Row<'_>, at: usize) -> Result<Place> {
    let sink: Option<String> = row.get(at).or_fault()?;
    Ok(Place::from_column(sink.as_deref()))
}

fn receipt(row: &Row<'_>, at: usize) -> Result<Option<Receipt>> {
    let text: Option<String> = row.get(at).or_fault()?;
    text.as_deref().map(codec::from_json).transpose()
}

/// Width and height in two columns.
fn size(row: &Row<'_>, at: usize) -> Result<Option<(u32, u32)>> {
    let width: Option<u32> = row.get(at).or_fault()?;
    let height: Option<u32> = row.get(at + 1).or_fault()?;
    Ok(width.zip(height))
}

/// Forgets an output and lets go of all its bytes.
pub(super) fn forget(connection: &Connection, output: Uuid, now: i64) -> Result<()> {
    let seq: i64 = connection
        .prepare_cached("SELECT seq FROM outputs WHERE id = ?1")
        .and_then(|mut select| select.query_row([output.as_bytes()], |row| row.get(0)))
        .or_fault()?;
    let mut blobs =
        blobs_from(connection, "DELETE FROM variants WHERE output = ?1 RETURNING blob, NULL", seq)?;
    blobs.extend(blobs_from(connection, "DELETE FROM outputs WHERE seq = ?1 RETURNING blob, original", seq)?);
    blobs.into_iter().try_for_each(|blob| blobs::mark_if_unheld(connection, blob, now))
}

/// Forgets all outputs of a job and lets go of their bytes.
pub(super) fn forget_job(connection: &Connection, job: i64, now: i64) -> Result<()> {
    let mut blobs = forget_variants(connection, job)?;
    blobs.extend(blobs_from(connection, "DELETE FROM outputs WHERE job = ?1 RETURNING blob, original", job)?);
    blobs.into_iter().try_for_each(|blob| blobs::mark_if_unheld(connection, blob, now))
}

/// Forgets the variants of all outputs of a job; their blobs, which are not let go of yet.
pub(super) fn forget_variants(connection: &Connection, job: i64) -> Result<Vec<i64>> {
    let variants =
        "DELETE FROM variants WHERE output IN (SELECT seq FROM outputs WHERE job = ?1 AND variants > 0)
         RETURNING blob, NULL";
    blobs_from(connection, variants, job)
}

/// The blobs in the two columns of what a statement returns.
fn blobs_from(connection: &Connection, sql: &str, of: i64) -> Result<Vec<i64>> {
    let pairs: Vec<(i64, Option<i64>)> = connection
        .prepare_cached(sql)
        .and_then(|mut delete| delete.query_map([of], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
        .or_fault()?;
    Ok(pairs.into_iter().flat_map(|(blob, original)| std::iter::once(blob).chain(original)).collect())
}
