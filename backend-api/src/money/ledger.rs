//! The ledger's use cases: give, hold, settle, release. Each also as `*_in`, for a caller's own transaction.

use uuid::Uuid;

use crate::clock::now;
use crate::db::ledger::{self, Audit, Balance, Line, Outcome};
use crate::db::{self, Database, Transaction, Transient};
use crate::domain::UserId;
use crate::domain::money::{Credits, Hold, HoldState, Posting};

/// Everybody's credits.
#[derive(Debug, Clone)]
pub struct Ledger {
    database: Database,
}

/// Whether something is new in the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posted {
    /// It was posted now.
    Now,
    /// It had been posted before; nothing changed.
    Already,
}

/// Why credits were not held.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// The user has too little: tell them.
    #[error("the user has {available} credits only")]
    Insufficient {
        /// What they have.
        available: Credits,
    },
    /// The id holds other credits already: a bug of the caller.
    #[error("hold {id} is another one")]
    Conflict {
        /// Which.
        id: Uuid,
    },
    /// Nothing was held, or it is not known; a repeat is safe.
    #[error(transparent)]
    Database(#[from] db::Error),
}

/// Why a hold was not ended.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// There is no such hold.
    #[error("there is no hold {id}")]
    Unknown {
        /// Which.
        id: Uuid,
    },
    /// It ended the other way before.
    #[error("hold {id} is {}", .state.as_str())]
    Ended {
        /// Which.
        id: Uuid,
        /// How it ended.
        state: HoldState,
    },
    /// It is not known whether it was ended; a repeat is safe.
    #[error(transparent)]
    Database(#[from] db::Error),
}

impl Transient for HoldError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_transient())
    }
}

impl Transient for EndError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_transient())
    }
}

impl Ledger {
    /// The ledger kept in `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// What the user has.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn balance(&self, user: UserId) -> Result<Balance, db::Error> {
        self.database.retry(|| self.database.balance(user)).await
    }

    /// Up to `limit` changes of the user's credits, newest first, older than posting `before`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lines(
        &self,
        user: UserId,
        before: Option<Uuid>,
        limit: u64,
    ) -> Result<Vec<Line>, db::Error> {
        self.database.retry(|| self.database.credit_lines(user, before, limit)).await
    }

    /// Gives credits, once for each `reference` (e.g. `admin:<key>`, at most 128 characters).
    ///
    /// # Errors
    /// When the database fails; a repeat is safe.
    pub async fn grant(&self, user: UserId, credits: Credits, reference: &str) -> Result<Posted, db::Error> {
        self.database
            .retry(|| async {
                let tx = self.database.begin().await?;
                let posted = Self::grant_in(&tx, user, credits, reference).await?;
                self.database.commit(tx).await?;
                Ok(posted)
            })
            .await
    }

    /// The same within a transaction.
    ///
    /// # Errors
    /// When the database fails; then the transaction has to be dropped.
    pub async fn grant_in(
        tx: &Transaction,
        user: UserId,
        credits: Credits,
        reference: &str,
    ) -> Result<Posted, db::Error> {
        let outcome = ledger::post(tx, &Posting::grant(user, credits, reference), now()).await?;
        Ok(if outcome == Outcome::Posted { Posted::Now } else { Posted::Already })
    }

    /// Sets `credits` aside for the picture `id`. A repeat gives the same hold, as it stands then.
    ///
    /// # Errors
    /// See [`HoldError`].
    pub async fn hold(&self, user: UserId, credits: Credits, id: Uuid) -> Result<Hold, HoldError> {
        self.database
            .retry(|| async {
                let tx = self.database.begin().await?;
                let hold = Self::hold_in(&tx, user, credits, id).await?;
                self.database.commit(tx).await?;
                Ok(hold)
            })
            .await
    }

    /// The same within a transaction.
    ///
    /// # Errors
    /// See [`HoldError`]; the transaction has to be dropped, except after [`HoldError::Insufficient`] and
    /// [`HoldError::Conflict`], which wrote nothing.
    pub async fn hold_in(
        tx: &Transaction,
        user: UserId,
        credits: Credits,
        id: Uuid,
    ) -> Result<Hold, HoldError> {
        if let Some(hold) = ledger::find_hold(tx, id).await? {
            let is_same = hold.user == user && hold.credits == credits;
            return if is_same { Ok(hold) } else { Err(HoldError::Conflict { id }) };
        }
        let at = now();
        match ledger::post(tx, &Posting::hold(id, user, credits), at).await? {
            Outcome::Posted => {}
            Outcome::Already => return Err(db::begin_again().into()), // its hold appears with the next snapshot
            Outcome::Short => {
                let available = ledger::balance_in(tx, user).await?.available;
                return Err(HoldError::Insufficient { available });
            }
        }
        let hold = Hold { id, user, credits, state: HoldState::Open };
        ledger::insert_hold(tx, &hold, at).await?;
        Ok(hold)
    }

    /// The picture was made: what it held is ours. A repeat changes nothing.
    ///
    /// # Errors
    /// See [`EndError`].
    pub async fn settle(&self, id: Uuid) -> Result<Posted, EndError> {
        self.end(id, HoldState::Settled).await
    }

    /// The same within a transaction.
    ///
    /// # Errors
    /// See [`EndError`].
    pub async fn settle_in(tx: &Transaction, id: Uuid) -> Result<Posted, EndError> {
        end_in(tx, id, HoldState::Settled).await
    }

    /// The picture was not made: the user has it back. A repeat changes nothing.
    ///
    /// # Errors
    /// See [`EndError`].
    pub async fn release(&self, id: Uuid) -> Result<Posted, EndError> {
        self.end(id, HoldState::Released).await
    }

    /// The same within a transaction.
    ///
    /// # Errors
    /// See [`EndError`].
    pub async fn release_in(tx: &Transaction, id: Uuid) -> Result<Posted, EndError> {
        end_in(tx, id, HoldState::Released).await
    }

    /// Proves the books over every row there is. Slow; for people and tests.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit(&self) -> Result<Audit, db::Error> {
        self.database.audit().await
    }

    async fn end(&self, id: Uuid, state: HoldState) -> Result<Posted, EndError> {
        self.database
            .retry(|| async {
                let tx = self.database.begin().await?;
                let posted = end_in(&tx, id, state).await?;
                self.database.commit(tx).await?;
                Ok(posted)
            })
            .await
    }
}

async fn end_in(tx: &Transaction, id: Uuid, state: HoldState) -> Result<Posted, EndError> {
    let at = now();
    let is_ended = ledger::end_hold(tx, id, state, at).await?;
    let hold = ledger::find_hold(tx, id).await?.ok_or(EndError::Unknown { id })?;
    if !is_ended {
        return match hold.state {
            now if now == state => Ok(Posted::Already),
            HoldState::Open => Err(db::begin_again().into()), // an older snapshot than the row
            state => Err(EndError::Ended { id, state }),
        };
    }
    let posting = match state {
        HoldState::Released => Posting::release(id, hold.user, hold.credits),
        HoldState::Open | HoldState::Settled => Posting::settle(id, hold.user, hold.credits),
    };
    match ledger::post(tx, &posting, at).await? {
        Outcome::Posted => Ok(Posted::Now),
        Outcome::Already => Ok(Posted::Already),
        Outcome::Short => {
            let what = "less is held than an open hold says".to_owned();
            Err(db::Error::Corrupt { id, what }.into())
        }
    }
}
