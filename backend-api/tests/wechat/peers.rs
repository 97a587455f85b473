//! Signatures held against code that nobody here wrote: the npm package `wechatpay-axios-plugin`, the Python packages
//! `wechatpayv3` and `cos-python-sdk-v5`. `tests/setup-node` and `tests/setup-python` bring them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backend_api::domain::OpenId;
use backend_api::wechat::crypto::Certificate;
use backend_api::wechat::pay::{CallbackEvent, Prepay, RefundRequest, Stamp, request_message};
use backend_api::wechat::storage::{Keys, Place, Term, Upload, presigned};
use backend_api::wechat::{Options, Platform};
use jiff::Timestamp;
use reqwest::Url;
use serde_json::{Value, json};

use crate::keys::{
    API_V3_KEY, APP, MERCHANT, PLATFORM, header_map, merchant, offline_merchant, platform_certificate,
    platform_serial, private_pem, published, signed, text,
};
use crate::stub::{Answer, Seen, Stub, say, say_signed};

#[derive(Clone, Copy, Debug)]
enum Peer {
    Node,
    Python,
}

const BOTH: [Peer; 2] = [Peer::Node, Peer::Python];

/// A file of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

impl Peer {
    fn command(self) -> Command {
        let (installed, by) = match self {
            Self::Node => ("target/peers-wechat/node_modules", "tests/setup-node"),
            Self::Python => ("target/venv-wechat/bin/python", "tests/setup-python"),
        };
        let installed = repository(installed);
        assert!(installed.exists(), "{} is missing: run `{by}`", installed.display());
        match self {
            Self::Node => {
                let mut node = Command::new("node");
                node.env("NODE_PATH", installed).arg(repository("tests/peers/wechat/peer.cjs"));
                node
            }
            Self::Python => {
                let mut python = Command::new(installed);
                python.arg("-B").arg(repository("tests/peers/wechat/peer.py"));
                python
            }
        }
    }

    /// Has the peer do a task, off the threads that serve it.
    async fn asked(self, task: &str, mut about: Value) -> Value {
        about["task"] = task.into();
        tokio::task::spawn_blocking(move || self.run(&about)).await.unwrap()
    }

