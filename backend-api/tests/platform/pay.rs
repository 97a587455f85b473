//! WeChat Pay v3 from order to bill.

use std::time::Duration;

use backend_api::domain::OpenId;
use backend_api::wechat::pay::{
    BillError, CallbackEvent, Merchant, PayError, Prepay, RefundRequest, RefundState, TradeState,
};
use backend_api::wechat::platform::{Logistics, OrderKey, Shipping, ShippingError};
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use wechat_sim::{Config, CourierFault, Fault, KeyMode, Mishap, Person, RefundFate, Seal, Trouble};

use crate::world::{Heard, World, openid};

const PRICE: i64 = 19_900;

fn order<'a>(number: &'a str, payer: &'a OpenId) -> Prepay<'a> {
    Prepay {
        out_trade_no: number,
        description: "教练课程 60 分钟",
        total_fen: PRICE,
        payer,
        attach: Some("booking:42"),
        expires_at: Timestamp::now().checked_add(Duration::from_secs(1800)).ok(),
    }
}

/// Orders and pays.
async fn paid(merchant: &Merchant, person: &Person, number: &str) -> String {
    let prepay_id = merchant.prepay(&order(number, &openid(person))).await.unwrap();
    let params = serde_json::to_value(merchant.pay_params(&prepay_id)).unwrap();
    person.pays(&params).unwrap()
}

async fn read(merchant: &Merchant, (_, headers, body): &Heard) -> CallbackEvent {
    merchant.callback(headers, body, Timestamp::now()).await.unwrap().event
}

#[tokio::test]
async fn an_order_is_paid_told_and_found_in_every_key_mode() {
    for key_mode in [KeyMode::PublicKey, KeyMode::Certificates, KeyMode::Migrating] {
        let world = World::with(Config { key_mode, ..Config::default() }).await;
        let (merchant, person) = (world.merchant(), world.sim.person());
        for number in ["B20261122|01*", "B20261122|02*"] {
            let id = paid(&merchant, &person, number).await;
            let found = merchant.query(number).await.unwrap();
            assert_eq!((found.state, found.transaction_id.as_ref()), (TradeState::Success, Some(&id)));
            assert_eq!(merchant.query_transaction(&id).await.unwrap().out_trade_no, number);
            let heard = world.heard().await;
            let event = read(&merchant, heard.last().unwrap()).await;
            let CallbackEvent::Payment(told) = event else { panic!("{event:?}") };
            assert_eq!((told.out_trade_no.as_str(), told.state), (number, TradeState::Success));
            assert_eq!(
                (told.merchant_id.as_str(), told.app_id.as_str()),
                (merchant.merchant_id(), merchant.app_id())
            );
            assert_eq!((told.amount.unwrap().total_fen, told.attach.as_deref()), (PRICE, Some("booking:42")));
            assert_eq!(told.payer.unwrap().openid, Some(openid(&person)), "{key_mode:?}");
        }
    }
}

