//! One backend-api with the simulated WeChat platform beside it, and people.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use e2e::measure::procfs;
use e2e::program::{Program, free_port};
use e2e::wechat::Wechat;
use reqwest::Client;
use serde_json::{Value, json};
use wechat_sim::Person;

use super::load::{Json, Nothing, Outcome, drive};

/// Longest wait for the program, and for the platform to have called back.
const SOON: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// No limit of ours is what is measured.
const SETTINGS: &str = "[http]\nclient_address_header = \"x-bench-address\"\nlogins_per_minute = 10000\n\
    reads_per_minute = 10000\nwrites_per_minute = 10000\n[log]\nfilter = \"warn\"\n";

/// A callback as the platform sent it.
type Callback = (HeaderMap, Bytes);
type Callbacks = Arc<Mutex<Vec<Callback>>>;

pub struct Town {
    wechat: Wechat,
    http: Client,
    base: String,
    log: PathBuf,
    env: Vec<(OsString, OsString)>,
    program: Option<Program>,
    called: Callbacks,
}

/// Somebody who is logged in.
pub struct Visitor {
    person: Person,
    token: String,
}

/// An order that its buyer may pay.
pub struct Order {
    id: String,
    token: String,
    person: Person,
    payment: Value,
}

impl Town {
    /// # Errors
    /// When something does not start.
    pub async fn new(folder: &Path, database: &str) -> anyhow::Result<Self> {
        let wechat = Wechat::start().await?;
        let settings = folder.join("settings.toml");
        std::fs::write(&settings, format!("{}{SETTINGS}", wechat.settings()))?;
        let listen = format!("127.0.0.1:{}", free_port()?);
        let env = [
            ("BACKEND_CONFIG", settings.display().to_string()),
            ("BACKEND_LISTEN", listen.clone()),
            ("BACKEND_DATABASE_URL", database.to_owned()),
            ("BACKEND_GATEWAY_URL", "http://127.0.0.1:9".to_owned()),
        ];
        let http = Client::builder().no_proxy().timeout(SOON).build()?;
        Ok(Self {
            wechat,
            http,
            base: format!("http://{listen}"),
            log: folder.join("backend-api.log"),
            env: env.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            program: None,
            called: Callbacks::default(),
        })
    }

