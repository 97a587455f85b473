//! Logins in and out of their table. A login has one refresh token at a time: its generation.

use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
};
use uuid::Uuid;

use super::{Database, Error, Transaction};
use crate::domain::{Millis, UserId};

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "sessions")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub user_id: Uuid,
        pub generation: i64,
        pub created_at: i64,
        pub rotated_at: i64,
        pub expires_at: i64,
        pub revoked_at: Option<i64>,
        pub revoked_for: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// One login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Its name.
    pub id: Uuid,
    /// Whose it is.
    pub user: UserId,
    /// Which of its refresh tokens is good; the first is 0.
    pub generation: i64,
    /// When it began.
    pub created_at: Millis,
    /// When its present refresh token was made.
    pub rotated_at: Millis,
    /// When that token ends.
    pub expires_at: Millis,
    /// When it was ended before its time.
    pub revoked_at: Option<Millis>,
}

/// Why a login was ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    /// Its person wished so.
    Logout,
    /// A refresh token came a second time: somebody else has a copy.
    Reuse,
}

impl Revoked {
    fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Reuse => "reuse",
        }
    }
}

impl Database {
    /// Stores a new login. A repeat of the same one changes nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_session(&self, session: &SessionRow) -> Result<(), Error> {
        let model = row::Model {
            id: session.id,
            user_id: session.user.0,
            generation: session.generation,
            created_at: session.created_at,
            rotated_at: session.rotated_at,
            expires_at: session.expires_at,
            revoked_at: None,
            revoked_for: None,
        };
        match model.into_active_model().insert(&self.connection).await.map_err(Error::from) {
            // Ids are random: a duplicate is our own first try, whose answer was lost.
            Ok(_) | Err(Error::Duplicate(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The login of that id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_session(&self, id: Uuid) -> Result<Option<SessionRow>, Error> {
        Ok(row::Entity::find_by_id(id).one(&self.connection).await?.map(|row| SessionRow {
            id: row.id,
            user: UserId(row.user_id),
            generation: row.generation,
            created_at: row.created_at,
            rotated_at: row.rotated_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        }))
    }

    /// Moves a login to its next refresh token, if `generation` is still the present one; false if it is not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rotate_session(
        &self,
        id: Uuid,
        generation: i64,
        now: Millis,
        expires_at: Millis,
    ) -> Result<bool, Error> {
        let update = row::Entity::update_many()
            .col_expr(row::Column::Generation, Expr::value(generation + 1))
            .col_expr(row::Column::RotatedAt, Expr::value(now))
            .col_expr(row::Column::ExpiresAt, Expr::value(expires_at))
            .filter(row::Column::Id.eq(id))
            .filter(row::Column::Generation.eq(generation))
            .filter(row::Column::RevokedAt.is_null())
            .exec(&self.connection)
            .await?;
        Ok(update.rows_affected > 0)
    }

    /// Ends a login.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_session(&self, id: Uuid, why: Revoked, now: Millis) -> Result<(), Error> {
        row::Entity::update_many()
            .col_expr(row::Column::RevokedAt, Expr::value(now))
            .col_expr(row::Column::RevokedFor, Expr::value(why.as_str()))
            .filter(row::Column::Id.eq(id))
            .filter(row::Column::RevokedAt.is_null())
            .exec(&self.connection)
            .await?;
        Ok(())
    }

    /// Forgets logins that ended before `before`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_sessions(&self, before: Millis) -> Result<u64, Error> {
        let deleted = row::Entity::delete_many()
            .filter(Expr::col(row::Column::ExpiresAt).lt(before))
            .exec(&self.connection)
            .await?;
        Ok(deleted.rows_affected)
    }

    /// When each of a person's logins began, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sessions_of(&self, user: UserId) -> Result<Vec<Millis>, Error> {
        let rows = row::Entity::find().filter(row::Column::UserId.eq(user.0)).all(&self.connection).await?;
        let mut begun: Vec<_> = rows.into_iter().map(|row| row.created_at).collect();
        begun.sort_unstable();
        Ok(begun)
    }
}

/// Forgets all logins of a person.
///
/// # Errors
/// When the database fails.
pub async fn erase_sessions_in(transaction: &Transaction, user: UserId) -> Result<(), Error> {
    row::Entity::delete_many().filter(row::Column::UserId.eq(user.0)).exec(transaction).await?;
    Ok(())
}
