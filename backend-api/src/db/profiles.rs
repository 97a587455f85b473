//! What people told us about themselves, sealed, in and out of its table.

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
};

use super::{Database, Error, Transaction};
use crate::domain::{Millis, UserId};

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "profiles")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_id: Uuid,
        pub phone: Option<Vec<u8>>,
        pub name: Option<Vec<u8>>,
        pub picture_url: Option<Vec<u8>>,
        pub updated_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Sealed personal data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileRow {
    /// Phone number.
    pub phone: Option<Vec<u8>>,
    /// What they want to be called.
    pub name: Option<Vec<u8>>,
    /// Where their picture is.
    pub picture_url: Option<Vec<u8>>,
}

impl Database {
    /// What is known of a person; nothing when they told nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_profile(&self, user: UserId) -> Result<ProfileRow, Error> {
        let row = row::Entity::find_by_id(user.0).one(&self.connection).await?;
        Ok(row.map_or_else(ProfileRow::default, |row| ProfileRow {
            phone: row.phone,
            name: row.name,
            picture_url: row.picture_url,
        }))
    }

    /// Stores those parts that are given; the others stay.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn save_profile(&self, user: UserId, told: ProfileRow, now: Millis) -> Result<(), Error> {
        if self.update_profile(user, &told, now).await? {
            return Ok(());
        }
        let model = row::Model {
            user_id: user.0,
            phone: told.phone.clone(),
            name: told.name.clone(),
            picture_url: told.picture_url.clone(),
            updated_at: now,
        };
        match model.into_active_model().insert(&self.connection).await.map_err(Error::from) {
            Ok(_) => Ok(()),
            Err(Error::Duplicate(_)) => self.update_profile(user, &told, now).await.map(|_| ()),
            Err(error) => Err(error),
        }
    }

    async fn update_profile(&self, user: UserId, told: &ProfileRow, now: Millis) -> Result<bool, Error> {
        let mut update = row::Entity::update_many()
            .col_expr(row::Column::UpdatedAt, Expr::value(now))
            .filter(row::Column::UserId.eq(user.0));
        for (column, value) in [
            (row::Column::Phone, &told.phone),
            (row::Column::Name, &told.name),
            (row::Column::PictureUrl, &told.picture_url),
        ] {
            if let Some(value) = value {
                update = update.col_expr(column, Expr::value(value.clone()));
            }
        }
        Ok(update.exec(&self.connection).await?.rows_affected > 0)
    }
}

/// Forgets what a person told us.
///
/// # Errors
/// When the database fails.
pub async fn erase_profile_in(transaction: &Transaction, user: UserId) -> Result<(), Error> {
    row::Entity::delete_many().filter(row::Column::UserId.eq(user.0)).exec(transaction).await?;
    Ok(())
}
