//! The configuration file, setting by setting. `gateway.example.toml` is checked against these defaults.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::network::Network;
use crate::outbox::TenantWebhook;
use crate::pictures;
use crate::store::{Allowed, TenantDraft, TenantLimits, TenantSettings};

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

section! {
    /// The whole file.
    File {
        /// Address and port.
        listen: String = "127.0.0.1:8190".to_owned(),
        /// Folder of SQLite, spool and local artifacts.
        data_dir: PathBuf = PathBuf::from("data"),
        /// Base of absolute URLs in answers.
        public_url: Option<String> = None,
        /// `sqlite:<path>`; unset: in `data_dir`.
        database_url: Option<String> = None,
        /// `file:<folder>` or `s3://<bucket>/<prefix>?endpoint=…&region=…`; unset: in `data_dir`.
        artifacts: Option<String> = None,
        /// How long jobs that run may take to finish when the process is asked to end, seconds.
        drain_seconds: u64 = 30,
        /// Whether downloads from the store of `artifacts` are sent to a signed URL of it, where it has any.
        artifacts_redirect: bool = true,
        /// Further stores, by name, for deliverables.
        sinks: Vec<SinkConfig> = Vec::new(),
        /// The ComfyUI servers.
        instances: Vec<Instance> = Vec::new(),
        /// Further listeners of this machine, each bound to one key.
        listeners: Vec<BoundListener> = Vec::new(),
        /// Tenants that are defined here, and changed here only.
        tenants: Vec<Tenant> = Vec::new(),
        /// Logs.
        log: Log = Log::default(),
        /// The HTTP faces.
        http: Http = Http::default(),
        /// TLS of the listener.
        tls: Tls = Tls::default(),
        /// ComfyUI's own API.
        native: Native = Native::default(),
        /// Bounds of a workflow.
        workflow: Workflow = Workflow::default(),
        /// Who waits, who runs, where.
        scheduler: Scheduler = Scheduler::default(),
        /// The engine.
        engine: Engine = Engine::default(),
        /// The runner beside the instances.
        runner: Runner = Runner::default(),
        /// Bounds of the work on one picture.
        pictures: pictures::Limits = pictures::Limits::default(),
        /// Readings of the GPUs.
        nvml: Nvml = Nvml::default(),
        /// Stored workflows.
        templates: Templates = Templates::default(),
        /// What GPU time costs.
        prices: Prices = Prices::default(),
        /// How long things are kept.
        retention: Retention = Retention::default(),
        /// URLs that callers name.
        outside: Outside = Outside::default(),
        /// Events sent to receivers.
        webhooks: Webhooks = Webhooks::default(),
    }
}

section! {
    /// A store beside the gateway's own.
    SinkConfig {
        /// What jobs and tenants call it: 1 to 64 of a-z, 0-9, '-', '_'.
        name: String = String::new(),
        /// Where it is, as in `artifacts`.
        url: String = String::new(),
        /// Whether downloads are sent to a signed URL of it, where it has any.
        redirect: bool = true,
    }
}

section! {
    /// One ComfyUI server.
    Instance {
        /// Name in logs, metrics and answers; unset: its URL.
        name: String = String::new(),
        /// Its base URL.
        url: String = String::new(),
        /// Class of its device (`t4`, `v100`, `a100` …); unset: from the name ComfyUI reports.
        device_class: Option<String> = None,
        /// Speed in thousandths of the reference class; unset: a prior by class.
        speed_milli: Option<u32> = None,
        /// Memory it may use, MiB; unset: what it reports.
        vram_mib: Option<u32> = None,
        /// UUID of its device (`GPU-…`); unset: found through the process that listens on its port.
        device_uuid: Option<String> = None,
        /// Its output folder, where it can be reached: stored files are removed from it.
        output_folder: Option<PathBuf> = None,
        /// Speed by model family (`sd15`, `sdxl`, `flux`, `video`); unset: priors by class.
        family_speeds: BTreeMap<String, u32> = BTreeMap::new(),
        /// Rate of the disk that holds its models, MiB/s; unset: a prior by class.
        disk_mib_s: Option<u32> = None,
        /// Rate from host RAM to its device, MiB/s; unset: a prior by class.
        pcie_mib_s: Option<u32> = None,
        /// Host RAM that keeps model files, MiB; unset: two thirds of what the machine has.
        host_cache_mib: Option<u32> = None,
        /// Its folder of models, where it can be reached: the sizes of the files are read from it.
        models_dir: Option<PathBuf> = None,
    }
}

