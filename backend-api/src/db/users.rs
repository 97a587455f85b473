//! People and their accounts at WeChat, in and out of their tables.

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _,
};

use super::{Database, Error, Transaction};
use crate::domain::{Millis, OpenId, Role, User, UserId, WechatAccount};

mod user {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "users")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub role: String,
        pub status: String,
        pub created_at: i64,
        pub deleted_at: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

mod account {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "wechat_accounts")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub appid: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub openid: String,
        pub user_id: Uuid,
        pub unionid: Option<String>,
        pub session_key: Option<Vec<u8>>,
        pub session_at: Option<i64>,
        pub created_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

const ACTIVE: &str = "active";
const DELETED: &str = "deleted";

/// What an account's row tells beside its keys.
#[derive(Debug, Clone)]
pub struct AccountRow {
    /// The account.
    pub account: WechatAccount,
    /// Whose it is.
    pub user: UserId,
    /// The same person towards every mini program of one owner.
    pub unionid: Option<String>,
    /// The session key, sealed.
    pub session_key: Option<Vec<u8>>,
    /// When that key was given to us.
    pub session_at: Option<Millis>,
    /// First seen.
    pub created_at: Millis,
}

impl Database {
    /// The person of that id, unless there is none or they have left.
    ///
    /// # Errors
    /// When the database fails or the row is unreadable.
    pub async fn find_user(&self, id: UserId) -> Result<Option<User>, Error> {
        find_user_in(&self.connection, id).await
    }

    /// The person of that account, unless they are unknown.
    ///
    /// # Errors
    /// When the database fails or the row is unreadable.
    pub async fn find_user_by_account(&self, account: &WechatAccount) -> Result<Option<User>, Error> {
        let key = (account.appid.clone(), account.openid.as_str().to_owned());
        match account::Entity::find_by_id(key).one(&self.connection).await? {
            Some(row) => self.find_user(UserId(row.user_id)).await,
            None => Ok(None),
        }
    }

    /// Stores a new person with their account, both or none.
    ///
    /// # Errors
    /// [`Error::Duplicate`] when the account is somebody's already; else when the database fails.
    pub async fn insert_user(
        &self,
        user: &User,
        account: &WechatAccount,
        unionid: Option<&str>,
    ) -> Result<(), Error> {
        let transaction = self.begin().await?;
        let row = user::Model {
            id: user.id.0,
            role: user.role.as_str().to_owned(),
            status: ACTIVE.to_owned(),
            created_at: user.created_at,
            deleted_at: None,
        };
        row.into_active_model().insert(&transaction).await?;
        let row = account::Model {
            appid: account.appid.clone(),
            openid: account.openid.as_str().to_owned(),
            user_id: user.id.0,
            unionid: unionid.map(str::to_owned),
            session_key: None,
            session_at: None,
            created_at: user.created_at,
        };
        row.into_active_model().insert(&transaction).await?;
        self.commit(transaction).await
    }

    /// Keeps what WeChat told at a login: the newest session key, and the unionid once there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn save_wechat_session(
        &self,
        account: &WechatAccount,
        sealed_key: Vec<u8>,
        unionid: Option<&str>,
        now: Millis,
    ) -> Result<(), Error> {
        let mut update = account::Entity::update_many()
            .col_expr(account::Column::SessionKey, Expr::value(sealed_key))
            .col_expr(account::Column::SessionAt, Expr::value(now))
            .filter(account::Column::Appid.eq(&account.appid))
            .filter(account::Column::Openid.eq(account.openid.as_str()));
        if let Some(unionid) = unionid {
            update = update.col_expr(account::Column::Unionid, Expr::value(unionid.to_owned()));
        }
        update.exec(&self.connection).await?;
        Ok(())
    }

    /// The person's account towards that mini program.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_account(&self, user: UserId, appid: &str) -> Result<Option<AccountRow>, Error> {
        let row = account::Entity::find()
            .filter(account::Column::UserId.eq(user.0))
            .filter(account::Column::Appid.eq(appid))
            .one(&self.connection)
            .await?;
        Ok(row.map(account_row))
    }

    /// All accounts of a person.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn accounts_of(&self, user: UserId) -> Result<Vec<AccountRow>, Error> {
        let rows =
            account::Entity::find().filter(account::Column::UserId.eq(user.0)).all(&self.connection).await?;
        Ok(rows.into_iter().map(account_row).collect())
    }

    /// Changes what a person may do; false when there is no such person. For operators and tests: no route does it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_role(&self, user: UserId, role: Role) -> Result<bool, Error> {
        let update = user::Entity::update_many()
            .col_expr(user::Column::Role, Expr::value(role.as_str()))
            .filter(user::Column::Id.eq(user.0))
            .filter(user::Column::Status.eq(ACTIVE))
            .exec(&self.connection)
            .await?;
        Ok(update.rows_affected > 0)
    }
}

/// The person of that id, unless there is none or they have left.
///
/// # Errors
/// When the database fails or the row is unreadable.
pub(super) async fn find_user_in(
    connection: &impl ConnectionTrait,
    id: UserId,
) -> Result<Option<User>, Error> {
    let row = user::Entity::find_by_id(id.0).one(connection).await?;
    row.filter(|row| row.status == ACTIVE).map(user_of).transpose()
}

/// Marks a person as gone and forgets their accounts; false when they had gone before.
///
/// # Errors
/// When the database fails.
pub async fn erase_user_in(transaction: &Transaction, user: UserId, now: Millis) -> Result<bool, Error> {
    let marked = user::Entity::update_many()
        .col_expr(user::Column::Status, Expr::value(DELETED))
        .col_expr(user::Column::DeletedAt, Expr::value(now))
        .filter(user::Column::Id.eq(user.0))
        .filter(user::Column::Status.eq(ACTIVE))
        .exec(transaction)
        .await?;
    account::Entity::delete_many().filter(account::Column::UserId.eq(user.0)).exec(transaction).await?;
    Ok(marked.rows_affected > 0)
}

/// Lets other transactions that take this turn, and the one by which the person leaves, wait for the end of this one.
/// False when the person has left.
pub(crate) async fn take_turn_in(transaction: &Transaction, user: UserId) -> Result<bool, Error> {
    user::Entity::update_many()
        .col_expr(user::Column::Status, Expr::value(ACTIVE))
        .filter(user::Column::Id.eq(user.0))
        .filter(user::Column::Status.eq(ACTIVE))
        .exec(transaction)
        .await?;
    // Not by the number of rows: MySQL may count one that stays as it is as none.
    let query = user::Entity::find_by_id(user.0).filter(user::Column::Status.eq(ACTIVE));
    Ok(query.one(transaction).await?.is_some())
}

fn user_of(row: user::Model) -> Result<User, Error> {
    let corrupt = |name| Error::Corrupt { id: row.id, what: format!("unknown role {name}") };
    Ok(User { id: UserId(row.id), role: row.role.parse().map_err(corrupt)?, created_at: row.created_at })
}

fn account_row(row: account::Model) -> AccountRow {
    AccountRow {
        account: WechatAccount { appid: row.appid, openid: OpenId::new(row.openid) },
        user: UserId(row.user_id),
        unionid: row.unionid,
        session_key: row.session_key,
        session_at: row.session_at,
        created_at: row.created_at,
    }
}
