//! People who buy and wish without pause, whatever happens to whom they buy from.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use e2e::api::{Answer, id_of};
use e2e::wechat::Visitor;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// Pause before a request that failed is made again, and between two looks.
const AGAIN: Duration = Duration::from_millis(30);

/// Steps that the people themselves see.
#[derive(Debug, Default)]
pub struct Steps {
    /// Orders that were answered.
    pub ordered: AtomicUsize,
    /// Payments that a phone made.
    pub paid: AtomicUsize,
    /// Orders whose owner saw the credits given.
    pub credited: AtomicUsize,
    /// Wishes that were answered: their credits are held.
    pub wished: AtomicUsize,
}

/// Who was there, and what they paid.
pub struct Life {
    /// Who.
    pub visitor: Arc<Visitor>,
    /// Orders that their phone has paid.
    pub paid: usize,
}

/// Everybody.
#[derive(Default)]
pub struct Town {
    steps: Arc<Steps>,
    is_over: Arc<AtomicBool>,
    lives: Vec<JoinHandle<anyhow::Result<Life>>>,
}

impl Town {
    /// Somebody begins to buy.
    pub fn enters(&mut self, visitor: Arc<Visitor>) {
        let (steps, is_over) = (Arc::clone(&self.steps), Arc::clone(&self.is_over));
        self.lives.push(tokio::spawn(Customer { visitor, steps, is_over }.lives()));
    }

    /// What they all saw so far.
    pub fn steps(&self) -> &Arc<Steps> {
        &self.steps
    }

    /// Everybody stops where they are.
    pub async fn ends(self) -> anyhow::Result<Vec<Life>> {
        self.is_over.store(true, Ordering::SeqCst);
        let mut lives = Vec::new();
        for life in self.lives {
            lives.push(life.await??);
        }
        Ok(lives)
    }
}

struct Customer {
    visitor: Arc<Visitor>,
    steps: Arc<Steps>,
    is_over: Arc<AtomicBool>,
}

fn step(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::SeqCst);
}

impl Customer {
    async fn lives(self) -> anyhow::Result<Life> {
        let mut paid = 0;
        for round in 0_u32.. {
            let Some(()) = self.buys(round, &mut paid).await? else { break };
            let Some(()) = self.wishes(round).await? else { break };
        }
        Ok(Life { visitor: self.visitor, paid })
    }

    /// One purchase, up to the credits; `None` when it is time to stop.
    async fn buys(&self, round: u32, paid: &mut usize) -> anyhow::Result<Option<()>> {
        let body = json!({"item": "credits_100"});
        let Some(placed) = self.insists(|| self.post("/orders", &body, &format!("o-{round}"))).await else {
            return Ok(None);
        };
        step(&self.steps.ordered);
        let placed = placed.expect(201)?.json()?;
        // Whatever backend-api does just now: the person pays.
        self.visitor
            .person()
            .pays_virtually(&placed["payment"])
            .map_err(|error| anyhow!("the client does not pay: {error}"))?;
        *paid += 1;
        step(&self.steps.paid);
        let path = format!("/orders/{}", id_of(&placed["order"])?);
        let given = self.sees(&path, |order| order["state"] == "fulfilled").await?;
        given.iter().for_each(|()| step(&self.steps.credited));
        Ok(given)
    }

    /// Some pictures at once, up to their ends; `None` when it is time to stop.
    async fn wishes(&self, round: u32) -> anyhow::Result<Option<()>> {
        let mut paths = Vec::new();
        for (n, template) in ["good", "broken", "good"].into_iter().enumerate() {
            let (body, key) =
                (json!({"template": template, "inputs": {"words": "一只猫"}}), format!("a-{round}-{n}"));
            let Some(answer) = self.insists(|| self.post("/artworks", &body, &key)).await else {
                return Ok(None);
            };
            step(&self.steps.wished);
            paths.push(format!("/artworks/{}", id_of(&answer.expect(201)?.json()?)?));
        }
        for path in &paths {
            let Some(()) = self.sees(path, has_ended).await? else { return Ok(None) };
        }
        Ok(Some(()))
    }

    fn post(&self, path: &str, body: &Value, key: &str) -> RequestBuilder {
        self.visitor.api().request(Method::POST, path).json(body).header("idempotency-key", key)
    }

    /// Reads again and again until it is as it has to be; `None` when it is time to stop.
    async fn sees(&self, path: &str, done: impl Fn(&Value) -> bool) -> anyhow::Result<Option<()>> {
        loop {
            let read = || self.visitor.api().request(Method::GET, path);
            let Some(answer) = self.insists(read).await else { return Ok(None) };
            if done(&answer.expect(200)?.json()?) {
                return Ok(Some(()));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Asks until there is an answer that is not about a backend-api that just died; `None` when it is time to stop.
    async fn insists(&self, request: impl Fn() -> RequestBuilder) -> Option<Answer> {
        while !self.is_over.load(Ordering::SeqCst) {
            match self.visitor.api().send(request()).await {
                Ok(answer) if answer.status < 500 && answer.status != 429 => return Some(answer),
                _ => tokio::time::sleep(AGAIN).await,
            }
        }
        None
    }
}

/// Whether an artwork will not change any more.
pub fn has_ended(artwork: &Value) -> bool {
    matches!(artwork["state"].as_str(), Some("visible" | "hidden" | "failed" | "canceled"))
}
