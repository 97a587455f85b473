//! The client against the stand-in for the platform, for which somebody else read the facts: where the two disagree, one
//! of them reads wrong.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use backend_api::domain::OpenId;
use backend_api::wechat::bill::FileError;
use backend_api::wechat::cloud_run_pay::{self, CloudRunPay};
use backend_api::wechat::events::{Delivery, DeliveryKind, Event, Push as PushKeys, PushQuery, parse};
use backend_api::wechat::pay::{
    self, CallbackEvent, PayError, PlatformKey, Prepay, RefundRequest, RefundState, TradeState, Unverified,
};
use backend_api::wechat::platform::{
    Audience, CheckError, LoginError, Logistics, Message, MessageError, OrderKey, PhoneError, Scene,
    Shipping, Suggestion,
};
use backend_api::wechat::storage::{Place, Upload, UploadTicket};
use backend_api::wechat::xpay::{
    self, DeliveredBy, Environment, OrderStatus, Purchase, Virtual, VirtualError, What,
};
use backend_api::wechat::{Bounds, Options, Platform};
use jiff::Timestamp;
use jiff::tz::{self, TimeZone};
use reqwest::Url;
use reqwest::multipart::{Form, Part};
use secrecy::ExposeSecret as _;
use wechat_sim::{
    Config, Fault, Format, Guard, KeyMode, Person, Push, RefundFate, Seal, Trouble, Verdict, WechatSim,
};

const SOON: Duration = Duration::from_secs(20);
const CALLBACKS: &str = "https://pay.example.com";

/// A request that came to us.
#[derive(Clone)]
struct Heard {
    query: PushQuery,
    headers: HeaderMap,
    body: Bytes,
}

