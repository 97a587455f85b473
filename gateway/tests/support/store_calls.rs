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
            originals(job: Uuid) -> Vec<OriginalRow>;
            job_with_outputs(job: Uuid) -> Option<JobWithOutputs>;
            body(job: Uuid) -> Option<JobBody>;
            list(query: ListQuery) -> Listed;
            jobs_by_public_ids(tenant: u32, ids: Vec<String>) -> Vec<JobRow>;
            replay(tenant: u32, face: Face, key: String) -> Option<Replay>;
            asset(tenant: u32, id: Uuid) -> Option<AssetRow>;
            holds(tenant: u32, hash: String) -> bool;
            tenants() -> Vec<TenantRow>;
            keys() -> Vec<KeyRow>;
            missing(tenant: u32, references: Vec<Reference>, now: i64) -> Vec<String>;
            put_template(template: NewTemplate) -> PutTemplate;
            template(tenant: u32, name: String, version: Option<u32>) -> Option<TemplateRow>;
            templates(tenant: u32, after: String, limit: u32) -> Vec<TemplateRow>;
            template_names(tenant: u32, after: String, limit: u32) -> Vec<String>;
            template_versions(tenant: u32, name: String) -> Vec<TemplateVersion>;
            disable_template(tenant: u32, name: String, version: u32, at: Option<i64>) -> bool;
            delete_template(tenant: u32, name: String) -> bool;
            usage(query: UsageQuery) -> Vec<UsageRow>;
            change_people(change: PeopleChange) -> PeopleAnswer;
            audit(before: Option<i64>, limit: u32) -> Vec<AuditRow>;
            held_bytes(tenant: u32) -> u64;
            assets_of(tenant: u32, after: i64, limit: u32) -> Vec<(i64, AssetRow)>;
            erase(what: Erase) -> Erased;
            doomed(tenant: u32, limit: u32) -> Vec<(i64, StoredObject)>;
            bury(blobs: Vec<i64>) -> ();
            sweep(now: i64, limit: u32) -> Swept;
            cleared(residue: Vec<i64>) -> ();
            ping() -> ();
        }
    };
}
