//! Two refunds of one order on two replicas. SQLite has one writer at a time, so the servers alone can show it.

use std::time::Duration;

use backend_api::domain::money::{Fen, RefundState};
use backend_api::money::RequestError;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement, TransactionTrait as _};
use tokio::time::{Instant, sleep};

use super::kit::{PRICE, till, user};
use super::refunds::{part, part_word};
use crate::engines::Engine;

#[tokio::test]
async fn a_part_that_ended_meanwhile_counts_on_mariadb() {
    a_part_that_ended_meanwhile_counts(Engine::MariaDb).await;
}

#[tokio::test]
async fn a_part_that_ended_meanwhile_counts_on_postgresql() {
    a_part_that_ended_meanwhile_counts(Engine::PostgreSql).await;
}

async fn a_part_that_ended_meanwhile_counts(engine: Engine) {
    let till = till(engine).await;
    let order = till.paid_lesson(user()).await;
    let first = till.orders.refund(&part(&order, "first", PRICE - 100)).await.unwrap();
    till.orders.refund_told(first.id, part_word(RefundState::Succeeded, PRICE - 100)).await.unwrap();

    // As if another replica were just taking down that it succeeded.
    till.execute("UPDATE refunds SET state = 'failed'").await;
    let replica = till.beside().await.begin().await.unwrap();
    replica.execute_unprepared("UPDATE orders SET tries = tries").await.unwrap();
    replica.execute_unprepared("UPDATE refunds SET state = 'succeeded'").await.unwrap();
    let (orders, wish) = (till.orders.clone(), part(&order, "second", 300));
    let second = tokio::spawn(async move { orders.refund(&wish).await });
    somebody_waits(&till.beside().await).await;
    replica.commit().await.unwrap();

    let second = second.await.unwrap();
    let left = Fen::new(100).unwrap();
    assert!(matches!(second, Err(RequestError::TooLarge { left: found }) if found == left), "{second:?}");
    assert_eq!(till.database.refunds_of(order.id).await.unwrap().len(), 1);
    till.audit().await;
}

/// Returns when a transaction in this database waits for another.
async fn somebody_waits(beside: &DatabaseConnection) {
    let query = match beside.get_database_backend() {
        DbBackend::MySql => {
            "SELECT COUNT(*) AS count FROM information_schema.innodb_trx AS trx \
             JOIN information_schema.processlist AS process ON process.id = trx.trx_mysql_thread_id \
             WHERE process.db = DATABASE() AND trx.trx_state = 'LOCK WAIT'"
        }
        _ => {
            "SELECT COUNT(*) AS count FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = 'Lock'"
        }
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let statement = Statement::from_string(beside.get_database_backend(), query);
        let row = beside.query_one_raw(statement).await.unwrap().unwrap();
        if row.try_get::<i64>("", "count").unwrap() > 0 {
            return;
        }
        assert!(Instant::now() < deadline, "nobody waits");
        sleep(Duration::from_millis(10)).await;
    }
}
