//! The books prove themselves: sums over every row there is. A person's tool, never on a request's road.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

use crate::db::{Database, Error};

/// What the proof found. All counts are zero when the books are right.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audit {
    /// Sum of every account over all users, by unit and account.
    pub accounts: BTreeMap<(String, String), i64>,
    /// What does not hold: the rule's name and how many rows break it. Empty when the books are right.
    pub broken: BTreeMap<&'static str, i64>,
    /// Holds of pictures that are being made.
    pub open_holds: i64,
}

impl Audit {
    /// Whether every rule holds.
    pub fn balanced(&self) -> bool {
        self.broken.is_empty()
    }
}

/// Each rule counts the rows that break it.
const RULES: &[(&str, &str)] = &[
    (
        "posting_balances",
        "SELECT COUNT(*) AS n FROM (SELECT posting_id FROM ledger_entries GROUP BY posting_id, unit \
         HAVING SUM(amount) <> 0) AS unbalanced",
    ),
    (
        "balance_equals_entries",
        "SELECT COUNT(*) AS n FROM credit_balances b LEFT JOIN (SELECT user_id, \
         SUM(CASE WHEN account = 'available' THEN amount ELSE 0 END) AS available, \
         SUM(CASE WHEN account = 'held' THEN amount ELSE 0 END) AS held \
         FROM ledger_entries WHERE user_id IS NOT NULL GROUP BY user_id) e ON e.user_id = b.user_id \
         WHERE b.available <> COALESCE(e.available, 0) OR b.held <> COALESCE(e.held, 0)",
    ),
    (
        "entries_have_a_balance",
        "SELECT COUNT(*) AS n FROM ledger_entries e WHERE e.user_id IS NOT NULL AND NOT EXISTS \
         (SELECT 1 FROM credit_balances b WHERE b.user_id = e.user_id)",
    ),
    ("nobody_is_overdrawn", "SELECT COUNT(*) AS n FROM credit_balances WHERE available < 0 OR held < 0"),
    (
        "held_equals_open_holds",
        "SELECT COUNT(*) AS n FROM credit_balances b LEFT JOIN (SELECT user_id, SUM(credits) AS credits \
         FROM credit_holds WHERE state = 'open' GROUP BY user_id) h ON h.user_id = b.user_id \
         WHERE b.held <> COALESCE(h.credits, 0)",
    ),
    (
        "hold_is_posted",
        "SELECT COUNT(*) AS n FROM credit_holds h WHERE NOT EXISTS \
         (SELECT 1 FROM ledger_postings p WHERE p.subject = h.id AND p.kind = 'hold')",
    ),
    (
        "hold_ended_once",
        "SELECT COUNT(*) AS n FROM credit_holds h WHERE \
         (SELECT COUNT(*) FROM ledger_postings p WHERE p.subject = h.id AND p.kind = 'settle') \
         <> CASE WHEN h.state = 'settled' THEN 1 ELSE 0 END OR \
         (SELECT COUNT(*) FROM ledger_postings p WHERE p.subject = h.id AND p.kind = 'release') \
         <> CASE WHEN h.state = 'released' THEN 1 ELSE 0 END",
    ),
    (
        "paid_order_is_posted_once",
        "SELECT COUNT(*) AS n FROM orders o WHERE \
         (SELECT COUNT(*) FROM ledger_postings p WHERE p.subject = o.id AND p.kind = 'payment') \
         <> CASE WHEN o.state IN ('paid', 'fulfilled', 'refunding', 'refunded') THEN 1 ELSE 0 END",
    ),
    (
        "fulfilled_order_gave_its_credits_once",
        "SELECT COUNT(*) AS n FROM orders o WHERE o.credits > 0 AND o.state = 'fulfilled' AND \
         (SELECT COUNT(*) FROM ledger_postings p WHERE p.subject = o.id AND p.kind = 'purchase') <> 1",
    ),
    (
        "unpaid_order_gave_nothing",
        "SELECT COUNT(*) AS n FROM orders o WHERE o.state NOT IN ('paid', 'fulfilled', 'refunding', 'refunded') \
         AND EXISTS (SELECT 1 FROM ledger_postings p WHERE p.subject = o.id AND p.kind = 'purchase')",
    ),
    (
        "refund_is_posted_once",
        "SELECT COUNT(*) AS n FROM refunds r WHERE \
         (SELECT COUNT(*) FROM ledger_postings p WHERE p.subject = r.id AND p.kind = 'refund') \
         <> CASE WHEN r.state = 'succeeded' THEN 1 ELSE 0 END",
    ),
    (
        "refunds_stay_within_the_price",
        "SELECT COUNT(*) AS n FROM orders o WHERE o.price_fen < \
         (SELECT COALESCE(SUM(r.amount_fen), 0) FROM refunds r WHERE r.order_id = o.id AND r.state <> 'failed')",
    ),
    (
        "refunded_order_gave_all_back",
        "SELECT COUNT(*) AS n FROM orders o WHERE o.state = 'refunded' AND o.price_fen <> \
         (SELECT COALESCE(SUM(r.amount_fen), 0) FROM refunds r WHERE r.order_id = o.id AND r.state = 'succeeded')",
    ),
];

impl Database {
    /// Reads the whole ledger and checks every rule.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit(&self) -> Result<Audit, Error> {
        let mut audit = Audit { accounts: self.account_sums().await?, ..Audit::default() };
        for &(rule, query) in RULES {
            let count = self.count(query).await?;
            if count != 0 {
                audit.broken.insert(rule, count);
            }
        }
        audit.open_holds = self.count("SELECT COUNT(*) AS n FROM credit_holds WHERE state = 'open'").await?;
        Ok(audit)
    }

    async fn account_sums(&self) -> Result<BTreeMap<(String, String), i64>, Error> {
        // A sum of 64-bit numbers is a decimal on two of the three engines.
        let whole = match self.connection.get_database_backend() {
            DbBackend::MySql => "SIGNED",
            _ => "BIGINT",
        };
        let query = format!(
            "SELECT unit, account, CAST(SUM(amount) AS {whole}) AS total FROM ledger_entries GROUP BY unit, account"
        );
        let statement = Statement::from_string(self.connection.get_database_backend(), query);
        let rows = self.connection.query_all_raw(statement).await?;
        rows.into_iter()
            .map(|row| {
                Ok(((row.try_get("", "unit")?, row.try_get("", "account")?), row.try_get("", "total")?))
            })
            .collect()
    }

    async fn count(&self, query: &str) -> Result<i64, Error> {
        let statement = Statement::from_string(self.connection.get_database_backend(), query);
        let row = self.connection.query_one_raw(statement).await?;
        Ok(row.map_or(Ok(0), |row| row.try_get("", "n"))?)
    }
}
