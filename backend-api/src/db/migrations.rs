//! Every change of the schema, in order. A migration that was released is never edited; it expands first and a later
//! one contracts, so an older process beside a newer one keeps working.

use sea_orm_migration::prelude::*;

/// Applies migrations in the order of its list.
pub(super) struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateWorks)]
    }
}

struct CreateWorks;

impl MigrationName for CreateWorks {
    fn name(&self) -> &str {
        "0001_create_works"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateWorks {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table(Works::Table)
            .if_not_exists() // SQLite runs migrations outside a transaction: a crash in between must not block the next start
            .col(ColumnDef::new(Works::Id).uuid().not_null().primary_key())
            .col(ColumnDef::new(Works::UserKey).string_len(128))
            .col(ColumnDef::new(Works::Request).text().not_null())
            .col(ColumnDef::new(Works::JobId).string_len(128))
            .col(ColumnDef::new(Works::Status).string_len(16).not_null())
            .col(ColumnDef::new(Works::Outputs).text().not_null())
            .col(ColumnDef::new(Works::ErrorCode).string_len(64))
            .col(ColumnDef::new(Works::Revision).big_integer().not_null())
            .col(ColumnDef::new(Works::CreatedAt).big_integer().not_null())
            .col(ColumnDef::new(Works::UpdatedAt).big_integer().not_null())
            .to_owned();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(Works::Table).to_owned()).await
    }
}

#[derive(DeriveIden)]
enum Works {
    Table,
    Id,
    UserKey,
    Request,
    JobId,
    Status,
    Outputs,
    ErrorCode,
    Revision,
    CreatedAt,
    UpdatedAt,
}
