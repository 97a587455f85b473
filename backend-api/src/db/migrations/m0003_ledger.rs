//! The ledger: postings and their entries, which only ever grow; balances and holds, which follow them.

use sea_orm_migration::prelude::*;

use super::{create_index, create_table};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "0003_ledger"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create_table(manager, postings()).await?;
        create_table(manager, entries()).await?;
        create_table(manager, balances()).await?;
        create_table(manager, holds()).await?;
        create_index(manager, "ledger_postings", "ledger_postings_subject", &["subject", "kind"]).await?;
        create_index(manager, "ledger_entries", "ledger_entries_user", &["user_id", "posting_id"]).await?;
        create_index(manager, "credit_holds", "credit_holds_state", &["state", "created_at"]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(CreditHolds::Table).to_owned()).await?;
        manager.drop_table(Table::drop().table(CreditBalances::Table).to_owned()).await?;
        manager.drop_table(Table::drop().table(LedgerEntries::Table).to_owned()).await?;
        manager.drop_table(Table::drop().table(LedgerPostings::Table).to_owned()).await
    }
}

fn postings() -> TableCreateStatement {
    Table::create()
        .table(LedgerPostings::Table)
        .col(ColumnDef::new(LedgerPostings::Id).uuid().not_null().primary_key())
        .col(ColumnDef::new(LedgerPostings::Reference).string_len(128).not_null().unique_key())
        .col(ColumnDef::new(LedgerPostings::Kind).string_len(16).not_null())
        .col(ColumnDef::new(LedgerPostings::Subject).uuid())
        .col(ColumnDef::new(LedgerPostings::CreatedAt).big_integer().not_null())
        .to_owned()
}

fn entries() -> TableCreateStatement {
    Table::create()
        .table(LedgerEntries::Table)
        .col(ColumnDef::new(LedgerEntries::PostingId).uuid().not_null())
        .col(ColumnDef::new(LedgerEntries::Line).integer().not_null())
        .col(ColumnDef::new(LedgerEntries::Account).string_len(32).not_null())
        .col(ColumnDef::new(LedgerEntries::UserId).uuid())
        .col(ColumnDef::new(LedgerEntries::Unit).string_len(8).not_null())
        .col(ColumnDef::new(LedgerEntries::Amount).big_integer().not_null())
        .primary_key(Index::create().col(LedgerEntries::PostingId).col(LedgerEntries::Line))
        .to_owned()
}

fn balances() -> TableCreateStatement {
    Table::create()
        .table(CreditBalances::Table)
        .col(ColumnDef::new(CreditBalances::UserId).uuid().not_null().primary_key())
        .col(ColumnDef::new(CreditBalances::Available).big_integer().not_null())
        .col(ColumnDef::new(CreditBalances::Held).big_integer().not_null())
        .to_owned()
}

fn holds() -> TableCreateStatement {
    Table::create()
        .table(CreditHolds::Table)
        .col(ColumnDef::new(CreditHolds::Id).uuid().not_null().primary_key())
        .col(ColumnDef::new(CreditHolds::UserId).uuid().not_null())
        .col(ColumnDef::new(CreditHolds::Credits).big_integer().not_null())
        .col(ColumnDef::new(CreditHolds::State).string_len(8).not_null())
        .col(ColumnDef::new(CreditHolds::CreatedAt).big_integer().not_null())
        .col(ColumnDef::new(CreditHolds::EndedAt).big_integer())
        .to_owned()
}

#[derive(DeriveIden)]
enum LedgerPostings {
    Table,
    Id,
    Reference,
    Kind,
    Subject,
    CreatedAt,
}

#[derive(DeriveIden)]
enum LedgerEntries {
    Table,
    PostingId,
    Line,
    Account,
    UserId,
    Unit,
    Amount,
}

#[derive(DeriveIden)]
enum CreditBalances {
    Table,
    UserId,
    Available,
    Held,
}

#[derive(DeriveIden)]
enum CreditHolds {
    Table,
    Id,
    UserId,
    Credits,
    State,
    CreatedAt,
    EndedAt,
}
