//! A client of the platform, and a receiver of what it sends.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey};
use aws_lc_rs::{aead, hmac};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wechat_sim::{Config, Delivery, Person, WechatSim};

pub const NOTIFY_URL: &str = "https://pay.example.com/callbacks/wechat-pay";
pub const SOON: Duration = Duration::from_secs(20);

pub struct World {
    pub sim: WechatSim,
    pub http: reqwest::Client,
    key: KeyPair,
}

/// An answer of WeChat Pay.
pub struct Paid {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Paid {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Status and code of a refusal.
    pub fn refusal(&self) -> (u16, String) {
        (self.status, self.json()["code"].as_str().unwrap_or_default().to_owned())
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(Config { hurry: 1_000_000, ..Config::default() }).await
    }

    pub async fn with(config: Config) -> Self {
        let sim = WechatSim::start(config).await.unwrap();
        let key = KeyPair::from_pkcs8(&der(&sim.merchant().private_key_pem)).unwrap();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        Self { sim, http, key }
    }

    /// The open platform's answer to a GET.
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let url = format!("{}{path}", self.sim.url());
        self.http.get(url).query(query).send().await.unwrap().json().await.unwrap()
    }

    /// Its answer to a POST with a good token.
    pub async fn post(&self, path: &str, body: &Value) -> Value {
        let token = self.token().await;
        self.post_with(path, &[("access_token", &token)], body).await
    }

    pub async fn post_with(&self, path: &str, query: &[(&str, &str)], body: &Value) -> Value {
        let url = format!("{}{path}", self.sim.url());
        self.http.post(url).query(query).json(body).send().await.unwrap().json().await.unwrap()
    }

    /// The side-car's answer to a POST.
    pub async fn inside(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.sim.container_url());
        self.http.post(url).json(body).send().await.unwrap().json().await.unwrap()
    }

    pub async fn token(&self) -> String {
        let config = self.sim.config();
        let body = json!({"grant_type": "client_credential", "appid": config.appid, "secret": config.secret});
        let answer = self.post_with("/cgi-bin/stable_token", &[], &body).await;
        answer["access_token"].as_str().unwrap().to_owned()
    }

    pub async fn session(&self, code: &str) -> Value {
        let config = self.sim.config();
        let query = [
            ("appid", config.appid.as_str()),
            ("secret", &config.secret),
            ("js_code", code),
            ("grant_type", "authorization_code"),
        ];
        self.get("/sns/jscode2session", &query).await
    }

    /// Somebody who logged in; with the session key.
    pub async fn person(&self) -> (Person, String) {
        let person = self.sim.person();
        let session = self.session(&person.login_code()).await;
        assert_eq!(session["openid"], person.openid());
        (person, session["session_key"].as_str().unwrap().to_owned())
    }

    pub fn sign(&self, message: &str) -> String {
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
        STANDARD.encode(signature)
    }

    /// A signed request to WeChat Pay whose answer's signature is checked.
    pub async fn v3(&self, method: &str, target: &str, body: Option<&Value>) -> Paid {
        let answer = self.v3_unchecked(method, target, body).await;
        let public_key = self.sim.merchant().public_key_pem.unwrap();
        assert!(
            is_sealed(&public_key, &answer.headers, &answer.body),
            "{method} {target}: {:?}",
            answer.headers
        );
        answer
    }

    pub async fn v3_unchecked(&self, method: &str, target: &str, body: Option<&Value>) -> Paid {
        let body = body.map(Value::to_string).unwrap_or_default();
        let authorization = self.authorization(method, target, &body, now());
        self.v3_as(method, target, body, &authorization).await
    }

    pub async fn v3_as(&self, method: &str, target: &str, body: String, authorization: &str) -> Paid {
        let method = method.parse::<reqwest::Method>().unwrap();
        let request = self
            .http
            .request(method, format!("{}{target}", self.sim.url()))
            .header("authorization", authorization)
            .header("accept", "application/json")
            .header("content-type", "application/json")
            .header("user-agent", "tests/1")
            .body(body);
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Paid { status, headers, body: response.bytes().await.unwrap().to_vec() }
    }

    pub fn authorization(&self, method: &str, target: &str, body: &str, at: i64) -> String {
        let merchant = self.sim.merchant();
        let signature = self.sign(&format!("{method}\n{target}\n{at}\nnonce\n{body}\n"));
        format!(
            "WECHATPAY2-SHA256-RSA2048 mchid=\"{}\",nonce_str=\"nonce\",timestamp=\"{at}\",serial_no=\"{}\",\
             signature=\"{signature}\"",
            merchant.mchid, merchant.serial
        )
    }

    /// A request for a prepay that is right.
    pub fn order(&self, person: &Person, number: &str) -> Value {
        let config = self.sim.config();
        json!({
            "appid": config.appid, "mchid": config.mchid, "description": "一节课", "out_trade_no": number,
            "notify_url": NOTIFY_URL, "attach": "a", "amount": {"total": 990, "currency": "CNY"},
            "payer": {"openid": person.openid()},
        })
    }

    /// What the mini program calls `wx.requestPayment` with.
    pub fn params(&self, prepay_id: &str) -> Value {
        let (at, package) = (now().to_string(), format!("prepay_id={prepay_id}"));
        let message = format!("{}\n{at}\nnonce\n{package}\n", self.sim.config().appid);
        json!({
            "timeStamp": at, "nonceStr": "nonce", "package": package, "signType": "RSA",
            "paySign": self.sign(&message),
        })
    }

    /// An order that was paid; its `transaction_id`.
    pub async fn paid(&self, person: &Person, number: &str) -> String {
        let order = self.order(person, number);
        let prepay = self.v3("POST", "/v3/pay/transactions/jsapi", Some(&order)).await;
        assert_eq!(prepay.status, 200, "{}", prepay.json());
        let prepay_id = prepay.json()["prepay_id"].as_str().unwrap().to_owned();
        person.pays(&self.params(&prepay_id)).unwrap()
    }

    /// All attempts to deliver something of this type, once nothing is on its way.
    pub async fn deliveries(&self, kind: &str) -> Vec<Delivery> {
        self.sim.quiet(SOON).await.unwrap();
        self.sim.deliveries().into_iter().filter(|one| one.kind == kind).collect()
    }
}

