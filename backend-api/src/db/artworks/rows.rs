//! Rows of artworks and what belongs to them, as sea-orm sees them.

/// Table `artworks`.
pub(super) mod artworks {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "artworks")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub user_id: Uuid,
        pub idempotency_key: Option<String>,
        pub template: String,
        pub credits: i64,
        pub request: String,
        pub job_id: Option<String>,
        pub state: String,
        pub reason: Option<String>,
        pub is_favourite: bool,
        pub share_token: Option<String>,
        pub reports: i64,
        pub needs_review: bool,
        pub told_at: Option<i64>,
        pub created_at: i64,
        pub updated_at: i64,
        pub due_at: Option<i64>,
        pub tries: i32,
        pub deleted_at: Option<i64>,
        pub inputs: Option<String>,
    }

    // By hand, since `request` and `inputs` are what a person wrote.
    impl std::fmt::Debug for Model {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("Model").field("id", &self.id).field("state", &self.state).finish_non_exhaustive()
        }
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `artwork_pictures`.
pub(super) mod pictures {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "artwork_pictures")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub artwork_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub position: i32,
        pub output_id: String,
        pub file_id: Option<String>,
        pub url: Option<String>,
        pub content_type: Option<String>,
        pub size_bytes: Option<i64>,
        pub width: Option<i64>,
        pub height: Option<i64>,
        pub trace_id: Option<String>,
        pub verdict: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `picture_verdicts`.
pub(super) mod verdicts {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "picture_verdicts")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub trace_id: String,
        pub verdict: String,
        pub label: i64,
        pub told_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `artwork_reports`.
pub(super) mod reports {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "artwork_reports")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub artwork_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_id: Uuid,
        pub reason: String,
        pub created_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `doomed_files`.
pub(super) mod doomed {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "doomed_files")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub file_id: String,
        pub due_at: i64,
        pub tries: i32,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `event_cursors`.
pub(super) mod cursors {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "event_cursors")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        pub place: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
