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

macro_rules! store_calls {
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
    store_calls! {
        latest_time() -> i64;
        open_jobs() -> Vec<OpenJob>;
        learned() -> Vec<scheduler::Learned>;
        instances() -> Vec<KnownInstance>;
        catalogue(hash: String) -> Option<String>;
        job_by_public_id(tenant: u32, id: String) -> Option<JobRow>;
        job(job: Uuid) -> Option<JobRow>;
        outputs(job: Uuid) -> Vec<OutputRow>;
        job_with_outputs(job: Uuid) -> Option<JobWithOutputs>;
        body(job: Uuid) -> Option<JobBody>;
        list(query: ListQuery) -> Vec<JobRow>;
        replay(tenant: u32, face: Face, key: String) -> Option<Replay>;
        asset(tenant: u32, id: Uuid) -> Option<AssetRow>;
        holds(tenant: u32, hash: String) -> bool;
        tenants() -> Vec<TenantRow>;
        keys() -> Vec<KeyRow>;
        put_key(key: NewKey) -> KeyRow;
        revoke_key(id: String, at: i64) -> bool;
        sweep(now: i64, limit: u32) -> Swept;
        ping() -> ();
    }
}
