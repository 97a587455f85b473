//! The SQLite adapter: one file, one writer thread, a few reader threads (DESIGN §8).
//!
//! A turn is one transaction and its commit one sync of the write-ahead log. A file belongs to one gateway, which
//! holds a lock beside it; the command line may write keys meanwhile through [`SqliteStore::open_shared`].
//! No clock is read in here: what is past its time is judged by the latest time that callers told.

mod assets;
mod audit;
mod blobs;
mod codec;
mod erase;
mod error;
mod events;
mod fleet;
mod insert;
mod lists;
mod naming;
mod native;
mod native_calls;
mod open;
mod outbox;
mod outbox_calls;
mod outputs;
mod people;
mod reader;
mod reads;
mod records;
mod residue;
mod roles;
mod schema;
mod sweep;
mod templates;
mod tenants;
mod turn;
mod usage;
mod userdata;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use uuid::Uuid;

use self::error::StoreFault;
use self::reader::Readers;
use self::turn::SqliteTurn;
use self::writer::{SeenTime, Writer, WriterHandle};
use super::{
    AssetRow, AuditRow, Bells, Erase, Erased, Face, JobBody, JobRow, JobWithOutputs, KeyRow, KnownInstance,
    ListQuery, Listed, NativeStore, NewTemplate, OpenJob, OriginalRow, Outbox, OutputRow, PeopleAnswer,
    PeopleChange, PutTemplate, Reference, Replay, Result, Store, StoreError, StoredObject, Swept,
    TemplateRow, TemplateVersion, TenantRow, Turn, UsageQuery, UsageRow,
};

/// How long bytes stay mintable after somebody asked whether they are held.
const PROMISE_FOR_MS: i64 = 15 * 60 * 1000;

/// How a store is opened; the default suits a gateway.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cell id of a new store; `None`: a random one. An existing store keeps its own.
    pub cell: Option<Uuid>,
    /// Reader threads, at least 1.
    pub readers: usize,
    /// Upper bound of the file in pages of 4 KiB; `None`: the disk's.
    pub max_pages: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self { cell: None, readers: 3, max_pages: None }
    }
}

/// A store in one SQLite file.
pub struct SqliteStore {
    cell: Uuid,
    /// The right to write: a turn holds it, and so does each write outside turns. First come, first served.
    right: Arc<Mutex<()>>,
    writer: WriterHandle,
    readers: Readers,
    seen: SeenTime,
    /// Rung by the writer after each commit with events.
    bells: Arc<Bells>,
    /// Held while the store is open.
    _lock: Option<File>,
    /// A store that lives only as long as this value.
    _temporary: Option<TemporaryFolder>,
}

impl SqliteStore {
    /// Opens the store of a gateway, making it where there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when another gateway serves it or the file cannot be written,
    /// [`StoreError::Damaged`] when it is not a store or one of a newer version.
    pub fn open(path: impl AsRef<Path>) -> Result<Arc<Self>> {
        Self::open_with(path, &Options::default())
    }

    /// [`SqliteStore::open`] with other than the default options.
    ///
    /// # Errors
    /// See [`SqliteStore::open`].
    pub fn open_with(path: impl AsRef<Path>, options: &Options) -> Result<Arc<Self>> {
        let path = path.as_ref();
        open::assert_library()?;
        open::prepare_file(path)?;
        let lock = open::lock(path)?;
        let mut connection = open::writer(path, options.max_pages)?;
        schema::migrate(&mut connection, options.cell)?;
        Self::start(path, connection, options, Some(lock), None).map(Arc::new)
    }

