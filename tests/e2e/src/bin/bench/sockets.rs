//! Many sockets of ComfyUI's own API at once: what an idle one costs, and whether those who watch a job wait for those
//! who do not read. The jobs run twice: watched by themselves, and beside thousands of idle sockets and clients that
//! read nothing.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::Client;
use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::bed::{self, Many};
use super::direct::Direct;
use super::latency;
use super::options::{Options, Stage};
use super::process::{self, Server};
use super::procfs::{self, megabytes};
use super::report::Row;
use super::stats::Samples;
use super::workflows;

/// Simulated instances that do the work.
const INSTANCES: usize = 100;

/// About a second a job, with a preview at each step.
const BUSY: [&str; 7] = ["--pace-ms", "100", "--node-ms", "100", "--output-kb", "20", "--preview"];

/// Clients that read nothing once they are connected, and the jobs of each.
const STALLED: usize = 100;
const JOBS_OF_A_STALLED: usize = 10;

/// What such a client leaves room for, bytes.
const STALLED_ROOM: u32 = 4 << 10;

/// More streams and connections than the defaults allow one caller.
const SETTINGS: &str = "[http]\nmax_streams_per_key = 30000\nmax_connections = 40000\n";

/// Time in which memory and CPU time of idle sockets are looked at: two heartbeats.
const IDLE: Duration = Duration::from_secs(10);

/// Sockets that are opened at once.
const OPENED_AT_ONCE: usize = 64;

type Socket = WebSocketStream<TcpStream>;

/// What idle sockets cost.
struct Idle {
    before: u64,
    after: u64,
    cpu: Duration,
}

/// Measures.
///
/// # Errors
/// When a socket does not open or a job does not end.
pub async fn measure(options: &Options) -> anyhow::Result<Vec<Row>> {
    let simulators = process::simulators(INSTANCES, &options.simulator(&BUSY), &options.folder()?).await?;
    let http = Client::builder().no_proxy().build()?;
    let start = async || process::gateway_with(&simulators.urls, &options.folder()?, SETTINGS).await;

    let gateway = start().await?;
    let alone = watched(&gateway, options, &http, &[]).await?;
    gateway.end().await?;

    // One of its own: what is free from earlier work would hide what sockets take.
    let gateway = start().await?;
    let (mut sockets, cost) = idle(&gateway, options.idle_sockets).await?;
    let stalled = stalled(&gateway).await?;
    let crowded = watched(&gateway, options, &http, &stalled).await?;
    let lost = std::iter::from_fn(|| sockets.try_join_next()).count();
    gateway.end().await?;
    Ok(rows(options, &alone, &crowded, &cost, lost))
}

fn rows(options: &Options, alone: &Many, crowded: &Many, cost: &Idle, lost: usize) -> Vec<Row> {
    let row = |what: String, gateway: String| Row::new(Stage::Sockets, what, gateway);
    let (idle, jobs) = (options.idle_sockets, options.watched_jobs);
    let (before, after) = (megabytes(cost.before), megabytes(cost.after));
    let each = cost.after.saturating_sub(cost.before) / u64::try_from(idle.max(1)).unwrap_or(u64::MAX);
    let told = |many: &Many| format!("{}, {:.1} s", latency::both(&many.latencies), many.took.as_secs_f64());
    vec![
        row(
            format!("resident, with {idle} idle sockets (without)"),
            format!(
                "{after:.1} MB ({before:.1} MB), {:.1} KB each",
                f64::from(u32::try_from(each).unwrap_or(u32::MAX)) / 1e3
            ),
        ),
        row(
            format!("CPU time of {idle} idle sockets that are told every 5 s"),
            format!("{:.1} % of one core", 100.0 * cost.cpu.as_secs_f64() / IDLE.as_secs_f64()),
        ),
        row(
            format!("{jobs} jobs over {INSTANCES} instances, a socket each: median / p99, makespan"),
            told(alone),
        ),
        row(
            format!("the same beside {idle} idle sockets and {STALLED} clients that do not read"),
            told(crowded),
        ),
        row("idle sockets that were closed meanwhile".to_owned(), lost.to_string()).aim("0", lost == 0),
    ]
}

