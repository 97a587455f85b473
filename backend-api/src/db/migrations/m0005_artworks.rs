//! Artworks with their pictures, what checks said, what people reported, files that have to go, and how far the
//! gateway's events were read.

use sea_orm_migration::prelude::*;

use super::{create_index, create_table, long_text};

pub(super) struct Migration;

const TABLES: [&str; 6] =
    ["event_cursors", "doomed_files", "artwork_reports", "picture_verdicts", "artwork_pictures", "artworks"];

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "0005_artworks"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create_table(manager, artworks(manager)).await?;
        create_table(manager, pictures(manager)).await?;
        create_table(manager, verdicts()).await?;
        create_table(manager, reports()).await?;
        create_table(manager, doomed_files()).await?;
        create_table(manager, cursors()).await?;
        create_index(manager, "artworks", "artworks_user", &["user_id", "id"]).await?;
        create_index(manager, "artworks", "artworks_due", &["due_at"]).await?;
        create_index(manager, "artworks", "artworks_review", &["needs_review", "id"]).await?;
        create_index(manager, "artwork_pictures", "artwork_pictures_trace", &["trace_id"]).await?;
        create_index(manager, "artwork_reports", "artwork_reports_user", &["user_id"]).await?;
        create_index(manager, "doomed_files", "doomed_files_due", &["due_at"]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}

fn artworks(manager: &SchemaManager<'_>) -> TableCreateStatement {
    Table::create()
        .table("artworks")
        .col(ColumnDef::new("id").uuid().not_null().primary_key())
        .col(ColumnDef::new("user_id").uuid().not_null())
        .col(ColumnDef::new("idempotency_key").string_len(128))
        .col(ColumnDef::new("template").string_len(64).not_null())
        .col(ColumnDef::new("credits").big_integer().not_null())
        .col(long_text(manager, "request").not_null())
        .col(ColumnDef::new("job_id").string_len(128))
        .col(ColumnDef::new("state").string_len(16).not_null())
        .col(ColumnDef::new("reason").string_len(64))
        .col(ColumnDef::new("is_favourite").boolean().not_null())
        .col(ColumnDef::new("share_token").string_len(64).unique_key())
        .col(ColumnDef::new("reports").big_integer().not_null())
        .col(ColumnDef::new("needs_review").boolean().not_null())
        .col(ColumnDef::new("told_at").big_integer())
        .col(ColumnDef::new("created_at").big_integer().not_null())
        .col(ColumnDef::new("updated_at").big_integer().not_null())
        .col(ColumnDef::new("due_at").big_integer())
        .col(ColumnDef::new("tries").integer().not_null())
        .col(ColumnDef::new("deleted_at").big_integer())
        .index(Index::create().unique().name("artworks_key").col("user_id").col("idempotency_key"))
        .to_owned()
}

fn pictures(manager: &SchemaManager<'_>) -> TableCreateStatement {
    Table::create()
        .table("artwork_pictures")
        .col(ColumnDef::new("artwork_id").uuid().not_null())
        .col(ColumnDef::new("position").integer().not_null())
        .col(ColumnDef::new("output_id").string_len(128).not_null())
        .col(ColumnDef::new("file_id").string_len(255))
        .col(long_text(manager, "url"))
        .col(ColumnDef::new("content_type").string_len(128))
        .col(ColumnDef::new("size_bytes").big_integer())
        .col(ColumnDef::new("width").big_integer())
        .col(ColumnDef::new("height").big_integer())
        .col(ColumnDef::new("trace_id").string_len(128))
        .col(ColumnDef::new("verdict").string_len(8))
        .primary_key(Index::create().col("artwork_id").col("position"))
        .to_owned()
}

fn verdicts() -> TableCreateStatement {
    Table::create()
        .table("picture_verdicts")
        .col(ColumnDef::new("trace_id").string_len(128).not_null().primary_key())
        .col(ColumnDef::new("verdict").string_len(8).not_null())
        .col(ColumnDef::new("label").big_integer().not_null())
        .col(ColumnDef::new("told_at").big_integer().not_null())
        .to_owned()
}

fn reports() -> TableCreateStatement {
    Table::create()
        .table("artwork_reports")
        .col(ColumnDef::new("artwork_id").uuid().not_null())
        .col(ColumnDef::new("user_id").uuid().not_null())
        .col(ColumnDef::new("reason").string_len(255).not_null())
        .col(ColumnDef::new("created_at").big_integer().not_null())
        .primary_key(Index::create().col("artwork_id").col("user_id"))
        .to_owned()
}

fn doomed_files() -> TableCreateStatement {
    Table::create()
        .table("doomed_files")
        .col(ColumnDef::new("file_id").string_len(255).not_null().primary_key())
        .col(ColumnDef::new("due_at").big_integer().not_null())
        .col(ColumnDef::new("tries").integer().not_null())
        .to_owned()
}

fn cursors() -> TableCreateStatement {
    Table::create()
        .table("event_cursors")
        .col(ColumnDef::new("name").string_len(32).not_null().primary_key())
        .col(ColumnDef::new("place").string_len(255).not_null())
        .to_owned()
}
