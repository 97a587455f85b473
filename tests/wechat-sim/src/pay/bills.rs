//! Bills of a day that has passed: promised with a digest, fetched from a short-lived address (FACTS §3.7).

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use super::{Done, Refusal, bad, refuse};
use crate::clock::{Millis, day, millis, spaced};
use crate::crypt;
use crate::faults::Trouble;
use crate::http::Call;
use crate::platform::{Platform, State};
use crate::trade::{Order, Refund, RefundState};

/// How long a download address is good.
const DOWNLOAD_FOR: Duration = Duration::from_secs(5 * 60);
/// Bills appear at ten o'clock of the next day.
const READY_AFTER_MS: Millis = 10 * 3_600_000;

const TRADE_HEAD: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,\
                          付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,\
                          充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注";
const TRADE_SUM: &str =
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额";
const FLOW_HEAD: &str = "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),资金变更提交申请人,备注,业务凭证号";
const FLOW_SUM: &str = "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额";

/// A bill that may be fetched.
#[derive(Debug)]
pub(crate) struct File {
    until: Millis,
    text: String,
    is_gzip: bool,
}

pub(super) fn trade(platform: &Platform, call: &Call, trouble: Option<&Trouble>) -> Result<Done, Refusal> {
    let date = date(platform, call)?;
    let kind = call.query.get("bill_type").map_or("ALL", String::as_str);
    if !matches!(kind, "ALL" | "SUCCESS" | "REFUND") {
        return bad("字段 bill_type 不在取值范围内");
    }
    some_trade(&platform.state(), &date)?;
    let text = trade_text(platform, &platform.state(), &date, kind);
    promise(platform, call, text, trouble)
}

pub(super) fn fund_flow(
    platform: &Platform,
    call: &Call,
    trouble: Option<&Trouble>,
) -> Result<Done, Refusal> {
    let date = date(platform, call)?;
    some_trade(&platform.state(), &date)?;
    let account = call.query.get("account_type").map_or("BASIC", String::as_str);
    let text = match account {
        "BASIC" => flow_text(&platform.state(), &date),
        "OPERATION" | "FEES" => flow_text(&State::default(), &date),
        _ => return bad("字段 account_type 不在取值范围内"),
    };
    promise(platform, call, text, trouble)
}

pub(super) fn download(platform: &Platform, call: &Call) -> Result<Done, Refusal> {
    let token = call.query.get("token").map(String::as_str).unwrap_or_default();
    let state = platform.state();
    match state.bills.get(token) {
        Some(file) if platform.clock.now() < file.until && file.is_gzip => Ok(Done::File(gzip(&file.text))),
        Some(file) if platform.clock.now() < file.until => Ok(Done::File(file.text.clone().into_bytes())),
        _ => refuse(404, "RESOURCE_NOT_EXISTS", "下载地址已失效"),
    }
}

/// `bill_date`, if its bill can be there.
fn date(platform: &Platform, call: &Call) -> Result<String, Refusal> {
    let Some(date) = call.query.get("bill_date") else { return bad("必填字段 bill_date 缺失") };
    let is_date = date.len() == 10 && date.parse::<jiff::civil::Date>().is_ok();
    if !is_date {
        return bad("字段 bill_date 的格式不是 YYYY-MM-DD");
    }
    if *date >= day(platform.clock.now() - READY_AFTER_MS) {
        return refuse(400, "STATEMENT_CREATING", "账单生成中");
    }
    Ok(date.clone())
}

/// There are no bills of days without business.
fn some_trade(state: &State, date: &str) -> Result<(), Refusal> {
    if paid_on(state, date).next().is_none() && refunded_on(state, date).next().is_none() {
        return refuse(400, "NO_STATEMENT_EXIST", "账单文件不存在");
    }
    Ok(())
}

fn promise(
    platform: &Platform,
    call: &Call,
    text: String,
    trouble: Option<&Trouble>,
) -> Result<Done, Refusal> {
    let is_gzip = match call.query.get("tar_type").map(String::as_str) {
        None => false,
        Some("GZIP") => true,
        Some(_) => return bad("字段 tar_type 不在取值范围内"),
    };
    let lying = trouble == Some(&Trouble::WrongDigest);
    let digest = crypt::sha1_hex(if lying { b"another file" } else { text.as_bytes() });
    let token = crypt::letters(40);
    let until = platform.clock.now() + millis(DOWNLOAD_FOR);
    platform.state().bills.insert(token.clone(), File { until, text, is_gzip });
    let url = format!("{}/v3/billdownload/file?token={token}", platform.public_url());
    Ok(Done::Json(json!({"hash_type": "SHA1", "hash_value": digest, "download_url": url})))
}

