//! The real store on a paused clock: its threads work while tokio believes that everybody is idle and would let time
//! go on. Waited for by a blocking task, they count as work.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use gateway::store::sqlite::SqliteStore;
use gateway::store::*;
use tokio::runtime::Handle;
use uuid::Uuid;

pub struct Awaited(pub Arc<SqliteStore>);

/// Time stands still until `call` has its answer.
async fn awaited<T: Send + 'static>(call: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(call)).await.unwrap()
}

struct AwaitedTurn(Option<Box<dyn Turn>>);

macro_rules! turn_calls {
    ($($name:ident($arg:ident: $type:ty) -> $out:ty;)*) => {
        $(fn $name(&mut self, $arg: $type) -> BoxFuture<'_, Result<$out>> {
            async move {
                let mut turn = self.0.take().expect("one call at a time");
                let (turn, answer) = awaited(async move {
                    let answer = turn.$name($arg).await;
                    (turn, answer)
                })
                .await;
                self.0 = Some(turn);
                answer
            }
            .boxed()
        })*
    };
}

impl Turn for AwaitedTurn {
    turn_calls! {
        insert(submissions: Vec<NewJob>) -> Vec<Inserted>;
        write(records: Vec<JobRecord>) -> ();
        assets(calls: Vec<AssetCall>) -> Vec<AssetAnswer>;
        remember(facts: Vec<FleetFact>) -> ();
    }
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        awaited(self.0.expect("one call at a time").commit()).boxed()
    }
}

macro_rules! awaiting {
    ($($name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        $(fn $name(&self, $($arg: $type),*) -> BoxFuture<'_, Result<$out>> {
            let store = self.0.clone();
            awaited(async move { store.$name($($arg),*).await }).boxed()
        })*
    };
}

impl Store for Awaited {
    fn cell(&self) -> Uuid {
        self.0.cell()
    }
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Turn>>> {
        let store = self.0.clone();
        async move {
            let turn = awaited(async move { store.begin().await }).await?;
            Ok(Box::new(AwaitedTurn(Some(turn))) as Box<dyn Turn>)
        }
        .boxed()
    }
    fn outbox(&self) -> &dyn Outbox {
        self.0.outbox()
    }
    fn native(&self) -> &dyn NativeStore {
        self.0.native()
    }
    store_calls!(awaiting);
}
