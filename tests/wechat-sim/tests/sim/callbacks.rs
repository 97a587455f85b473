//! Callbacks of WeChat Pay: signed, sealed, repeated, and mishandled on command.

use serde_json::{Value, json};
use wechat_sim::{Config, CourierFault, KeyMode, Mishap, Release, Seal};

use crate::support::{Heard, NOTIFY_URL, Receiver, World, is_sealed, opened};

/// A platform whose callbacks reach a receiver.
async fn world() -> (World, Receiver) {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.sim.route("https://pay.example.com", &receiver.url);
    (world, receiver)
}

fn plain(world: &World, heard: &Heard) -> Value {
    let text = opened(&world.sim.config().api_v3_key, &heard.json()["resource"]);
    serde_json::from_str(&text).unwrap()
}

fn mishap(world: &World, matching: &str, mishap: Mishap) {
    world.sim.courier_fault(CourierFault { matching: matching.to_owned(), times: 1, mishap });
}

#[tokio::test]
async fn a_payment_is_told_signed_and_sealed() {
    let (world, receiver) = world().await;
    let person = world.sim.person();
    let id = world.paid(&person, "order-0001").await;
    assert_eq!(world.deliveries("TRANSACTION.SUCCESS").await.len(), 1);
    let [heard] = &receiver.heard()[..] else { panic!("{:?}", receiver.heard()) };
    let merchant = world.sim.merchant();
    assert!(is_sealed(&merchant.public_key_pem.unwrap(), &heard.headers, &heard.body));
    assert_eq!(heard.header("wechatpay-serial"), merchant.public_key_id.unwrap());
    let notice = heard.json();
    assert_eq!(
        (&notice["event_type"], &notice["resource_type"]),
        (&json!("TRANSACTION.SUCCESS"), &json!("encrypt-resource"))
    );
    let plain = plain(&world, heard);
    assert_eq!((&plain["transaction_id"], &plain["trade_state"]), (&json!(id), &json!("SUCCESS")));
    assert_eq!((&plain["amount"]["total"], &plain["attach"]), (&json!(990), &json!("a")));
}

#[tokio::test]
async fn a_callback_is_repeated_with_the_same_bytes_until_it_is_taken() {
    let (world, receiver) = world().await;
    receiver.answers(&[(500, "{\"code\":\"FAIL\"}"), (404, ""), (204, "")]);
    world.paid(&world.sim.person(), "order-0002").await;
    let deliveries = world.deliveries("TRANSACTION.SUCCESS").await;
    let told: Vec<_> = deliveries.iter().map(|one| (one.attempt, one.status, one.taken)).collect();
    assert_eq!(told, [(1, Some(500), false), (2, Some(404), false), (3, Some(204), true)]);
    let heard = receiver.heard();
    assert!(heard.iter().all(|one| one.body == heard[0].body));
    assert_ne!(heard[0].header("wechatpay-nonce"), heard[1].header("wechatpay-nonce"));
}

#[tokio::test]
async fn a_callback_that_is_never_taken_is_given_up_after_the_schedule() {
    let (world, receiver) = world().await;
    receiver.answers(&[(500, ""); 40]);
    world.paid(&world.sim.person(), "order-0003").await;
    assert_eq!(world.deliveries("TRANSACTION.SUCCESS").await.len(), 16);
    assert_eq!(receiver.heard().len(), 16);
}

#[tokio::test]
async fn a_callback_can_be_lost_copied_held_and_turned_round() {
    let (world, receiver) = world().await;
    let person = world.sim.person();
    mishap(&world, "TRANSACTION", Mishap::Lose);
    world.paid(&person, "order-lost").await;
    assert!(world.deliveries("TRANSACTION.SUCCESS").await.is_empty());
    assert!(world.sim.repeat_callback("order-lost") && !world.sim.repeat_callback("order-none"));
    mishap(&world, "TRANSACTION", Mishap::Copies { count: 50 });
    world.paid(&person, "order-many").await;
    assert_eq!(world.deliveries("TRANSACTION.SUCCESS").await.len(), 51);
    mishap(&world, "TRANSACTION", Mishap::Delay { ms: 20 });
    world.paid(&person, "order-late").await;
    assert_eq!(world.deliveries("TRANSACTION.SUCCESS").await.len(), 52);
    for number in ["order-0005", "order-0006"] {
        mishap(&world, "TRANSACTION", Mishap::Hold);
        world.paid(&person, number).await;
    }
    assert_eq!(world.deliveries("TRANSACTION.SUCCESS").await.len(), 52);
    assert_eq!(world.sim.release(Release::Reversed), 2);
    let told: Vec<_> =
        world.deliveries("TRANSACTION.SUCCESS").await.into_iter().skip(52).map(|one| one.about).collect();
    assert_eq!(told, ["order-0006", "order-0005"]);
    assert_eq!(receiver.heard().len(), 54);
}

