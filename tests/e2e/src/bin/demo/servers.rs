//! The gateway and backend-api of the demo.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use e2e::api::Api;
use e2e::program::Program;
use e2e::sandbox;
use e2e::wait::{self, SOON};
use e2e::wechat::Wechat;

use crate::fleet::Fleet;
use crate::person;

/// Where they listen unless somebody else does: the defaults of DESIGN §11.
const FIRST_PORTS: (u16, u16) = (8190, 8191);
/// Ports tried from there on.
const PORT_TRIES: u16 = 100;
/// How long they may take to end: asked once, asked again, then killed. All of it is less than 5 s.
const PATIENCE: [Duration; 2] = [Duration::from_millis(1500), Duration::from_millis(1500)];

/// Both servers, with clients.
pub struct Servers {
    pub gateway: Api,
    pub backend: Api,
    programs: [Program; 2],
}

impl Servers {
    /// Starts both; [`Servers::ready`] waits for them.
    pub fn start(fleet: &Fleet, wechat: &Wechat, folder: &Path) -> anyhow::Result<Self> {
        let gateway_port = free_port(FIRST_PORTS.0, &[])?;
        let backend_port = free_port(FIRST_PORTS.1, &[gateway_port])?;
        let at = |port| format!("127.0.0.1:{port}");
        let data = |name: &str| folder.join(name).into_os_string();
        let gateway = Api::new(format!("http://{}", at(gateway_port)))?;
        let gateway_settings = folder.join("gateway.toml");
        std::fs::write(&gateway_settings, Wechat::gateway_settings()).context("cannot write settings")?;
        let gateway_env = [
            ("GATEWAY_CONFIG".into(), gateway_settings.into_os_string()),
            ("GATEWAY_LISTEN".into(), at(gateway_port).into()),
            ("GATEWAY_INSTANCES".into(), fleet.urls().join(",").into()),
            ("GATEWAY_DATA_DIR".into(), data("gateway")),
        ];
        let backend = Api::new(format!("http://{}", at(backend_port)))?;
        wechat.lead_to(&backend);
        let generation = Wechat::generation(backend.base(), person::TEMPLATE, person::COSTS);
        let backend_settings = folder.join("backend-api.toml");
        std::fs::write(&backend_settings, wechat.settings() + &generation)
            .context("cannot write settings")?;
        let backend_env = [
            ("BACKEND_CONFIG".into(), backend_settings.into_os_string()),
            ("BACKEND_LISTEN".into(), at(backend_port).into()),
            ("BACKEND_DATA_DIR".into(), data("backend")),
            ("BACKEND_GATEWAY_URL".into(), gateway.base().into()),
        ];
        Ok(Self {
            backend,
            gateway,
            programs: [
                Program::serve("gateway", &gateway_env, &folder.join("gateway.log"))?,
                Program::serve("backend-api", &backend_env, &folder.join("backend-api.log"))?,
            ],
        })
    }

    /// Waits until both serve and the gateway has found every GPU.
    pub async fn ready(&mut self, gpus: usize) -> anyhow::Result<()> {
        let [gateway, backend] = &mut self.programs;
        sandbox::ready(gateway, &self.gateway).await.context("the gateway does not start")?;
        sandbox::ready(backend, &self.backend).await.context("backend-api does not start")?;
        wait::until("the GPUs to answer", SOON, async || {
            let fleet = self.gateway.get("/v1/fleet").await?.expect(200)?.json()?;
            let found = fleet["instances"].as_array().into_iter().flatten();
            Ok((found.filter(|instance| instance["state"] != "down").count() >= gpus).then_some(()))
        })
        .await
    }

    /// Ends both, by force if need be. What goes wrong here has nobody left to care.
    pub async fn stop(self) {
        let [gateway, backend] = self.programs;
        tokio::join!(end(gateway), end(backend));
    }
}

async fn end(mut program: Program) {
    for patience in PATIENCE {
        let _ = program.terminate().await;
        if program.exit(patience).await.is_ok() {
            return;
        }
    }
    let _ = program.kill().await;
}

/// The first port from `first` on that nobody listens on and that is not spoken for.
fn free_port(first: u16, taken: &[u16]) -> anyhow::Result<u16> {
    let is_free =
        |port: &u16| !taken.contains(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (first..first + PORT_TRIES).find(is_free).with_context(|| format!("no free port from {first} on"))
}
