//! The kill test of the money path: `kill -9` at any instant of order → payment → credit → hold → job → settle, and
//! afterwards the books balance, nobody paid without credits, nobody was charged for a failed picture.
//!
//! Two programs die: backend-api, and a painter (this test's own child) that holds, settles and releases as whoever
//! makes pictures does. `KILLS` says how often (50), `SEED` repeats a run, `KILL_ENGINE` names another database.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backend_api::db::Database;
use backend_api::domain::UserId;
use backend_api::money::Ledger;
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;
use uuid::Uuid;
use wechat_sim::{Format, Guard, Person, Push, WechatSim};

use super::market::{PAY, PUSH_TOKEN, SHOP, environment};
use super::painter::{self, Journal};
use crate::engines::{Engine, options};

const DEFAULT_KILLS: u64 = 50;
const CUSTOMERS: usize = 4;
/// Whatever was begun ends within this, once nothing is killed any more.
const IN_THE_END: Duration = Duration::from_secs(120);

/// Numbers that look random and follow from a seed (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number")))
}

/// A program that is killed and started again.
struct Program {
    command: Box<dyn Fn() -> Command + Send>,
    /// What its output says when it is at work.
    at_work: &'static str,
    child: Option<Child>,
}

impl Program {
    fn start(command: impl Fn() -> Command + Send + 'static, at_work: &'static str) -> Self {
        let mut program = Self { command: Box::new(command), at_work, child: None };
        program.rise();
        program
    }

    fn rise(&mut self) {
        let mut child = (self.command)().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let output = child.stdout.take().unwrap();
        self.child = Some(child);
        let mut lines = BufReader::new(output).lines();
        let is_up = lines.by_ref().map_while(Result::ok).any(|line| line.contains(self.at_work));
        assert!(is_up, "a program did not start");
        std::thread::spawn(move || lines.for_each(drop)); // else its pipe fills up
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap(); // SIGKILL
            child.wait().unwrap();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Everything that outlives the killed.
struct Town {
    sim: WechatSim,
    folder: TempDir,
    url: String,
    base: String,
}

impl Town {
    async fn new(engine: Engine) -> Self {
        let sim = WechatSim::start(wechat_sim::Config { hurry: 1_000, ..Default::default() }).await.unwrap();
        let folder = TempDir::new().unwrap();
        let url = engine.fresh(&folder).await;
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let base = format!("http://127.0.0.1:{port}");
        sim.route(PAY, &base);
        let guard = Guard::Plain { token: PUSH_TOKEN.to_owned() };
        sim.push_to(Push { url: format!("{base}/callbacks/wechat-events"), format: Format::Json, guard });
        let hurried = "every_seconds = 1\nbackoff_seconds = 1\nclaim_seconds = 1\nrun_seconds = 5\n";
        let settings = SHOP.replace("after_requests_seconds = 0", hurried);
        std::fs::write(folder.path().join("settings.toml"), settings).unwrap();
        Self { sim, folder, url, base }
    }

    fn backend(&self) -> Program {
        let mut variables = environment(&self.sim, &self.url);
        variables.retain(|(name, _)| *name != "BACKEND_LISTEN");
        let listen = self.base.trim_start_matches("http://").to_owned();
        let settings = self.folder.path().join("settings.toml");
        let command = move || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_backend-api"));
            command.arg("serve").arg("--config").arg(&settings).env("BACKEND_LISTEN", &listen);
            command.envs(variables.iter().map(|(name, value)| (name, value)));
            command
        };
        Program::start(command, "\"listening\"")
    }

    fn painter(&self) -> Program {
        let (url, journal) = (self.url.clone(), self.journal());
        let command = move || {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", painter::TEST, "--ignored", "--nocapture"]);
            command.env(painter::DATABASE, &url).env(painter::JOURNAL, &journal);
            command
        };
        Program::start(command, painter::AT_WORK)
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }
}

/// Somebody who buys again and again, whatever happens to whom they buy from.
struct Customer {
    person: Person,
    http: Client,
    base: String,
    token: Option<String>,
    user: Option<UserId>,
    /// Orders of credits and of lessons that this phone has paid.
    paid: BTreeMap<&'static str, Vec<String>>,
}

impl Customer {
    /// An answer of backend-api, if there is one.
    async fn ask(&mut self, request: reqwest::RequestBuilder) -> Option<(u16, Value)> {
        let response = request.bearer_auth(self.token.as_deref().unwrap_or("none")).send().await.ok()?;
        let status = response.status().as_u16();
        Some((status, response.json().await.ok()?))
    }

    async fn log_in(&mut self) {
        let body = json!({"code": self.person.login_code()});
        let request = self.http.post(format!("{}/auth/login", self.base)).json(&body);
        if let Some((200, body)) = self.ask(request).await {
            self.token = body["access_token"].as_str().map(str::to_owned);
            self.user = body["user"]["id"].as_str().and_then(|id| id.parse().ok()).map(UserId);
        }
    }

