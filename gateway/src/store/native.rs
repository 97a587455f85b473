//! What ComfyUI's own API asks of a store beside what every face asks.

use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::{
    AssetRow, HistoryPage, NativeJob, NewUserFile, OpenNative, Result, UserFile, UserFileBytes,
    UserFileChange,
};

/// Queue, history and files of ComfyUI's own API.
pub trait NativeStore: Send + Sync {
    /// Every job of that face that has not ended, in the order of acceptance.
    fn native_open(&self) -> BoxFuture<'_, Result<Vec<OpenNative>>>;

    /// Jobs of a tenant that have not ended, in the order of acceptance: at most `limit`.
    fn native_queue(&self, tenant: u32, limit: u32) -> BoxFuture<'_, Result<Vec<NativeJob>>>;

    /// Ended jobs of a tenant in the order of their ends, oldest first; not those that never ran and were canceled, and
    /// not those that the caller took out.
    fn native_history(&self, tenant: u32, page: HistoryPage) -> BoxFuture<'_, Result<Vec<NativeJob>>>;

    /// A job by the caller's own id: the newest one where an id was used again.
    fn native_job(&self, tenant: u32, prompt_id: String) -> BoxFuture<'_, Result<Option<NativeJob>>>;

    /// A job by its internal id.
    fn native_job_by_id(&self, job: Uuid) -> BoxFuture<'_, Result<Option<NativeJob>>>;

    /// Takes ended jobs out of a tenant's history: these, or all.
    fn native_hide(&self, tenant: u32, prompt_ids: Option<Vec<String>>) -> BoxFuture<'_, Result<()>>;

    /// A tenant's newest output of this name.
    fn output_by_name(&self, tenant: u32, name: String) -> BoxFuture<'_, Result<Option<AssetRow>>>;

    /// A tenant's newest upload of this name.
    fn upload_by_name(&self, tenant: u32, name: String) -> BoxFuture<'_, Result<Option<AssetRow>>>;

    /// Names of a tenant's newest uploads, each once: at most `limit`.
    fn upload_names(&self, tenant: u32, limit: u32) -> BoxFuture<'_, Result<Vec<String>>>;

    /// What a tenant keeps under a folder (empty: all), by path: at most `limit`.
    fn user_files(&self, tenant: u32, folder: String, limit: u32) -> BoxFuture<'_, Result<Vec<UserFile>>>;

    /// The bytes of such a file.
    fn user_file(&self, tenant: u32, path: String) -> BoxFuture<'_, Result<Option<UserFileBytes>>>;

    /// Keeps a file.
    fn put_user_file(&self, file: NewUserFile) -> BoxFuture<'_, Result<UserFileChange>>;

    /// Forgets a file; `false` when there is none.
    fn delete_user_file(&self, tenant: u32, path: String) -> BoxFuture<'_, Result<bool>>;

    /// Gives a file another path.
    fn move_user_file(
        &self,
        tenant: u32,
        from: String,
        to: String,
        overwrite: bool,
    ) -> BoxFuture<'_, Result<UserFileChange>>;
}
