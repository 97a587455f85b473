//! `[pay]`, `[virtual_payment]`, `[shop]` and `[chores]`.

use std::time::Duration;

use super::parse;
use super::source::Source;
use super::{pay, shop};
use crate::config::wechat::Wechat;
use crate::money::{BillOptions, ChoreOptions, Options, Settings};
use crate::wechat::xpay::{self, Environment};

pub(super) fn read(source: &mut Source<'_>, wechat: &Wechat) -> Settings {
    Settings {
        shop: shop::read(source),
        pay: pay::read(source, wechat),
        virtual_payment: virtual_payment(source),
        orders: orders(source),
        chores: chores(source),
        chores_every: source.get("chores.every_seconds", "BACKEND_CHORES_EVERY_SECONDS", parse::seconds),
    }
}

fn virtual_payment(source: &mut Source<'_>) -> Option<xpay::Options> {
    let offer_id = source.get("virtual_payment.offer_id", "BACKEND_VIRTUAL_PAYMENT_OFFER_ID", parse::text);
    let app_key = source.get("virtual_payment.app_key", "BACKEND_VIRTUAL_PAYMENT_APP_KEY", parse::secret);
    let is_sandbox = source
        .get("virtual_payment.sandbox", "BACKEND_VIRTUAL_PAYMENT_SANDBOX", parse::flag)
        .unwrap_or(false);
    if offer_id.is_some() != app_key.is_some() {
        source.problem("virtual_payment", "offer_id and app_key belong together");
    }
    let reads_bills = source.get("virtual_payment.bills", "", parse::flag).unwrap_or(true);
    let bills = virtual_bills(source);
    let environment = if is_sandbox { Environment::Sandbox } else { Environment::Production };
    let (offer_id, app_key) = offer_id.zip(app_key)?;
    Some(xpay::Options { offer_id, app_key, environment, bills: reads_bills.then_some(bills) })
}

/// The names of columns are an assumption (FACTS §4.11 knows the call alone).
fn virtual_bills(source: &mut Source<'_>) -> xpay::BillOptions {
    let columns = bill_columns(source);
    let bytes = source.get("virtual_payment.max_bill_bytes", "", parse::bytes).unwrap_or(64 * 1024 * 1024);
    xpay::BillOptions {
        columns,
        timeout: source
            .get("virtual_payment.bill_timeout_seconds", "", parse::seconds)
            .unwrap_or(Duration::from_secs(60)),
        max_bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
        max_rows: source.get("virtual_payment.max_bill_rows", "", pay::rows).unwrap_or(500_000),
    }
}

/// A column that is told as empty text is one that the file does not have.
fn bill_columns(source: &mut Source<'_>) -> xpay::BillColumns {
    let order = needed_column(source, "order", "商户订单号");
    let amount = needed_column(source, "amount", "金额(分)");
    let fee = bill_column(source, "fee", "手续费(分)");
    let refund = bill_column(source, "refund", "商户退款单号").map(|number| {
        let amount = needed_column(source, "refund_amount", "退款金额(分)");
        xpay::RefundColumns { number, amount }
    });
    if refund.is_none() {
        let _ = bill_column(source, "refund_amount", ""); // it may stay in the file
    }
    let unit = source.get("virtual_payment.bill_unit", "", unit).unwrap_or(xpay::Unit::Fen);
    xpay::BillColumns { order, amount, fee, refund, unit }
}

fn bill_column(source: &mut Source<'_>, name: &str, default: &str) -> Option<String> {
    let told = source.get(&format!("virtual_payment.bill_{name}"), "", parse::text);
    Some(told.unwrap_or_else(|| default.to_owned())).filter(|column| !column.is_empty())
}

fn needed_column(source: &mut Source<'_>, name: &str, default: &str) -> String {
    bill_column(source, name, default).unwrap_or_else(|| {
        source.problem(&format!("virtual_payment.bill_{name}"), "the name of a column is expected");
        String::new()
    })
}

fn unit(text: &str) -> Result<xpay::Unit, String> {
    match text {
        "fen" => Ok(xpay::Unit::Fen),
        "yuan" => Ok(xpay::Unit::Yuan),
        _ => Err("fen or yuan is expected".to_owned()),
    }
}

fn orders(source: &mut Source<'_>) -> Options {
    let seconds = |source: &mut Source<'_>, name: &str, default| {
        source.get(name, "", parse::seconds).unwrap_or(Duration::from_secs(default))
    };
    Options {
        lifetime: seconds(source, "shop.order_seconds", 1_800),
        max_open: source.get("shop.max_open_orders", "", parse::count).unwrap_or(20).into(),
        look_every: seconds(source, "shop.look_every_seconds", 2),
        first_look: seconds(source, "shop.first_look_seconds", 60),
        refund_look: seconds(source, "shop.refund_look_seconds", 600),
    }
}

fn chores(source: &mut Source<'_>) -> ChoreOptions {
    let seconds = |source: &mut Source<'_>, name: &str, default| {
        source.get(name, "", parse::seconds).unwrap_or(Duration::from_secs(default))
    };
    let count = |source: &mut Source<'_>, name: &str, default: u32| {
        source.get(name, "", parse::count).unwrap_or(default)
    };
    ChoreOptions {
        run_for: seconds(source, "chores.run_seconds", 10),
        batch: count(source, "chores.batch", 100).into(),
        parallel: usize::try_from(count(source, "chores.parallel", 4)).unwrap_or(1),
        claim_for: seconds(source, "chores.claim_seconds", 60),
        backoff: seconds(source, "chores.backoff_seconds", 60),
        after_requests_every: source
            .get("chores.after_requests_seconds", "", parse::seconds_or_never)
            .unwrap_or(Some(Duration::from_secs(10))),
        bills: BillOptions {
            ready_after: seconds(source, "chores.bills_after_seconds", 37_800),
            days_back: i32::try_from(count(source, "chores.bills_days_back", 3)).unwrap_or(1),
            retry_after: seconds(source, "chores.bills_retry_seconds", 1_800),
        },
    }
}