    /// Opens the store beside a gateway that may be serving it, for short work on keys.
    ///
    /// # Errors
    /// See [`SqliteStore::open`]; [`StoreError::Unavailable`] when the gateway that serves it is of an older version.
    pub fn open_shared(path: impl AsRef<Path>) -> Result<Arc<Self>> {
        let path = path.as_ref();
        let options = Options { readers: 1, ..Options::default() };
        open::assert_library()?;
        open::prepare_file(path)?;
        let lock = open::try_lock(path)?;
        let mut connection = open::writer(path, None)?;
        if lock.is_some() {
            schema::migrate(&mut connection, None)?;
        } else if schema::check(&connection)? != schema::version() {
            return Err(StoreError::Unavailable(
                "an older gateway serves this store; stop it before changing anything with this version"
                    .into(),
            ));
        }
        Self::start(path, connection, &options, None, None).map(Arc::new)
    }

    /// A store that is gone with the returned value, for tests and trials.
    ///
    /// # Errors
    /// See [`SqliteStore::open`].
    pub fn temporary() -> Result<Arc<Self>> {
        let folder = TemporaryFolder(std::env::temp_dir().join(format!("darkroom-{}", Uuid::new_v4())));
        let path = folder.0.join("store.db");
        let options = Options::default();
        open::assert_library()?;
        open::prepare_file(&path)?;
        let mut connection = open::writer(&path, None)?;
        schema::migrate(&mut connection, None)?;
        Self::start(&path, connection, &options, None, Some(folder)).map(Arc::new)
    }

    fn start(
        path: &Path,
        connection: rusqlite::Connection,
        options: &Options,
        lock: Option<File>,
        temporary: Option<TemporaryFolder>,
    ) -> Result<Self> {
        let cell = schema::cell(&connection)?;
        let seen = Arc::new(AtomicI64::new(reads::latest_time(&connection)?));
        let readers = Readers::start(path, options.readers)?;
        let bells = Arc::new(Bells::default());
        let writer = WriterHandle::start(connection, Arc::clone(&seen), Arc::clone(&bells))?;
        let right = Arc::new(Mutex::new(()));
        Ok(Self { cell, right, writer, readers, seen, bells, _lock: lock, _temporary: temporary })
    }

    /// A transaction of its own; waits for the open turn.
    async fn alone<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let _right = self.right.lock().await;
        self.writer.call(move |writer| writer.alone(work)).await
    }

    fn now(&self) -> i64 {
        self.seen.load(Ordering::Relaxed)
    }
}

impl Store for SqliteStore {
    fn cell(&self) -> Uuid {
        self.cell
    }

    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Turn>>> {
        Box::pin(async move {
            let right = Arc::clone(&self.right).lock_owned().await;
            Ok(Box::new(SqliteTurn::new(self.writer.clone(), right)) as Box<dyn Turn>)
        })
    }