#[tokio::test]
async fn each_bad_seal_is_bad_in_its_own_way_and_the_good_one_follows() {
    let (world, receiver) = world().await;
    let person = world.sim.person();
    let public_key = world.sim.merchant().public_key_pem.unwrap();
    for (index, seal) in Seal::BAD.into_iter().enumerate() {
        receiver.answers(&[(401, "{\"code\":\"FAIL\"}")]);
        mishap(&world, "", Mishap::SealedFirst { seal });
        world.paid(&person, &format!("order-seal-{index}")).await;
        world.sim.quiet(crate::support::SOON).await.unwrap();
        let heard = receiver.heard();
        let [.., bad, good] = &heard[..] else { panic!("{seal:?}") };
        assert!(is_sealed(&public_key, &good.headers, &good.body), "{seal:?}");
        let holds = is_sealed(&public_key, &bad.headers, &bad.body);
        let is_known = bad.header("wechatpay-serial") == good.header("wechatpay-serial");
        assert!(!holds || !is_known, "{seal:?}");
        assert_eq!(holds, seal == Seal::WrongSerial, "{seal:?}");
        let is_probe = bad.header("wechatpay-signature").starts_with("WECHATPAY/SIGNTEST/");
        assert_eq!(is_probe, seal == Seal::SignTest, "{seal:?}");
    }
    mishap(&world, "", Mishap::SealedOnly { seal: Seal::Forged });
    world.paid(&person, "order-forged").await;
    let last = world.deliveries("TRANSACTION.SUCCESS").await.pop().unwrap();
    assert_eq!((last.seal, last.attempt), (Seal::Forged, 1));
}

#[tokio::test]
async fn the_end_of_a_refund_is_told_in_its_own_fields() {
    let (world, receiver) = world().await;
    world.paid(&world.sim.person(), "order-0007").await;
    let body = json!({
        "out_trade_no": "order-0007", "out_refund_no": "r-1", "notify_url": NOTIFY_URL,
        "amount": {"refund": 90, "total": 990, "currency": "CNY"},
    });
    world.v3("POST", "/v3/refund/domestic/refunds", Some(&body)).await;
    assert_eq!(world.deliveries("REFUND.SUCCESS").await.len(), 1);
    let heard =
        receiver.heard().into_iter().find(|one| one.json()["event_type"] == "REFUND.SUCCESS").unwrap();
    let plain = plain(&world, &heard);
    assert_eq!(heard.json()["resource"]["original_type"], "refund");
    assert_eq!((&plain["refund_status"], &plain["status"]), (&json!("SUCCESS"), &Value::Null));
    assert_eq!((&plain["amount"]["refund"], &plain["out_refund_no"]), (&json!(90), &json!("r-1")));
}

#[tokio::test]
async fn during_a_migration_both_keys_call() {
    let config = Config { key_mode: KeyMode::Migrating, hurry: 1_000_000, ..Config::default() };
    let (world, receiver) = (World::with(config).await, Receiver::start().await);
    world.sim.route("https://pay.example.com", &receiver.url);
    let person = world.sim.person();
    for number in ["order-0008", "order-0009"] {
        let order = world.order(&person, number);
        let prepay = world.v3_unchecked("POST", "/v3/pay/transactions/jsapi", Some(&order)).await.json();
        person.pays(&world.params(prepay["prepay_id"].as_str().unwrap())).unwrap();
        world.sim.quiet(crate::support::SOON).await.unwrap();
    }
    let serials: Vec<bool> = receiver
        .heard()
        .iter()
        .map(|one| one.header("wechatpay-serial").starts_with("PUB_KEY_ID_"))
        .collect();
    assert_eq!(serials, [false, true]);
}
