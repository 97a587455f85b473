//! A gateway, its data and its fleet, made for one story.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Output};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use comfyui_sim::{Config, Device, Pace, Simulator};
use tempfile::TempDir;

use crate::api::Api;
use crate::program::{self, Program};
use crate::wait::{self, SOON};

/// How often a start may lose its port to somebody else.
const PORT_TRIES: usize = 5;

/// What a sandbox is made of.
#[derive(Default)]
pub struct Plan {
    simulators: Vec<Config>,
    settings: Option<String>,
    keyed: bool,
}

impl Plan {
    /// Adds a simulated GPU that takes no time for anything but sleeping nodes.
    #[must_use]
    pub fn gpu(self, device: Device) -> Self {
        self.simulator(Config { device, ..Config::default() })
    }

    /// Adds a simulated GPU with a pace of its own.
    #[must_use]
    pub fn paced(self, device: Device, step: Duration) -> Self {
        let pace = Pace { step, node: Duration::from_millis(1) };
        self.simulator(Config { device, pace, ..Config::default() })
    }

    /// Adds a simulator.
    #[must_use]
    pub fn simulator(mut self, config: Config) -> Self {
        self.simulators.push(config);
        self
    }

    /// Uses a configuration file with these settings; instances are then called `gpu-0`, `gpu-1`, … Without it the
    /// environment alone configures the gateway.
    #[must_use]
    pub fn settings(mut self, toml: &str) -> Self {
        self.settings = Some(toml.to_owned());
        self
    }

    /// Creates an administrator's key before the first start; [`Sandbox::api`] then carries it.
    #[must_use]
    pub fn keyed(mut self) -> Self {
        self.keyed = true;
        self
    }

    /// Starts it all; returns when the gateway takes jobs and every simulator is known to it.
    ///
    /// # Errors
    /// When something does not start; the error tells what to run when it was not built.
    pub async fn start(self) -> anyhow::Result<Sandbox> {
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        let mut simulators = Vec::new();
        for config in self.simulators {
            simulators.push(Simulator::start(config).await?);
        }
        let mut sandbox = Sandbox {
            port: 0,
            api: Api::new("http://127.0.0.1:0")?,
            gateway: None,
            key: None,
            settings: self.settings,
            simulators,
            folder,
        };
        sandbox.write_settings()?;
        if self.keyed {
            let made = sandbox.key(&["create", "--tenant", "admin", "--scope", "admin"]).await?;
            ensure!(made.status.success(), "no key: {}", String::from_utf8_lossy(&made.stderr));
            sandbox.key = Some(String::from_utf8(made.stdout)?.trim().to_owned());
        }
        sandbox.first_start().await?;
        sandbox.all_known().await?;
        Ok(sandbox)
    }
}

/// A running gateway with its fleet. Everything ends when it is dropped.
pub struct Sandbox {
    port: u16,
    api: Api,
    gateway: Option<Program>,
    key: Option<String>,
    settings: Option<String>,
    simulators: Vec<Simulator>,
    folder: TempDir,
}

impl Sandbox {
    /// An empty plan.
    pub fn plan() -> Plan {
        Plan::default()
    }

    /// The gateway's client. After a restart ask again: the old one holds connections of the old process.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// The simulators, in the order of the plan.
    pub fn gpus(&self) -> &[Simulator] {
        &self.simulators
    }

    /// Submissions that any simulator got, refused ones included.
    pub fn posts(&self) -> u64 {
        self.simulators.iter().map(|simulator| simulator.observed().posts).sum()
    }

