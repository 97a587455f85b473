//! The composition root: picks the adapters, starts everything, owns the order in which it ends.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::artifacts::Artifacts;
use crate::config::{self, Config};
use crate::engine::{Engine, EngineHandle, Parts, Settings};
use crate::link::local;
use crate::link::message::Secret;
use crate::listener::{self, Listening, Tls};
use crate::metrics::Metrics;
use crate::outbox::{self, Deliverer, SigningKey};
use crate::outside::Outside;
use crate::runner::nvml::{self, Nvml};
use crate::runner::{self, Runner, RunnerHandle};
use crate::sinks::{Sink, Sinks};
use crate::store::sqlite::SqliteStore;
use crate::tenant::Tenants;
use crate::ticket_desk::TicketDesk;
use crate::{http, tidy, workflow};

/// Uploads begun longer ago than that and not ended are nobody's: tickets are good for as long.
const LEFT_FOR: Duration = Duration::from_secs(60 * 60);
/// How soon a key made or revoked by another process counts here.
const FRESH_KEYS: Duration = Duration::from_secs(2);
/// Who writes the tenants of the configuration file into the store, in the audit log.
const CONFIGURATION: &str = "configuration";
/// How soon a changed certificate counts.
const FRESH_CERTIFICATES: Duration = Duration::from_secs(5);
/// Files of the web editor that may be fetched from an instance at once, to be kept; those that go by count as requests
/// that are passed on.
const EDITOR_FETCHES: usize = 16;
/// How long open requests may take once the engine has ended.
const LAST_REQUESTS: Duration = Duration::from_secs(2);

/// A gateway that runs.
pub struct App {
    listening: Listening,
    /// Those that are bound to a key.
    further: Vec<Listening>,
    tls: Option<Arc<Tls>>,
    engine: EngineHandle,
    artifacts: Artifacts,
    tenants: Tenants,
    closing: CancellationToken,
    stop: CancellationToken,
    engine_task: JoinHandle<()>,
    runner: RunnerHandle,
    deliverer: JoinHandle<()>,
    drain_deadline: Duration,
}

impl App {
    /// Starts a gateway; returns when it listens.
    ///
    /// # Errors
    /// The first thing that could not be started, in words.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let store = SqliteStore::open(&config.database)
            .with_context(|| format!("cannot open the job database {}", config.database.display()))?;
        let tenants = Tenants::open(store.clone()).await.context("cannot read the keys")?;
        let drafts = config.file.tenants.iter().map(config::Tenant::draft).collect();
        tenants.admin(CONFIGURATION).set_from_file(drafts).await.context("tenants")?;
        let loopback = config.listen.ip().is_loopback();
        if !loopback && !tenants.is_closed() {
            anyhow::bail!(
                "{} can be reached from other machines and no key was ever created: run `gateway key create` first, \
                 or listen on a loopback address",
                config.listen
            );
        }
        let sinks = open_sinks(&config)?;
        let metrics = Metrics::default();
        let outside = Outside::open(&config.file.outside).context("outside")?;
        let desk = open_desk(&outside, &tenants);
        let tls =
            tls_files(&config).map(|files| Tls::open(files, metrics.clone())).transpose().context("tls")?;
        let tls = tls.map(Arc::new);

        let (engine_end, runner_end) = local::pair(config.file.runner.serialise_link);
        let mut runner = runner_config(&config);
        runner.desk = Some(Arc::new(sinks.clone()));
        runner.outside = Some(outside.clone());
        let runner = Runner::start(runner, runner_end).context("cannot start the runner")?;
        let (engine, handle) = Engine::open(Parts {
            store: store.clone(),
            sinks: sinks.clone(),
            desk: desk.clone(),
            links: vec![engine_end],
            metrics: metrics.clone(),
            settings: settings(&config),
        })
        .await
        .context("cannot take up the open jobs")?;
        let (closing, stop) = (CancellationToken::new(), CancellationToken::new());
        // Before the engine decides anything: no word of a job is missed.
        let native = http::Desk::open(&handle, &sinks, config.file.native.clone());
        let native = native.await.context("cannot read the open jobs of ComfyUI's own API")?;
        tokio::spawn(native.clone().relay(stop.clone()));
        let engine_task = tokio::spawn(engine.run());

