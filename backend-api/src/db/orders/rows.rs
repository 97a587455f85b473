//! Rows of orders and refunds, as sea-orm sees them.

/// Table `orders`.
pub(super) mod orders {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "orders")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub user_id: Uuid,
        pub idempotency_key: Option<String>,
        pub rail: String,
        pub item: String,
        pub title: String,
        pub price_fen: i64,
        pub credits: i64,
        pub payer: Option<String>,
        pub state: String,
        pub prepay_id: Option<String>,
        pub prepared_at: Option<i64>,
        pub transaction_id: Option<String>,
        pub trouble: Option<String>,
        pub notice: String,
        pub created_at: i64,
        pub expires_at: i64,
        pub paid_at: Option<i64>,
        pub looked_at: i64,
        pub due_at: Option<i64>,
        pub tries: i32,
    }

    // By hand, since `payer` is personal data.
    impl std::fmt::Debug for Model {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("Model").field("id", &self.id).field("state", &self.state).finish_non_exhaustive()
        }
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `refunds`.
pub(super) mod refunds {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "refunds")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub order_id: Uuid,
        pub amount_fen: i64,
        pub credits: i64,
        pub reclaimed: i64,
        pub reason: String,
        pub requested_by: Option<Uuid>,
        pub state: String,
        pub created_at: i64,
        pub ended_at: Option<i64>,
        pub due_at: Option<i64>,
        pub tries: i32,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