#[tokio::test]
async fn a_callback_that_is_sealed_wrongly_is_never_believed() {
    let world = World::new().await;
    let (merchant, person) = (world.merchant(), world.sim.person());
    for (index, seal) in Seal::BAD.into_iter().enumerate() {
        let mishap = Mishap::SealedOnly { seal };
        world.sim.courier_fault(CourierFault { matching: String::new(), times: 1, mishap });
        paid(&merchant, &person, &format!("order-{index}")).await;
        let (_, headers, body) = world.heard().await.pop().unwrap();
        let refused = merchant.callback(&headers, &body, Timestamp::now()).await;
        assert!(refused.is_err(), "{seal:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_sealed_wrongly_is_never_believed() {
    let world = World::new().await;
    let (merchant, person) = (world.merchant(), world.sim.person());
    for seal in Seal::BAD {
        let trouble = Trouble::Seal { seal };
        world.sim.fault(Fault { matching: "jsapi".to_owned(), times: 1, trouble });
        let refused = merchant.prepay(&order("order-sealed", &openid(&person))).await;
        assert!(matches!(refused, Err(PayError::Unverified(_))), "{seal:?} {refused:?}");
    }
    merchant.query("order-sealed").await.unwrap();
}

#[tokio::test]
async fn refusals_have_names_that_tell_what_to_do() {
    let world = World::new().await;
    let (merchant, person) = (world.merchant(), world.sim.person());
    let payer = openid(&person);
    let first = merchant.prepay(&order("order-0001", &payer)).await.unwrap();
    let dearer = Prepay { total_fen: PRICE + 1, ..order("order-0001", &payer) };
    assert!(matches!(merchant.prepay(&dearer).await, Err(PayError::Invalid(_))));
    person.pays(&serde_json::to_value(merchant.pay_params(&first)).unwrap()).unwrap();
    assert!(matches!(merchant.close("order-0001").await, Err(PayError::AlreadyUsed(_))));
    merchant.prepay(&order("order-0002", &payer)).await.unwrap();
    merchant.close("order-0002").await.unwrap();
    merchant.close("order-0002").await.unwrap();
    assert_eq!(merchant.query("order-0002").await.unwrap().state, TradeState::Closed);
    assert!(matches!(merchant.prepay(&order("order-0002", &payer)).await, Err(PayError::Closed(_))));
    assert!(matches!(merchant.query("order-none").await, Err(PayError::NotFound(_))));
    let mut options = world.merchant_options();
    options.serial = "0123".to_owned();
    let stranger = Merchant::new(options).unwrap();
    assert!(matches!(stranger.query("order-0001").await, Err(PayError::Misconfigured(_))));
    let code = "FREQUENCY_LIMITED".to_owned();
    let trouble = Trouble::Pay { status: 429, code };
    world.sim.fault(Fault { matching: "GET /v3".to_owned(), times: 1, trouble });
    assert!(matches!(merchant.query("order-0001").await, Err(PayError::TooFrequent(_))));
}

#[tokio::test]
async fn money_goes_back_and_its_end_is_told() {
    let world = World::new().await;
    let (merchant, person) = (world.merchant(), world.sim.person());
    paid(&merchant, &person, "order-0003").await;
    let refund = |number, fen| RefundRequest {
        out_trade_no: "order-0003",
        out_refund_no: number,
        refund_fen: fen,
        total_fen: PRICE,
        reason: Some("下雨"),
    };
    world.sim.next_refund(RefundFate::NotEnough);
    assert!(matches!(merchant.refund(&refund("r-1", 100)).await, Err(PayError::NotEnough(_))));
    let taken = merchant.refund(&refund("r-1", 100)).await.unwrap();
    assert_eq!(taken.state, RefundState::Processing);
    let event = read(&merchant, world.heard().await.last().unwrap()).await;
    let CallbackEvent::Refund(told) = event else { panic!("{event:?}") };
    assert_eq!((told.out_refund_no.as_str(), told.state), ("r-1", RefundState::Success));
    assert_eq!(merchant.query_refund("r-1").await.unwrap().state, RefundState::Success);
    world.sim.next_refund(RefundFate::Hangs);
    merchant.refund(&refund("r-2", 200)).await.unwrap();
    assert_eq!(merchant.query_refund("r-2").await.unwrap().state, RefundState::Processing);
    assert!(matches!(merchant.refund(&refund("r-3", PRICE)).await, Err(PayError::Invalid(_))));
    assert!(matches!(merchant.query_refund("r-3").await, Err(PayError::NotFound(_))));
}

#[tokio::test]
async fn bills_are_read_once_they_are_there_and_whole() {
    let world = World::new().await;
    let (merchant, person) = (world.merchant(), world.sim.person());
    let id = paid(&merchant, &person, "order-0004").await;
    let refund = RefundRequest {
        out_trade_no: "order-0004",
        out_refund_no: "r-4",
        refund_fen: 100,
        total_fen: PRICE,
        reason: None,
    };
    merchant.refund(&refund).await.unwrap();
    let china = TimeZone::fixed(Offset::constant(8));
    let today = merchant.query("order-0004").await.unwrap().paid_at.unwrap().to_zoned(china).date();
    let bill = async |day| {
        let mut rows = Vec::new();
        let count = merchant.trade_bill(day, |row| rows.push(row)).await?;
        assert_eq!(usize::try_from(count).ok(), Some(rows.len()));
        Ok(rows)
    };
    assert!(matches!(bill(today).await, Err(BillError::NotReady)));
    world.sim.advance(Duration::from_secs(2 * 86_400));
    assert!(matches!(bill(today.yesterday().unwrap()).await, Err(BillError::Absent)));
    let trouble = Trouble::WrongDigest;
    world.sim.fault(Fault { matching: "tradebill".to_owned(), times: 1, trouble });
    assert!(matches!(bill(today).await, Err(BillError::Damaged)));
    let rows = bill(today).await.unwrap();
    let [paid, back] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!(
        (paid.out_trade_no.as_str(), &paid.transaction_id, paid.total_fen),
        ("order-0004", &id, PRICE)
    );
    assert_eq!(
        back.refund.as_ref().map(|part| (part.out_refund_no.as_str(), part.refund_fen)),
        Some(("r-4", 100))
    );
    let mut balance = 0;
    let account = backend_api::wechat::pay::FundAccount::Basic;
    merchant.fund_flow_bill(today, account, |row| balance += row.amount_fen).await.unwrap();
    assert_eq!(balance, PRICE - 100);
}

#[tokio::test]
async fn shipping_is_reported_for_paid_orders() {
    let world = World::new().await;
    let (merchant, person) = (world.merchant(), world.sim.person());
    let (id, payer) = (paid(&merchant, &person, "order-0005").await, openid(&person));
    let shipping = |order| Shipping {
        order,
        payer: &payer,
        logistics: Logistics::Virtual,
        item: "一节课",
        shipped_at: Timestamp::now(),
    };
    world.platform.upload_shipping(&shipping(OrderKey::Transaction(&id))).await.unwrap();
    let by_number = OrderKey::OutTradeNo { merchant: merchant.merchant_id(), number: "order-0005" };
    world.platform.upload_shipping(&shipping(by_number)).await.unwrap();
    assert_eq!(world.sim.shipped("order-0005"), 2);
    let unknown = world.platform.upload_shipping(&shipping(OrderKey::Transaction("4200"))).await;
    assert!(matches!(unknown, Err(ShippingError::OrderUnknown)), "{unknown:?}");
}
