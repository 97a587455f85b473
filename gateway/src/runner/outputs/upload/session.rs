//! A file in chunks to a session that knows how far it is.

use reqwest::Body;

use super::body::{self, Meter};
use super::pieces::Lost;
use super::record::{Place, Record};
use super::{Fault, Means, Spooled};
use crate::artifacts::session::{self, Made, Progress, SessionError};

/// Goes on where the session is.
pub(super) async fn put(means: Means<'_>, file: Spooled<'_>, record: &Record) -> Result<(), Lost> {
    let Place::Session { url, chunk_bytes, .. } = &record.place else { return Ok(()) };
    let size = file.size_bytes;
    let mut progress = match record.fresh {
        true => Progress::Holds(0),
        false => bounded(means, session::ask(means.http, &url.0)).await?,
    };
    loop {
        let start = match progress {
            Progress::Done(made) => return compare(file, &made).await,
            Progress::Holds(start) if start <= size => start,
            Progress::Holds(_) => return Err(Lost::Begun("the session holds more than the file".to_owned())),
        };
        let range = start..start.saturating_add(*chunk_bytes).min(size);
        let meter = Meter::default();
        let content = meter.measure(body::range(file.path, range.clone()).await?);
        progress = send(means, &url.0, &meter, range, size, content).await?;
        if progress == Progress::Holds(start) && start < size {
            return Err(Fault::again("the session takes nothing").into());
        }
    }
}

async fn send(
    means: Means<'_>,
    url: &str,
    meter: &Meter,
    range: std::ops::Range<u64>,
    size: u64,
    content: Body,
) -> Result<Progress, Lost> {
    let sending =
        async { Ok::<_, reqwest::Error>(session::send(means.http, url, range, Some(size), content).await) };
    meter.watch(means.times.stall_timeout, sending).await?.map_err(lost)
}

pub(super) async fn bounded(
    means: Means<'_>,
    asking: impl Future<Output = Result<Progress, SessionError>>,
) -> Result<Progress, Lost> {
    match tokio::time::timeout(means.times.stall_timeout, asking).await {
        Ok(progress) => progress.map_err(lost),
        Err(_) => Err(Fault::again("the session does not answer").into()),
    }
}

pub(super) fn lost(error: SessionError) -> Lost {
    match error {
        SessionError::Gone => Lost::Begun(error.to_string()),
        SessionError::Refused(why) => Lost::Nothing(Fault::Refused(why)),
        SessionError::Again(why, after) => {
            Lost::Nothing(Fault::Again(why, after.map(std::time::Duration::from_secs)))
        }
    }
}

/// The bucket's own sums are of all of it, whoever sent which part: the file is read once more for them.
async fn compare(file: Spooled<'_>, made: &Made) -> Result<(), Lost> {
    if made.size_bytes.is_some_and(|size| size != file.size_bytes) {
        return Err(Lost::Begun("the object is of another length than the file".to_owned()));
    }
    let Some(md5) = &made.md5 else { return Ok(()) };
    let sum = body::sum_of(file.path, file.size_bytes).await?;
    if md5[..] == sum.md5 {
        Ok(())
    } else {
        Err(Lost::Begun("the bucket holds other bytes than were sent, by their MD5".to_owned()))
    }
}
