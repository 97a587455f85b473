//! Orders, refunds, and what the platforms' bills say of them.

use sea_orm_migration::prelude::*;

use super::{create_index, create_table};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "0004_orders"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create_table(manager, orders()).await?;
        create_table(manager, refunds()).await?;
        create_table(manager, bills()).await?;
        create_table(manager, differences()).await?;
        create_index(manager, "orders", "orders_due", &["due_at"]).await?;
        create_index(manager, "orders", "orders_user", &["user_id", "id"]).await?;
        create_index(manager, "orders", "orders_paid", &["rail", "paid_at"]).await?;
        create_index(manager, "refunds", "refunds_order", &["order_id"]).await?;
        create_index(manager, "refunds", "refunds_due", &["due_at"]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(BillDifferences::Table).to_owned()).await?;
        manager.drop_table(Table::drop().table(Bills::Table).to_owned()).await?;
        manager.drop_table(Table::drop().table(Refunds::Table).to_owned()).await?;
        manager.drop_table(Table::drop().table(Orders::Table).to_owned()).await
    }
}

fn orders() -> TableCreateStatement {
    Table::create()
        .table(Orders::Table)
        .col(ColumnDef::new(Orders::Id).uuid().not_null().primary_key())
        .col(ColumnDef::new(Orders::UserId).uuid().not_null())
        .col(ColumnDef::new(Orders::IdempotencyKey).string_len(128))
        .col(ColumnDef::new(Orders::Rail).string_len(16).not_null())
        .col(ColumnDef::new(Orders::Item).string_len(64).not_null())
        .col(ColumnDef::new(Orders::Title).string_len(127).not_null())
        .col(ColumnDef::new(Orders::PriceFen).big_integer().not_null())
        .col(ColumnDef::new(Orders::Credits).big_integer().not_null())
        .col(ColumnDef::new(Orders::Payer).string_len(128))
        .col(ColumnDef::new(Orders::State).string_len(16).not_null())
        .col(ColumnDef::new(Orders::PrepayId).string_len(128))
        .col(ColumnDef::new(Orders::PreparedAt).big_integer())
        .col(ColumnDef::new(Orders::TransactionId).string_len(64).unique_key())
        .col(ColumnDef::new(Orders::Trouble).string_len(64))
        .col(ColumnDef::new(Orders::Notice).string_len(16).not_null())
        .col(ColumnDef::new(Orders::CreatedAt).big_integer().not_null())
        .col(ColumnDef::new(Orders::ExpiresAt).big_integer().not_null())
        .col(ColumnDef::new(Orders::PaidAt).big_integer())
        .col(ColumnDef::new(Orders::LookedAt).big_integer().not_null())
        .col(ColumnDef::new(Orders::DueAt).big_integer())
        .col(ColumnDef::new(Orders::Tries).integer().not_null())
        .index(Index::create().unique().name("orders_key").col(Orders::UserId).col(Orders::IdempotencyKey))
        .to_owned()
}

fn refunds() -> TableCreateStatement {
    Table::create()
        .table(Refunds::Table)
        .col(ColumnDef::new(Refunds::Id).uuid().not_null().primary_key())
        .col(ColumnDef::new(Refunds::OrderId).uuid().not_null())
        .col(ColumnDef::new(Refunds::AmountFen).big_integer().not_null())
        .col(ColumnDef::new(Refunds::Credits).big_integer().not_null())
        .col(ColumnDef::new(Refunds::Reclaimed).big_integer().not_null())
        .col(ColumnDef::new(Refunds::Reason).string_len(80).not_null())
        .col(ColumnDef::new(Refunds::RequestedBy).uuid())
        .col(ColumnDef::new(Refunds::State).string_len(16).not_null())
        .col(ColumnDef::new(Refunds::CreatedAt).big_integer().not_null())
        .col(ColumnDef::new(Refunds::EndedAt).big_integer())
        .col(ColumnDef::new(Refunds::DueAt).big_integer())
        .col(ColumnDef::new(Refunds::Tries).integer().not_null())
        .to_owned()
}

fn bills() -> TableCreateStatement {
    Table::create()
        .table(Bills::Table)
        .col(ColumnDef::new(Bills::Rail).string_len(16).not_null())
        .col(ColumnDef::new(Bills::Day).string_len(10).not_null())
        .col(ColumnDef::new(Bills::State).string_len(16).not_null())
        .col(ColumnDef::new(Bills::Rows).big_integer().not_null())
        .col(ColumnDef::new(Bills::Differences).big_integer().not_null())
        .col(ColumnDef::new(Bills::CheckedAt).big_integer())
        .col(ColumnDef::new(Bills::DueAt).big_integer())
        .col(ColumnDef::new(Bills::Tries).integer().not_null())
        .primary_key(Index::create().col(Bills::Rail).col(Bills::Day))
        .to_owned()
}

fn differences() -> TableCreateStatement {
    Table::create()
        .table(BillDifferences::Table)
        .col(ColumnDef::new(BillDifferences::Rail).string_len(16).not_null())
        .col(ColumnDef::new(BillDifferences::Day).string_len(10).not_null())
        .col(ColumnDef::new(BillDifferences::Name).string_len(64).not_null())
        .col(ColumnDef::new(BillDifferences::Kind).string_len(24).not_null())
        .col(ColumnDef::new(BillDifferences::OursFen).big_integer())
        .col(ColumnDef::new(BillDifferences::TheirsFen).big_integer())
        .col(ColumnDef::new(BillDifferences::FoundAt).big_integer().not_null())
        .primary_key(
            Index::create()
                .col(BillDifferences::Rail)
                .col(BillDifferences::Day)
                .col(BillDifferences::Name)
                .col(BillDifferences::Kind),
        )
        .to_owned()
}

#[derive(DeriveIden)]
enum Orders {
    Table,
    Id,
    UserId,
    IdempotencyKey,
    Rail,
    Item,
    Title,
    PriceFen,
    Credits,
    Payer,
    State,
    PrepayId,
    PreparedAt,
    TransactionId,
    Trouble,
    Notice,
    CreatedAt,
    ExpiresAt,
    PaidAt,
    LookedAt,
    DueAt,
    Tries,
}

#[derive(DeriveIden)]
enum Refunds {
    Table,
    Id,
    OrderId,
    AmountFen,
    Credits,
    Reclaimed,
    Reason,
    RequestedBy,
    State,
    CreatedAt,
    EndedAt,
    DueAt,
    Tries,
}

#[derive(DeriveIden)]
enum Bills {
    Table,
    Rail,
    Day,
    State,
    Rows,
    Differences,
    CheckedAt,
    DueAt,
    Tries,
}

#[derive(DeriveIden)]
enum BillDifferences {
    Table,
    Rail,
    Day,
    Name,
    Kind,
    OursFen,
    TheirsFen,
    FoundAt,
}
