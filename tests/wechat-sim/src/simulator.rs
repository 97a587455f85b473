//! Starting the platform, and everything a test may ask of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::broadcast;

use crate::config::{Config, Push};
use crate::cos::Cos;
use crate::courier::{self, Release};
use crate::faults::{CourierFault, Fault};
use crate::http::{self, Door};
use crate::observed::{Delivery, Message, Seen};
use crate::pay;
use crate::person::Person;
use crate::platform::Platform;
use crate::trade::{RefundFate, RefundState, TradeState};
use crate::wx::Verdict;

/// Pause between two looks at whether callbacks are still on their way.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What a merchant gets from the console, and the public halves of the platform's keys.
#[derive(Clone, Serialize)]
pub struct Merchant {
    /// The mini program.
    pub appid: String,
    /// The merchant.
    pub mchid: String,
    /// Serial of the merchant's certificate.
    pub serial: String,
    /// PKCS#8.
    pub private_key_pem: String,
    /// 32 characters.
    pub api_v3_key: String,
    /// `PUB_KEY_ID_…`, where the platform signs with a public key.
    pub public_key_id: Option<String>,
    /// That key.
    pub public_key_pem: Option<String>,
}

/// A running platform. Dropping it ends it.
pub struct WechatSim {
    platform: Arc<Platform>,
}

