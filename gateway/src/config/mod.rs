//! Settings: a TOML file if one is given, then the environment (DESIGN §11). Every mistake is found before anything
//! starts, and all are reported at once. `gateway.example.toml` shows every setting with its default.

mod file;
mod forward;
mod read;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use scheduler::Millis;

use crate::artifacts::Artifacts;
use crate::workflow::FAMILIES;

pub use file::{
    BoundListener, Engine, File, Forward, Http, Instance, Log, LogFormat, Native, Nvml, Outside, Prices,
    Retention, Runner, Scheduler, SinkConfig, Templates, Tenant, Tls, Webhooks, Workflow,
};

/// The gateway's settings, checked and complete.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where SQLite, spool and local artifacts live.
    pub data_dir: PathBuf,
    /// Base of absolute URLs; `None`: the request's own host.
    pub public_url: Option<String>,
    /// Where artifacts go, as a URL (`file:…`, `s3://…`, `cos://…`, `gs://…`).
    pub artifacts: String,
    /// The job database, as a path.
    pub database: PathBuf,
    /// All other settings, as in the file.
    pub file: File,
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Everything that is wrong, in the order of the file.
    #[error("{} in the configuration:\n  - {}", count(.0.len()), .0.join("\n  - "))]
    Mistakes(Vec<String>),
}

fn count(mistakes: usize) -> String {
    if mistakes == 1 { "1 mistake".to_owned() } else { format!("{mistakes} mistakes") }
}

impl Config {
    /// Reads the file, if one is given, and the environment.
    ///
    /// # Errors
    /// [`ConfigError`] with all mistakes at once.
    pub fn load(path: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let text = match path {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?,
            None => String::new(),
        };
        Self::from_text(&text, env)
    }

    /// As [`Config::load`], with the file's text.
    ///
    /// # Errors
    /// [`ConfigError::Mistakes`].
    pub fn from_text(text: &str, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut mistakes = Vec::new();
        let mut file: File = read::file(text, &mut mistakes);
        let is_set = env("GATEWAY_INSTANCES").is_some_and(|urls| !urls.is_empty());
        overrides(&mut file, env, &mut mistakes);
        let instances = if is_set { "GATEWAY_INSTANCES" } else { "instances" };
        let config = resolve(file, instances, &mut mistakes);
        match (config, mistakes.is_empty()) {
            (Some(config), true) => Ok(config),
            _ => Err(ConfigError::Mistakes(mistakes)),
        }
    }

    /// The scheduler's settings.
    #[must_use]
    pub fn scheduler(&self) -> scheduler::Config {
        scheduler_config(&self.file.scheduler)
    }

    /// What GPU time costs.
    #[must_use]
    pub fn prices(&self) -> crate::prices::Prices {
        let file = &self.file.prices;
        crate::prices::Prices {
            currency: file.currency.as_str().into(),
            per_gpu_second: file.per_gpu_second.clone().into(),
            minimum_per_job: file.minimum_per_job,
        }
    }

    /// How long a drain may take.
    #[must_use]
    pub fn drain_deadline(&self) -> Duration {
        Duration::from_secs(self.file.drain_seconds)
    }
}

/// The environment wins over the file. These names stay (DESIGN §11).
fn overrides(file: &mut File, env: impl Fn(&str) -> Option<String>, mistakes: &mut Vec<String>) {
    let text = |name: &str| env(name).filter(|value| !value.is_empty());
    if let Some(listen) = text("GATEWAY_LISTEN") {
        file.listen = listen;
    }
    if let Some(instances) = text("GATEWAY_INSTANCES") {
        file.instances = instances
            .split(',')
            .map(str::trim)
            .filter(|url| !url.is_empty())
            .map(|url| Instance { url: url.to_owned(), ..Instance::default() })
            .collect();
    }
    if let Some(folder) = text("GATEWAY_DATA_DIR") {
        file.data_dir = PathBuf::from(folder);
    }
    if let Some(filter) = text("GATEWAY_LOG") {
        file.log.filter = filter;
    }
    if let Some(format) = text("GATEWAY_LOG_FORMAT") {
        match format.as_str() {
            "json" => file.log.format = LogFormat::Json,
            "pretty" => file.log.format = LogFormat::Pretty,
            _ => mistakes.push(format!("GATEWAY_LOG_FORMAT: \"{format}\" is neither json nor pretty")),
        }
    }
    if let Some(url) = text("GATEWAY_PUBLIC_URL") {
        file.public_url = Some(url);
    }
    if let Some(url) = text("GATEWAY_DATABASE_URL") {
        file.database_url = Some(url);
    }
    if let Some(url) = text("GATEWAY_ARTIFACTS") {
        file.artifacts = Some(url);
    }
    if let Some(path) = text("GATEWAY_NVML_LIBRARY") {
        file.nvml.library = Some(PathBuf::from(path));
    }
}