pub fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64
}

pub fn hmac_hex(key: &str, message: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    hmac::sign(&key, message.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(body).unwrap()
}

/// Whether headers hold the platform's signature for a body, as a merchant checks it.
pub fn is_sealed(public_key_pem: &str, headers: &HeaderMap, body: &[u8]) -> bool {
    let get = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let at = get("wechatpay-timestamp").parse().unwrap_or(0);
    let mut message = format!("{at}\n{}\n", get("wechatpay-nonce")).into_bytes();
    message.extend_from_slice(body);
    message.push(b'\n');
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der(public_key_pem));
    let Ok(signature) = STANDARD.decode(get("wechatpay-signature")) else { return false };
    (now() - at).abs() < 300 && key.verify(&message, &signature).is_ok()
}

/// What was sealed with the APIv3 key.
pub fn opened(api_v3_key: &str, resource: &Value) -> String {
    let text = |name: &str| resource[name].as_str().unwrap().to_owned();
    let key = aead::UnboundKey::new(&aead::AES_256_GCM, api_v3_key.as_bytes()).unwrap();
    let nonce = aead::Nonce::try_assume_unique_for_key(text("nonce").as_bytes()).unwrap();
    let mut sealed = STANDARD.decode(text("ciphertext")).unwrap();
    let plain = aead::LessSafeKey::new(key)
        .open_in_place(nonce, aead::Aad::from(text("associated_data")), &mut sealed)
        .unwrap();
    String::from_utf8(plain.to_vec()).unwrap()
}

/// A request that came to a receiver.
#[derive(Clone, Debug)]
pub struct Heard {
    pub query: BTreeMap<String, String>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Heard {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

#[derive(Clone, Default)]
struct Shared {
    heard: Arc<Mutex<Vec<Heard>>>,
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    usual: Arc<Mutex<String>>,
    echoes: bool,
}

/// A server that writes down what it gets.
pub struct Receiver {
    pub url: String,
    shared: Shared,
}

impl Receiver {
    pub async fn start() -> Self {
        Self::with(Shared::default()).await
    }

    /// One that gives back `echostr`.
    pub async fn echoing() -> Self {
        Self::with(Shared { echoes: true, ..Shared::default() }).await
    }

    async fn with(shared: Shared) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(hear).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, shared }
    }

    /// The next answers; after them 200 with the usual body.
    pub fn answers(&self, answers: &[(u16, &str)]) {
        let answers = answers.iter().map(|(status, body)| (*status, (*body).to_owned()));
        self.shared.answers.lock().unwrap().extend(answers);
    }

    pub fn usually(&self, body: &str) {
        *self.shared.usual.lock().unwrap() = body.to_owned();
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.shared.heard.lock().unwrap().clone()
    }
}

async fn hear(
    State(shared): State<Shared>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let echo = query.get("echostr").cloned();
    shared.heard.lock().unwrap().push(Heard { query, headers, body });
    if let Some(echo) = echo.filter(|_| shared.echoes) {
        return (StatusCode::OK, echo);
    }
    let told = shared.answers.lock().unwrap().pop_front();
    let (status, body) = told.unwrap_or_else(|| (200, shared.usual.lock().unwrap().clone()));
    (StatusCode::from_u16(status).unwrap(), body)
}