/// The platform, and a server that it calls.
struct World {
    sim: WechatSim,
    receiver: String,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl World {
    async fn new() -> Self {
        Self::with(Config::default()).await
    }

    async fn with(config: Config) -> Self {
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let router = Router::new().fallback(hear).with_state(heard.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let sim = WechatSim::start(Config { hurry: 1_000_000, ..config }).await.unwrap();
        sim.route(CALLBACKS, &receiver);
        Self { sim, receiver, heard }
    }

    fn options(&self) -> Options {
        let config = self.sim.config();
        Options {
            api_base: Url::parse(&self.sim.url()).unwrap(),
            storage: Some(self.place()),
            bounds: Bounds { request_timeout: SOON, ..Bounds::default() },
            retry_pause: Duration::from_millis(1),
            ..Options::new(&config.appid, config.secret.as_str().into())
        }
    }

    fn outside(&self) -> Platform {
        Platform::new(self.options()).unwrap()
    }

    fn inside(&self) -> Platform {
        let container_base = Some(Url::parse(&self.sim.container_url()).unwrap());
        Platform::new(Options { container_base, ..self.options() }).unwrap()
    }

    fn place(&self) -> Place {
        let config = self.sim.config();
        // the bucket's own address carries its name in front
        let location = self.sim.cos().location("");
        let base = location.split("endpoint=http://").nth(1).unwrap().to_owned();
        Place {
            env: config.env.clone(),
            bucket: config.bucket.clone(),
            region: "ap-shanghai".to_owned(),
            endpoint: Some(Url::parse(&format!("http://{}.{base}", config.bucket)).unwrap()),
            lifetime: Duration::from_secs(900),
        }
    }

    fn merchant(&self) -> pay::Merchant {
        let known = self.sim.merchant();
        let public = known.public_key_id.zip(known.public_key_pem);
        pay::Merchant::new(pay::Options {
            app_id: known.appid,
            merchant_id: known.mchid,
            serial: known.serial,
            private_key: known.private_key_pem.into(),
            api_v3_key: known.api_v3_key.into(),
            fetch_certificates: self.sim.config().key_mode != KeyMode::PublicKey,
            platform_keys: public.map(|(id, pem)| PlatformKey::Public { id, pem }).into_iter().collect(),
            notify_url: Url::parse(&format!("{CALLBACKS}/callbacks/wechat-pay")).unwrap(),
            refund_notify_url: Url::parse(&format!("{CALLBACKS}/callbacks/wechat-pay/refunds")).unwrap(),
            base: Url::parse(&self.sim.url()).unwrap(),
            backup_base: None,
            bounds: Bounds { request_timeout: SOON, ..Bounds::default() },
            bill_timeout: SOON,
            max_bill_bytes: 1 << 20,
        })
        .unwrap()
    }

    fn seller(&self) -> Virtual {
        let config = self.sim.config();
        let options = xpay::Options {
            offer_id: config.offer_id.clone(),
            app_key: config.app_key.as_str().into(),
            environment: Environment::Production,
            bills: None,
        };
        Virtual::new(self.outside(), options)
    }

    fn push(&self, format: Format, guard: Guard) {
        self.sim.push_to(Push { url: format!("{}/events", self.receiver), format, guard });
    }

    /// What came, once nothing is on its way any more.
    async fn heard(&self) -> Vec<Heard> {
        self.sim.quiet(SOON).await.unwrap();
        std::mem::take(&mut self.heard.lock().unwrap())
    }
}

async fn hear(
    State(heard): State<Arc<Mutex<Vec<Heard>>>>,
    Query(query): Query<PushQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> &'static str {
    heard.lock().unwrap().push(Heard { query, headers, body });
    backend_api::wechat::events::DELIVERED
}

fn openid(person: &Person) -> OpenId {
    OpenId::new(person.openid())
}

#[tokio::test]
async fn people_log_in_and_their_keys_and_numbers_are_known() {
    let world = World::new().await;
    let (platform, person) = (world.outside(), world.sim.person());
    let code = person.login_code();
    let session = platform.code2session(&code).await.unwrap();
    assert_eq!(session.openid, openid(&person));
    let again = platform.code2session(&code).await.unwrap_err();
    assert!(matches!(again, LoginError::CodeRefused), "{again}");
    assert!(platform.check_session(&session.openid, &session.session_key).await.unwrap());
    let fresh = platform.reset_session(&session.openid, &session.session_key).await.unwrap();
    assert!(!platform.check_session(&session.openid, &session.session_key).await.unwrap());
    assert!(platform.check_session(&session.openid, &fresh).await.unwrap());

    let number = platform.phone_number(&person.phone_code()).await.unwrap();
    assert_eq!(number.number.expose_secret(), person.phone());
    let wrong = platform.phone_number(&person.login_code()).await.unwrap_err();
    assert!(matches!(wrong, PhoneError::CodeRefused), "{wrong}");
    person.is_blocked(true);
    let blocked = platform.code2session(&person.login_code()).await.unwrap_err();
    assert!(matches!(blocked, LoginError::Blocked), "{blocked}");
}

#[tokio::test]
async fn tokens_that_end_or_are_forgotten_are_renewed_unseen() {
    let world = World::new().await;
    let (platform, person) = (world.outside(), world.sim.person());
    let check = async || platform.check_text(&openid(&person), "画", Scene::Social).await.map(drop);
    check().await.unwrap();
    world.sim.expire_tokens();
    check().await.unwrap();
    world.sim.forget_tokens();
    check().await.unwrap();
    let fetched =
        world.sim.requests().iter().filter(|seen| seen.line.contains("/cgi-bin/stable_token")).count();
    assert_eq!(fetched, 3);
}

#[tokio::test]
async fn texts_are_judged_and_messages_need_consent() {
    let world = World::new().await;
    let person = world.sim.person();
    world.sim.advance(Duration::from_secs(7_201));
    let late = world.outside().check_text(&openid(&person), "画", Scene::Social).await.unwrap_err();
    assert!(matches!(late, CheckError::UserInactive), "{late}");
    for platform in [world.outside(), world.inside()] {
        let person = world.sim.person();
        let to = openid(&person);
        let judged = async |text: &str| {
            platform.check_text(&to, text, Scene::Social).await.map(|verdict| verdict.suggestion)
        };
        assert_eq!(judged("一只猫").await.unwrap(), Suggestion::Pass);
        assert_eq!(judged("forbidden").await.unwrap(), Suggestion::Risky);
        assert_eq!(judged("doubtful").await.unwrap(), Suggestion::Review);
        let stranger = platform.check_text(&OpenId::new("nobody"), "画", Scene::Social).await.unwrap_err();
        assert!(matches!(stranger, CheckError::UserUnknown), "{stranger}");

        let fields = [("thing1", "画好了"), ("phrase2", "完成"), ("time3", "2026-11-22 12:00")]
            .map(|(n, v)| (n, v.to_owned()));
        let message = Message {
            to: &to,
            template: "tmpl-picture-ready",
            page: Some("pages/picture?id=1"),
            fields: &fields,
            audience: Audience::Formal,
        };
        let refused = platform.subscribe_message(&message).await.unwrap_err();
        assert!(matches!(refused, MessageError::NotConsented), "{refused}");
        person.consents("tmpl-picture-ready");
        platform.subscribe_message(&message).await.unwrap();
        let unfitting = Message { fields: &fields[..1], ..message.clone() };
        person.consents("tmpl-picture-ready");
        let refused = platform.subscribe_message(&unfitting).await.unwrap_err();
        assert!(matches!(refused, MessageError::Unfitting(_)), "{refused}");
        let missing = Message { template: "another", ..message };
        let refused = platform.subscribe_message(&missing).await.unwrap_err();
        assert!(matches!(refused, MessageError::Misconfigured(_)), "{refused}");
    }
}

#[tokio::test]
async fn the_end_of_a_picture_check_is_understood_however_it_is_pushed() {
    const TOKEN: &str = "token-of-the-console";
    const AES_KEY: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ";
    let world = World::new().await;
    let (platform, person) = (world.outside(), world.sim.person());
    world.sim.judge_pictures("bad", Verdict::RISKY);
    let app = platform.app_id().to_owned();
    let plain = PushKeys::new(app.as_str(), TOKEN.into(), None).unwrap();
    let sealed = PushKeys::new(app.as_str(), TOKEN.into(), Some(&AES_KEY.into())).unwrap();
    let guards = [
        Guard::Container,
        Guard::Plain { token: TOKEN.to_owned() },
        Guard::Aes { token: TOKEN.to_owned(), encoding_aes_key: AES_KEY.to_owned() },
    ];
    for (guard, format) in guards.iter().flat_map(|guard| [(guard, Format::Json), (guard, Format::Xml)]) {
        world.push(format, guard.clone());
        let id = platform.check_image(&openid(&person), "https://x/bad.png", Scene::Social).await.unwrap();
        let heard = world.heard().await.pop().unwrap();
        let received = match guard {
            Guard::Container => parse(&heard.body).unwrap(),
            Guard::Plain { .. } => plain.open(&heard.query, &heard.body).unwrap(),
            Guard::Aes { .. } => sealed.open(&heard.query, &heard.body).unwrap(),
        };
        let Event::ContentChecked(checked) = received.event else { panic!("{format:?} {guard:?}") };
        assert_eq!((checked.verdict.trace_id, checked.verdict.suggestion), (id, Suggestion::Risky));
        assert_eq!((checked.verdict.label, checked.failure), (20_002, None));
        if !matches!(guard, Guard::Container) {
            let forged = PushQuery { nonce: "another".to_owned(), ..heard.query };
            plain.open(&forged, &heard.body).unwrap_err();
            sealed.open(&forged, &heard.body).unwrap_err();
        }
    }
}

fn order<'a>(number: &'a str, payer: &'a OpenId) -> Prepay<'a> {
    Prepay {
        out_trade_no: number,
        description: "教练课程 60 分钟",
        total_fen: 990,
        payer,
        attach: Some("booking:42"),
        expires_at: None,
    }
}

/// The callbacks that came, read.
async fn callbacks(world: &World, merchant: &pay::Merchant) -> Vec<CallbackEvent> {
    let mut events = Vec::new();
    for heard in world.heard().await {
        let taken = merchant.callback(&heard.headers, &heard.body, Timestamp::now()).await.unwrap();
        events.push(taken.event);
    }
    events
}

#[tokio::test]
async fn an_order_is_paid_told_queried_and_refunded_in_every_key_mode() {
    for key_mode in [KeyMode::PublicKey, KeyMode::Certificates, KeyMode::Migrating] {
        let world = World::with(Config { key_mode, ..Config::default() }).await;
        let (merchant, person) = (world.merchant(), world.sim.person());
        let payer = openid(&person);
        let prepay_id = merchant.prepay(&order("ORDER-01", &payer)).await.unwrap();
        assert_eq!(
            merchant.prepay(&order("ORDER-01", &payer)).await.unwrap(),
            prepay_id,
            "the very same again"
        );
        let dearer = Prepay { total_fen: 991, ..order("ORDER-01", &payer) };
        let refused = merchant.prepay(&dearer).await.unwrap_err();
        assert!(matches!(refused, PayError::Invalid(_)), "{refused}");
        assert_eq!(merchant.query("ORDER-01").await.unwrap().state, TradeState::NotPaid);

        let parameters = serde_json::to_value(merchant.pay_params(&prepay_id)).unwrap();
        let id = person.pays(&parameters).unwrap();
        let events = callbacks(&world, &merchant).await;
        let [CallbackEvent::Payment(told)] = &events[..] else { panic!("{key_mode:?}: {events:?}") };
        assert_eq!((told.out_trade_no.as_str(), &told.state), ("ORDER-01", &TradeState::Success));
        assert_eq!((told.transaction_id.as_deref(), told.payer_openid()), (Some(id.as_str()), Some(&payer)));
        assert_eq!(told.amount.as_ref().unwrap().total_fen, 990);
        let seen = merchant.query_transaction(&id).await.unwrap();
        assert_eq!((seen.state, seen.attach.as_deref()), (TradeState::Success, Some("booking:42")));
        let closed = merchant.close("ORDER-01").await.unwrap_err();
        assert!(matches!(closed, PayError::AlreadyUsed(_)), "{closed}");

        let request = RefundRequest {
            out_trade_no: "ORDER-01",
            out_refund_no: "REFUND-01",
            refund_fen: 90,
            total_fen: 990,
            reason: Some("下雨"),
        };
        let asked = merchant.refund(&request).await.unwrap();
        assert_eq!((asked.out_refund_no.as_str(), asked.amount.refund_fen), ("REFUND-01", 90));
        let events = callbacks(&world, &merchant).await;
        let [CallbackEvent::Refund(told)] = &events[..] else { panic!("{key_mode:?}: {events:?}") };
        assert_eq!((&told.state, told.amount.refund_fen), (&RefundState::Success, 90));
        assert_eq!(merchant.query_refund("REFUND-01").await.unwrap().state, RefundState::Success);
        assert_eq!(merchant.query("ORDER-01").await.unwrap().state, TradeState::Refund);
    }
}

#[tokio::test]
async fn orders_and_refunds_that_are_not_there_or_cannot_be_are_told_apart() {
    let world = World::new().await;
    let (merchant, person) = (world.merchant(), world.sim.person());
    let payer = openid(&person);
    let missing = merchant.query("ORDER-99").await.unwrap_err();
    assert!(matches!(missing, PayError::NotFound(_)), "{missing}");
    let missing = merchant.query_refund("REFUND-99").await.unwrap_err();
    assert!(matches!(missing, PayError::NotFound(_)), "{missing}");
    merchant.prepay(&order("ORDER-02", &payer)).await.unwrap();
    world.sim.advance(Duration::from_secs(301));
    merchant.close("ORDER-02").await.unwrap();
    assert_eq!(merchant.query("ORDER-02").await.unwrap().state, TradeState::Closed);
    let closed = merchant.prepay(&order("ORDER-02", &payer)).await.unwrap_err();
    assert!(matches!(closed, PayError::Closed(_)), "{closed}");

    let prepay_id = merchant.prepay(&order("ORDER-03", &payer)).await.unwrap();
    person.pays(&serde_json::to_value(merchant.pay_params(&prepay_id)).unwrap()).unwrap();
    world.sim.next_refund(RefundFate::NotEnough);
    let request = RefundRequest {
        out_trade_no: "ORDER-03",
        out_refund_no: "REFUND-03",
        refund_fen: 990,
        total_fen: 990,
        reason: None,
    };
    let poor = merchant.refund(&request).await.unwrap_err();
    assert!(matches!(poor, PayError::NotEnough(_)), "{poor}");
    world.sim.next_refund(RefundFate::Fails);
    merchant.refund(&request).await.unwrap();
    world.heard().await;
    assert_eq!(merchant.query_refund("REFUND-03").await.unwrap().state, RefundState::Abnormal);
}

#[tokio::test]
async fn no_answer_that_is_sealed_badly_is_believed() {
    let world = World::new().await;
    let (merchant, person) = (world.merchant(), world.sim.person());
    merchant.prepay(&order("ORDER-04", &openid(&person))).await.unwrap();
    for seal in Seal::BAD {
        let trouble = Trouble::Seal { seal };
        world.sim.fault(Fault { matching: "ORDER-04".to_owned(), times: 1, trouble });
        let error = merchant.query("ORDER-04").await.unwrap_err();
        let PayError::Unverified(unverified) = &error else { panic!("{seal:?}: {error}") };
        let is_of_its_kind = match seal {
            Seal::Stale | Seal::Early => matches!(unverified, Unverified::Clock { .. }),
            Seal::WrongSerial => *unverified == Unverified::UnknownKey,
            Seal::Missing => matches!(unverified, Unverified::Header(_)),
            _ => matches!(unverified, Unverified::Signature(_)),
        };
        assert!(is_of_its_kind, "{seal:?}: {unverified}");
    }
    merchant.query("ORDER-04").await.unwrap();
}

#[tokio::test]
async fn bills_hold_what_happened() {
    let world = World::new().await;
    let (merchant, person) = (world.merchant(), world.sim.person());
    let prepay_id = merchant.prepay(&order("ORDER-05", &openid(&person))).await.unwrap();
    let id = person.pays(&serde_json::to_value(merchant.pay_params(&prepay_id)).unwrap()).unwrap();
    let request = RefundRequest {
        out_trade_no: "ORDER-05",
        out_refund_no: "REFUND-05",
        refund_fen: 90,
        total_fen: 990,
        reason: None,
    };
    merchant.refund(&request).await.unwrap();
    let paid_at = merchant.query("ORDER-05").await.unwrap().paid_at.unwrap();
    let day = paid_at.to_zoned(TimeZone::fixed(tz::offset(8))).date();
    let early = merchant.trade_bill(day, |_| {}).await.unwrap_err();
    assert!(matches!(early, pay::BillError::NotReady), "{early}");
    world.sim.advance(Duration::from_secs(2 * 86_400));
    let idle = merchant.trade_bill(day.yesterday().unwrap(), |_| {}).await.unwrap_err();
    assert!(matches!(idle, pay::BillError::Absent), "{idle}");
    let mut rows = Vec::new();
    assert_eq!(merchant.trade_bill(day, |row| rows.push(row)).await.unwrap(), 2);
    assert_eq!(
        (rows[0].transaction_id.as_str(), rows[0].total_fen, &rows[0].refund),
        (id.as_str(), 990, &None)
    );
    let refund = rows[1].refund.as_ref().unwrap();
    assert_eq!((refund.out_refund_no.as_str(), refund.refund_fen), ("REFUND-05", 90));
    let mut flow = Vec::new();
    merchant.fund_flow_bill(day, pay::FundAccount::Basic, |row| flow.push(row.amount_fen)).await.unwrap();
    assert_eq!(flow, [990, -90]);
    let trouble = Trouble::WrongDigest;
    world.sim.fault(Fault { matching: "tradebill".to_owned(), times: 1, trouble });
    let damaged = merchant.trade_bill(day, |_| {}).await.unwrap_err();
    assert!(matches!(damaged, pay::BillError::File(FileError::Damaged)), "{damaged}");

    let payer = openid(&person);
    let shipping = Shipping {
        order: OrderKey::Transaction(&id),
        payer: &payer,
        logistics: Logistics::Virtual,
        item: "教练课程",
        shipped_at: Timestamp::now(),
    };
    world.outside().upload_shipping(&shipping).await.unwrap();
    assert_eq!(world.sim.shipped("ORDER-05"), 1);
}

/// The delivery that was told.
async fn delivery(world: &World) -> Delivery {
    let heard = world.heard().await;
    let received = parse(&heard.last().unwrap().body).unwrap();
    let Event::Deliver(delivery) = received.event else { panic!("{received:?}") };
    *delivery
}

#[tokio::test]
async fn credits_are_bought_told_confirmed_and_given_back() {
    let world = World::new().await;
    let (seller, person) = (world.seller(), world.sim.person());
    for format in [Format::Json, Format::Xml] {
        world.push(format, Guard::Container);
        let session = world.outside().code2session(&person.login_code()).await.unwrap();
        let number = format!("VIRTUAL-{format:?}");
        let purchase = Purchase {
            out_trade_no: &number,
            what: What::Goods { product: "credits_100", price_fen: 990 },
            quantity: 1,
            attach: "order:1",
        };
        let signed = seller.sign_purchase(&purchase, &session.session_key);
        person.pays_virtually(&serde_json::to_value(&signed).unwrap()).unwrap();
        let told = delivery(&world).await;
        assert_eq!((told.openid, told.out_trade_no.as_str()), (openid(&person), number.as_str()));
        assert_eq!((told.environment, told.attach.as_deref()), (0, Some("order:1")));
        let DeliveryKind::Goods { product, quantity, actual_fen } = told.kind else { panic!("coins") };
        assert_eq!((product.as_str(), quantity, actual_fen), ("credits_100", 1, Some(990)));

        let seen = seller.query_order(&openid(&person), &number).await.unwrap();
        assert!(seen.status.is_paid(), "{seen:?}");
        assert_eq!((seen.order_fen, seen.paid_fen), (990, Some(990)));
        match seller.notify_provide_goods(DeliveredBy::OrderId(&number)).await {
            Ok(()) | Err(VirtualError::AlreadyDone) => {}
            Err(error) => panic!("{error}"),
        }
        assert_eq!(
            seller.query_order(&openid(&person), &number).await.unwrap().status,
            OrderStatus::Delivered
        );
        let payer = openid(&person);
        let refund_number = format!("REFUND-{number}");
        let refund = xpay::RefundOrder {
            openid: &payer,
            order_id: &number,
            refund_order_id: &refund_number,
            left_fen: seen.left_fen.unwrap(),
            refund_fen: 990,
            reason: 5,
            requested_by: 2,
        };
        seller.refund_order(&refund).await.unwrap();
        let heard = world.heard().await;
        let Event::Refunded(told) = parse(&heard.last().unwrap().body).unwrap().event else {
            panic!("no refund")
        };
        assert_eq!(told.openid, Some(payer));
        assert_eq!(
            seller.query_order(&openid(&person), &number).await.unwrap().status,
            OrderStatus::Refunded
        );
    }
}

#[tokio::test]
async fn a_session_key_that_was_replaced_shows_when_the_client_pays_and_when_we_call() {
    let world = World::new().await;
    let (seller, person) = (world.seller(), world.sim.person());
    let platform = world.outside();
    let old = platform.code2session(&person.login_code()).await.unwrap().session_key;
    let new = platform.code2session(&person.login_code()).await.unwrap().session_key;
    let purchase = Purchase { out_trade_no: "VIRTUAL-9", what: What::Coins, quantity: 10, attach: "a" };
    let refused =
        person.pays_virtually(&serde_json::to_value(seller.sign_purchase(&purchase, &old)).unwrap());
    assert_eq!(refused.unwrap_err().code, -15005);
    let stale = seller.query_user_balance(&openid(&person), "127.0.0.1", &old).await.unwrap_err();
    assert!(matches!(stale, VirtualError::LoginAgain), "{stale}");
    person.pays_virtually(&serde_json::to_value(seller.sign_purchase(&purchase, &new)).unwrap()).unwrap();
    let balance = seller.query_user_balance(&openid(&person), "127.0.0.1", &new).await.unwrap();
    assert_eq!(balance.balance, person.coins());
}

#[tokio::test]
async fn the_simplified_pay_pays_without_keys_of_ours() {
    let world = World::new().await;
    world.sim.container_service(&world.receiver);
    let options = cloud_run_pay::Options {
        merchant_id: world.sim.config().mchid.clone(),
        env: world.sim.config().env.clone(),
        service: "backend".to_owned(),
        callback_path: "/callbacks/cloud-run-pay".to_owned(),
    };
    let pay = CloudRunPay::new(world.inside(), options).unwrap();
    let person = world.sim.person();
    let payer = openid(&person);
    let order = cloud_run_pay::Order {
        out_trade_no: "ORDER-06",
        description: "课程",
        total_fen: 990,
        payer: &payer,
        client_ip: "127.0.0.1",
    };
    let payment = pay.order(&order).await.unwrap();
    assert_eq!(pay.query("ORDER-06").await.unwrap().trade_state, "NOTPAY");
    let id = person.pays(&payment.0).unwrap();
    let heard = world.heard().await;
    let hint = cloud_run_pay::Hint::read(&heard.last().unwrap().body).unwrap();
    let seen = pay.query(&hint.out_trade_no).await.unwrap();
    assert_eq!(
        (seen.trade_state.as_str(), seen.transaction_id, seen.total_fen),
        ("SUCCESS", Some(id), Some(990))
    );
    let missing = pay.query("ORDER-99").await.unwrap_err();
    assert!(matches!(missing, cloud_run_pay::Error::NotFound), "{missing}");
    let refund = cloud_run_pay::RefundOrder {
        out_trade_no: "ORDER-06",
        out_refund_no: "REFUND-06",
        total_fen: 990,
        refund_fen: 90,
        reason: "下雨",
    };
    pay.refund(&refund).await.unwrap();
    world.heard().await;
    assert_eq!(pay.query_refund("REFUND-06").await.unwrap().refund_fen, Some(90));
}

/// A client that knows where the bucket is: its name is below `localhost`, which not every system takes for itself.
fn browser(world: &World) -> reqwest::Client {
    let endpoint = world.place().endpoint.unwrap();
    let address = ([127, 0, 0, 1], endpoint.port().unwrap()).into();
    reqwest::Client::builder().no_proxy().resolve(endpoint.host_str().unwrap(), address).build().unwrap()
}

/// Uploads as a runner does, with nothing but the ticket.
async fn upload(client: &reqwest::Client, ticket: &UploadTicket, bytes: &'static [u8]) -> u16 {
    let request = match &ticket.upload {
        Upload::Put { headers } => headers
            .iter()
            .fold(client.put(ticket.url.clone()), |request, (name, value)| request.header(name, value))
            .body(bytes),
        Upload::Form { fields } => {
            let form = fields.iter().cloned().fold(Form::new(), |form, (name, value)| form.text(name, value));
            client
                .post(ticket.url.clone())
                .multipart(form.part("file", Part::bytes(bytes).file_name("a.png")))
        }
    };
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn files_are_uploaded_seen_and_deleted_inside_and_outside() {
    let world = World::new().await;
    let client = browser(&world);
    for (platform, paths) in [
        (world.inside(), ["ai/in side/1.png", "ai/2.png"]),
        (world.outside(), ["ai/out side/1.png", "ai/3.png"]),
    ] {
        let paths = paths.map(str::to_owned);
        let tickets = platform.upload_tickets(&paths).await.unwrap();
        for (ticket, path) in tickets.iter().zip(&paths) {
            let status = upload(&client, ticket, b"bytes of a picture").await;
            assert!((200..300).contains(&status), "{path}: {status}");
            let object = world.sim.cos().object(path).unwrap();
            assert_eq!(object.bytes, b"bytes of a picture");
            assert!(object.headers.contains_key("x-cos-meta-fileid"), "{path}");
        }
        let ids: Vec<String> = tickets.iter().map(|ticket| ticket.file_id.clone()).collect();
        assert_eq!(ids[0], world.place().file_id(&paths[0]));
        for link in platform.download_links(&ids).await.unwrap() {
            let seen = client.get(link).send().await.unwrap();
            assert_eq!(
                (seen.status().as_u16(), seen.bytes().await.unwrap().as_ref()),
                (200, &b"bytes of a picture"[..])
            );
        }
        platform.delete_files(&ids).await.unwrap();
        platform.delete_files(&ids).await.unwrap();
        assert!(world.sim.cos().keys().is_empty(), "{:?}", world.sim.cos().keys());
    }
}

#[tokio::test]
async fn a_ticket_of_the_container_uploads_one_file_once() {
    let world = World::new().await;
    let client = browser(&world);
    let ticket = world.inside().upload_tickets(&["ai/1.png".to_owned()]).await.unwrap().remove(0);
    assert_eq!(upload(&client, &ticket, b"first").await, 200);
    assert_eq!(upload(&client, &ticket, b"second").await, 409);
    let mut elsewhere = ticket;
    elsewhere.url.set_path("/ai/2.png");
    assert_eq!(upload(&client, &elsewhere, b"first").await, 403);
    assert_eq!(world.sim.cos().object("ai/1.png").unwrap().bytes, b"first");
}
