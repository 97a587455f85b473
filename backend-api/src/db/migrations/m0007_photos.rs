//! Photos that people give, and what an artwork's owner wrote where the gateway is told something else.

use sea_orm_migration::prelude::*;

use super::{create_index, create_table, long_text};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "0007_photos"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create_table(manager, photos()).await?;
        create_index(manager, "photos", "photos_user", &["user_id", "created_at"]).await?;
        create_index(manager, "photos", "photos_due", &["due_at"]).await?;
        create_index(manager, "photos", "photos_trace", &["trace_id"]).await?;
        if manager.has_column("artworks", "inputs").await? {
            return Ok(());
        }
        let add = Table::alter().table("artworks").add_column(long_text(manager, "inputs")).to_owned();
        manager.alter_table(add).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("photos").to_owned()).await?;
        manager.alter_table(Table::alter().table("artworks").drop_column("inputs").to_owned()).await
    }
}

fn photos() -> TableCreateStatement {
    Table::create()
        .table("photos")
        .col(ColumnDef::new("id").uuid().not_null().primary_key())
        .col(ColumnDef::new("user_id").uuid().not_null())
        .col(ColumnDef::new("state").string_len(16).not_null())
        .col(ColumnDef::new("file_id").string_len(255))
        .col(ColumnDef::new("asset_id").string_len(128))
        .col(ColumnDef::new("content_type").string_len(64).not_null())
        .col(ColumnDef::new("size_bytes").big_integer().not_null())
        .col(ColumnDef::new("width").big_integer().not_null())
        .col(ColumnDef::new("height").big_integer().not_null())
        .col(ColumnDef::new("trace_id").string_len(128))
        .col(ColumnDef::new("asked_at").big_integer())
        .col(ColumnDef::new("created_at").big_integer().not_null())
        .col(ColumnDef::new("due_at").big_integer().not_null())
        .to_owned()
}