section! {
    /// A listener for clients of this machine that can send no key: what comes there without one counts as made with its.
    BoundListener {
        /// Loopback address and port.
        listen: String = String::new(),
        /// File that holds the key; blanks around it do not count.
        key_file: PathBuf = PathBuf::new(),
    }
}

section! {
    /// One tenant.
    Tenant {
        /// Its name.
        name: String = String::new(),
        /// Share against other tenants.
        weight: u32 = 1,
        /// Most attempts on devices at once; unset: no bound.
        concurrency: Option<u32> = None,
        /// How much it may have, ask for and keep.
        limits: TenantLimits = TenantLimits::default(),
        /// What its workflows may use.
        allow: Allowed = Allowed::default(),
        /// Names of the sinks its jobs may ask for.
        sinks: Vec<String> = Vec::new(),
        /// The sink of a job that asks for none; unset: the gateway's own store.
        sink: Option<String> = None,
        /// What is done to its pictures; a job chooses within it.
        pictures: pictures::Policy = pictures::Policy::default(),
        /// Where its events go, and how they are signed.
        webhook: Option<TenantWebhook> = None,
    }
}

impl Tenant {
    /// As the store has it.
    #[must_use]
    pub fn draft(&self) -> TenantDraft {
        TenantDraft {
            name: self.name.clone(),
            weight: self.weight,
            concurrency: self.concurrency.unwrap_or(u32::MAX),
            settings: TenantSettings {
                limits: self.limits.clone(),
                allow: self.allow.clone(),
                sinks: self.sinks.clone(),
                sink: self.sink.clone(),
                pictures: self.pictures.clone(),
                webhook: self.webhook.clone(),
            },
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

section! {
    /// Logs.
    Log {
        /// `tracing` filter, such as `info,gateway=debug`.
        filter: String = "info".to_owned(),
        /// `json` or `pretty`.
        format: LogFormat = LogFormat::Json,
    }
}

section! {
    /// The HTTP faces.
    Http {
        /// A JSON body, bytes.
        max_body_bytes: usize = 8 << 20,
        /// An uploaded file, bytes.
        max_asset_bytes: u64 = 100 << 20,
        /// Event streams of one key at once.
        max_streams_per_key: usize = 10_000,
        /// Jobs of one request that is about many: a batch, a cancellation, a question for statuses.
        max_batch_jobs: usize = 100,
        /// Uploads of one key at once.
        max_uploads_per_key: usize = 64,
        /// How long a request may take, seconds (uploads and streams have their own clocks).
        request_timeout_seconds: u64 = 30,
        /// Longest wait of a request for events, seconds.
        feed_wait_seconds: u64 = 60,
        /// Web origins that may call from a browser.
        allowed_origins: Vec<String> = Vec::new(),
        /// Addresses of proxies (`10.0.0.0/8`, `::1`) whose `X-Forwarded-*` headers are believed.
        trusted_proxies: Vec<Network> = Vec::new(),
        /// Open connections.
        max_connections: usize = 20_000,
        /// Longest silence of a connection, of a reader of what an instance answers, and longest time for the head of a
        /// request, seconds.
        idle_seconds: u64 = 75,
    }
}

section! {
    /// ComfyUI's own API.
    Native {
        /// The web editor, served at `/`: a folder, the name of an instance that serves it, or `any`; unset: none.
        editor: Option<PathBuf> = None,
        /// Files of the editor that are kept where it comes from an instance, bytes of all together.
        editor_cache_bytes: u64 = 64 << 20,
        /// Most jobs that `/queue` lists.
        max_queue_listed: u32 = 1_000,
        /// Most jobs that one answer of `/history` or `/api/jobs` lists.
        max_history_listed: u32 = 1_000,
        /// Most of a tenant's uploads that `/object_info` offers, the newest ones.
        max_uploads_listed: u32 = 1_000,
        /// Frames that may wait for one socket; one that does not read them is closed.
        socket_frames: usize = 256,
        /// Frames of all jobs that may wait to be given to sockets; more are dropped.
        waiting_frames: usize = 8_192,
        /// Pictures that are given to sockets at the end of jobs, bytes of all together.
        socket_picture_bytes: u32 = 128 << 20,
        /// How often a silent socket is told how many jobs are left, seconds.
        heartbeat_seconds: u64 = 5,
        /// How long a socket may take to read one frame, seconds.
        socket_patience_seconds: u64 = 20,
        /// Pictures that are converted for `/view` and masks that are applied at once.
        conversions: usize = 2,
        /// One file of the editor's (`/userdata`), bytes.
        max_userdata_file_bytes: usize = 8 << 20,
        /// Such files of one tenant, bytes.
        max_userdata_bytes: u64 = 128 << 20,
        /// Such files of one tenant.
        max_userdata_files: u32 = 1_000,
        /// Paths of custom nodes that are passed on to an instance.
        forward: Vec<Forward> = Vec::new(),
        /// Requests that are passed on at once.
        max_forwards: usize = 64,
        /// Those of one key.
        max_forwards_per_key: usize = 16,
        /// How long a client that was away is remembered to belong to an instance, seconds.
        forward_affinity_seconds: u64 = 3_600,
    }
}

section! {
    /// Paths of custom nodes that are passed on to an instance.
    Forward {
        /// What they begin with, whole parts only; with or without `/api`, both are passed on.
        prefix: String = String::new(),
        /// `GET` (and `HEAD`), `POST`, `PUT`, `PATCH`, `DELETE`.
        methods: Vec<String> = vec!["GET".to_owned(), "POST".to_owned()],
        /// Names of the instances that may get them; empty: any.
        instances: Vec<String> = Vec::new(),
        /// Whether jobs of a client go where its requests went; wants names of instances.
        jobs: bool = false,
        /// Names of the tenants that may send them; empty: all.
        tenants: Vec<String> = Vec::new(),
        /// Names of headers that pass in both directions beside the usual ones.
        headers: Vec<String> = Vec::new(),
        /// The body of a request, bytes.
        max_body_bytes: u64 = 100 << 20,
        /// How long the instance may be silent, before its answer and within it, seconds.
        timeout_seconds: u64 = 60,
    }
}

impl Forward {
    /// The prefix without `/api` and without a slash at its end.
    #[must_use]
    pub fn bare_prefix(&self) -> &str {
        let prefix = self.prefix.trim_end_matches('/');
        prefix.strip_prefix("/api").filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(prefix)
    }
}

section! {
    /// TLS of the listener.
    Tls {
        /// The chain shown to clients, PEM; unset: no TLS.
        cert: Option<PathBuf> = None,
        /// Its private key, PEM.
        key: Option<PathBuf> = None,
        /// Authorities of clients, PEM; set: only clients with a certificate of theirs may connect.
        client_ca: Option<PathBuf> = None,
        /// How long a handshake may take, seconds.
        handshake_seconds: u64 = 10,
        /// Handshakes at once; more wait.
        max_handshakes: usize = 256,
    }
}

section! {
    /// Bounds of a workflow.
    Workflow {
        /// JSON text, bytes.
        max_bytes: usize = 4 << 20,
        /// Nodes.
        max_nodes: usize = 2_000,
        /// Longest chain of nodes: ComfyUI's work for one grows with its square.
        max_chain: usize = 400,
        /// Nesting of the JSON text.
        max_depth: usize = 64,
        /// Pixels of all pictures that one node may make at once, in units of 1024 × 1024.
        max_megapixels: u64 = 4_096,
        /// Steps of one node.
        max_steps: u64 = 10_000,
        /// Input files that lie on every instance and may be named by anyone.
        shared_inputs: Vec<String> = Vec::new(),
    }
}

section! {
    /// Who waits, who runs, where.
    Scheduler {
        /// The backlog is full at this many jobs …
        high_watermark: u32 = 1_000_000,
        /// … and opens again at this many.
        low_watermark: u32 = 950_000,
        /// Waiting jobs of one tenant.
        tenant_queue: u32 = 500_000,
        /// Length of a placement lease, seconds.
        lease_seconds: u32 = 60,
        /// Prompts given to an instance behind the one it runs: 0 or 1.
        prefetch: u32 = 1,
        /// How long before an instance is predicted to be free it is given the next prompt, milliseconds.
        prefetch_ahead_ms: u64 = 100,
        /// Deaths of its instance that make a running job poison.
        fault_limit: u32 = 3,
        /// Waiting this long doubles what a job counts while little else waits, seconds.
        ageing_seconds: u32 = 30,
        /// How long a job may wait for a busy instance that holds its models, seconds.
        affinity_delay_seconds: u32 = 120,
        /// Running work gives its place to interactive or urgent work when that saves this many times the work that is
        /// lost; 0: never.
        preemption: u32 = 0,
        /// Memory kept free on every device, MiB.
        reserve_mib: u32 = 512,
    }
}

section! {
    /// The engine.
    Engine {
        /// Messages that may wait for it.
        inbox: usize = 4_096,
        /// Workflows kept in memory between submit and dispatch, bytes.
        body_cache_bytes: u64 = 16 << 20,
        /// One output file, bytes.
        max_output_bytes: u64 = 4 << 30,
    }
}

section! {
    /// The runner beside the instances.
    Runner {
        /// Name of this host; unset: the machine's.
        host: Option<String> = None,
        /// Outputs on disk that wait for their store, bytes.
        spool_max_bytes: u64 = 20 << 30,
        /// One WebSocket message of ComfyUI, bytes.
        max_frame_bytes: usize = 64 << 20,
        /// Least time without progress that counts as hanging, seconds.
        hang_seconds: u64 = 600,
        /// How often an instance's catalogue is read again, seconds.
        catalogue_refresh_seconds: u64 = 600,
        /// Metadata server that gives notice before a spot machine is taken away; unset: that of Compute Engine on its
        /// machines; empty: none.
        spot_notice: Option<String> = None,
        /// Pictures that are worked on at the same time; unset: half of the cores.
        picture_threads: Option<usize> = None,
        /// What decoding may take altogether, bytes; a picture that takes more has it for itself.
        picture_memory_bytes: u64 = 1 << 30,
        /// Put every message of the link through JSON, as between machines.
        serialise_link: bool = false,
    }
}

section! {
    /// Readings of the GPUs.
    Nvml {
        /// Whether to read them at all.
        enabled: bool = true,
        /// The library; unset: `libnvidia-ml.so.1`.
        library: Option<PathBuf> = None,
    }
}

section! {
    /// Stored workflows.
    Templates {
        /// Names of one tenant.
        max_names: u32 = 1_000,
        /// Versions of one name.
        max_versions: u32 = 1_000,
        /// What a template carries for people, bytes of JSON.
        max_meta_bytes: usize = 16 << 10,
    }
}

section! {
    /// What GPU time costs, in millionths of the currency.
    Prices {
        /// Code of the currency (ISO 4217).
        currency: String = "CNY".to_owned(),
        /// One second on a device, by its class; a class that is not here costs nothing.
        per_gpu_second: BTreeMap<String, u64> = BTreeMap::new(),
        /// Least price of a job that succeeded.
        minimum_per_job: u64 = 0,
    }
}

section! {
    /// How long things are kept.
    Retention {
        /// Jobs and their outputs after their end, seconds.
        jobs_seconds: u64 = 7 * 24 * 3600,
        /// Total deadline of a job that asks for none, seconds.
        deadline_seconds: u64 = 24 * 3600,
        /// Events of the feed, and webhooks that could not be delivered, seconds.
        events_seconds: u64 = 7 * 24 * 3600,
    }
}

section! {
    /// URLs that callers name: webhooks, tickets, inputs. By default https to the public internet and nothing else.
    Outside {
        /// Hosts, domains (`*.a.example`), addresses and networks that may be reached although they are private.
        allow: Vec<String> = Vec::new(),
        /// Hosts, domains, addresses and networks to which plain http is taken too.
        allow_http: Vec<String> = Vec::new(),
        /// Hosts, domains, addresses and networks that are never reached.
        deny: Vec<String> = Vec::new(),
        /// Ports; empty: any.
        ports: Vec<u16> = vec![80, 443, 8443],
        /// One request, answer included, seconds.
        timeout_seconds: u64 = 10,
        /// The body of an answer, bytes.
        max_answer_bytes: usize = 1 << 20,
        /// Requests to one destination at once.
        per_destination: usize = 16,
    }
}

section! {
    /// Events sent to receivers.
    Webhooks {
        /// Deliveries under way, to all receivers together; one tenant gets a quarter of them.
        concurrency: usize = 256,
        /// Deliveries under way to one receiver that answers well.
        per_receiver: usize = 8,
        /// How long a receiver may take to answer, seconds.
        timeout_seconds: u64 = 10,
        /// Pause before an event is sent again, milliseconds; it doubles with each try …
        first_retry_ms: u64 = 1_000,
        /// … up to this many seconds.
        longest_retry_seconds: u64 = 3_600,
        /// Longest pause of a receiver that fails, whatever the events that wait for it, seconds.
        longest_pause_seconds: u64 = 60,
        /// Age of an event at which no more is tried, seconds.
        give_up_seconds: u64 = 24 * 3600,
    }
}
