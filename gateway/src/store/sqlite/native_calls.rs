//! [`NativeStore`] over the reader threads and the writer.

use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::{SqliteStore, native, userdata};
use crate::store::{
    AssetRow, HistoryPage, NativeJob, NativeStore, NewUserFile, OpenNative, Result, UserFile, UserFileBytes,
    UserFileChange,
};

impl NativeStore for SqliteStore {
    fn native_open(&self) -> BoxFuture<'_, Result<Vec<OpenNative>>> {
        Box::pin(self.readers.call(native::open))
    }

    fn native_queue(&self, tenant: u32, limit: u32) -> BoxFuture<'_, Result<Vec<NativeJob>>> {
        Box::pin(self.readers.call(move |connection| native::queue(connection, tenant, limit)))
    }

    fn native_history(&self, tenant: u32, page: HistoryPage) -> BoxFuture<'_, Result<Vec<NativeJob>>> {
        Box::pin(self.readers.call(move |connection| native::history(connection, tenant, page)))
    }

    fn native_job(&self, tenant: u32, prompt_id: String) -> BoxFuture<'_, Result<Option<NativeJob>>> {
        Box::pin(self.readers.call(move |connection| native::by_prompt_id(connection, tenant, &prompt_id)))
    }

    fn native_job_by_id(&self, job: Uuid) -> BoxFuture<'_, Result<Option<NativeJob>>> {
        Box::pin(self.readers.call(move |connection| native::by_id(connection, job)))
    }

    fn native_hide(&self, tenant: u32, prompt_ids: Option<Vec<String>>) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.alone(move |writer| native::hide(&writer.connection, tenant, prompt_ids.as_deref())))
    }

    fn output_by_name(&self, tenant: u32, name: String) -> BoxFuture<'_, Result<Option<AssetRow>>> {
        let now = self.now();
        Box::pin(self.readers.call(move |connection| native::output(connection, tenant, &name, now)))
    }

    fn upload_by_name(&self, tenant: u32, name: String) -> BoxFuture<'_, Result<Option<AssetRow>>> {
        let now = self.now();
        Box::pin(self.readers.call(move |connection| native::upload(connection, tenant, &name, now)))
    }

    fn upload_names(&self, tenant: u32, limit: u32) -> BoxFuture<'_, Result<Vec<String>>> {
        let now = self.now();
        Box::pin(self.readers.call(move |connection| native::upload_names(connection, tenant, limit, now)))
    }

    fn user_files(&self, tenant: u32, folder: String, limit: u32) -> BoxFuture<'_, Result<Vec<UserFile>>> {
        Box::pin(self.readers.call(move |connection| userdata::list(connection, tenant, &folder, limit)))
    }

    fn user_file(&self, tenant: u32, path: String) -> BoxFuture<'_, Result<Option<UserFileBytes>>> {
        Box::pin(self.readers.call(move |connection| userdata::read(connection, tenant, &path)))
    }

    fn put_user_file(&self, file: NewUserFile) -> BoxFuture<'_, Result<UserFileChange>> {
        Box::pin(self.alone(move |writer| userdata::put(&writer.connection, &file)))
    }

    fn delete_user_file(&self, tenant: u32, path: String) -> BoxFuture<'_, Result<bool>> {
        Box::pin(self.alone(move |writer| userdata::delete(&writer.connection, tenant, &path)))
    }

    fn move_user_file(
        &self,
        tenant: u32,
        from: String,
        to: String,
        overwrite: bool,
    ) -> BoxFuture<'_, Result<UserFileChange>> {
        Box::pin(
            self.alone(move |writer| userdata::rename(&writer.connection, tenant, (&from, &to), overwrite)),
        )
    }
}