impl WechatSim {
    /// Starts it; it answers as soon as this returns.
    ///
    /// # Errors
    /// When an address cannot be listened on, or the configuration is not usable.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let cos = Cos::start_at(config.cos_listen, &config.bucket).await.context("no bucket")?;
        let (listen, container_listen) = (config.listen, config.container_listen);
        let platform = Arc::new(Platform::new(config, cos)?);
        let public = serve(&platform, listen, Door::Public).await?;
        let container = serve(&platform, container_listen, Door::Container).await?;
        platform.set_urls(format!("http://{public}"), format!("http://{container}"));
        Ok(Self { platform })
    }

    /// Stands for `https://api.weixin.qq.com` and `https://api.mch.weixin.qq.com`.
    pub fn url(&self) -> String {
        self.platform.public_url().to_owned()
    }

    /// Stands for `http://api.weixin.qq.com` inside the container.
    pub fn container_url(&self) -> String {
        self.platform.container_url().to_owned()
    }

    /// The bucket of the environment. Bind a domain to it for clients that cannot find `*.localhost`.
    pub fn cos(&self) -> &Cos {
        &self.platform.cos
    }

    /// How it was set up.
    pub fn config(&self) -> &Config {
        &self.platform.config
    }

    /// What the merchant needs.
    pub fn merchant(&self) -> Merchant {
        let (config, keys) = (&self.platform.config, &self.platform.keys);
        let public_key = keys.public_key();
        Merchant {
            appid: config.appid.clone(),
            mchid: config.mchid.clone(),
            serial: keys.merchant.serial.clone(),
            private_key_pem: keys.merchant.private_key_pem(),
            api_v3_key: config.api_v3_key.clone(),
            public_key_id: public_key.map(|key| key.serial.clone()),
            public_key_pem: public_key.map(|key| key.public_key_pem()),
        }
    }

    /// Somebody new opens the mini program.
    pub fn person(&self) -> Person {
        let now = self.platform.clock.now();
        let openid = self.platform.state().people.add(self.platform.config.has_unionid, now);
        Person::new(&self.platform, openid)
    }

    /// Lets requests go wrong.
    pub fn fault(&self, fault: Fault) {
        self.platform.faults.add(fault);
    }

    /// Lets callbacks and events go wrong.
    pub fn courier_fault(&self, fault: CourierFault) {
        self.platform.faults.add_courier(fault);
    }

    /// Nothing goes wrong any more.
    pub fn clear_faults(&self) {
        self.platform.faults.clear();
    }

    /// Lets time pass for codes, tokens, orders and bills. Signatures are timed by the real clock.
    pub fn advance(&self, by: Duration) {
        self.platform.clock.advance(by);
    }

    /// Ends every access token (42001).
    pub fn expire_tokens(&self) {
        self.platform.state().tokens.expire(self.platform.clock.now());
    }

    /// Forgets every access token (40001).
    pub fn forget_tokens(&self) {
        self.platform.state().tokens.forget();
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Seen> {
        self.platform.record.seen()
    }

    /// Tells from now on what happens here, as it happens: the line of each request that is answered, and the type of each
    /// callback or event that was delivered or was not.
    pub fn follow(&self) -> broadcast::Receiver<String> {
        self.platform.record.follow()
    }

    /// Every attempt so far to deliver a callback or an event.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.platform.record.deliveries()
    }

    /// Every subscribe message so far.
    pub fn messages(&self) -> Vec<Message> {
        self.platform.record.messages()
    }

    /// The state of an order of WeChat Pay.
    pub fn order(&self, out_trade_no: &str) -> Option<TradeState> {
        self.platform.state().trade.orders.get(out_trade_no).map(|order| order.state)
    }

    /// Numbers and totals in fen of all orders that were ever paid.
    pub fn paid_orders(&self) -> Vec<(String, i64)> {
        let state = self.platform.state();
        let paid = state.trade.orders.values().filter(|order| order.payment.is_some());
        paid.map(|order| (order.out_trade_no.clone(), order.total)).collect()
    }

    /// Times that shipping was reported for an order.
    pub fn shipped(&self, out_trade_no: &str) -> u32 {
        self.platform.state().trade.orders.get(out_trade_no).map_or(0, |order| order.shipped)
    }

    /// The status of an order of virtual payment (FACTS §4.11).
    pub fn virtual_order(&self, out_trade_no: &str) -> Option<i64> {
        self.platform.state().virtual_payment.orders.get(out_trade_no).map(|order| order.status)
    }

    /// Numbers of all orders of virtual payment; each was paid.
    pub fn virtual_orders(&self) -> Vec<String> {
        self.platform.state().virtual_payment.orders.keys().cloned().collect()
    }

    /// Sends the callback of a paid order once more. False when it was never paid.
    pub fn repeat_callback(&self, out_trade_no: &str) -> bool {
        let order = self.platform.state().trade.orders.get(out_trade_no).cloned();
        let paid = order.filter(|order| order.payment.is_some());
        paid.is_some_and(|order| {
            courier::paid(&self.platform, &order);
            true
        })
    }

    /// What becomes of the next refund; told again, of the one after it.
    pub fn next_refund(&self, fate: RefundFate) {
        self.platform.state().trade.fates.push_back(fate);
    }

    /// Brings a refund that hangs to its end. False when there is none of this number on its way.
    pub fn settle_refund(&self, out_refund_no: &str, state: RefundState) -> bool {
        pay::settle_refund(&self.platform, out_refund_no, state)
    }

    /// Leaves an order or a refund out of all bills.
    pub fn leave_out_of_bills(&self, number: &str) {
        self.platform.state().trade.left_out.push(number.to_owned());
    }

    /// The verdict on pictures whose URL holds `part`; the last one told counts.
    pub fn judge_pictures(&self, part: &str, verdict: Verdict) {
        self.platform.state().pictures.push((part.to_owned(), verdict));
    }

    /// Where events are pushed to from now on.
    pub fn push_to(&self, push: Push) {
        self.platform.state().push = Some(push);
    }

    /// Base of the container's own service, for callbacks of the simplified pay.
    pub fn container_service(&self, base: &str) {
        self.platform.state().container_service = Some(base.to_owned());
    }

    /// Lets addresses that begin with `from` lead to `to`.
    pub fn route(&self, from: &str, to: &str) {
        self.platform.state().routes.insert(from.to_owned(), to.to_owned());
    }

    /// What the console does when the receiver of events is entered.
    ///
    /// # Errors
    /// When the receiver does not answer as it has to.
    pub async fn check_receiver(&self) -> anyhow::Result<()> {
        courier::check_receiver(&self.platform).await
    }

    /// Lets everything go that was held, one after the other; returns how much.
    pub fn release(&self, order: Release) -> usize {
        courier::release(&self.platform, order)
    }

    /// Waits until no callback or event is on its way.
    ///
    /// # Errors
    /// When some still are after this time.
    pub async fn quiet(&self, within: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let left = self.platform.under_way.load(Ordering::SeqCst);
            if left == 0 {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{left} callbacks are still on their way");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Everything a program in another language needs to know.
    pub fn setup(&self) -> Value {
        http::setup(&self.platform)
    }
}

impl Drop for WechatSim {
    fn drop(&mut self) {
        self.platform.end.cancel();
    }
}

async fn serve(platform: &Arc<Platform>, at: SocketAddr, door: Door) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(at).await.with_context(|| format!("cannot listen on {at}"))?;
    let address = listener.local_addr()?;
    let (app, end) = (http::router(Arc::clone(platform), door), platform.end.clone());
    tokio::spawn(async move { end.run_until_cancelled(axum::serve(listener, app).into_future()).await });
    Ok(address)
}