/// `instances`: where they are from, in mistakes.
fn resolve(mut file: File, instances: &str, mistakes: &mut Vec<String>) -> Option<Config> {
    let listen = file.listen.parse::<SocketAddr>();
    if listen.is_err() {
        mistakes.push(format!(
            "listen: \"{}\" is not an address with a port, such as 127.0.0.1:8190",
            file.listen
        ));
    }
    let public_url = file.public_url.as_ref().map(|url| url.trim_end_matches('/').to_owned());
    if let Some(url) = public_url.as_ref().filter(|url| !is_http_url(url)) {
        mistakes.push(format!("public_url: \"{url}\" is not an http or https URL"));
    }
    check_instances(&mut file.instances, instances, mistakes);
    check_tenants(&file.tenants, mistakes);
    check_listeners(&file.listeners, mistakes);
    let data_dir = std::path::absolute(&file.data_dir).unwrap_or_else(|_| file.data_dir.clone());
    let database = database(file.database_url.as_deref(), &data_dir, mistakes);
    let artifacts =
        file.artifacts.clone().unwrap_or_else(|| format!("file:{}", data_dir.join("artifacts").display()));
    check_artifacts("artifacts", &artifacts, mistakes);
    check_sinks(&file.sinks, mistakes);
    mistakes.extend(scheduler_config(&file.scheduler).mistakes().iter().map(ToString::to_string));
    check_bounds(&file, mistakes);
    forward::check(&file, mistakes);
    Some(Config { listen: listen.ok()?, data_dir, public_url, artifacts, database: database?, file })
}

fn check_instances(instances: &mut [Instance], from: &str, mistakes: &mut Vec<String>) {
    let mut names = BTreeSet::new();
    for (index, instance) in instances.iter_mut().enumerate() {
        instance.url = instance.url.trim_end_matches('/').to_owned();
        if !is_http_url(&instance.url) {
            mistakes.push(format!(
                "{from}[{index}].url: \"{}\" is not a URL such as http://127.0.0.1:8188",
                instance.url
            ));
        }
        if reqwest::Url::parse(&instance.url)
            .is_ok_and(|url| !url.username().is_empty() || url.password().is_some())
        {
            mistakes.push(format!("{from}[{index}].url: a URL must not hold a user name or a password"));
        }
        if instance.name.is_empty() {
            instance.name.clone_from(&instance.url);
        }
        if !names.insert(instance.name.clone()) {
            mistakes.push(format!("{from}[{index}]: \"{}\" is there twice", instance.name));
        }
        if instance.speed_milli == Some(0) {
            mistakes
                .push(format!("instances[{index}].speed_milli: must be at least 1 (1000 is the reference)"));
        }
        check_priors(index, instance, mistakes);
    }
}

fn check_listeners(listeners: &[BoundListener], mistakes: &mut Vec<String>) {
    for (index, listener) in listeners.iter().enumerate() {
        let is_loopback = listener.listen.parse::<SocketAddr>().is_ok_and(|at| at.ip().is_loopback());
        if !is_loopback {
            mistakes.push(format!(
                "listeners[{index}].listen: \"{}\" is not a loopback address with a port, such as 127.0.0.1:8188",
                listener.listen
            ));
        }
        if listener.key_file.as_os_str().is_empty() {
            mistakes.push(format!("listeners[{index}].key_file: is missing"));
        }
    }
}

fn check_tenants(tenants: &[Tenant], mistakes: &mut Vec<String>) {
    let mut names = BTreeSet::new();
    for (index, tenant) in tenants.iter().enumerate() {
        if let Err(mistake) = crate::tenant::check_draft(&tenant.draft()) {
            mistakes.push(format!("tenants[{index}]: {mistake}"));
        }
        if !names.insert(&tenant.name) {
            mistakes.push(format!("tenants[{index}]: \"{}\" is there twice", tenant.name));
        }
    }
}

