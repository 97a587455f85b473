//! Brings the files that a workflow refers to into ComfyUI's input folder, named by their hash.

use reqwest::{Body, StatusCode};
use scheduler::AttemptEnd;
use tokio_util::io::ReaderStream;

use super::shared::Shared;
use crate::link::message::{Input, Signal, Ticket};
use crate::runner::comfy::ComfyError;
use crate::runner::comfy::http::body_stream;

/// How often an upload that broke off is tried.
const TRIES: u32 = 3;

/// Stages all inputs; pointers with the names to put there, or how the attempt ends.
pub(super) async fn all(shared: &Shared, inputs: &[Input]) -> Result<Vec<(String, String)>, Signal> {
    let mut staged = Vec::with_capacity(inputs.len());
    for input in inputs {
        let name = match shared.staged(&file_name(input)) {
            Some(name) => name,
            None => one(shared, input).await?,
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

async fn one(shared: &Shared, input: &Input) -> Result<String, Signal> {
    let name = file_name(input);
    let mut tries = 0;
    loop {
        let body = open(shared, input).await?;
        let error = match shared.comfy.upload(&name, &input.content_type, input.size_bytes, body).await {
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

/// The input's bytes, not yet read.
async fn open(shared: &Shared, input: &Input) -> Result<Body, Signal> {
    let unavailable = |message: String| Signal::InputUnavailable { message };
    match &input.source {
        Ticket::File { path } => match tokio::fs::File::open(path).await {
            Ok(file) => Ok(Body::wrap_stream(ReaderStream::with_capacity(file, 64 << 10))),
            Err(error) => Err(unavailable(format!("the input {} cannot be read: {error}", input.hash))),
        },
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
                status if status.is_success() => Ok(Body::wrap_stream(body_stream(response))),
                StatusCode::NOT_FOUND | StatusCode::GONE => {
                    Err(unavailable(format!("the input {} is gone", input.hash)))
                }
                status => Err(host_fault(format!("fetching the input {} was answered {status}", input.hash))),
            }
        }
    }
}
