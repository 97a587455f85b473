//! The store, in domain words: one trait that every database adapter fills (DESIGN §8). Rows stay inside adapters.
//!
//! A *turn* is one transaction: submissions are inserted first, the scheduler decides about those that are new, and
//! its records are written before the commit (DESIGN §4.3). Reads go beside it and see committed data only.
//! All times are milliseconds since the epoch.

pub mod native;
pub mod outbox;
pub mod sqlite;
pub mod types;

use futures_util::future::BoxFuture;
use uuid::Uuid;

pub use native::NativeStore;
pub use outbox::{Bells, Outbox};
pub use types::*;

/// A store call failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer, is full or refuses to write. Nothing of the call is in it, or all of it is:
    /// whoever asked must read again.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// What was read does not make sense: another program wrote it, or a newer version of this one.
    #[error("store damaged: {0}")]
    Damaged(String),
}

/// The result of a store call.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// One open transaction of the single writer. Dropping it without [`Turn::commit`] rolls it back. Calls without an
/// answer of their own may be under way when they return: that they failed is told by the commit, and after any
/// failure nothing of the turn is kept.
pub trait Turn: Send {
    /// Inserts new jobs with their bodies, keys and pins. One answer a submission, in order.
    fn insert(&mut self, submissions: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>>>;
    /// Writes what the scheduler decided, in order.
    fn write(&mut self, records: Vec<JobRecord>) -> BoxFuture<'_, Result<()>>;
    /// Asset calls of this turn, in order; one answer each.
    fn assets(&mut self, calls: Vec<AssetCall>) -> BoxFuture<'_, Result<Vec<AssetAnswer>>>;
    /// Remembers instances and their catalogues.
    fn remember(&mut self, facts: Vec<FleetFact>) -> BoxFuture<'_, Result<()>>;
    /// Makes all of it durable.
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<()>>;
}

/// A durable home for jobs, assets and what the fleet taught us.
pub trait Store: Send + Sync + 'static {
    /// The random id of this installation, minted when the store was made.
    fn cell(&self) -> Uuid;

    /// Begins a turn. There is one writer: a second turn waits for the first.
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Turn>>>;

    /// The highest time found anywhere in the store (DESIGN §4.17).
    fn latest_time(&self) -> BoxFuture<'_, Result<i64>>;

    /// All open jobs in the order of acceptance, handed over in batches.
    fn open_jobs(&self) -> BoxFuture<'_, Result<Vec<OpenJob>>>;

    /// All learned costs.
    fn learned(&self) -> BoxFuture<'_, Result<Vec<scheduler::Learned>>>;

    /// All remembered instances, with the hash of their catalogue.
    fn instances(&self) -> BoxFuture<'_, Result<Vec<KnownInstance>>>;

    /// The body of a catalogue (`/object_info` as received).
    fn catalogue(&self, hash: String) -> BoxFuture<'_, Result<Option<String>>>;

    /// A job by its public id; the newest one where an id was reused. A job past its retention reads as
    /// [`StoredState::Expired`] without error, labels, body and outputs until it is forgotten (DESIGN §13).
    fn job_by_public_id(&self, tenant: u32, id: String) -> BoxFuture<'_, Result<Option<JobRow>>>;

    /// A job by its internal id.
    fn job(&self, job: Uuid) -> BoxFuture<'_, Result<Option<JobRow>>>;

    /// The outputs of a job, in server order.
    fn outputs(&self, job: Uuid) -> BoxFuture<'_, Result<Vec<OutputRow>>>;

    /// Originals of a job that another file stands for, those included that nothing is shown of any more.
    fn originals(&self, job: Uuid) -> BoxFuture<'_, Result<Vec<OriginalRow>>>;

    /// A job by its internal id with its outputs, none before its end: one look at the store.
    fn job_with_outputs(&self, job: Uuid) -> BoxFuture<'_, Result<Option<JobWithOutputs>>>;

    /// What was submitted, for dispatch and for `GET …/workflow`.
    fn body(&self, job: Uuid) -> BoxFuture<'_, Result<Option<JobBody>>>;

    /// Jobs of a tenant, newest first.
    fn list(&self, query: ListQuery) -> BoxFuture<'_, Result<Listed>>;

    /// The jobs of these public ids, in no order; unknown ids have none.
    fn jobs_by_public_ids(&self, tenant: u32, ids: Vec<String>) -> BoxFuture<'_, Result<Vec<JobRow>>>;

    /// The job and the stored first answer under an idempotency key of a face, if the key is alive.
    fn replay(&self, tenant: u32, face: Face, key: String) -> BoxFuture<'_, Result<Option<Replay>>>;

    /// An asset record or an output by its id, unless it is past its time (as of the latest time told to the store).
    fn asset(&self, tenant: u32, id: Uuid) -> BoxFuture<'_, Result<Option<AssetRow>>>;

