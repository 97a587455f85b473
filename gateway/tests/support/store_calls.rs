//! The calls of a store that stand alone, for stores in tests that put something around each of them.

/// Hands the signatures to `$with`, which says what to put around.
macro_rules! store_calls {
    ($with:ident) => {
        $with! {
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
            change_people(change: PeopleChange) -> PeopleAnswer;
            audit(before: Option<i64>, limit: u32) -> Vec<AuditRow>;
            held_bytes(tenant: u32) -> u64;
            assets_of(tenant: u32, after: i64, limit: u32) -> Vec<(i64, AssetRow)>;
            erase(what: Erase) -> Erased;
            doomed(tenant: u32, limit: u32) -> Vec<(i64, String)>;
            bury(blobs: Vec<i64>) -> ();
            sweep(now: i64, limit: u32) -> Swept;
            ping() -> ();
        }
    };
}