fn trade_text(platform: &Platform, state: &State, date: &str, kind: &str) -> String {
    let orders: Vec<&Order> = paid_on(state, date).filter(|_| kind != "REFUND").collect();
    let refunds: Vec<&Refund> = refunded_on(state, date).filter(|_| kind != "SUCCESS").collect();
    let mut text = format!("{TRADE_HEAD}\r\n");
    for order in &orders {
        trade_row(platform, &mut text, order, None);
    }
    for refund in &refunds {
        if let Some(order) = state.trade.orders.get(&refund.out_trade_no) {
            trade_row(platform, &mut text, order, Some(refund));
        }
    }
    let paid: i64 = orders.iter().map(|order| order.total).sum();
    let back: i64 = refunds.iter().map(|refund| refund.refund).sum();
    let count = (orders.len() + refunds.len()).to_string();
    let fields: [&str; 7] = [&count, &yuan(paid), &yuan(back), "0.00", "0.00000", &yuan(paid), &yuan(back)];
    text + TRADE_SUM + "\r\n" + &row(&fields)
}

fn trade_row(platform: &Platform, text: &mut String, order: &Order, refund: Option<&Refund>) {
    let Some(payment) = &order.payment else { return };
    let config = &platform.config;
    let at = refund.map_or(payment.at, |refund| refund.created);
    let paid = if refund.is_some() { 0 } else { order.total };
    let back = refund.map_or(0, |refund| refund.refund);
    let attach = order.attach.as_deref().unwrap_or_default();
    let fields: [&str; 27] = [
        &spaced(at),
        &config.appid,
        &config.mchid,
        "0",
        "",
        &payment.transaction_id,
        &order.out_trade_no,
        &order.openid,
        "JSAPI",
        if refund.is_some() { "REFUND" } else { "SUCCESS" },
        "OTHERS",
        "CNY",
        &yuan(paid),
        "0.00",
        refund.map_or("0", |refund| &refund.refund_id),
        refund.map_or("0", |refund| &refund.out_refund_no),
        &yuan(back),
        "0.00",
        if refund.is_some() { "ORIGINAL" } else { "" },
        refund.map_or("", |refund| refund.state.name()),
        &order.description,
        attach,
        "0.00000",
        "0.00%",
        &yuan(paid),
        &yuan(back),
        "",
    ];
    text.push_str(&row(&fields));
}

fn flow_text(state: &State, date: &str) -> String {
    let mut text = format!("{FLOW_HEAD}\r\n");
    let (mut balance, mut income, mut spent) = (0, (0, 0), (0, 0));
    for order in paid_on(state, date) {
        let Some(payment) = &order.payment else { continue };
        balance += order.total;
        income = (income.0 + 1, income.1 + order.total);
        text.push_str(&row(&flow_row(payment.at, &payment.transaction_id, "收入", order.total, balance)));
    }
    for refund in refunded_on(state, date) {
        balance -= refund.refund;
        spent = (spent.0 + 1, spent.1 + refund.refund);
        text.push_str(&row(&flow_row(refund.created, &refund.refund_id, "支出", refund.refund, balance)));
    }
    let sum = [
        (income.0 + spent.0).to_string(),
        income.0.to_string(),
        yuan(income.1),
        spent.0.to_string(),
        yuan(spent.1),
    ];
    text + FLOW_SUM + "\r\n" + &row(&sum)
}

fn flow_row(at: Millis, id: &str, direction: &str, fen: i64, balance: i64) -> [String; 11] {
    let kind = if direction == "收入" { "交易" } else { "退款" };
    let fields: [&str; 11] =
        [&spaced(at), id, id, kind, kind, direction, &yuan(fen), &yuan(balance), "system", "", id];
    fields.map(str::to_owned)
}

fn paid_on<'a>(state: &'a State, date: &'a str) -> impl Iterator<Item = &'a Order> {
    let on_day = move |order: &&Order| order.payment.as_ref().is_some_and(|paid| day(paid.at) == date);
    let told = |order: &&Order| !state.trade.left_out.contains(&order.out_trade_no);
    state.trade.orders.values().filter(on_day).filter(told)
}

fn refunded_on<'a>(state: &'a State, date: &'a str) -> impl Iterator<Item = &'a Refund> {
    let on_day = move |refund: &&Refund| day(refund.created) == date && refund.state != RefundState::Closed;
    let told = |refund: &&Refund| !state.trade.left_out.contains(&refund.out_refund_no);
    state.trade.refunds.values().filter(on_day).filter(told)
}

/// A line; each value behind a back-quote.
fn row(fields: &[impl AsRef<str>]) -> String {
    let mut line = String::new();
    for (index, field) in fields.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(line, "{comma}`{}", field.as_ref());
    }
    line + "\r\n"
}

fn yuan(fen: i64) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // A vector takes every byte.
    let _ = encoder.write_all(text.as_bytes());
    encoder.finish().unwrap_or_default()
}