fn check_priors(index: usize, instance: &Instance, mistakes: &mut Vec<String>) {
    for (family, speed) in &instance.family_speeds {
        if !FAMILIES.contains(&family.as_str()) {
            let known = FAMILIES.join(", ");
            mistakes.push(format!("instances[{index}].family_speeds.{family}: not one of {known}"));
        } else if *speed == 0 {
            mistakes.push(format!("instances[{index}].family_speeds.{family}: must be at least 1"));
        }
    }
    for (name, rate) in [("disk_mib_s", instance.disk_mib_s), ("pcie_mib_s", instance.pcie_mib_s)] {
        if rate == Some(0) {
            mistakes.push(format!("instances[{index}].{name}: must be at least 1"));
        }
    }
}

fn database(url: Option<&str>, data_dir: &Path, mistakes: &mut Vec<String>) -> Option<PathBuf> {
    let Some(url) = url else { return Some(data_dir.join("gateway.sqlite3")) };
    if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        mistakes.push(
            "database_url: PostgreSQL, for several gateways on one store, is not in this version; \
             leave it out for SQLite in data_dir"
                .to_owned(),
        );
        return None;
    }
    let path = url.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
    match path.filter(|path| !path.is_empty()) {
        Some(path) => Some(std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path))),
        None => {
            mistakes.push("database_url: expected sqlite:<path>".to_owned());
            None
        }
    }
}

fn check_sinks(sinks: &[SinkConfig], mistakes: &mut Vec<String>) {
    let mut names = BTreeSet::new();
    for (index, sink) in sinks.iter().enumerate() {
        let is_allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if !(1..=64).contains(&sink.name.len()) || !sink.name.bytes().all(is_allowed) {
            mistakes.push(format!(
                "sinks[{index}].name: \"{}\" is not 1 to 64 characters of a-z, 0-9, '-' and '_'",
                sink.name
            ));
        }
        if !names.insert(&sink.name) {
            mistakes.push(format!("sinks[{index}]: \"{}\" is there twice", sink.name));
        }
        check_artifacts(&format!("sinks[{index}].url"), &sink.url, mistakes);
    }
}

fn check_artifacts(name: &str, url: &str, mistakes: &mut Vec<String>) {
    if let Err(error) = Artifacts::check(url) {
        mistakes.extend(error.problems.into_iter().map(|problem| format!("{name}: {problem}")));
    }
}