    /// One purchase: the same wish again and again until it is fulfilled.
    async fn buys(&mut self, item: &'static str) {
        let (key, deadline) = (Uuid::new_v4().to_string(), Instant::now() + IN_THE_END);
        let mut has_paid = false;
        loop {
            assert!(Instant::now() < deadline, "a purchase never ended");
            let wish = self.http.post(format!("{}/orders", self.base)).header("Idempotency-Key", &key);
            match self.ask(wish.json(&json!({"item": item}))).await {
                Some((201, body)) => {
                    let order = &body["order"];
                    if order["state"] == "fulfilled" {
                        return;
                    }
                    if !has_paid && body["payment"].is_object() {
                        has_paid = self.pays(item, order, &body["payment"]);
                    }
                    // Reading makes the platform asked, as after the client's payment call.
                    let read =
                        self.http.get(format!("{}/orders/{}", self.base, order["id"].as_str().unwrap()));
                    self.ask(read).await;
                }
                Some((401 | 409, _)) => self.log_in().await,
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(20)).await; // between two tries of a person
        }
    }

    fn pays(&mut self, item: &'static str, order: &Value, payment: &Value) -> bool {
        let paid = match item {
            "lesson" => self.person.pays(payment).map(drop),
            _ => self.person.pays_virtually(payment),
        };
        if paid.is_ok() {
            self.paid.entry(item).or_default().push(order["id"].as_str().unwrap().to_owned());
        }
        paid.is_ok()
    }
}

fn engine() -> Engine {
    match std::env::var("KILL_ENGINE").as_deref() {
        Ok("mariadb") => Engine::MariaDb,
        Ok("postgresql") => Engine::PostgreSql,
        _ => Engine::Sqlite,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kill_between_any_two_steps_loses_or_makes_money() {
    let seed = number("SEED").unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0);
    eprintln!("to repeat it: SEED={seed}");
    let (mut dice, town) = (Dice(seed), Town::new(engine()).await);
    let mut backend = town.backend();
    let mut painter = town.painter();

    let is_over = Arc::new(AtomicBool::new(false));
    let customers: Vec<_> = (0..CUSTOMERS)
        .map(|_| {
            let (person, base, is_over) = (town.sim.person(), town.base.clone(), Arc::clone(&is_over));
            tokio::spawn(async move {
                let http = Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
                let mut customer =
                    Customer { person, http, base, token: None, user: None, paid: BTreeMap::new() };
                while !is_over.load(Ordering::Relaxed) {
                    for item in ["credits_100", "lesson"] {
                        customer.buys(item).await;
                    }
                }
                customer
            })
        })
        .collect();

    for _ in 0..number("KILLS").unwrap_or(DEFAULT_KILLS) {
        tokio::time::sleep(Duration::from_millis(dice.below(300))).await; // any instant is as good as another
        let killed = if dice.below(3) == 0 { &mut painter } else { &mut backend };
        killed.kill();
        killed.rise();
    }
    is_over.store(true, Ordering::Relaxed);
    let mut done = Vec::new();
    for customer in customers {
        done.push(customer.await.unwrap());
    }
    painter.kill();
    town.sim.quiet(IN_THE_END).await.unwrap();
    backend.kill();
    check(&town, &done).await;
}

async fn check(town: &Town, customers: &[Customer]) {
    let database = Database::open(&options(&town.url)).await.unwrap();
    let ledger = Ledger::new(database.clone());
    let journal = Journal::read(Path::new(&town.journal()));
    painter::finish(&ledger, &journal).await;
    let audit = ledger.audit().await.unwrap();
    assert!(audit.balanced(), "{audit:?}");
    assert_eq!(audit.open_holds, 0);

    let (mut sold, mut used) = (0, 0);
    for customer in customers {
        let user = customer.user.unwrap();
        let bought =
            |item: &str| customer.paid.get(item).map_or(0, |orders| i64::try_from(orders.len()).unwrap());
        let cost = journal.cost_of_made(user);
        let balance = ledger.balance(user).await.unwrap();
        assert_eq!(balance.held.get(), 0);
        assert_eq!(
            balance.available.get(),
            100 * bought("credits_100") - cost,
            "credits of somebody who paid"
        );
        sold += 990 * bought("credits_100") + 12_000 * bought("lesson");
        used += cost;
    }
    let sum = |account: &str| {
        audit.accounts.iter().find(|((_, name), _)| name == account).map_or(0, |(_, sum)| *sum)
    };
    assert_eq!(-sum("sales"), sold, "what phones paid is what was sold");
    assert_eq!(sum("credits_used"), used, "only pictures that were made cost something");
    assert!(sold > 0 && used > 0 && journal.lost() > 0, "the test has to have seen all of it");
    eprintln!("sold {sold} fen; pictures cost {used} credits, {} were lost and cost nothing", journal.lost());
}
