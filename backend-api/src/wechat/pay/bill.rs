//! The columns of WeChat Pay's bills, with amounts in yuan (FACTS 3.1, 3.7). Their names are from memory.

use crate::wechat::bill::{BillFault, Row};

/// A payment or a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TradeRow {
    /// When, in Beijing, as it is written.
    pub at: String,
    /// The platform's number of the order.
    pub transaction_id: String,
    /// Our number of the order.
    pub out_trade_no: String,
    /// `SUCCESS`, `REFUND` or `REVOKED`.
    pub state: String,
    /// The price of the order.
    pub total_fen: i64,
    /// What the platform keeps, in thousandths of a fen; negative when it gives back.
    pub fee_milli_fen: i64,
    /// Of a refund.
    pub refund: Option<RefundPart>,
}

/// The refund of a [`TradeRow`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundPart {
    /// The platform's number.
    pub refund_id: String,
    /// Our number.
    pub out_refund_no: String,
    /// What was asked for.
    pub refund_fen: i64,
    /// `SUCCESS`, `PROCESSING` and so on.
    pub state: String,
}

impl TradeRow {
    pub(super) fn read(row: &Row<'_>) -> Result<Self, BillFault> {
        Ok(Self {
            at: row.text("交易时间")?.to_owned(),
            transaction_id: row.text("微信订单号")?.to_owned(),
            out_trade_no: row.text("商户订单号")?.to_owned(),
            state: row.text("交易状态")?.to_owned(),
            total_fen: row.fen("订单金额")?,
            fee_milli_fen: row.milli_fen("手续费")?,
            refund: match row.optional("微信退款单号")? {
                None => None,
                Some(refund_id) => Some(RefundPart {
                    refund_id,
                    out_refund_no: row.text("商户退款单号")?.to_owned(),
                    refund_fen: row.fen("申请退款金额")?,
                    state: row.text("退款状态")?.to_owned(),
                }),
            },
        })
    }
}

/// A movement of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FundRow {
    /// When, in Beijing, as it is written.
    pub at: String,
    /// What moved it: an order's or a refund's number at the platform.
    pub business_id: String,
    /// The movement's own number.
    pub flow_id: String,
    /// What kind of business, in the platform's words.
    pub business: String,
    /// What came in; negative when it went out.
    pub amount_fen: i64,
    /// What was in the account afterwards.
    pub balance_fen: i64,
}

impl FundRow {
    pub(super) fn read(row: &Row<'_>) -> Result<Self, BillFault> {
        let amount_fen = row.fen("收支金额(元)")?;
        Ok(Self {
            at: row.text("记账时间")?.to_owned(),
            business_id: row.text("微信支付业务单号")?.to_owned(),
            flow_id: row.text("资金流水单号")?.to_owned(),
            business: row.text("业务名称")?.to_owned(),
            amount_fen: match row.text("收支类型")? {
                "收入" => amount_fen,
                "支出" => -amount_fen,
                _ => return Err(BillFault::Amount("收支类型".to_owned())),
            },
            balance_fen: row.fen("账户结余(元)")?,
        })
    }
}