fn check_bounds(file: &File, mistakes: &mut Vec<String>) {
    let positive = [
        ("http.max_body_bytes", file.http.max_body_bytes as u64),
        ("http.max_asset_bytes", file.http.max_asset_bytes),
        ("http.max_streams_per_key", file.http.max_streams_per_key as u64),
        ("http.max_batch_jobs", file.http.max_batch_jobs as u64),
        ("http.max_connections", file.http.max_connections as u64),
        ("native.max_queue_listed", u64::from(file.native.max_queue_listed)),
        ("native.max_history_listed", u64::from(file.native.max_history_listed)),
        ("native.socket_frames", file.native.socket_frames as u64),
        ("native.waiting_frames", file.native.waiting_frames as u64),
        ("native.socket_picture_bytes", u64::from(file.native.socket_picture_bytes)),
        ("native.heartbeat_seconds", file.native.heartbeat_seconds),
        ("native.socket_patience_seconds", file.native.socket_patience_seconds),
        ("native.conversions", file.native.conversions as u64),
        ("native.max_userdata_file_bytes", file.native.max_userdata_file_bytes as u64),
        ("native.max_userdata_bytes", file.native.max_userdata_bytes),
        ("native.max_userdata_files", u64::from(file.native.max_userdata_files)),
        ("native.editor_cache_bytes", file.native.editor_cache_bytes),
        ("native.max_forwards", file.native.max_forwards as u64),
        ("native.max_forwards_per_key", file.native.max_forwards_per_key as u64),
        ("native.forward_affinity_seconds", file.native.forward_affinity_seconds),
        ("tls.handshake_seconds", file.tls.handshake_seconds),
        ("tls.max_handshakes", file.tls.max_handshakes as u64),
        ("workflow.max_bytes", file.workflow.max_bytes as u64),
        ("workflow.max_nodes", file.workflow.max_nodes as u64),
        ("workflow.max_chain", file.workflow.max_chain as u64),
        ("workflow.max_depth", file.workflow.max_depth as u64),
        ("http.max_uploads_per_key", file.http.max_uploads_per_key as u64),
        ("workflow.max_megapixels", file.workflow.max_megapixels),
        ("workflow.max_steps", file.workflow.max_steps),
        ("engine.inbox", file.engine.inbox as u64),
        ("engine.max_output_bytes", file.engine.max_output_bytes),
        ("runner.spool_max_bytes", file.runner.spool_max_bytes),
        ("runner.max_frame_bytes", file.runner.max_frame_bytes as u64),
        ("runner.picture_threads", file.runner.picture_threads.unwrap_or(1) as u64),
        ("runner.picture_memory_bytes", file.runner.picture_memory_bytes),
        ("pictures.max_input_bytes", file.pictures.max_input_bytes),
        ("pictures.max_pixels", file.pictures.max_pixels),
        ("pictures.max_edge", u64::from(file.pictures.max_edge)),
        ("pictures.max_frames", u64::from(file.pictures.max_frames)),
        ("pictures.max_seconds", u64::from(file.pictures.max_seconds)),
        ("templates.max_names", u64::from(file.templates.max_names)),
        ("templates.max_versions", u64::from(file.templates.max_versions)),
        ("templates.max_meta_bytes", file.templates.max_meta_bytes as u64),
        ("retention.jobs_seconds", file.retention.jobs_seconds),
        ("retention.deadline_seconds", file.retention.deadline_seconds),
        ("retention.events_seconds", file.retention.events_seconds),
        ("http.feed_wait_seconds", file.http.feed_wait_seconds),
        ("outside.timeout_seconds", file.outside.timeout_seconds),
        ("outside.max_answer_bytes", file.outside.max_answer_bytes as u64),
        ("outside.per_destination", file.outside.per_destination as u64),
        ("webhooks.concurrency", file.webhooks.concurrency as u64),
        ("webhooks.per_receiver", file.webhooks.per_receiver as u64),
        ("webhooks.timeout_seconds", file.webhooks.timeout_seconds),
        ("webhooks.first_retry_ms", file.webhooks.first_retry_ms),
        ("webhooks.longest_retry_seconds", file.webhooks.longest_retry_seconds),
        ("webhooks.longest_pause_seconds", file.webhooks.longest_pause_seconds),
        ("webhooks.give_up_seconds", file.webhooks.give_up_seconds),
        ("drain_seconds", file.drain_seconds),
    ];
    for (name, value) in positive {
        if value == 0 {
            mistakes.push(format!("{name}: must be above 0"));
        }
    }
    mistakes.extend(crate::outside::Outside::mistakes(&file.outside));
    if file.http.idle_seconds <= file.http.request_timeout_seconds {
        mistakes.push("http.idle_seconds: must be above http.request_timeout_seconds".to_owned());
    }
    if file.tls.cert.is_some() != file.tls.key.is_some() {
        mistakes.push("tls: cert and key come together".to_owned());
    }
    if file.tls.client_ca.is_some() && file.tls.cert.is_none() {
        mistakes.push("tls.client_ca: needs cert and key".to_owned());
    }
    for (index, origin) in file.http.allowed_origins.iter().enumerate() {
        if !is_http_url(origin) {
            mistakes.push(format!(
                "http.allowed_origins[{index}]: \"{origin}\" is not an origin such as https://a.example"
            ));
        }
    }
}

fn is_http_url(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
}

fn scheduler_config(file: &Scheduler) -> scheduler::Config {
    let seconds = |seconds: u32| Millis::from_secs(i64::from(seconds));
    scheduler::Config {
        high_watermark: file.high_watermark,
        low_watermark: file.low_watermark,
        tenant_queue: file.tenant_queue,
        lease: seconds(file.lease_seconds),
        prefetch: file.prefetch,
        prefetch_ahead: scheduler::Millis(i64::try_from(file.prefetch_ahead_ms).unwrap_or(i64::MAX)),
        fault_limit: file.fault_limit,
        ageing: seconds(file.ageing_seconds),
        affinity_delay: seconds(file.affinity_delay_seconds),
        preemption: file.preemption,
        ..scheduler::Config::default()
    }
}

#[cfg(test)]
mod tests;