    /// Whether the tenant holds the bytes of this hash (BLAKE3, lower-case hex): in a record that has not expired or an
    /// output of a retained job. Promises some minutes in which [`AssetCall::FromHash`] succeeds. May wait for the
    /// open turn.
    fn holds(&self, tenant: u32, hash: String) -> BoxFuture<'_, Result<bool>>;

    /// All tenants.
    fn tenants(&self) -> BoxFuture<'_, Result<Vec<TenantRow>>>;

    /// All keys, revoked ones included.
    fn keys(&self) -> BoxFuture<'_, Result<Vec<KeyRow>>>;

    /// Changes tenants or keys, and writes the line of the audit log in the same transaction. Outside any turn, for
    /// which it waits. Tenants made here count from 1.
    fn change_people(&self, change: PeopleChange) -> BoxFuture<'_, Result<PeopleAnswer>>;

    /// The audit log, newest first: at most `limit` lines before `before` (exclusive; `None`: from the newest).
    fn audit(&self, before: Option<i64>, limit: u32) -> BoxFuture<'_, Result<Vec<AuditRow>>>;

    /// Bytes of all files of a tenant in stores of the gateway's: uploads, originals and deliverables, each once.
    fn held_bytes(&self, tenant: u32) -> BoxFuture<'_, Result<u64>>;

    /// Uploads of a tenant in the order in which they came, with their row numbers: at most `limit` after one.
    fn assets_of(&self, tenant: u32, after: i64, limit: u32) -> BoxFuture<'_, Result<Vec<(i64, AssetRow)>>>;

    /// Deletes a part of what a tenant has, or of what was done for one person: ended jobs with outputs, keys, events and
    /// deliveries; uploads and templates (of the tenant as a whole only); receivers that nothing leads to any more.
    /// Usage stays and names no person. Bytes are marked, see [`Store::doomed`]. Open jobs stay and are told.
    fn erase(&self, what: Erase) -> BoxFuture<'_, Result<Erased>>;

    /// Files of a tenant that nothing holds any more: at most `limit` row numbers and objects.
    fn doomed(&self, tenant: u32, limit: u32) -> BoxFuture<'_, Result<Vec<(i64, StoredObject)>>>;

    /// Forgets files whose bytes are gone, unless something holds them again.
    fn bury(&self, blobs: Vec<i64>) -> BoxFuture<'_, Result<()>>;

    /// What of these references leads nowhere, as it is written: what a submission would be refused for.
    fn missing(
        &self,
        tenant: u32,
        references: Vec<Reference>,
        now: i64,
    ) -> BoxFuture<'_, Result<Vec<String>>>;

    /// Keeps a version of a template. Outside any turn, for which it waits.
    fn put_template(&self, template: NewTemplate) -> BoxFuture<'_, Result<PutTemplate>>;

    /// A version of a template that the tenant may use, its own before everybody's; without a version the newest one
    /// that is enabled.
    fn template(
        &self,
        tenant: u32,
        name: String,
        version: Option<u32>,
    ) -> BoxFuture<'_, Result<Option<TemplateRow>>>;

    /// The newest enabled version of each template that the tenant may use, by name, after this name.
    fn templates(&self, tenant: u32, after: String, limit: u32) -> BoxFuture<'_, Result<Vec<TemplateRow>>>;

    /// Names of a tenant's own templates, enabled or not, in order after this one.
    fn template_names(&self, tenant: u32, after: String, limit: u32) -> BoxFuture<'_, Result<Vec<String>>>;

    /// All versions of one owner's template, newest first.
    fn template_versions(&self, tenant: u32, name: String) -> BoxFuture<'_, Result<Vec<TemplateVersion>>>;

    /// Disables one owner's version, or enables it again (`None`); `false` when there is none.
    fn disable_template(
        &self,
        tenant: u32,
        name: String,
        version: u32,
        at: Option<i64>,
    ) -> BoxFuture<'_, Result<bool>>;

    /// Forgets all versions of one owner's template; `false` when there was none.
    fn delete_template(&self, tenant: u32, name: String) -> BoxFuture<'_, Result<bool>>;

    /// Usage of a tenant by day, class and so on, one row for each key and class of devices, by key.
    fn usage(&self, query: UsageQuery) -> BoxFuture<'_, Result<Vec<UsageRow>>>;

    /// Housekeeping: forgets what is past its time and returns the bytes that may go now. They come again after some
    /// minutes unless they are told to be gone.
    fn sweep(&self, now: i64, limit: u32) -> BoxFuture<'_, Result<Swept>>;

    /// These rows of [`Swept::residue`] are removed from the stores.
    fn cleared(&self, residue: Vec<i64>) -> BoxFuture<'_, Result<()>>;

    /// Events of jobs, and their way to receivers.
    fn outbox(&self) -> &dyn Outbox;

    /// What ComfyUI's own API asks for.
    fn native(&self) -> &dyn NativeStore;

    /// Cheap check that the store can be written, for `/readyz`.
    fn ping(&self) -> BoxFuture<'_, Result<()>>;
}