        let bytes = (&sinks, &desk);
        let router = http::router(http_state(
            &config,
            &handle,
            bytes,
            &tenants,
            &metrics,
            &outside,
            (&closing, native, open_editor(&config)?),
        ));
        let listener = TcpListener::bind(config.listen)
            .with_context(|| format!("cannot listen on {}", config.listen))?;
        let listening = listener::serve(
            listener,
            tls.as_ref().map(|tls| tls.config()),
            &bounds(&config),
            metrics.clone(),
            router.clone(),
        )?;
        let further = open_listeners(&config, &metrics, &router)?;
        if let Some(tls) = tls.clone() {
            tokio::spawn(tls.keep_fresh(FRESH_CERTIFICATES, stop.clone()));
        }
        tokio::spawn(tenants.clone().keep_fresh(FRESH_KEYS, stop.clone()));
        let address = listening.address;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let base = config.public_url.clone().unwrap_or_else(|| format!("{scheme}://{address}"));
        let deliverer = deliverer(&config, (&store, &tenants), &handle, &outside, &metrics, base, &stop);
        let kept = sinks.own().clone();
        tokio::spawn(sweep_left_overs(sinks.clone()));
        let keep_events = i64::try_from(config.file.retention.events_seconds.saturating_mul(1000));
        let keep_events = keep_events.unwrap_or(i64::MAX);
        tokio::spawn(tidy::keep_tidy(store, sinks, handle.clone(), keep_events, stop.clone()));
        if config.file.instances.is_empty() {
            tracing::warn!(
                "no instance is configured: set GATEWAY_INSTANCES or [[instances]], or nothing will run"
            );
        }
        tracing::info!(%address, tls = tls.is_some(), instances = config.file.instances.len(), data = %config.data_dir.display(), "listening");
        Ok(Self {
            listening,
            further,
            tls,
            engine: handle,
            artifacts: kept,
            tenants,
            closing,
            stop,
            engine_task,
            runner,
            deliverer,
            drain_deadline: config.drain_deadline(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listening.address
    }

    /// Where those listen that are bound to a key, in the order of the configuration.
    #[must_use]
    pub fn further_addresses(&self) -> Vec<SocketAddr> {
        self.further.iter().map(|listening| listening.address).collect()
    }

    /// Reads the certificates of the listener again; they are also read when their files change.
    pub fn reload_certificates(&self) {
        if let Some(tls) = &self.tls {
            let _ = tls.reload(); // it is logged, and what was there stays
        }
    }

    /// Its engine.
    #[must_use]
    pub fn engine(&self) -> &EngineHandle {
        &self.engine
    }

    /// Where its bytes are.
    #[must_use]
    pub fn artifacts(&self) -> &Artifacts {
        &self.artifacts
    }

    /// Its keys.
    #[must_use]
    pub fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    /// Closes the door, lets what runs finish until the deadline, then ends. What is left over is taken up at the
    /// next start.
    pub async fn drain(mut self) {
        self.engine.drain().await;
        if tokio::time::timeout(self.drain_deadline, &mut self.engine_task).await.is_err() {
            tracing::warn!("the drain deadline passed; what still runs is taken up at the next start");
            self.engine_task.abort();
        }
        self.closing.cancel();
        self.stop.cancel();
        if tokio::time::timeout(LAST_REQUESTS * 2, &mut self.deliverer).await.is_err() {
            self.deliverer.abort();
        }
        self.listening.handle.graceful_shutdown(Some(LAST_REQUESTS));
        for listening in &self.further {
            listening.handle.graceful_shutdown(Some(LAST_REQUESTS));
        }
        match tokio::time::timeout(LAST_REQUESTS * 2, &mut self.listening.task).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::error!(%error, "the listener failed"),
            Ok(Err(error)) => tracing::error!(%error, "the listener's task failed"),
            Err(_) => self.listening.task.abort(),
        }
        self.runner.shutdown().await;
    }
}

/// The web editor, where the configuration names its folder or an instance.
fn open_editor(config: &Config) -> anyhow::Result<Option<http::Editor>> {
    let Some(source) = &config.file.native.editor else { return Ok(None) };
    let kept = config.file.native.editor_cache_bytes;
    let name = source.to_str().unwrap_or_default();
    if name == "any" {
        return Ok(Some(http::Editor::of_instance(None, kept)));
    }
    if config.file.instances.iter().any(|instance| instance.name == name) {
        return Ok(Some(http::Editor::of_instance(Some(name.into()), kept)));
    }
    let editor = http::Editor::open(source);
    editor.map(Some).with_context(|| format!("cannot read the web editor in {}", source.display()))
}

/// Opens the listeners that are bound to a key.
fn open_listeners(
    config: &Config,
    metrics: &Metrics,
    router: &axum::Router,
) -> anyhow::Result<Vec<Listening>> {
    let mut further = Vec::new();
    for bound in &config.file.listeners {
        let key = std::fs::read_to_string(&bound.key_file)
            .with_context(|| format!("cannot read the key of the listener {}", bound.listen))?;
        let key = Secret(key.trim().to_owned());
        let listener =
            TcpListener::bind(&bound.listen).with_context(|| format!("cannot listen on {}", bound.listen))?;
        let router = http::bound(router.clone(), key);
        further.push(listener::serve(listener, None, &bounds(config), metrics.clone(), router)?);
    }
    Ok(further)
}

/// Requests for tickets are signed as events are.
fn open_desk(outside: &Outside, tenants: &Tenants) -> TicketDesk {
    TicketDesk::new(outside.clone(), Box::new(keys_of(tenants)))
}

/// What a tenant signs with, as its settings have it at the moment.
fn keys_of(tenants: &Tenants) -> impl Fn(u32) -> Vec<SigningKey> + Send + Sync + use<> {
    let tenants = tenants.clone();
    move |tenant| {
        let webhook = tenants.tenant(tenant).and_then(|row| row.settings.webhook.clone());
        webhook.map(|webhook| webhook.keys).unwrap_or_default()
    }
}

/// Opens the gateway's own store and the named ones.
fn open_sinks(config: &Config) -> anyhow::Result<Sinks> {
    let own = Artifacts::open(&config.artifacts).context("artifacts")?;
    let mut named = Vec::new();
    for sink in &config.file.sinks {
        let artifacts = Artifacts::open(&sink.url).with_context(|| format!("sink {}", sink.name))?;
        named.push((sink.name.as_str().into(), Sink { artifacts, redirect: sink.redirect }));
    }
    Ok(Sinks::new(Sink { artifacts: own, redirect: config.file.artifacts_redirect }, named))
}

fn bounds(config: &Config) -> listener::Bounds {
    listener::Bounds {
        connections: config.file.http.max_connections,
        idle: Duration::from_secs(config.file.http.idle_seconds),
        handshakes: config.file.tls.max_handshakes,
        handshake_timeout: Duration::from_secs(config.file.tls.handshake_seconds),
    }
}

fn tls_files(config: &Config) -> Option<listener::Files> {
    let tls = &config.file.tls;
    let (cert, key) = tls.cert.clone().zip(tls.key.clone())?;
    Some(listener::Files { cert, key, client_ca: tls.client_ca.clone() })
}

fn settings(config: &Config) -> Settings {
    Settings {
        scheduler: config.scheduler(),
        reserve_mib: config.file.scheduler.reserve_mib,
        max_output_bytes: config.file.engine.max_output_bytes,
        body_cache_bytes: config.file.engine.body_cache_bytes,
        inbox: config.file.engine.inbox,
        workflow: limits(config),
        shared_inputs: config.file.workflow.shared_inputs.clone().into(),
        told_apart: told_apart(config),
        retention_ms: i64::try_from(config.file.retention.jobs_seconds.saturating_mul(1000))
            .unwrap_or(i64::MAX),
        prices: config.prices(),
    }
}

/// Instances that may hold something of a client which its jobs need.
fn told_apart(config: &Config) -> Arc<[String]> {
    let rules = config.file.native.forward.iter().filter(|rule| rule.jobs);
    rules.flat_map(|rule| rule.instances.iter().cloned()).collect()
}

fn limits(config: &Config) -> workflow::Limits {
    let file = &config.file.workflow;
    workflow::Limits {
        max_bytes: file.max_bytes,
        max_nodes: file.max_nodes,
        max_chain: file.max_chain,
        max_depth: file.max_depth,
    }
}

fn http_state(
    config: &Config,
    engine: &EngineHandle,
    (sinks, desk): (&Sinks, &TicketDesk),
    tenants: &Tenants,
    metrics: &Metrics,
    outside: &Outside,
    (closing, native, editor): (&CancellationToken, http::Desk, Option<http::Editor>),
) -> http::State {
    let file = &config.file;
    http::State {
        engine: engine.clone(),
        artifacts: sinks.own().clone(),
        sinks: sinks.clone(),
        desk: desk.clone(),
        tenants: tenants.clone(),
        metrics: metrics.clone(),
        limits: http::Limits {
            max_body_bytes: file.http.max_body_bytes,
            max_asset_bytes: file.http.max_asset_bytes,
            workflow: limits(config),
            max_streams_per_key: file.http.max_streams_per_key,
            max_batch_jobs: file.http.max_batch_jobs,
            max_templates: (file.templates.max_names, file.templates.max_versions),
            max_meta_bytes: file.templates.max_meta_bytes,
            max_uploads_per_key: file.http.max_uploads_per_key,
            max_megapixels: file.workflow.max_megapixels,
            max_steps: file.workflow.max_steps,
            request_timeout: Duration::from_secs(file.http.request_timeout_seconds),
            answer_idle_timeout: Duration::from_secs(file.http.idle_seconds),
            default_deadline: Duration::from_secs(file.retention.deadline_seconds),
            feed_wait: Duration::from_secs(file.http.feed_wait_seconds),
            pictures: file.pictures.clone(),
            ..http::Limits::default()
        },
        doors: http::Doors {
            loopback: config.listen.ip().is_loopback(),
            allowed_origins: file.http.allowed_origins.clone(),
            tls: file.tls.cert.is_some(),
            trusted_proxies: file.http.trusted_proxies.clone(),
        },
        public_url: config.public_url.clone(),
        shared_inputs: file.workflow.shared_inputs.clone().into(),
        outside: outside.clone(),
        prices: config.prices(),
        retention: Duration::from_secs(file.retention.jobs_seconds),
        native,
        editor,
        closing: closing.clone(),
    }
}

fn deliverer(
    config: &Config,
    (store, tenants): (&Arc<SqliteStore>, &Tenants),
    engine: &EngineHandle,
    outside: &Outside,
    metrics: &Metrics,
    base: String,
    stop: &CancellationToken,
) -> JoinHandle<()> {
    let clock = engine.clone();
    let deliverer = Deliverer::new(outbox::Parts {
        store: store.clone(),
        outside: outside.clone(),
        bodies: http::event_bodies(engine.clone(), base, config.prices()),
        keys: Arc::new(keys_of(tenants)),
        settings: config.file.webhooks.clone(),
        now: Arc::new(move || clock.now()),
        metrics: metrics.clone(),
        stop: stop.clone(),
    });
    tokio::spawn(deliverer.run())
}

fn runner_config(config: &Config) -> runner::Config {
    let file = &config.file;
    let instances = file
        .instances
        .iter()
        .map(|instance| runner::InstanceConfig {
            name: instance.name.clone(),
            url: instance.url.clone(),
            device_class: instance.device_class.clone(),
            speed_milli: instance.speed_milli,
            vram_mib: instance.vram_mib,
            device_uuid: instance.device_uuid.clone(),
            output_folder: instance.output_folder.clone(),
            family_speeds: instance.family_speeds.clone(),
            disk_mib_s: instance.disk_mib_s,
            pcie_mib_s: instance.pcie_mib_s,
            host_cache_mib: instance.host_cache_mib,
            models_dir: instance.models_dir.clone(),
        })
        .collect();
    let host = file.runner.host.clone().unwrap_or_else(host_name);
    let mut runner = runner::Config::new(host, instances, config.data_dir.join("spool"));
    runner.spool_max_bytes = file.runner.spool_max_bytes;
    runner.max_frame_bytes = file.runner.max_frame_bytes;
    // Files of the web editor are fetched beside what callers send.
    runner.max_forwards = file.native.max_forwards.saturating_add(EDITOR_FETCHES);
    runner.picture_threads = file.runner.picture_threads.unwrap_or(runner.picture_threads);
    runner.picture_memory_bytes = file.runner.picture_memory_bytes;
    runner.picture_limits = file.pictures.clone();
    runner.times.hang_min = Duration::from_secs(file.runner.hang_seconds);
    runner.nvml = start_nvml(config);
    let server = file.runner.spot_notice.clone();
    let server = server.or_else(|| runner::metadata_server(|name| std::env::var(name).ok()));
    runner.spot_notice = server.filter(|server| !server.is_empty());
    runner.times.catalogue_refresh = Duration::from_secs(file.runner.catalogue_refresh_seconds);
    runner
}

/// The look-out for GPUs; the runner keeps it alive.
fn start_nvml(config: &Config) -> Option<Arc<Nvml>> {
    let file = &config.file.nvml;
    let library = file.library.clone().map(PathBuf::into_os_string);
    file.enabled.then(|| Arc::new(Nvml::start(nvml::Settings { library, ..nvml::Settings::default() })))
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

/// Once: what an earlier life began in the stores and did not end.
async fn sweep_left_overs(sinks: Sinks) {
    for (place, sink) in sinks.iter() {
        match sink.artifacts.sweep_left_overs(LEFT_FOR).await {
            Ok(0) => {}
            Ok(swept) => tracing::info!(swept, ?place, "left-overs of unfinished uploads removed"),
            Err(error) => {
                tracing::warn!(%error, ?place, "left-overs of unfinished uploads stay until the next start");
            }
        }
    }
}
