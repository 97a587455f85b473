//! Bills that are to be checked, were checked, and what did not fit.

use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::{Database, Error, Transaction};
use crate::domain::Millis;
use crate::domain::money::Rail;

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "bills")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub rail: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub day: String,
        pub state: String,
        pub rows: i64,
        pub differences: i64,
        pub checked_at: Option<i64>,
        pub due_at: Option<i64>,
        pub tries: i32,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

mod differences {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "bill_differences")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub rail: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub day: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub kind: String,
        pub ours_fen: Option<i64>,
        pub theirs_fen: Option<i64>,
        pub found_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// One day of one rail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// Whose bill.
    pub rail: Rail,
    /// The day in Beijing, `YYYY-MM-DD`.
    pub day: String,
    /// `due`, `checked` or `unusable`.
    pub state: String,
    /// Its rows.
    pub rows: i64,
    /// How many of them, or of ours, do not fit.
    pub differences: i64,
    /// When it was checked last.
    pub checked_at: Option<Millis>,
    /// When it is to be checked next.
    pub due_at: Option<Millis>,
    /// Tries so far.
    pub tries: i32,
}

/// Something that is in the books or on the bill, and not the same in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The platform's name of the order or refund.
    pub name: String,
    /// `unknown_order`, `another_amount`, `not_paid_here`, `not_on_bill`, `unknown_refund`, `another_refund_amount`,
    /// `not_refunded_here`.
    pub kind: &'static str,
    /// What our books say, in fen.
    pub ours_fen: Option<i64>,
    /// What the bill says, in fen.
    pub theirs_fen: Option<i64>,
}

/// A stored [`Difference`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDifference {
    /// The day in Beijing, `YYYY-MM-DD`.
    pub day: String,
    /// The platform's name of the order or refund.
    pub name: String,
    /// See [`Difference::kind`].
    pub kind: String,
    /// What our books said, in fen.
    pub ours_fen: Option<i64>,
    /// What the bill says, in fen.
    pub theirs_fen: Option<i64>,
}

impl Database {
    /// Notes that the bill of a day has to be checked at `due_at`, unless that is noted already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn expect_bill(&self, rail: Rail, day: &str, due_at: Millis) -> Result<(), Error> {
        let row = row::ActiveModel {
            rail: Set(rail.as_str().to_owned()),
            day: Set(day.to_owned()),
            state: Set("due".to_owned()),
            rows: Set(0),
            differences: Set(0),
            checked_at: Set(None),
            due_at: Set(Some(due_at)),
            tries: Set(0),
        };
        match row::Entity::insert(row).exec_without_returning(&self.connection).await.map_err(Error::from) {
            Ok(_) | Err(Error::Duplicate(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Up to `limit` bills whose time has come.
    ///
    /// # Errors
    /// When the database fails or a row is unreadable.
    pub async fn due_bills(&self, now: Millis, limit: u64) -> Result<Vec<Bill>, Error> {
        let query = row::Entity::find()
            .filter(row::Column::DueAt.lte(now))
            .order_by_asc(row::Column::DueAt)
            .limit(limit);
        query.all(&self.connection).await?.into_iter().map(bill).collect()
    }

    /// The newest bills of a rail.
    ///
    /// # Errors
    /// When the database fails or a row is unreadable.
    pub async fn bills(&self, rail: Rail, limit: u64) -> Result<Vec<Bill>, Error> {
        let query = row::Entity::find()
            .filter(row::Column::Rail.eq(rail.as_str()))
            .order_by_desc(row::Column::Day)
            .limit(limit);
        query.all(&self.connection).await?.into_iter().map(bill).collect()
    }

    /// The differences of a rail, newest days first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn differences(&self, rail: Rail, limit: u64) -> Result<Vec<FoundDifference>, Error> {
        let query = differences::Entity::find()
            .filter(differences::Column::Rail.eq(rail.as_str()))
            .order_by_desc(differences::Column::Day)
            .order_by_asc(differences::Column::Name)
            .limit(limit);
        let rows = query.all(&self.connection).await?;
        let found = |row: differences::Model| FoundDifference {
            day: row.day,
            name: row.name,
            kind: row.kind,
            ours_fen: row.ours_fen,
            theirs_fen: row.theirs_fen,
        };
        Ok(rows.into_iter().map(found).collect())
    }

    /// Takes a due bill until `until`; false when somebody else took it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_bill(&self, bill: &Bill, until: Millis) -> Result<bool, Error> {
        let claimed = row::Entity::update_many()
            .col_expr(row::Column::DueAt, Expr::value(until))
            .col_expr(row::Column::Tries, Expr::col(row::Column::Tries).add(1))
            .filter(row::Column::Rail.eq(bill.rail.as_str()))
            .filter(row::Column::Day.eq(bill.day.as_str()))
            .filter(row::Column::DueAt.eq(bill.due_at))
            .exec(&self.connection)
            .await?;
        Ok(claimed.rows_affected > 0)
    }
}

/// Stores how the check of a bill went, in place of what an earlier check found.
pub(crate) async fn finish_bill(
    tx: &Transaction,
    bill: &Bill,
    found: &[Difference],
    now: Millis,
) -> Result<(), Error> {
    let (rail, day) = (bill.rail.as_str(), bill.day.as_str());
    differences::Entity::delete_many()
        .filter(differences::Column::Rail.eq(rail))
        .filter(differences::Column::Day.eq(day))
        .exec(tx)
        .await?;
    let rows = found.iter().map(|difference| differences::ActiveModel {
        rail: Set(rail.to_owned()),
        day: Set(day.to_owned()),
        name: Set(difference.name.chars().take(64).collect()),
        kind: Set(difference.kind.to_owned()),
        ours_fen: Set(difference.ours_fen),
        theirs_fen: Set(difference.theirs_fen),
        found_at: Set(now),
    });
    for row in rows {
        differences::Entity::insert(row).exec_without_returning(tx).await?;
    }
    row::Entity::update_many()
        .col_expr(row::Column::State, Expr::value(bill.state.as_str()))
        .col_expr(row::Column::Rows, Expr::value(bill.rows))
        .col_expr(row::Column::Differences, Expr::value(bill.differences))
        .col_expr(row::Column::CheckedAt, Expr::value(bill.checked_at))
        .col_expr(row::Column::DueAt, Expr::value(bill.due_at))
        .filter(row::Column::Rail.eq(rail))
        .filter(row::Column::Day.eq(day))
        .exec(tx)
        .await?;
    Ok(())
}

fn bill(row: row::Model) -> Result<Bill, Error> {
    let corrupt = || Error::Corrupt { id: uuid::Uuid::nil(), what: "rail of a bill".to_owned() };
    Ok(Bill {
        rail: Rail::named(&row.rail).ok_or_else(corrupt)?,
        day: row.day,
        state: row.state,
        rows: row.rows,
        differences: row.differences,
        checked_at: row.checked_at,
        due_at: row.due_at,
        tries: row.tries,
    })
}