/// Jobs at once, each watched over its own socket to its end, after those of the clients that do not read (of nobody,
/// where there are none: the work is the same).
async fn watched(
    gateway: &Server,
    options: &Options,
    http: &Client,
    stalled: &[Stalled],
) -> anyhow::Result<Many> {
    let mut watchers = Vec::new();
    for _ in 0..options.watched_jobs {
        watchers.push(Direct::open_with(&gateway.url(""), http.clone()).await?);
    }
    let began = Instant::now();
    for number in 0..STALLED * JOBS_OF_A_STALLED {
        let client = stalled.get(number % STALLED).map_or("nobody", |stalled| &stalled.client);
        submit(gateway, http, client).await?;
    }
    let mut running = JoinSet::new();
    for mut watcher in watchers {
        running.spawn(async move { watcher.run(&workflows::painting(bed::seed())).await });
    }
    let mut times = Vec::new();
    while let Some(done) = running.join_next().await {
        times.push(done??);
    }
    let latencies: Samples = times.into_iter().collect();
    Ok(Many { latencies, took: began.elapsed(), ..Many::default() })
}

/// One that connects and reads no more.
struct Stalled {
    client: String,
    _socket: Socket,
}

async fn stalled(gateway: &Server) -> anyhow::Result<Vec<Stalled>> {
    let mut all = Vec::new();
    for _ in 0..STALLED {
        let client = uuid::Uuid::new_v4().simple().to_string();
        let mut socket = connect(gateway, &client, Some(STALLED_ROOM)).await?;
        // Previews make its frames many and large.
        let features = json!({"type": "feature_flags", "data": {"supports_preview_metadata": true}});
        socket.send(Message::text(features.to_string())).await?;
        all.push(Stalled { client, _socket: socket });
    }
    Ok(all)
}

async fn submit(gateway: &Server, http: &Client, client: &str) -> anyhow::Result<()> {
    let body = json!({"prompt": workflows::painting(bed::seed()), "client_id": client});
    let answer = http.post(gateway.url("/prompt")).json(&body).send().await?;
    ensure!(answer.status().is_success(), "a prompt was answered {}", answer.status());
    answer.bytes().await?;
    Ok(())
}

/// Opens sockets that do nothing but read, and sees what they cost; a task of the set ends when its socket does.
async fn idle(gateway: &Server, count: usize) -> anyhow::Result<(JoinSet<()>, Idle)> {
    let before = procfs::memory(gateway.pid)?.resident;
    let mut sockets = JoinSet::new();
    let mut opened = futures_util::stream::iter(0..count)
        .map(|number| async move { connect(gateway, &format!("idle-{number}"), None).await })
        .buffer_unordered(OPENED_AT_ONCE);
    while let Some(socket) = opened.next().await {
        let mut socket = socket?;
        sockets.spawn(async move { while let Some(Ok(_)) = socket.next().await {} });
    }
    let busy = procfs::cpu(gateway.pid)?;
    tokio::time::sleep(IDLE).await;
    let cpu = procfs::cpu(gateway.pid)?.saturating_sub(busy);
    Ok((sockets, Idle { before, after: procfs::memory(gateway.pid)?.resident, cpu }))
}

async fn connect(gateway: &Server, client: &str, room: Option<u32>) -> anyhow::Result<Socket> {
    let socket = TcpSocket::new_v4()?;
    if let Some(room) = room {
        socket.set_recv_buffer_size(room)?;
    }
    let stream = socket.connect(gateway.address).await.context("no more connections")?;
    let request = gateway.url(&format!("/ws?clientId={client}")).replacen("http", "ws", 1);
    let small = WebSocketConfig::default().read_buffer_size(1 << 10);
    let (socket, _) = client_async_with_config(request.into_client_request()?, stream, Some(small)).await?;
    Ok(socket)
}
