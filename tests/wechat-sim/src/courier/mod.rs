//! Callbacks and pushed events: sent, sent again until taken, and mishandled on command.
//!
//! WeChat Pay repeats on its documented schedule (FACTS §3.6), virtual payment likewise; other events come up to three
//! times. Pauses are divided by `hurry`; the time for an answer is not.

mod send;
mod write;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::rfc3339;
use crate::crypt;
use crate::faults::{Mishap, Seal};
use crate::platform::Platform;
use crate::trade::{Notify, Order, Refund};

pub(crate) use send::check_receiver;

/// Pauses before each repeat, seconds.
const PAY_PAUSES: [u64; 15] =
    [15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10_800, 10_800, 10_800, 21_600, 21_600];
const PUSH_PAUSES: [u64; 2] = [5, 5];

/// Apple asks whether a refund would be right: three times at most (FACTS §4.12).
pub(crate) const APPLES_QUESTION: &str = "xpay_subscribe_ios_refund_query_notify";

/// Something to deliver.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    /// The event's type.
    pub(crate) kind: String,
    /// The order, refund or check it is about.
    pub(crate) about: String,
    to: Address,
    then: Then,
}

#[derive(Clone, Debug)]
enum Address {
    /// WeChat Pay's callback: the same bytes each time, signed afresh.
    Pay { url: String, body: Vec<u8> },
    /// An event, written as the console says when it is sent.
    Push { event: Value },
    /// The unsigned callback of the simplified pay.
    Container { path: String, body: Value },
}

/// What being taken means here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    /// Goods of virtual payment count as delivered.
    Delivered(String),
}

/// A parcel that waits for its release.
#[derive(Debug)]
pub(crate) struct Held(Parcel);

/// In which order held parcels leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// As they were made.
    InOrder,
    /// The newest first.
    Reversed,
}

/// Tells of a payment.
pub(crate) fn paid(platform: &Arc<Platform>, order: &Order) {
    let config = &platform.config;
    let about = order.out_trade_no.clone();
    match &order.notify {
        Notify::Url(url) => {
            let plain = order.json(&config.appid, &config.mchid);
            let body = write::notice(platform, "TRANSACTION.SUCCESS", "transaction", "支付成功", &plain);
            let to = Address::Pay { url: url.clone(), body };
            post(platform, Parcel { kind: "TRANSACTION.SUCCESS".into(), about, to, then: Then::Nothing });
        }
        Notify::Container { path, sub_mch_id } => {
            let body = write::container_paid(platform, order, sub_mch_id);
            let to = Address::Container { path: path.clone(), body };
            post(platform, Parcel { kind: "pay.container".into(), about, to, then: Then::Nothing });
        }
    }
}

/// Tells of the end of a refund, if it is to be told.
pub(crate) fn refund_settled(platform: &Arc<Platform>, refund: &Refund) {
    let about = refund.out_refund_no.clone();
    match &refund.notify {
        None => {}
        Some(Notify::Url(url)) => {
            let kind = format!("REFUND.{}", refund.state.name());
            let plain = refund.callback(&platform.config.mchid);
            let body = write::notice(platform, &kind, "refund", "退款结果", &plain);
            let to = Address::Pay { url: url.clone(), body };
            post(platform, Parcel { kind, about, to, then: Then::Nothing });
        }
        Some(Notify::Container { path, sub_mch_id }) => {
            let body = json!({
                "returnCode": "SUCCESS", "subMchId": sub_mch_id, "outTradeNo": refund.out_trade_no,
                "outRefundNo": refund.out_refund_no, "refundId": refund.refund_id,
                "refundStatus": if refund.state.name() == "SUCCESS" { "SUCCESS" } else { "CHANGE" },
                "refundFee": refund.refund, "totalFee": refund.total,
                "successTime": rfc3339(refund.settled.unwrap_or(refund.created)),
            });
            let to = Address::Container { path: path.clone(), body };
            post(platform, Parcel { kind: "refund.container".into(), about, to, then: Then::Nothing });
        }
    }
}

