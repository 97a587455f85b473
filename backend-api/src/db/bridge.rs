//! What an existing user system told us, in and out of its tables.

use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
};

use super::{Database, Error};
use crate::domain::Millis;

mod nonce {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "partner_nonces")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub digest: Vec<u8>,
        pub seen_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

mod payment {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "bridge_payments")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub session_id: String,
        pub payment_id: String,
        pub recorded_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// What became of the word that a session was paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum PaymentNoted {
    /// It was new, and is stored.
    Now,
    /// The very same word was stored before.
    Before,
    /// The session was paid by another payment, or the payment paid another session.
    Contradicted,
}

impl Database {
    /// Remembers a signed request; false when it was seen before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_nonce(&self, digest: [u8; 32], now: Millis) -> Result<bool, Error> {
        let row = nonce::Model { digest: digest.to_vec(), seen_at: now };
        match row.into_active_model().insert(&self.connection).await.map_err(Error::from) {
            Ok(_) => Ok(true),
            Err(Error::Duplicate(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Forgets signed requests seen before `before`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_nonces(&self, before: Millis) -> Result<u64, Error> {
        let deleted = nonce::Entity::delete_many()
            .filter(nonce::Column::SeenAt.lt(before))
            .exec(&self.connection)
            .await?;
        Ok(deleted.rows_affected)
    }

    /// Stores that `payment` paid `session`, once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_bridge_payment(
        &self,
        session: &str,
        payment: &str,
        now: Millis,
    ) -> Result<PaymentNoted, Error> {
        let row = payment::Model {
            session_id: session.to_owned(),
            payment_id: payment.to_owned(),
            recorded_at: now,
        };
        match row.into_active_model().insert(&self.connection).await.map_err(Error::from) {
            Ok(_) => Ok(PaymentNoted::Now),
            Err(Error::Duplicate(_)) => {
                let stored = payment::Entity::find_by_id(session).one(&self.connection).await?;
                Ok(match stored {
                    Some(row) if row.payment_id == payment => PaymentNoted::Before,
                    _ => PaymentNoted::Contradicted,
                })
            }
            Err(error) => Err(error),
        }
    }
}
