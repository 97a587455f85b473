//! Composition root: opens the database, builds the gateway client, serves, and owns the drain order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::config::Config;
use crate::db::Database;
use crate::gateway_client::GatewayClient;
use crate::generation::{self, Generation};
use crate::health::Health;
use crate::http;
use crate::identity::{self, Identity, Partner};
use crate::metrics::Metrics;
use crate::money::{self, Chores, Money};
use crate::wechat::Platform;
use crate::wechat::events::Push;

/// Who people are; `None` when no secret is configured.
fn identity(
    config: &Config,
    database: &Database,
    wechat: Option<Platform>,
    money: &Money,
    generation: Option<&Generation>,
) -> Option<Identity> {
    // each part that holds something of people adds itself here
    let mut parts: Vec<Arc<dyn identity::Erasable>> = vec![Arc::new(money.orders.clone())];
    if let Some(generation) = generation {
        parts.push(Arc::new(generation.clone()));
        parts.push(Arc::new(generation::Photos(generation.clone())));
    }
    let services =
        identity::Services { database: database.clone(), wechat, appid: config.wechat.app_id.clone(), parts };
    Identity::new(&config.identity, services)
}

/// What is sold, who pays, and the books.
fn money(
    config: &Config,
    database: &Database,
    wechat: Option<&Platform>,
    metrics: &Metrics,
) -> anyhow::Result<Money> {
    let families = money::Metrics::new();
    families.register(metrics);
    Money::new(&config.money, database.clone(), wechat, families).context("cannot set up payments")
}

/// What is made; `None` when nothing is offered, or nobody could ask for it.
fn generation(
    config: &Config,
    database: &Database,
    gateway: &GatewayClient,
    wechat: Option<&Platform>,
    metrics: &Metrics,
) -> Option<Generation> {
    let families = generation::Metrics::new();
    families.register(metrics);
    let options = config.generation.clone()?;
    let services = generation::Services {
        database: database.clone(),
        gateway: gateway.clone(),
        wechat: wechat.cloned(),
        appid: config.wechat.app_id.clone(),
        key: identity::pictures_key(&config.identity)?,
        metrics: families,
    };
    Some(Generation::new(options, services))
}

/// How pushed events are signed.
fn push(config: &Config) -> anyhow::Result<Option<Push>> {
    let Some((settings, app_id)) = config.wechat.push.as_ref().zip(config.wechat.app_id.as_ref()) else {
        return Ok(None);
    };
    let push = Push::new(app_id, settings.token.clone(), settings.key.as_ref());
    push.map(Some).context("wechat.push_key cannot be used")
}

/// A running backend-api.
pub struct App {
    address: SocketAddr,
    close_door: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
    live: Option<generation::Live>,
    chores: (Chores, Option<generation::Chores>),
    drain_timeout: Duration,
    database: Database,
}

impl App {
    /// Migrates the database, binds the listener and starts to serve.
    ///
    /// # Errors
    /// When the database cannot be opened or migrated, the gateway client cannot be built, or the address is taken.
    /// An unreachable gateway is no error: `/readyz` says `degraded`.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let database = Database::open(&config.database)
            .await
            .with_context(|| format!("cannot open the database {}", config.database.place))?;
        let gateway = GatewayClient::new(&config.gateway).context("cannot build the gateway client")?;
        let metrics = Metrics::new(database.retries());
        let wechat = config.wechat.platform.clone().map(Platform::new).transpose();
        let wechat = wechat.context("cannot build the client of WeChat")?;
        let money = money(&config, &database, wechat.as_ref(), &metrics)?;
        let push = push(&config)?;
        let generation = generation(&config, &database, &gateway, wechat.as_ref(), &metrics);
        let artwork_chores =
            generation.clone().map(|artworks| generation::Chores::new(artworks, config.money.chores.clone()));
        let live = generation.clone().map(generation::Live::new);
        let identity = identity(&config, &database, wechat, &money, generation.as_ref());
        if identity.is_none() {
            warn!("no identity secret is configured, so nobody can log in");
        }
        let chores = (money.chores.clone(), artwork_chores.clone());
        if let Some(pause) = config.money.chores_every {
            chores.0.run_every(pause);
            chores.1.iter().for_each(|artworks| artworks.run_every(pause));
        }
        let trusted_appid = config.wechat.app_id.filter(|_| config.identity.trust_wx_headers);
        let machines = &config.machines;
        let token = |token: &Option<_>| token.as_ref().map(http::MachineToken::new);
        let router = http::router(http::Services {
            serving: config.serving,
            health: Health::new(database.clone(), gateway),
            identity,
            trusted_appid,
            partner: machines.partner.as_ref().map(|(id, secret)| Partner::new(id, secret)),
            trigger_token: token(&machines.trigger_token),
            metrics_token: token(&machines.metrics_token),
            money,
            generation,
            live: live.clone(),
            artwork_chores,
            push,
            metrics,
            options: config.http,
        });

        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("cannot listen on {}", config.listen))?;
        let address = listener.local_addr().context("the listener has no address")?;
        let (close_door, closed) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            axum::serve(listener, service)
                .with_graceful_shutdown(async move {
                    let _ = closed.await; // a dropped sender closes the door too
                })
                .await
        });
        info!(%address, "listening");
        Ok(Self { address, close_door, server, live, chores, drain_timeout: config.drain_timeout, database })
    }

    /// The address it serves on, with the real port when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, lets open requests finish until the drain deadline, then closes the database.
    ///
    /// A request cut off by the deadline loses nothing: what it wanted is recorded and carried on.
    ///
    /// # Errors
    /// When the server had failed or the database does not close cleanly.
    pub async fn drain(self) -> anyhow::Result<()> {
        let Self { close_door, mut server, live, chores, drain_timeout, database, .. } = self;
        live.iter().for_each(generation::Live::end);
        let _ = close_door.send(()); // a server that already ended has no receiver
        let served = match tokio::time::timeout(drain_timeout, &mut server).await {
            Ok(joined) => joined.context("the server task died")?.context("the server failed"),
            Err(_) => {
                server.abort();
                warn!("requests were cut off at the drain deadline");
                Ok(())
            }
        };
        let (money, artworks) = chores;
        money.end().await;
        if let Some(artworks) = artworks {
            artworks.end().await;
        }
        let closed =
            database.close().await.map_err(|error| anyhow!(error)).context("cannot close the database");
        served.and(closed)
    }
}