    /// A path in the sandbox's own folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Ends the gateway as a crash would.
    ///
    /// # Errors
    /// When the system does not obey.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        match self.gateway.take() {
            Some(mut gateway) => gateway.kill().await,
            None => Ok(()),
        }
    }

    /// Starts the gateway again on the same data and port; returns when it takes jobs.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        self.kill().await?;
        self.spawn()?;
        self.ready().await
    }

    /// Asks the gateway to end and goes on.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn terminate(&self) -> anyhow::Result<()> {
        self.gateway.as_ref().context("no gateway runs")?.terminate().await
    }

    /// Waits for the gateway's end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn exit(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        let status = self.gateway.as_mut().context("no gateway runs")?.exit(within).await?;
        self.gateway = None;
        Ok(status)
    }

    /// Runs `gateway key …` on the sandbox's data.
    ///
    /// # Errors
    /// When it cannot be run.
    pub async fn key(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let arguments: Vec<&str> = std::iter::once("key").chain(arguments.iter().copied()).collect();
        Ok(program::command("gateway", &arguments)?.envs(self.environment()).output().await?)
    }

    /// Creates a key and returns it.
    ///
    /// # Errors
    /// When none is made.
    pub async fn new_key(&self, tenant: &str, scope: &str) -> anyhow::Result<String> {
        let made = self.key(&["create", "--tenant", tenant, "--scope", scope]).await?;
        ensure!(made.status.success(), "no key: {}", String::from_utf8_lossy(&made.stderr));
        Ok(String::from_utf8(made.stdout)?.trim().to_owned())
    }

    /// Starts a backend-api that speaks to this gateway; returns it with a client without credentials.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn backend(&self) -> anyhow::Result<(Program, Api)> {
        self.backend_with("").await
    }

    /// The same with settings of its own, as TOML.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn backend_with(&self, settings: &str) -> anyhow::Result<(Program, Api)> {
        self.backend_as(settings, &[]).await
    }

    /// The same with variables of its own; several share one database. In the settings, `{base}` is its address.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn backend_as(
        &self,
        settings: &str,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<(Program, Api)> {
        self.backend_at(program::free_port()?, settings, variables).await
    }

    /// The same on a port of the caller's choice, for one that is killed and comes again.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn backend_at(
        &self,
        port: u16,
        settings: &str,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<(Program, Api)> {
        let base = format!("http://127.0.0.1:{port}");
        std::fs::write(self.backend_settings(port), settings.replace("{base}", &base))
            .context("cannot write settings")?;
        let mut env = self.backend_environment(port);
        env.extend(variables.iter().flat_map(|(name, value)| pairs(&[(name, (*value).to_owned())])));
        let mut backend = Program::serve("backend-api", &env, &self.path(&format!("backend-{port}.log")))?;
        let api = Api::new(base)?;
        ready(&mut backend, &api).await?;
        Ok((backend, api))
    }

    /// Runs a command of `backend-api` with the settings and on the data of the one at this port.
    ///
    /// # Errors
    /// When it cannot be run.
    pub async fn backend_command(&self, port: u16, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = program::command("backend-api", arguments)?;
        Ok(command.envs(self.backend_environment(port)).output().await?)
    }

    fn backend_settings(&self, port: u16) -> PathBuf {
        self.path(&format!("backend-{port}.toml"))
    }

    fn backend_environment(&self, port: u16) -> Vec<(OsString, OsString)> {
        let mut env = pairs(&[
            ("BACKEND_LISTEN", format!("127.0.0.1:{port}")),
            ("BACKEND_DATA_DIR", self.path("backend").display().to_string()),
            ("BACKEND_GATEWAY_URL", self.api.base().to_owned()),
            ("BACKEND_CONFIG", self.backend_settings(port).display().to_string()),
        ]);
        env.extend(self.key.iter().flat_map(|key| pairs(&[("BACKEND_GATEWAY_KEY", key.clone())])));
        env
    }

    /// Waits until the gateway can use every simulator that runs.
    ///
    /// # Errors
    /// When it cannot in time.
    pub async fn all_known(&self) -> anyhow::Result<()> {
        let running = self.simulators.iter().filter(|simulator| simulator.is_running()).count();
        wait::until("the gateway to know its instances", SOON, async || {
            let fleet = self.api.get("/v1/fleet").await?.expect(200)?.json()?;
            let up = fleet["instances"].as_array().into_iter().flatten();
            Ok((up.filter(|instance| instance["state"] != "down").count() >= running).then_some(()))
        })
        .await
    }

    async fn first_start(&mut self) -> anyhow::Result<()> {
        let mut lost = 0;
        loop {
            self.port = program::free_port()?;
            self.spawn()?;
            match self.ready().await {
                Err(error) if lost < PORT_TRIES && format!("{error:#}").contains("cannot listen") => {
                    lost += 1
                }
                other => return other,
            }
        }
    }

    fn spawn(&mut self) -> anyhow::Result<()> {
        let api = Api::new(format!("http://127.0.0.1:{}", self.port))?;
        self.api = self.key.as_ref().map_or(api.clone(), |key| api.with_key(key));
        self.gateway = Some(Program::serve("gateway", &self.environment(), &self.path("gateway.log"))?);
        Ok(())
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let gateway = self.gateway.as_mut().context("no gateway runs")?;
        ready(gateway, &self.api).await
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        let mut env = pairs(&[
            ("GATEWAY_LISTEN", format!("127.0.0.1:{}", self.port)),
            ("GATEWAY_DATA_DIR", self.path("data").display().to_string()),
            ("GATEWAY_LOG", "info,gateway=debug".to_owned()),
        ]);
        let file = self.path("gateway.toml").display().to_string();
        let urls: Vec<String> = self.simulators.iter().map(Simulator::url).collect();
        env.extend(match self.settings {
            Some(_) => pairs(&[("GATEWAY_CONFIG", file)]),
            None => pairs(&[("GATEWAY_INSTANCES", urls.join(","))]),
        });
        env
    }

    fn write_settings(&self) -> anyhow::Result<()> {
        let Some(settings) = &self.settings else { return Ok(()) };
        let mut text = format!("{settings}\n");
        for (index, simulator) in self.simulators.iter().enumerate() {
            text += &format!("[[instances]]\nname = \"gpu-{index}\"\nurl = \"{}\"\n", simulator.url());
        }
        Ok(std::fs::write(self.path("gateway.toml"), text)?)
    }
}

fn pairs(pairs: &[(&str, String)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// Waits until a program serves, or tells why it does not.
///
/// # Errors
/// When it ends, or is not ready in time.
pub async fn ready(program: &mut Program, api: &Api) -> anyhow::Result<()> {
    wait::until("readiness", SOON, async || {
        if let Some(status) = program.ended()? {
            anyhow::bail!("it ended with {status}:\n{}", program.tail());
        }
        let answer = api.get("/readyz").await;
        Ok(answer.is_ok_and(|answer| answer.status == 200).then_some(()))
    })
    .await
}
