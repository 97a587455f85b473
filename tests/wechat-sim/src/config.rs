//! Who the simulated platform knows, and how it is set up.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One mini program with its merchant, environment and console settings. The default is complete and usable.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the public side listens (`api.weixin.qq.com` and `api.mch.weixin.qq.com` with a token or a signature).
    pub listen: SocketAddr,
    /// Where the side-car of the container listens (`http://api.weixin.qq.com` without a token).
    pub container_listen: SocketAddr,
    /// Where the bucket listens.
    pub cos_listen: SocketAddr,
    /// The mini program.
    pub appid: String,
    /// Its secret.
    pub secret: String,
    /// Whether it belongs to an Open Platform account, so that people have a `unionid`.
    pub has_unionid: bool,
    /// Whether each login gives another `session_key` and ends the one before, the strictest reading of FACTS 1.5.
    pub rotates_session_keys: bool,
    /// The merchant of both payment rails.
    pub mchid: String,
    /// 32 characters.
    pub api_v3_key: String,
    /// By which keys the platform signs.
    pub key_mode: KeyMode,
    /// `offerId` of virtual payment.
    pub offer_id: String,
    /// AppKey of virtual payment, production.
    pub app_key: String,
    /// AppKey of virtual payment, sandbox.
    pub sandbox_app_key: String,
    /// Products of virtual payment that are published: id → price in fen.
    pub products: BTreeMap<String, i64>,
    /// Templates of subscribe messages: id → keys of their fields.
    pub templates: BTreeMap<String, Vec<String>>,
    /// The Cloud Run environment.
    pub env: String,
    /// Its bucket, with the APPID at its end.
    pub bucket: String,
    /// Where events are pushed to; without it nobody hears of them.
    pub push: Option<Push>,
    /// Base of the container's own service, for callbacks of the simplified pay (`http://127.0.0.1:8191`).
    pub container_service: Option<String>,
    /// Addresses that lead elsewhere: prefix → replacement. Plays the DNS and the TLS in front of `notify_url`s, which
    /// have to be https, and of picture URLs.
    pub routes: BTreeMap<String, String>,
    /// How much faster than life callbacks are repeated: 15 s become 15 ms with 1000.
    pub hurry: u32,
    /// How long a callback may take to be answered; not hurried.
    pub callback_timeout_ms: u64,
    /// Time until the verdict on a picture is pushed.
    pub media_verdict_after_ms: u64,
    /// Whether pictures are fetched when they are checked, as the platform does.
    pub fetches_media: bool,
    /// Texts with one of these are `risky`.
    pub risky_words: Vec<String>,
    /// Texts with one of these are for `review`.
    pub review_words: Vec<String>,
}

/// By which keys WeChat Pay signs its answers and callbacks (FACTS §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyMode {
    /// `PUB_KEY_ID_…`; `/v3/certificates` answers 404.
    PublicKey,
    /// A certificate that `/v3/certificates` hands out.
    Certificates,
    /// Both: whoever sends `Wechatpay-Serial: PUB_KEY_ID_…` is answered under it; callbacks take turns.
    Migrating,
}

/// Message push as set in the console.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// The receiver.
    pub url: String,
    /// How events are written.
    pub format: Format,
    /// How they are protected.
    pub guard: Guard,
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// JSON.
    Json,
    /// XML.
    Xml,
}

/// How events are protected.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "mode")]
pub enum Guard {
    /// The container's own route: neither signed nor encrypted, with `x-wx-source`.
    Container,
    /// Signed in the query.
    Plain {
        /// The token of the console.
        token: String,
    },
    /// Signed and encrypted.
    Aes {
        /// The token of the console.
        token: String,
        /// 43 characters.
        encoding_aes_key: String,
    },
}

impl Default for Config {
    fn default() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let text = str::to_owned;
        Self {
            listen: any,
            container_listen: any,
            cos_listen: any,
            appid: text("wx5150000000000001"),
            secret: text("simulated-secret-0123456789abcdef"),
            has_unionid: false,
            rotates_session_keys: true,
            mchid: text("1900000109"),
            api_v3_key: text("simulated-api-v3-key-0123456789a"),
            key_mode: KeyMode::PublicKey,
            offer_id: text("1450000001"),
            app_key: text("simulated-app-key-production"),
            sandbox_app_key: text("simulated-app-key-sandbox"),
            products: BTreeMap::from([(text("credits_100"), 990), (text("credits_500"), 3990)]),
            templates: BTreeMap::from([(
                text("tmpl-picture-ready"),
                vec![text("thing1"), text("phrase2"), text("time3")],
            )]),
            env: text("prod-sim"),
            bucket: text("7072-prod-sim-1300000000"),
            push: None,
            container_service: None,
            routes: BTreeMap::new(),
            hurry: 100,
            callback_timeout_ms: 5_000,
            media_verdict_after_ms: 0,
            fetches_media: false,
            risky_words: vec![text("违禁"), text("forbidden")],
            review_words: vec![text("可疑"), text("doubtful")],
        }
    }
}

impl Config {
    /// A time of the platform, hurried.
    pub(crate) fn hurried(&self, seconds: u64) -> Duration {
        Duration::from_millis(seconds * 1000 / u64::from(self.hurry.max(1)))
    }

    pub(crate) fn app_key(&self, env: i64) -> &str {
        if env == 1 { &self.sandbox_app_key } else { &self.app_key }
    }
}
