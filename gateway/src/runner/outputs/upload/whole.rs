//! A file in one request: a PUT, or a form that is posted.

use futures_util::Stream;
use reqwest::{Method, RequestBuilder, header, multipart};

use super::body::{self, Meter};
use super::reply::{self, Reply};
use super::{Fault, Means, Spooled, ask, hidden, in_time};
use crate::artifacts::sums::Sum;
use crate::link::message::{Secret, Ticket};
use crate::link::ticket::{Answer, Ask, Pieces};

/// What to make of "there already".
#[derive(Debug, Clone, Copy)]
pub(super) enum Check<'a> {
    /// The desk tells what is there.
    Ask(&'a Pieces),
    /// An earlier try had no answer: it was that one. The key is of this file alone.
    Believe,
    /// Nobody of ours was here before.
    Impossible,
}

/// Sends the file in one request.
pub(super) async fn put(
    means: Means<'_>,
    ticket: &Ticket,
    file: Spooled<'_>,
    check: Check<'_>,
) -> Result<(), Fault> {
    let content = body::range(file.path, 0..file.size_bytes).await?;
    let (sum, reply) = send(means, ticket, content, file.size_bytes).await?;
    match (reply, check) {
        (Reply::Taken(told), _) => reply::compare(&sum, file.size_bytes, &told),
        (Reply::There, Check::Ask(pieces)) => is_ours(means, pieces, file).await,
        (Reply::There, Check::Believe) => Ok(()),
        (Reply::There, Check::Impossible) => {
            Err(Fault::Refused("there is another object in the place of this one".to_owned()))
        }
        (Reply::Missing, _) => Err(Fault::again("there is nothing to upload to")),
    }
}

/// Sends a body of known length; what passed, and what was said.
pub(super) async fn send<E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static>(
    means: Means<'_>,
    ticket: &Ticket,
    content: impl Stream<Item = Result<bytes::Bytes, E>> + Send + 'static,
    size_bytes: u64,
) -> Result<(Sum, Reply), Fault> {
    let meter = Meter::default();
    let content = meter.measure(content);
    let (request, expires_at) = match ticket {
        Ticket::Http { method, url, headers, expires_at } => {
            in_time(*expires_at)?;
            (
                plain(means, method, url, headers)?.header(header::CONTENT_LENGTH, size_bytes).body(content),
                *expires_at,
            )
        }
        Ticket::Form { url, fields, expires_at } => {
            in_time(*expires_at)?;
            (form(means, url, fields, content, size_bytes)?, *expires_at)
        }
        // the gateway makes no other
        Ticket::File { .. } | Ticket::BySize { .. } => return Err(Fault::Expired),
    };
    let answer = meter.watch(means.times.stall_timeout, request.send()).await?;
    let reply = reply::judge(answer, in_time(expires_at).is_err()).await?;
    Ok((meter.sum(), reply))
}

fn plain(
    means: Means<'_>,
    method: &str,
    url: &Secret,
    headers: &[(String, String)],
) -> Result<RequestBuilder, Fault> {
    let method = Method::from_bytes(method.as_bytes()).map_err(|error| Fault::Refused(error.to_string()))?;
    let request = means.http.request(method, &url.0);
    Ok(headers.iter().fold(request, |request, (name, value)| request.header(name, value)))
}

fn form(
    means: Means<'_>,
    url: &Secret,
    fields: &[(String, Secret)],
    content: reqwest::Body,
    size_bytes: u64,
) -> Result<RequestBuilder, Fault> {
    let form = fields
        .iter()
        .fold(multipart::Form::new(), |form, (name, value)| form.text(name.clone(), value.0.clone()));
    let file = multipart::Part::stream_with_length(content, size_bytes).file_name("file");
    let file = file.mime_str("application/octet-stream").map_err(|error| Fault::Refused(hidden(error)))?;
    Ok(means.http.post(&url.0).multipart(form.part("file", file)))
}

/// Compares what is there with the file: the answer to an earlier try may have been lost.
async fn is_ours(means: Means<'_>, pieces: &Pieces, file: Spooled<'_>) -> Result<(), Fault> {
    compare(file, &ask(means, pieces, Ask::Check).await?).await
}

/// Compares the file with what the desk says is there.
pub(super) async fn compare(file: Spooled<'_>, there: &Answer) -> Result<(), Fault> {
    let Answer::There { size_bytes, md5, crc64 } = there else {
        return Err(Fault::again("the desk answered something else"));
    };
    let sum = body::sum_of(file.path, file.size_bytes).await?;
    let is_same = *size_bytes == Some(sum.size_bytes)
        && crc64.is_none_or(|crc64| crc64 == sum.crc64)
        && (crc64.is_some() || md5.as_ref().is_none_or(|md5| *md5 == hex::encode(sum.md5)));
    match (is_same, size_bytes) {
        (true, _) => Ok(()),
        (false, None) => Err(Fault::again("the object was there and is not")),
        (false, Some(_)) => {
            Err(Fault::Refused("there is another object in the place of this one".to_owned()))
        }
    }
}