    fn latest_time(&self) -> BoxFuture<'_, Result<i64>> {
        Box::pin(self.readers.call(reads::latest_time))
    }

    fn open_jobs(&self) -> BoxFuture<'_, Result<Vec<OpenJob>>> {
        Box::pin(self.readers.call(reads::open_jobs))
    }

    fn learned(&self) -> BoxFuture<'_, Result<Vec<scheduler::Learned>>> {
        Box::pin(self.readers.call(fleet::learned))
    }

    fn instances(&self) -> BoxFuture<'_, Result<Vec<KnownInstance>>> {
        Box::pin(self.readers.call(fleet::instances))
    }

    fn catalogue(&self, hash: String) -> BoxFuture<'_, Result<Option<String>>> {
        Box::pin(self.readers.call(move |connection| fleet::catalogue(connection, &hash)))
    }

    fn job_by_public_id(&self, tenant: u32, id: String) -> BoxFuture<'_, Result<Option<JobRow>>> {
        Box::pin(self.readers.call(move |connection| reads::job_by_public_id(connection, tenant, &id)))
    }

    fn job(&self, job: Uuid) -> BoxFuture<'_, Result<Option<JobRow>>> {
        Box::pin(self.readers.call(move |connection| reads::job(connection, job)))
    }

    fn outputs(&self, job: Uuid) -> BoxFuture<'_, Result<Vec<OutputRow>>> {
        Box::pin(self.readers.call(move |connection| outputs::of_job(connection, job)))
    }

    fn originals(&self, job: Uuid) -> BoxFuture<'_, Result<Vec<OriginalRow>>> {
        Box::pin(self.readers.call(move |connection| roles::originals(connection, job)))
    }

    fn job_with_outputs(&self, job: Uuid) -> BoxFuture<'_, Result<Option<JobWithOutputs>>> {
        Box::pin(self.readers.call(move |connection| reads::job_with_outputs(connection, job)))
    }

    fn body(&self, job: Uuid) -> BoxFuture<'_, Result<Option<JobBody>>> {
        Box::pin(self.readers.call(move |connection| reads::body(connection, job)))
    }

    fn list(&self, query: ListQuery) -> BoxFuture<'_, Result<Listed>> {
        Box::pin(self.readers.call(move |connection| lists::list(connection, &query)))
    }

    fn jobs_by_public_ids(&self, tenant: u32, ids: Vec<String>) -> BoxFuture<'_, Result<Vec<JobRow>>> {
        Box::pin(self.readers.call(move |connection| reads::jobs_by_public_ids(connection, tenant, &ids)))
    }

    fn replay(&self, tenant: u32, face: Face, key: String) -> BoxFuture<'_, Result<Option<Replay>>> {
        let now = self.now();
        Box::pin(self.readers.call(move |connection| reads::replay(connection, tenant, face, &key, now)))
    }

    fn asset(&self, tenant: u32, id: Uuid) -> BoxFuture<'_, Result<Option<AssetRow>>> {
        let now = self.now();
        Box::pin(async move {
            let row = self.readers.call(move |connection| assets::read(connection, tenant, id)).await?;
            Ok(row.filter(|row| row.expires_at.is_none_or(|expires_at| expires_at > now)))
        })
    }

    fn holds(&self, tenant: u32, hash: String) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async move {
            let now = self.now();
            let until = now.saturating_add(PROMISE_FOR_MS);
            let asked = hash.clone();
            let read =
                move |connection: &rusqlite::Connection| blobs::mintable(connection, tenant, &asked, now);
            match self.readers.call(read).await? {
                None => Ok(false),
                Some((_, safe_until)) if safe_until > until => Ok(true),
                Some(_) => self.alone(move |writer| promise(writer, tenant, &hash, until)).await,
            }
        })
    }

    fn tenants(&self) -> BoxFuture<'_, Result<Vec<TenantRow>>> {
        Box::pin(self.readers.call(tenants::tenants))
    }

    fn keys(&self) -> BoxFuture<'_, Result<Vec<KeyRow>>> {
        Box::pin(self.readers.call(tenants::keys))
    }

    fn change_people(&self, change: PeopleChange) -> BoxFuture<'_, Result<PeopleAnswer>> {
        Box::pin(self.alone(move |writer| people::change(&writer.connection, change)))
    }

    fn audit(&self, before: Option<i64>, limit: u32) -> BoxFuture<'_, Result<Vec<AuditRow>>> {
        Box::pin(self.readers.call(move |connection| audit::read(connection, before, limit)))
    }

    fn held_bytes(&self, tenant: u32) -> BoxFuture<'_, Result<u64>> {
        Box::pin(self.readers.call(move |connection| tenants::held_bytes(connection, tenant)))
    }

    fn assets_of(&self, tenant: u32, after: i64, limit: u32) -> BoxFuture<'_, Result<Vec<(i64, AssetRow)>>> {
        Box::pin(self.readers.call(move |connection| assets::of_tenant(connection, tenant, after, limit)))
    }

    fn erase(&self, what: Erase) -> BoxFuture<'_, Result<Erased>> {
        Box::pin(self.alone(move |writer| erase::erase(writer, &what)))
    }

    fn doomed(&self, tenant: u32, limit: u32) -> BoxFuture<'_, Result<Vec<(i64, StoredObject)>>> {
        Box::pin(self.readers.call(move |connection| erase::doomed(connection, tenant, limit)))
    }

    fn bury(&self, blobs: Vec<i64>) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.alone(move |writer| erase::bury(&writer.connection, &blobs)))
    }

    fn missing(
        &self,
        tenant: u32,
        references: Vec<Reference>,
        now: i64,
    ) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(self.readers.call(move |connection| insert::missing(connection, tenant, &references, now)))
    }

    fn put_template(&self, template: NewTemplate) -> BoxFuture<'_, Result<PutTemplate>> {
        Box::pin(self.alone(move |writer| templates::put(&writer.connection, &template)))
    }

    fn template(
        &self,
        tenant: u32,
        name: String,
        version: Option<u32>,
    ) -> BoxFuture<'_, Result<Option<TemplateRow>>> {
        Box::pin(self.readers.call(move |connection| templates::get(connection, tenant, &name, version)))
    }

    fn templates(&self, tenant: u32, after: String, limit: u32) -> BoxFuture<'_, Result<Vec<TemplateRow>>> {
        Box::pin(self.readers.call(move |connection| templates::list(connection, tenant, &after, limit)))
    }

    fn template_names(&self, tenant: u32, after: String, limit: u32) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(self.readers.call(move |connection| templates::names_of(connection, tenant, &after, limit)))
    }

    fn template_versions(&self, tenant: u32, name: String) -> BoxFuture<'_, Result<Vec<TemplateVersion>>> {
        Box::pin(self.readers.call(move |connection| templates::versions(connection, tenant, &name)))
    }

    fn disable_template(
        &self,
        tenant: u32,
        name: String,
        version: u32,
        at: Option<i64>,
    ) -> BoxFuture<'_, Result<bool>> {
        Box::pin(
            self.alone(move |writer| templates::set_disabled(&writer.connection, tenant, &name, version, at)),
        )
    }

    fn delete_template(&self, tenant: u32, name: String) -> BoxFuture<'_, Result<bool>> {
        Box::pin(self.alone(move |writer| templates::delete(&writer.connection, tenant, &name)))
    }

    fn usage(&self, query: UsageQuery) -> BoxFuture<'_, Result<Vec<UsageRow>>> {
        Box::pin(self.readers.call(move |connection| usage::read(connection, &query)))
    }

    fn sweep(&self, now: i64, limit: u32) -> BoxFuture<'_, Result<Swept>> {
        Box::pin(self.alone(move |writer| sweep::sweep(writer, now, limit)))
    }

    fn cleared(&self, residue: Vec<i64>) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.alone(move |writer| residue::cleared(&writer.connection, &residue)))
    }

    fn outbox(&self) -> &dyn Outbox {
        self
    }

    fn native(&self) -> &dyn NativeStore {
        self
    }

    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let _right = self.right.lock().await;
            self.writer.call(ping).await
        })
    }
}

/// Asked again where it cannot change any more, then written.
fn promise(writer: &mut Writer, tenant: u32, hash: &str, until: i64) -> Result<bool> {
    let now = writer.now();
    let Some((blob, _)) = blobs::mintable(&writer.connection, tenant, hash, now)? else { return Ok(false) };
    blobs::promise(&writer.connection, blob, until)?;
    Ok(true)
}

/// Writes and takes it back: no sync, yet a read-only or locked file is found out.
fn ping(writer: &mut Writer) -> Result<()> {
    writer.rollback();
    let written = writer.in_turn(|writer| {
        writer
            .connection
            .execute("UPDATE meta SET value = value WHERE name = 'latest_time'", [])
            .or_fault()
            .map(drop)
    });
    writer.rollback();
    written
}

/// A folder that is removed with its value.
struct TemporaryFolder(PathBuf);

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // What cannot be removed stays in the system's temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
