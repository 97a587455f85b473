//! People: who they are, by what they are known elsewhere, and their logins. Personal data is sealed by
//! `identity::seal` before it comes here; what has to be looked up (openid) is not.

use sea_orm_migration::prelude::*;

use super::{create_index, create_table};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "0002_identity"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [users(), wechat_accounts(), profiles(), sessions(), partner_nonces(), bridge_payments()]
        {
            create_table(manager, table).await?;
        }
        create_index(manager, "wechat_accounts", "wechat_accounts_by_user", &["user_id"]).await?;
        create_index(manager, "sessions", "sessions_by_user", &["user_id"]).await?;
        create_index(manager, "sessions", "sessions_by_end", &["expires_at"]).await?;
        create_index(manager, "partner_nonces", "partner_nonces_by_time", &["seen_at"]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["bridge_payments", "partner_nonces", "sessions", "profiles", "wechat_accounts", "users"]
        {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}

/// The row stays when its person is gone: the ledger names it.
fn users() -> TableCreateStatement {
    Table::create()
        .table("users")
        .col(ColumnDef::new("id").uuid().not_null().primary_key())
        .col(ColumnDef::new("role").string_len(16).not_null())
        .col(ColumnDef::new("status").string_len(16).not_null())
        .col(ColumnDef::new("created_at").big_integer().not_null())
        .col(ColumnDef::new("deleted_at").big_integer())
        .to_owned()
}

fn wechat_accounts() -> TableCreateStatement {
    Table::create()
        .table("wechat_accounts")
        .col(ColumnDef::new("appid").string_len(64).not_null())
        .col(ColumnDef::new("openid").string_len(128).not_null())
        .col(ColumnDef::new("user_id").uuid().not_null())
        .col(ColumnDef::new("unionid").string_len(128))
        .col(ColumnDef::new("session_key").var_binary(255))
        .col(ColumnDef::new("session_at").big_integer())
        .col(ColumnDef::new("created_at").big_integer().not_null())
        .primary_key(Index::create().col("appid").col("openid"))
        .to_owned()
}

fn profiles() -> TableCreateStatement {
    Table::create()
        .table("profiles")
        .col(ColumnDef::new("user_id").uuid().not_null().primary_key())
        .col(ColumnDef::new("phone").var_binary(255))
        .col(ColumnDef::new("name").var_binary(1024))
        .col(ColumnDef::new("picture_url").var_binary(4096))
        .col(ColumnDef::new("updated_at").big_integer().not_null())
        .to_owned()
}

/// One row a login; its refresh tokens are generations of it.
fn sessions() -> TableCreateStatement {
    Table::create()
        .table("sessions")
        .col(ColumnDef::new("id").uuid().not_null().primary_key())
        .col(ColumnDef::new("user_id").uuid().not_null())
        .col(ColumnDef::new("generation").big_integer().not_null())
        .col(ColumnDef::new("created_at").big_integer().not_null())
        .col(ColumnDef::new("rotated_at").big_integer().not_null())
        .col(ColumnDef::new("expires_at").big_integer().not_null())
        .col(ColumnDef::new("revoked_at").big_integer())
        .col(ColumnDef::new("revoked_for").string_len(16))
        .to_owned()
}

/// What signed requests have been seen, so that none is taken twice.
fn partner_nonces() -> TableCreateStatement {
    Table::create()
        .table("partner_nonces")
        .col(ColumnDef::new("digest").var_binary(32).not_null().primary_key())
        .col(ColumnDef::new("seen_at").big_integer().not_null())
        .to_owned()
}

/// What the existing user system told about paid sessions.
fn bridge_payments() -> TableCreateStatement {
    Table::create()
        .table("bridge_payments")
        .col(ColumnDef::new("session_id").string_len(128).not_null().primary_key())
        .col(ColumnDef::new("payment_id").string_len(128).not_null().unique_key())
        .col(ColumnDef::new("recorded_at").big_integer().not_null())
        .to_owned()
}
