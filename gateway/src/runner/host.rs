//! The link's end on a host: commands go to the instances, the host's own word goes to the engine.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::StartError;
use super::comfy::{Comfy, http};
use super::config::Config;
use super::forward::Forwarder;
use super::instance::{self, Handle, Homes, Host};
use super::outputs::deliver::bucket_client;
use super::outputs::process::Processor;
use super::outputs::spool::{Level, Spool};
use super::outputs::upload;
use super::spot;
use crate::link::local::{Receiver, RunnerEnd, Sender};
use crate::link::message::{Command, DeviceReport, InstanceName, Report};

/// Starts all tasks of a host.
pub(super) fn start(
    config: Config,
    link: RunnerEnd,
    closing: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<(), StartError> {
    let spool = Spool::open(&config.spool_dir, config.spool_max_bytes, config.spool_keep_for)
        .map_err(|source| StartError::Spool { dir: config.spool_dir.clone(), source })?;
    let config = Arc::new(config);
    let (cell, cell_seen) = watch::channel(None);
    let host = Host {
        lanes: Arc::new(Semaphore::new(config.max_deliveries.max(1))),
        bucket: bucket_client(&config)?,
        uploads: upload::client(&config)?,
        outside_uploads: upload::outside_client(&config)?,
        processor: Processor::new(
            config.picture_threads,
            config.picture_memory_bytes,
            config.picture_limits.clone(),
        ),
        catalogues: Arc::default(),
        homes: Arc::default(),
        reports: link.reports.clone(),
        cell: cell_seen,
        spool: Arc::new(spool),
        config: config.clone(),
    };
    let names = config.instances.iter().map(|instance| instance.name.as_str().into()).collect();
    let hello = Report::Hello { host: config.host.clone(), instances: names };
    let comfies = connect(&config)?;
    let forwarder = Forwarder::new(
        comfies.clone(),
        link.reports.clone(),
        config.max_forwards.max(1),
        closing.clone(),
        tasks.clone(),
    );
    let instances = start_instances(&host, comfies, closing, tasks);
    let (level, homes) = (host.spool.level(), host.homes.clone());
    let reports = link.reports;
    let nvml = config.nvml.as_ref().map(|nvml| nvml.reports());
    let (plain, server) = (http::client(&config, "http:")?, config.spot_notice.clone());
    let closing = closing.clone();
    tasks.spawn(async move {
        let serving = async {
            if reports.send(hello).await.is_err() {
                return;
            }
            tokio::select! {
                () = take_commands(link.commands, cell, &instances, &homes, &forwarder) => {}
                () = tell_level(level, &reports) => {}
                () = tell_devices(nvml, &reports) => {}
                () = spot::watch(plain, server, &reports) => {}
            }
        };
        tokio::select! {
            () = closing.cancelled() => {}
            // the engine is gone: there is nobody to work for
            () = serving => closing.cancel(),
        }
    });
    Ok(())
}

/// The clients of all instances. Those over plain HTTP share a connection pool.
fn connect(config: &Config) -> Result<HashMap<InstanceName, Comfy>, StartError> {
    let plain = http::client(config, "http:")?;
    let mut comfies = HashMap::new();
    for instance in &config.instances {
        let client = if instance.url.starts_with("https:") {
            http::client(config, &instance.url)?
        } else {
            plain.clone()
        };
        comfies.insert(instance.name.as_str().into(), Comfy::new(client, &instance.url, config));
    }
    Ok(comfies)
}

fn start_instances(
    host: &Host,
    mut comfies: HashMap<InstanceName, Comfy>,
    closing: &CancellationToken,
    tasks: &TaskTracker,
) -> HashMap<InstanceName, Handle> {
    let configs = host.config.instances.iter();
    let started = configs.filter_map(|config| {
        let comfy = comfies.remove(config.name.as_str())?;
        let handle = instance::start(host.clone(), config.clone(), comfy, closing, tasks);
        Some((handle.name.clone(), handle))
    });
    started.collect()
}

async fn take_commands(
    mut commands: Receiver<Command>,
    cell: watch::Sender<Option<Uuid>>,
    instances: &HashMap<InstanceName, Handle>,
    homes: &Homes,
    forwarder: &Forwarder,
) {
    while let Some(command) = commands.recv().await {
        match command {
            Command::Welcome { cell: id } => {
                cell.send_replace(Some(id));
            }
            Command::Forward(request) => forwarder.begin(*request),
            Command::ForwardMore { id, more } => forwarder.go_on(id, more),
            command => give(command, instances, homes).await,
        }
    }
}

/// Gives a command to the instance it is for.
async fn give(command: Command, instances: &HashMap<InstanceName, Handle>, homes: &Homes) {
    match target(&command, homes) {
        Some(name) => match instances.get(&name) {
            Some(handle) => drop(handle.commands.send(command).await),
            None => tracing::warn!(instance = %name, "command for an instance that is not here"),
        },
        // an attempt from before a restart: whoever holds something of it lets it go
        None => {
            for handle in instances.values() {
                drop(handle.commands.send(command.clone()).await);
            }
        }
    }
}

/// The instance that a command is for; `None`: whichever knows of it.
fn target(command: &Command, homes: &Homes) -> Option<InstanceName> {
    match command {
        Command::Dispatch(dispatch) | Command::LookUp { dispatch, .. } => Some(dispatch.instance.clone()),
        Command::Withdraw { instance, .. }
        | Command::Preempt { instance, .. }
        | Command::Free { instance }
        | Command::Restart { instance }
        | Command::SendCatalogue { instance } => Some(instance.clone()),
        Command::Grant { attempt, .. } | Command::Settle { attempt } => homes.of(*attempt),
        Command::Welcome { .. } | Command::Forward(_) | Command::ForwardMore { .. } => None,
    }
}

async fn tell_level(mut level: watch::Receiver<Level>, reports: &Sender<Report>) {
    loop {
        let Level { full, bytes } = *level.borrow_and_update();
        if reports.send(Report::Spool { full, bytes }).await.is_err() || level.changed().await.is_err() {
            return;
        }
    }
}

async fn tell_devices(nvml: Option<watch::Receiver<DeviceReport>>, reports: &Sender<Report>) {
    let Some(mut nvml) = nvml else { return std::future::pending().await };
    loop {
        let report = nvml.borrow_and_update().clone();
        if reports.send(Report::Devices(report)).await.is_err() {
            return;
        }
        if nvml.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}
