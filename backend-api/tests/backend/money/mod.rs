//! Money: the ledger and orders on every kind of database, with a platform that does as it is told.

mod afterwards;
mod apple;
mod bills;
mod kills;
mod kit;
mod ledger;
pub mod market;
mod market_stories;
mod orders;
mod painter;
mod reconciliation;
mod refund_races;
mod refunds;
mod seals;
