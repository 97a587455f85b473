//! Bills of virtual payment (FACTS §4.11): made when they are first asked for, then to be had for half an hour. What is in
//! them is our own invention.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::xpay::{PARAMETER, with};
use super::{Done, Refusal, body, refuse};
use crate::clock::{compact, day};
use crate::platform::{Platform, State};
use crate::virtual_payment::VirtualOrder;

const BEING_MADE: i64 = 268_490_011;
/// How long a download address is good.
const DOWNLOAD_FOR: Duration = Duration::from_secs(30 * 60);
/// What the platform keeps, in hundredths (FACTS §4.4).
const FEE_PERCENT: i64 = 1;
const HEAD: &str =
    "商户订单号,微信订单号,用户标识,金额(分),手续费(分),状态,支付时间,商户退款单号,退款金额(分)";

/// Answers `download_bill`.
pub(super) fn promise(platform: &Platform, body: &Value) -> Done {
    let days = days(platform, body)?;
    let is_new = platform.state().virtual_payment.bills.insert(days);
    if is_new {
        return refuse(BEING_MADE, "账单数据生成中，请稍后调用本接口获取");
    }
    let text = text(&platform.state(), days);
    let path = format!("_bills/{}-{}.csv", days.0, days.1);
    platform.cos.place(&path, text.into_bytes(), "text/csv");
    let url = platform.cos.grant_download(platform.public_url(), &path, DOWNLOAD_FOR);
    Ok(with(json!({"url": url})))
}

/// The first and the last day, as numbers, if both are over.
fn days(platform: &Platform, body: &Value) -> Result<(i64, i64), Refusal> {
    let known = ["begin_ds", "end_ds"];
    let is_known =
        |body: &serde_json::Map<String, Value>| body.keys().all(|name| known.contains(&name.as_str()));
    if !body.as_object().is_some_and(is_known) {
        return refuse(PARAMETER, "unknown parameter");
    }
    let day = |name| body::number(body, name, PARAMETER);
    let (first, last) = (day("begin_ds")?, day("end_ds")?);
    let today: i64 = compact(platform.clock.now())[..8].parse().unwrap_or_default();
    if first > last || last >= today {
        return refuse(PARAMETER, "invalid begin_ds or end_ds");
    }
    Ok((first, last))
}

fn text(state: &State, (first, last): (i64, i64)) -> String {
    let is_on = |seconds: i64| {
        let day: i64 = day(seconds * 1000).replace('-', "").parse().unwrap_or_default();
        (first..=last).contains(&day)
    };
    let is_told = |number: &String| !state.trade.left_out.contains(number);
    let mut text = format!("{HEAD}\r\n");
    for (number, order) in state.virtual_payment.orders.iter().filter(|(number, _)| is_told(number)) {
        if is_on(order.paid_at) {
            row(&mut text, number, order, None);
        }
        for (refund, back) in order.refunds.iter().filter(|(refund, back)| is_told(refund) && is_on(back.at))
        {
            row(&mut text, number, order, Some((refund, back.fee)));
        }
    }
    text
}

fn row(text: &mut String, number: &str, order: &VirtualOrder, refund: Option<(&String, i64)>) {
    let of = |fen: i64| fen * FEE_PERCENT / 100;
    let (refund_no, back) = refund.map_or((String::new(), 0), |(number, fen)| (number.clone(), fen));
    let fee = if refund.is_some() { -of(back) } else { of(order.fee) };
    // A string takes every byte.
    let _ = write!(
        text,
        "`{number},`{},`{},`{},`{fee},`{},`{},`{refund_no},`{back}\r\n",
        order.wx_order_id, order.openid, order.fee, order.status, order.paid_at,
    );
}
