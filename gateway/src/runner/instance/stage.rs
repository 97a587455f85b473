//! Brings the files that a workflow refers to into ComfyUI's input folder, named by their hash.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use reqwest::{Body, StatusCode};
use scheduler::AttemptEnd;
use tokio_util::io::ReaderStream;

use super::shared::Shared;
use crate::link::message::{Input, Signal, Ticket};
use crate::runner::comfy::ComfyError;
use crate::runner::comfy::http::body_stream;

/// How often an upload that broke off is tried.
const TRIES: u32 = 3;

/// Counts the bytes that have been handed to an upload.
#[derive(Debug, Clone, Default)]
pub(super) struct Moved(Arc<AtomicU64>);

impl Moved {
    /// How many so far.
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn body<E>(&self, stream: impl Stream<Item = Result<Bytes, E>> + Send + 'static) -> Body
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let moved = self.clone();
        Body::wrap_stream(stream.inspect(move |chunk| {
            let length = chunk.as_ref().map_or(0, Bytes::len);
            moved.0.fetch_add(length as u64, Ordering::Relaxed);
        }))
    }
}

/// Stages all inputs; pointers with the names to put there, or how the attempt ends.
pub(super) async fn all(
    shared: &Shared,
    inputs: &[Input],
    moved: &Moved,
) -> Result<Vec<(String, String)>, Signal> {
    let mut staged = Vec::with_capacity(inputs.len());
    for input in inputs {
        let name = match shared.staged(&file_name(input)) {
            Some(name) => name,
            None => one(shared, input, moved).await?,
        };
        staged.push((input.pointer.clone(), name));
    }
    Ok(staged)
}

/// What an input is called once it is staged, by all we know: for a prompt that was sent by an earlier process.
pub(super) fn expected(inputs: &[Input]) -> Vec<(String, String)> {
    inputs.iter().map(|input| (input.pointer.clone(), format!("darkroom/{}", file_name(input)))).collect()
}

fn file_name(input: &Input) -> String {
    let extension: String = input.extension.chars().filter(char::is_ascii_alphanumeric).collect();
    if extension.is_empty() { input.hash.clone() } else { format!("{}.{extension}", input.hash) }
}

async fn one(shared: &Shared, input: &Input, moved: &Moved) -> Result<String, Signal> {
    let name = file_name(input);
    let mut tries = 0;
    loop {
        let body = open(shared, input, moved).await?;
        let upload = shared.comfy.upload(&name, &input.content_type, input.size_bytes, body);
        let error = match unless_stalled(shared, moved, upload).await {
            // the answered name counts (PROTOCOL §5)
            Ok(uploaded) => {
                let path = match uploaded.subfolder.as_str() {
                    "" => uploaded.name,
                    folder => format!("{folder}/{}", uploaded.name),
                };
                shared.remember_staged(&name, path.clone());
                return Ok(path);
            }
            Err(error) => error,
        };
        tries += 1;
        if tries < TRIES && matches!(error, ComfyError::Broken(_)) {
            continue;
        }
        let end = if error.is_silence() { AttemptEnd::Unreachable } else { AttemptEnd::HostFault };
        return Err(Signal::Lost {
            end,
            message: format!("an input could not be staged: {}", error.words()),
        });
    }
}

/// Gives an upload up when nothing of it moves for long, its answer included.
async fn unless_stalled<T>(
    shared: &Shared,
    moved: &Moved,
    upload: impl Future<Output = Result<T, ComfyError>>,
) -> Result<T, ComfyError> {
    let mut upload = std::pin::pin!(upload);
    loop {
        let before = moved.bytes();
        match tokio::time::timeout(shared.host.config.times.stall_timeout, &mut upload).await {
            Ok(done) => return done,
            Err(_) if moved.bytes() == before => return Err(ComfyError::Stalled),
            Err(_) => {}
        }
    }
}

/// The input's bytes, not yet read.
async fn open(shared: &Shared, input: &Input, moved: &Moved) -> Result<Body, Signal> {
    let unavailable = |message: String| Signal::InputUnavailable { message };
    match &input.source {
        Ticket::File { path } => match tokio::fs::File::open(path).await {
            Ok(file) => Ok(moved.body(ReaderStream::with_capacity(file, 64 << 10))),
            Err(error) => Err(unavailable(format!("the input {} cannot be read: {error}", input.hash))),
        },
        Ticket::Form { .. } | Ticket::BySize { .. } => {
            Err(unavailable(format!("the input {} has a ticket for uploads", input.hash)))
        }
        Ticket::Http { url, headers, .. } => {
            let mut request = shared.host.bucket.get(&url.0);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let host_fault = |message| Signal::Lost { end: AttemptEnd::HostFault, message };
            let response = request.send().await.map_err(|error| {
                host_fault(format!("the input {} cannot be fetched: {}", input.hash, error.without_url()))
            })?;
            match response.status() {
                status if status.is_success() => Ok(moved.body(body_stream(response))),
                StatusCode::NOT_FOUND | StatusCode::GONE => {
                    Err(unavailable(format!("the input {} is gone", input.hash)))
                }
                status => Err(host_fault(format!("fetching the input {} was answered {status}", input.hash))),
            }
        }
    }
}