/// Pushes an event after a while. `body` has all but the fields that every event has.
pub(crate) fn push(
    platform: &Arc<Platform>,
    (kind, about, openid): (&str, &str, &str),
    body: Value,
    then: Then,
    after: Duration,
) {
    let event = write::event(platform, kind, openid, body);
    let parcel = Parcel { kind: kind.into(), about: about.into(), to: Address::Push { event }, then };
    post_after(platform, parcel, after);
}

fn post(platform: &Arc<Platform>, parcel: Parcel) {
    post_after(platform, parcel, Duration::ZERO);
}

fn post_after(platform: &Arc<Platform>, parcel: Parcel, after: Duration) {
    let plain = Way { after, first: None, is_only: false };
    match platform.faults.of_callback(&parcel.kind) {
        None => send_off(platform, parcel, plain),
        Some(Mishap::Lose) => {}
        Some(Mishap::Hold) => platform.state().held.push(Held(parcel)),
        Some(Mishap::Copies { count }) => {
            (0..count).for_each(|_| send_off(platform, parcel.clone(), plain));
        }
        Some(Mishap::Delay { ms }) => {
            send_off(platform, parcel, Way { after: after + Duration::from_millis(ms), ..plain });
        }
        Some(Mishap::SealedFirst { seal }) => {
            send_off(platform, parcel, Way { first: Some(seal), ..plain });
        }
        Some(Mishap::SealedOnly { seal }) => {
            send_off(platform, parcel, Way { first: Some(seal), is_only: true, ..plain });
        }
    }
}

/// Lets everything go that was held; returns how much.
pub(crate) fn release(platform: &Arc<Platform>, order: Release) -> usize {
    let mut held = std::mem::take(&mut platform.state().held);
    if order == Release::Reversed {
        held.reverse();
    }
    let count = held.len();
    let parcels: Vec<Parcel> = held.into_iter().map(|Held(parcel)| parcel).collect();
    let shared = Arc::clone(platform);
    under_way(platform, async move {
        // One after the other, or their order would be lost.
        for parcel in parcels {
            deliver(&shared, &parcel, Way { after: Duration::ZERO, first: None, is_only: false }).await;
        }
    });
    count
}

/// How a parcel travels.
#[derive(Clone, Copy)]
struct Way {
    after: Duration,
    first: Option<Seal>,
    is_only: bool,
}

fn send_off(platform: &Arc<Platform>, parcel: Parcel, way: Way) {
    let shared = Arc::clone(platform);
    under_way(platform, async move { deliver(&shared, &parcel, way).await });
}

/// Runs a delivery until the platform ends, counted.
pub(crate) fn under_way(platform: &Arc<Platform>, work: impl Future<Output = ()> + Send + 'static) {
    platform.under_way.fetch_add(1, Ordering::SeqCst);
    let shared = Arc::clone(platform);
    tokio::spawn(async move {
        shared.end.run_until_cancelled(work).await;
        shared.under_way.fetch_sub(1, Ordering::SeqCst);
    });
}

async fn deliver(platform: &Arc<Platform>, parcel: &Parcel, way: Way) {
    tokio::time::sleep(way.after).await;
    let mut attempt = 0;
    if let Some(seal) = way.first {
        attempt += 1;
        send::once(platform, parcel, attempt, seal).await;
        if way.is_only {
            return;
        }
    }
    for pause in std::iter::once(0).chain(pauses(parcel).iter().copied()) {
        tokio::time::sleep(platform.config.hurried(pause)).await;
        attempt += 1;
        if send::once(platform, parcel, attempt, Seal::Good).await {
            taken(platform, parcel);
            return;
        }
    }
}

fn pauses(parcel: &Parcel) -> &'static [u64] {
    match &parcel.to {
        Address::Push { .. } if !parcel.kind.starts_with("xpay_") || parcel.kind == APPLES_QUESTION => {
            &PUSH_PAUSES
        }
        _ => &PAY_PAUSES,
    }
}

fn taken(platform: &Platform, parcel: &Parcel) {
    if let Then::Delivered(out_trade_no) = &parcel.then {
        platform.state().virtual_payment.delivered(out_trade_no, platform.clock.now_s());
    }
}

/// A message's number, as pushed messages have it.
fn message_id() -> String {
    crypt::digits(18)
}
