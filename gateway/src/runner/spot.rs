//! The cloud's notice that it takes a spot machine back: the metadata server of Google Compute Engine holds a request
//! open until `instance/preempted` changes; 30 s later the machine is off.

use std::path::Path;
use std::time::Duration;

use reqwest::{Client, StatusCode};

use crate::link::local::Sender;
use crate::link::message::Report;

/// From the notice until the machine is off.
const NOTICE: Duration = Duration::from_secs(30);
/// How long the server is asked to hold a request open.
const HOLD: Duration = Duration::from_secs(60);
/// Longest wait for its answer.
const PATIENCE: Duration = Duration::from_secs(75);
/// Pause after a failed request.
const PAUSE: Duration = Duration::from_secs(5);
/// Marks requests to the server and its answers.
const FLAVOR: (&str, &str) = ("Metadata-Flavor", "Google");
/// The server as seen from a machine of Compute Engine.
const METADATA_SERVER: &str = "http://metadata.google.internal";

/// The metadata server of this machine, if it is one of Google Compute Engine. `GCE_METADATA_HOST` names another one.
#[must_use]
pub fn metadata_server(env: impl Fn(&str) -> Option<String>) -> Option<String> {
    let host = env("GCE_METADATA_HOST").filter(|host| !host.is_empty());
    host.map(|host| format!("http://{host}"))
        .or_else(|| is_compute_engine().then(|| METADATA_SERVER.to_owned()))
}

fn is_compute_engine() -> bool {
    let product = std::fs::read_to_string(Path::new("/sys/class/dmi/id/product_name"));
    product.is_ok_and(|name| name.trim() == "Google Compute Engine")
}

/// Watches for ever; returns when the engine is gone.
pub(super) async fn watch(client: Client, server: Option<String>, reports: &Sender<Report>) {
    let Some(server) = server else { return std::future::pending().await };
    let url = format!("{}/computeMetadata/v1/instance/preempted", server.trim_end_matches('/'));
    let (mut etag, mut leaving) = (None, false);
    loop {
        let Some(answer) = ask(&client, &url, etag.as_deref()).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // An answer without a tag cannot be waited on.
        if answer.etag.is_none() {
            tokio::time::sleep(PAUSE).await;
        }
        etag = answer.etag;
        if answer.preempted == leaving {
            continue;
        }
        leaving = answer.preempted;
        tracing::warn!(leaving, "notice of the cloud");
        let within_ms = leaving.then(|| u64::try_from(NOTICE.as_millis()).unwrap_or(u64::MAX));
        if reports.send(Report::HostLeaving { within_ms }).await.is_err() {
            return;
        }
    }
}

struct Answer {
    preempted: bool,
    etag: Option<String>,
}

/// Asks at once the first time, then holds until the value is another than that of `etag`.
async fn ask(client: &Client, url: &str, etag: Option<&str>) -> Option<Answer> {
    let mut request = client.get(url).header(FLAVOR.0, FLAVOR.1).timeout(PATIENCE);
    if let Some(etag) = etag {
        let hold = HOLD.as_secs().to_string();
        request = request.query(&[("wait_for_change", "true"), ("last_etag", etag), ("timeout_sec", &hold)]);
    }
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(%error, "metadata server does not answer");
            return None;
        }
    };
    let genuine = response.headers().get(FLAVOR.0).is_some_and(|flavor| flavor == FLAVOR.1);
    if response.status() != StatusCode::OK || !genuine {
        tracing::debug!(status = response.status().as_u16(), genuine, "no answer of a metadata server");
        return None;
    }
    let etag = response.headers().get("ETag").and_then(|etag| etag.to_str().ok()).map(str::to_owned);
    let body = response.text().await.ok()?;
    Some(Answer { preempted: body.trim().eq_ignore_ascii_case("true"), etag })
}
