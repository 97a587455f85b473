//! Every change of the schema, in order. A migration that was released is never edited; it expands first and a later
//! one contracts, so an older process beside a newer one keeps working.
//!
//! A migration has to survive being cut off half-way and begun again: MySQL commits each statement that changes a
//! table by itself. So tables are made by [`create_table`] and indexes by [`create_index`], which look first.

mod m0001_works;
mod m0002_identity;
mod m0003_ledger;
mod m0004_orders;
mod m0005_artworks;
mod m0006_no_works;
mod m0007_photos;

use std::time::Duration;

use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement};
use sea_orm_migration::prelude::*;

use super::{Error, Transaction};

/// Applies migrations in the order of its list.
struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_works::Migration),
            Box::new(m0002_identity::Migration),
            Box::new(m0003_ledger::Migration),
            Box::new(m0004_orders::Migration),
            Box::new(m0005_artworks::Migration),
            Box::new(m0006_no_works::Migration),
            Box::new(m0007_photos::Migration),
        ]
    }
}

/// Applies what is missing. Replicas that start at once take turns: the others wait up to `wait` and find it done.
pub(super) async fn apply(connection: &DatabaseConnection, wait: Duration) -> Result<(), Error> {
    let transaction = super::begin(connection).await?; // on SQLite this is the lock
    take_turn(&transaction, wait).await?;
    refuse_newer(&transaction).await?;
    Migrator::up(&transaction, None).await?;
    Ok(transaction.commit().await?)
}

/// The lock of MySQL is the session's, and ends with the connection that the caller keeps for this alone.
async fn take_turn(transaction: &Transaction, wait: Duration) -> Result<(), Error> {
    let backend = transaction.get_database_backend();
    match backend {
        DbBackend::Postgres => {
            let name = "hashtext('backend-api ' || current_database() || '.' || current_schema())";
            transaction.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({name})")).await?;
            Ok(())
        }
        DbBackend::MySql => {
            let name = "LEFT(CONCAT('backend-api ', DATABASE()), 64)";
            let query = format!("SELECT CAST(GET_LOCK({name}, {}) AS SIGNED) AS turn", wait.as_secs());
            let row = transaction.query_one_raw(Statement::from_string(backend, query)).await?;
            let turn = row.map(|row| row.try_get::<Option<i64>>("", "turn")).transpose()?;
            if turn.flatten() == Some(1) { Ok(()) } else { Err(Error::Slow) }
        }
        _ => Ok(()),
    }
}

async fn refuse_newer(transaction: &Transaction) -> Result<(), Error> {
    let known = Migrator::migrations();
    let applied = Migrator::get_migration_models(transaction).await?;
    let unknown =
        applied.into_iter().find(|row| known.iter().all(|migration| migration.name() != row.version));
    match unknown {
        Some(row) => Err(Error::Newer { found: row.version }),
        None => Ok(()),
    }
}

/// Makes a table unless it is there. On MySQL its text is compared byte by byte, as it is elsewhere: by that server's
/// default two openids that differ in case only would be one.
async fn create_table(manager: &SchemaManager<'_>, mut table: TableCreateStatement) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let backend = connection.get_database_backend();
    let mut sql = backend.build(table.if_not_exists()).sql;
    if backend == DbBackend::MySql {
        sql.push_str(" ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
    }
    connection.execute_unprepared(&sql).await.map(|_| ())
}

/// A column for texts of up to 16 MiB; `text` alone ends at 64 KiB on MySQL.
fn long_text(manager: &SchemaManager<'_>, name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    match manager.get_database_backend() {
        DbBackend::MySql => column.custom("mediumtext"),
        _ => column.text(),
    };
    column
}

/// Makes an index called `name` unless it is there. Columns of type text cannot have one on MySQL.
async fn create_index(
    manager: &SchemaManager<'_>,
    table: &'static str,
    name: &'static str,
    columns: &[&'static str],
) -> Result<(), DbErr> {
    if manager.has_index(table, name).await? {
        return Ok(());
    }
    let mut index = Index::create();
    index.name(name).table(table);
    for column in columns {
        index.col(*column);
    }
    manager.create_index(index).await
}