    fn run(self, about: &Value) -> Value {
        let mut command = self.command();
        for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(name);
        }
        let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = streams.spawn().unwrap();
        child.stdin.take().unwrap().write_all(about.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{self:?}: {said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// What both peers need to know of the merchant and the platform.
fn parties() -> Value {
    let merchant_certificate = text(&published(MERCHANT)["certificate_pem"]);
    json!({
        "mchid": "1234567891", "serial": published(MERCHANT)["serial"], "apiV3Key": API_V3_KEY,
        "privateKey": private_pem(MERCHANT), "publicKey": merchant_certificate, "certificate": merchant_certificate,
        "platformKey": private_pem(PLATFORM), "platformCertificate": platform_certificate(),
        "platformPublicKey": published(PLATFORM)["public_key_spki_pem"], "platformSerial": platform_serial(),
    })
}

fn field(header: &str, name: &str) -> String {
    let start = header.find(&format!("{name}=\"")).unwrap() + name.len() + 2;
    header[start..].split('"').next().unwrap().to_owned()
}

fn assert_agreed(peer: Peer, judged: &Value, count: usize) {
    let judged = judged.as_array().unwrap();
    assert_eq!(judged.len(), count, "{peer:?}");
    for one in judged {
        assert_eq!(*one, json!({ "same": true, "believed": true }), "{peer:?}: {judged:?}");
    }
}

/// Requests of every kind that our client signs.
async fn our_requests() -> Vec<Seen> {
    let stub = Stub::start(|seen| match seen.method.as_str() {
        "POST" if seen.path.ends_with("/close") => say_signed(204, b""),
        _ => say_signed(200, br#"{"prepay_id":"wx1"}"#),
    })
    .await;
    let merchant = merchant(&stub.url);
    let payer = OpenId::new("oUpF8uMuAJO_M2pxb1Q9zNjWeS6o");
    let order = Prepay {
        out_trade_no: "B2026|11*22-_01",
        description: "教练课程 “60” 分钟 <&>\n",
        total_fen: 19_900,
        payer: &payer,
        attach: Some("booking:42"),
        expires_at: Some(Timestamp::now()),
    };
    merchant.prepay(&order).await.unwrap();
    merchant.close("B2026|11*22-_01").await.unwrap();
    // the stub's answer is none to these; what counts is what was sent
    let _ = merchant.query("B2026|11*22-_01").await;
    let _ = merchant.query_refund("R 1/2%").await;
    let refund = RefundRequest {
        out_trade_no: "ORDER-1",
        out_refund_no: "R1",
        refund_fen: 1,
        total_fen: 1,
        reason: Some("退款"),
    };
    let _ = merchant.refund(&refund).await;
    stub.seen()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_sign_they_sign_alike_and_believe() {
    let seen = our_requests().await;
    assert_eq!(seen.len(), 5);
    let requests: Vec<Value> = seen
        .iter()
        .map(|seen| {
            let header = seen.header("authorization");
            json!({
                "method": seen.method, "target": seen.target, "body": str::from_utf8(&seen.body).unwrap(),
                "timestamp": field(header, "timestamp"), "nonce": field(header, "nonce_str"),
                "signature": field(header, "signature"),
            })
        })
        .collect();
    let mut about = parties();
    about["requests"] = requests.into();
    for peer in BOTH {
        assert_agreed(peer, &peer.asked("requests", about.clone()).await, seen.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parameters_of_our_client_they_sign_alike_and_believe() {
    let parameters = serde_json::to_value(offline_merchant().pay_params("wx2014102720093955")).unwrap();
    let mut about = parties();
    about["appId"] = APP.into();
    for (name, value) in parameters.as_object().unwrap() {
        about[name] = value.clone();
    }
    for peer in BOTH {
        assert_agreed(peer, &peer.asked("paySign", about.clone()).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_that_they_seal_and_sign_we_believe_and_open() {
    let plaintext = json!({
        "mchid": "1234567891", "appid": APP, "out_trade_no": "ORDER-1", "transaction_id": "42",
        "trade_state": "SUCCESS", "payer": { "openid": "o1" }, "amount": { "total": 19900 }, "attach": "课程",
    });
    let mut about = parties();
    about["plaintext"] = plaintext.to_string().into();
    about["serial"] = platform_serial().into();
    for peer in BOTH {
        let sent = peer.asked("callback", about.clone()).await;
        let headers: Vec<(String, String)> = sent["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect();
        let (headers, body) = (header_map(&headers), text(&sent["body"]));
        let merchant = offline_merchant();
        let taken = merchant.callback(&headers, body.as_bytes(), Timestamp::now()).await.unwrap();
        let CallbackEvent::Payment(paid) = taken.event else { panic!("{peer:?}") };
        assert_eq!((paid.amount.unwrap().total_fen, paid.attach.as_deref()), (19_900, Some("课程")));
        let changed = body.replace("EV-1", "EV-2");
        merchant.callback(&headers, changed.as_bytes(), Timestamp::now()).await.unwrap_err();
    }
}

/// Judges a request as the platform does, with our reading of what is signed.
fn is_believed(seen: &Seen) -> bool {
    let header = seen.header("authorization");
    let stamp =
        Stamp { timestamp: field(header, "timestamp").parse().unwrap(), nonce: field(header, "nonce_str") };
    let message = request_message(&seen.method, &seen.target, &stamp, &seen.body);
    let certificate = Certificate::from_pem(&text(&published(MERCHANT)["certificate_pem"])).unwrap();
    certificate.key.verify(&message, &field(header, "signature")).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn their_clients_are_believed_by_us_and_believe_what_we_take_for_signed() {
    let stub = Stub::start(|seen| {
        if !is_believed(seen) {
            return Answer::Reply { status: 401, headers: Vec::new(), body: b"{}".to_vec() };
        }
        let (status, body): (u16, &[u8]) = match (seen.method.as_str(), seen.path.as_str()) {
            ("POST", "/v3/pay/transactions/jsapi") => (200, br#"{"prepay_id":"wx1"}"#),
            ("GET", _) => (200, br#"{"trade_state":"NOTPAY"}"#),
            _ => (204, b""),
        };
        let mut headers = signed(body);
        headers.push(("wechatpay-signature-type".to_owned(), "WECHATPAY2-SHA256-RSA2048".to_owned()));
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        Answer::Reply { status, headers, body: body.to_vec() }
    })
    .await;
    let mut about = parties();
    about["base"] = stub.url.as_str().into();
    for peer in BOTH {
        let got = peer.asked("client", about.clone()).await;
        assert_eq!(got, json!({ "prepay_id": "wx1", "trade_state": "NOTPAY", "closed": 204 }), "{peer:?}");
    }
    assert_eq!(stub.seen().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bucket_gets_the_sdk_of_tencent_signs_alike() {
    let stub = Stub::start(|seen| match seen.path.as_str() {
        "/_/cos/getauth" => say(json!({
            "TmpSecretId": "AKIDTEST", "TmpSecretKey": "SECRETTEST", "Token": "lent+/= token",
            "ExpiredTime": Timestamp::now().as_second() + 1800,
        })),
        _ => say(json!({ "respdata": { "x_cos_meta_field_strs": ["ZmlsZWlkPTE=", "+/="] } })),
    })
    .await;
    let place = Place {
        env: "prod-1".to_owned(),
        bucket: "7072-prod-1-1300000000".to_owned(),
        region: "ap-shanghai".to_owned(),
        endpoint: None,
        lifetime: std::time::Duration::from_secs(900),
    };
    let options =
        Options { storage: Some(place.clone()), container_base: Some(stub.url.clone()), ..stub.options() };
    let platform = Platform::new(options).unwrap();
    let paths = ["ai/2026/11/22/a b.png", "图/(1)'!*~.png"].map(str::to_owned);
    let tickets = platform.upload_tickets(&paths).await.unwrap();
    let mut requests: Vec<Value> = tickets
        .iter()
        .map(|ticket| {
            let Upload::Put { headers } = &ticket.upload else { panic!("a PUT") };
            let headers: serde_json::Map<String, Value> =
                headers.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
            json!({ "method": "PUT", "url": ticket.url.as_str(), "headers": headers })
        })
        .collect();
    let ids: Vec<String> = paths.iter().map(|path| place.file_id(path)).collect();
    for link in platform.download_links(&ids).await.unwrap() {
        requests.push(json!({ "method": "GET", "url": link.as_str(), "headers": {} }));
    }
    let keys =
        Keys { id: "AKIDTEST".to_owned(), secret: "SECRETTEST".into(), token: Some("lent+/= token".into()) };
    let endpoint = Url::parse("https://7072-prod-1-1300000000.cos.ap-shanghai.myqcloud.com").unwrap();
    let term = Term { from: 1_795_320_000, until: 1_795_323_600 };
    let deletion = presigned(&keys, "DELETE", &endpoint, "ai/a.png", term);
    requests.push(json!({ "method": "DELETE", "url": deletion.as_str(), "headers": {} }));
    let count = requests.len();
    let about = json!({ "secretId": "AKIDTEST", "secretKey": "SECRETTEST", "requests": requests });
    assert_agreed(Peer::Python, &Peer::Python.asked("bucket", about).await, count);
}
