//! Bills: streamed, unpacked, held against their sum, and yuan become fen.

use std::io::Write as _;

use backend_api::wechat::bill::{BillFault, FileError};
use backend_api::wechat::crypto::sha1_hex;
use backend_api::wechat::pay::bill::{FundRow, RefundPart, TradeRow};
use backend_api::wechat::pay::{BillError, FundAccount, Merchant};
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::civil::{Date, date};
use serde_json::json;

use crate::keys::{merchant, options};
use crate::stub::{Answer, Stub, say_signed};

const DAY: Date = date(2026, 11, 21);
const COLUMNS: &str = "\u{feff}交易时间,公众账号ID,商户号,微信订单号,商户订单号,交易状态,微信退款单号,商户退款单号,退款状态,商品名称,手续费,订单金额,申请退款金额\r\n";
const SUMS: &str = "总交易单数,订单总金额\r\n";

fn trade_bill() -> String {
    format!(
        "{COLUMNS}\
         `2026-11-21 09:00:00,`wx1,`1234567891,`4200001,`ORDER-1,`SUCCESS,`0,`0,`,`课程, 60 分钟,`1.19400,`199.00,`0.00\r\n\
         `2026-11-21 10:00:00,`wx1,`1234567891,`4200001,`ORDER-1,`REFUND,`5000001,`R1,`SUCCESS,`课程,`-0.00600,`199.00,`1.05\r\n\
         {SUMS}`2,`398.00\r\n"
    )
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// Offers `file` with the SHA-1 of `summed`.
async fn offering(file: Vec<u8>, summed: &str) -> Stub {
    let sum = sha1_hex(summed.as_bytes());
    Stub::start(move |seen| match seen.path.as_str() {
        "/v3/billdownload/file" => Answer::Reply { status: 200, headers: Vec::new(), body: file.clone() },
        _ => {
            let url = format!("http://{}/v3/billdownload/file?token=x%2By", seen.header("host"));
            let body = json!({ "hash_type": "SHA1", "hash_value": sum, "download_url": url });
            say_signed(200, body.to_string().as_bytes())
        }
    })
    .await
}

async fn trades(merchant: &Merchant) -> Result<Vec<TradeRow>, BillError> {
    let mut rows = Vec::new();
    let count = merchant.trade_bill(DAY, |row| rows.push(row)).await?;
    assert_eq!(count, rows.len() as u64);
    Ok(rows)
}

#[tokio::test]
async fn a_bill_of_trades_is_read_in_fen() {
    let bill = trade_bill();
    let stub = offering(gzip(&bill), &bill).await;
    let rows = trades(&merchant(&stub.url)).await.unwrap();
    let refund = RefundPart {
        refund_id: "5000001".to_owned(),
        out_refund_no: "R1".to_owned(),
        refund_fen: 105,
        state: "SUCCESS".to_owned(),
    };
    let amounts: Vec<_> =
        rows.iter().map(|row| (row.total_fen, row.fee_milli_fen, row.refund.clone())).collect();
    assert_eq!(amounts, [(19_900, 119_400, None), (19_900, -600, Some(refund))]);
    assert_eq!((rows[0].out_trade_no.as_str(), rows[1].state.as_str()), ("ORDER-1", "REFUND"));
    let seen = stub.seen();
    assert_eq!(seen[0].target, "/v3/bill/tradebill?bill_date=2026-11-21&bill_type=ALL&tar_type=GZIP");
    assert_eq!(seen[1].target, "/v3/billdownload/file?token=x%2By");
    assert!(seen[1].header("authorization").starts_with("WECHATPAY2-SHA256-RSA2048 "));
}

#[tokio::test]
async fn a_bill_of_an_account_knows_in_from_out() {
    let bill = "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),备注\r\n\
         `2026-11-21 09:00:00,`4200001,`F1,`交易,`交易,`收入,`199.00,`1199.00,`\r\n\
         `2026-11-21 10:00:00,`5000001,`F2,`退款,`退款,`支出,`1.05,`1197.95,`\r\n\
         资金流水总笔数,收入笔数\r\n`2,`1\r\n";
    let stub = offering(gzip(bill), bill).await;
    let mut rows: Vec<FundRow> = Vec::new();
    merchant(&stub.url).fund_flow_bill(DAY, FundAccount::Basic, |row| rows.push(row)).await.unwrap();
    let amounts: Vec<_> = rows.iter().map(|row| (row.amount_fen, row.balance_fen)).collect();
    assert_eq!(amounts, [(19_900, 119_900), (-105, 119_795)]);
    assert_eq!(
        stub.seen()[0].target,
        "/v3/bill/fundflowbill?bill_date=2026-11-21&account_type=BASIC&tar_type=GZIP"
    );
}

#[tokio::test]
async fn a_bill_that_is_not_what_its_sum_says_is_damaged() {
    let bill = trade_bill();
    let cheaper = bill.replace("199.00", "199.01");
    let stub = offering(gzip(&cheaper), &bill).await;
    assert!(matches!(trades(&merchant(&stub.url)).await.unwrap_err(), BillError::File(FileError::Damaged)));
    let mut cut = gzip(&bill);
    cut.truncate(cut.len() - 20);
    let stub = offering(cut, &bill).await;
    assert!(matches!(trades(&merchant(&stub.url)).await.unwrap_err(), BillError::File(FileError::Damaged)));
    let stub = offering(b"<html>busy</html>".to_vec(), &bill).await;
    assert!(matches!(trades(&merchant(&stub.url)).await.unwrap_err(), BillError::File(FileError::Damaged)));
}

#[tokio::test]
async fn a_bill_that_is_not_written_as_expected_is_a_fault_not_a_guess() {
    let bill = trade_bill();
    let cases = [
        (bill.replace("订单金额,", "金额,"), BillFault::Column("订单金额".to_owned())),
        (bill.replace("`199.00,`1.05", "`199.001,`1.05"), BillFault::Amount("订单金额".to_owned())),
        (bill.replace("`199.00,`1.05", "`1e2,`1.05"), BillFault::Amount("订单金额".to_owned())),
        (bill.replace("`2,`398.00", "`3,`398.00"), BillFault::Incomplete),
        (bill.replace(&format!("{SUMS}`2,`398.00\r\n"), ""), BillFault::Incomplete),
        (format!("{bill}{}", "x".repeat(20_000)), BillFault::Line),
    ];
    for (bill, expected) in cases {
        let stub = offering(gzip(&bill), &bill).await;
        match trades(&merchant(&stub.url)).await.unwrap_err() {
            BillError::File(FileError::Unreadable(fault)) => assert_eq!(fault, expected),
            other => panic!("{expected}: {other}"),
        }
    }
}

#[tokio::test]
async fn a_bill_that_unpacks_without_end_is_stopped() {
    let row = "`2026-11-21 09:00:00,`wx1,`1,`42,`O,`SUCCESS,`0,`0,`,`x,`0.00,`1.00,`0.00\r\n";
    let bill = format!("{COLUMNS}{}", row.repeat(30_000));
    let packed = gzip(&bill);
    assert!(packed.len() < 64 * 1024, "small on the wire");
    let stub = offering(packed, &bill).await;
    let error = trades(&merchant(&stub.url)).await.unwrap_err();
    assert!(matches!(error, BillError::File(FileError::TooLong { limit: 1_048_576 })), "{error}");
    let mut generous = options(&stub.url);
    generous.max_bill_bytes = 64 << 20;
    let error = trades(&Merchant::new(generous).unwrap()).await.unwrap_err();
    assert!(matches!(error, BillError::File(FileError::Unreadable(BillFault::Incomplete))), "{error}");
}

#[tokio::test]
async fn a_day_without_a_bill_and_a_bill_that_is_being_made_are_told_apart() {
    for code in ["NO_STATEMENT_EXIST", "STATEMENT_CREATING", "FREQUENCY_LIMITED"] {
        let stub = Stub::start(move |_| Answer::Reply {
            status: 400,
            headers: Vec::new(),
            body: json!({ "code": code, "message": "…" }).to_string().into_bytes(),
        })
        .await;
        match (code, trades(&merchant(&stub.url)).await.unwrap_err()) {
            ("NO_STATEMENT_EXIST", BillError::Absent)
            | ("STATEMENT_CREATING", BillError::NotReady)
            | ("FREQUENCY_LIMITED", BillError::Pay(_)) => {}
            (code, other) => panic!("{code}: {other}"),
        }
    }
}
