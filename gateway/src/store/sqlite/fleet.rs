//! What the fleet taught us: instances, their catalogues, costs.

use rusqlite::{Connection, OptionalExtension, params};
use scheduler::{DeviceClassId, FamilyId, Learned, ModelId, ShapeId};

use super::error::StoreFault;
use super::writer::Writer;
use crate::store::{FleetFact, KnownInstance, Result, StoreError};

/// Writes one fact; the newest of an instance counts.
pub(super) fn remember(writer: &mut Writer, fact: FleetFact) -> Result<()> {
    match fact {
        FleetFact::Instance(instance) => {
            writer.note_time(instance.seen_at);
            remember_instance(&writer.connection, &instance)
        }
        FleetFact::Catalogue { hash, body } => {
            let stored_at = writer.now();
            writer
                .connection
                .prepare_cached(
                    "INSERT INTO catalogues (hash, body, stored_at) VALUES (?1, ?2, ?3) ON CONFLICT (hash) DO NOTHING",
                )
                .and_then(|mut insert| insert.execute(params![hash, &*body, stored_at]))
                .or_fault()
                .map(drop)
        }
    }
}

fn remember_instance(connection: &Connection, instance: &KnownInstance) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO instances (id, name, host, catalogue, facts, seen_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, host = excluded.host,
                catalogue = excluded.catalogue, facts = excluded.facts, seen_at = excluded.seen_at",
        )
        .or_fault()?
        .execute(params![
            instance.id,
            instance.name,
            instance.host,
            instance.catalogue,
            instance.facts,
            instance.seen_at
        ])
        .or_fault()?;
    Ok(())
}

/// All instances, in the order of their rows.
pub(super) fn instances(connection: &Connection) -> Result<Vec<KnownInstance>> {
    connection
        .prepare_cached("SELECT id, name, host, catalogue, facts, seen_at FROM instances ORDER BY id")
        .and_then(|mut select| {
            select
                .query_map([], |row| {
                    Ok(KnownInstance {
                        id: row.get(0)?,
                        name: row.get(1)?,
                        host: row.get(2)?,
                        catalogue: row.get(3)?,
                        facts: row.get(4)?,
                        seen_at: row.get(5)?,
                    })
                })?
                .collect()
        })
        .or_fault()
}

/// The body of a catalogue.
pub(super) fn catalogue(connection: &Connection, hash: &str) -> Result<Option<String>> {
    connection
        .prepare_cached("SELECT body FROM catalogues WHERE hash = ?1")
        .and_then(|mut select| select.query_row([hash], |row| row.get(0)).optional())
        .or_fault()
}

/// All learned costs.
pub(super) fn learned(connection: &Connection) -> Result<Vec<Learned>> {
    let rows: Vec<(i64, i64, i64, u32, u32)> = connection
        .prepare_cached(
            "SELECT kind, subject, class, first, second FROM learned ORDER BY kind, subject, class",
        )
        .and_then(|mut select| {
            select
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))?
                .collect()
        })
        .or_fault()?;
    rows.into_iter().map(cost).collect()
}

fn cost((kind, subject, class, first, second): (i64, i64, i64, u32, u32)) -> Result<Learned> {
    let subject = subject.cast_unsigned();
    let class = DeviceClassId(class.cast_unsigned());
    match kind {
        0 => Ok(Learned::Run { shape: ShapeId(subject), class, mean_ms: first, runs: second }),
        1 => Ok(Learned::Load { model: ModelId(subject), class, mean_ms: first, loads: second }),
        2 => Ok(Learned::Room { shape: ShapeId(subject), above_mib: first, at_most_mib: second }),
        3 => Ok(Learned::Speed { class, family: FamilyId(subject), milli: first, runs: second }),
        other => Err(StoreError::Damaged(format!("unknown kind of cost {other}"))),
    }
}
