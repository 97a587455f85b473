//! Works: the first form of generation, which artworks took the place of; [`super::m0006_no_works`] removes it.

use sea_orm_migration::prelude::*;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "0001_create_works"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("works")
            .col(ColumnDef::new("id").uuid().not_null().primary_key())
            .col(ColumnDef::new("user_key").string_len(128))
            .col(super::long_text(manager, "request").not_null())
            .col(ColumnDef::new("job_id").string_len(128))
            .col(ColumnDef::new("status").string_len(16).not_null())
            .col(super::long_text(manager, "outputs").not_null())
            .col(ColumnDef::new("error_code").string_len(64))
            .col(ColumnDef::new("revision").big_integer().not_null())
            .col(ColumnDef::new("created_at").big_integer().not_null())
            .col(ColumnDef::new("updated_at").big_integer().not_null())
            .to_owned();
        super::create_table(manager, table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("works").to_owned()).await
    }
}