    /// Starts it anew; how long that took until it answered.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn restart(&mut self) -> anyhow::Result<Duration> {
        if let Some(program) = &mut self.program {
            program.terminate().await?;
            program.exit(SOON).await?;
        }
        let began = Instant::now();
        let program = self.program.insert(Program::serve("backend-api", &self.env, &self.log)?);
        loop {
            let answer = self.http.get(format!("{}/livez", self.base)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(began.elapsed());
            }
            if let Some(status) = program.ended()? {
                bail!("backend-api ended with {status}:\n{}", program.tail());
            }
            ensure!(began.elapsed() < SOON, "backend-api does not answer:\n{}", program.tail());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// # Errors
    /// When it does not run.
    pub fn idle_memory(&self) -> anyhow::Result<u64> {
        let id = self.program.as_ref().and_then(Program::id).context("backend-api does not run")?;
        Ok(procfs::memory(id)?.resident)
    }

    /// # Errors
    /// When an answer is not what it should be.
    pub async fn log_in(&self, count: usize, connections: usize) -> anyhow::Result<(Outcome, Vec<Visitor>)> {
        let people: Vec<Person> = (0..count).map(|_| self.wechat.sim().person()).collect();
        let codes: Vec<String> = people.iter().map(Person::login_code).collect();
        let (http, url) = (self.http.clone(), format!("{}/auth/login", self.base));
        let request = move |n: usize| {
            // Each is somebody else, elsewhere.
            let address = format!("10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255);
            http.post(&url).header("x-bench-address", address).json(&json!({"code": codes[n]}))
        };
        let (outcome, answers) = drive(connections, count, StatusCode::OK, request, Json).await?;
        let visitors = answers.into_iter().filter_map(|(n, answer)| {
            Some(Visitor { person: people[n].clone(), token: answer["access_token"].as_str()?.to_owned() })
        });
        Ok((outcome, visitors.collect()))
    }

    /// # Errors
    /// When an answer is not what it should be.
    pub async fn order(
        &self,
        visitors: &[Visitor],
        each: usize,
        connections: usize,
    ) -> anyhow::Result<(Outcome, Vec<Order>)> {
        let tokens: Vec<String> = visitors.iter().map(|visitor| visitor.token.clone()).collect();
        ensure!(!tokens.is_empty(), "nobody is logged in");
        let (http, url, all) = (self.http.clone(), format!("{}/orders", self.base), tokens.clone());
        let request =
            move |n: usize| http.post(&url).bearer_auth(&all[n % all.len()]).json(&json!({"item": "lesson"}));
        let count = tokens.len() * each;
        let (outcome, answers) = drive(connections, count, StatusCode::CREATED, request, Json).await?;
        let orders = answers.into_iter().filter_map(|(n, answer)| {
            let visitor = &visitors[n % visitors.len()];
            Some(Order {
                id: answer["order"]["id"].as_str()?.to_owned(),
                token: visitor.token.clone(),
                person: visitor.person.clone(),
                payment: answer["payment"].clone(),
            })
        });
        Ok((outcome, orders.collect()))
    }

    /// All of them are paid; the platform's callbacks are caught on their way.
    ///
    /// # Errors
    /// When somebody cannot pay, or a callback does not come.
    pub async fn pay(&self, orders: &[Order]) -> anyhow::Result<Vec<Callback>> {
        let catcher = Router::new().route("/{*any}", post(catch)).with_state(Arc::clone(&self.called));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        self.wechat.lead_to(&e2e::api::Api::new(format!("http://{}", listener.local_addr()?))?);
        let server = tokio::spawn(async move { axum::serve(listener, catcher).await });
        for order in orders {
            order.person.pays(&order.payment)?;
        }
        self.wechat.quiet().await?;
        server.abort();
        let called = std::mem::take(&mut *self.called.lock().unwrap_or_else(PoisonError::into_inner));
        ensure!(called.len() >= orders.len(), "{} callbacks for {} orders", called.len(), orders.len());
        Ok(called)
    }

    /// # Errors
    /// When an answer is not what it should be.
    pub async fn call_back(&self, callbacks: Vec<Callback>, connections: usize) -> anyhow::Result<Outcome> {
        let (http, url) = (self.http.clone(), format!("{}/callbacks/wechat-pay", self.base));
        let count = callbacks.len();
        let request = move |n: usize| {
            let (headers, body) = &callbacks[n];
            let signed = headers.iter().filter(|(name, _)| name.as_str().starts_with("wechatpay-"));
            let request = http.post(&url).header("content-type", "application/json").body(body.clone());
            signed.fold(request, |request, (name, value)| request.header(name, value))
        };
        Ok(drive(connections, count, StatusCode::NO_CONTENT, request, Nothing).await?.0)
    }

    /// # Errors
    /// When an answer is not what it should be.
    pub async fn poll(&self, orders: &[Order], count: usize, connections: usize) -> anyhow::Result<Outcome> {
        let asked: Vec<_> = orders.iter().map(|order| (order.id.clone(), order.token.clone())).collect();
        let (http, base) = (self.http.clone(), self.base.clone());
        let request = move |n: usize| {
            let (id, token) = &asked[n % asked.len()];
            http.get(format!("{base}/orders/{id}")).bearer_auth(token)
        };
        let (outcome, answers) = drive(connections, count, StatusCode::OK, request, Json).await?;
        let paid = answers.iter().filter(|(_, order)| order["state"] == "fulfilled").count();
        ensure!(
            paid == answers.len(),
            "{} of {} orders are not fulfilled",
            answers.len() - paid,
            answers.len()
        );
        Ok(outcome)
    }
}

async fn catch(State(called): State<Callbacks>, headers: HeaderMap, body: Bytes) -> StatusCode {
    called.lock().unwrap_or_else(PoisonError::into_inner).push((headers, body));
    StatusCode::NO_CONTENT
}
