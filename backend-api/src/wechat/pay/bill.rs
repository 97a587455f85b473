//! How bills are written: text in columns, each value behind a back-quote, amounts in yuan (FACTS 3.1, 3.7). The names of
//! the columns are from memory, so columns are found by name and a missing one is an error, not a guess.

/// A line longer than this is no line of a bill.
const MAX_LINE_BYTES: usize = 16 * 1024;
/// Fen of a yuan, and parts of a fen that fees are counted in.
const MILLI_FEN_PER_YUAN: i64 = 100_000;
const MILLI_FEN_PER_FEN: i64 = 1_000;

/// A bill that is not written as we know it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BillFault {
    /// There is no such column.
    #[error("the column {0} is missing")]
    Column(&'static str),
    /// The value of this column is no amount.
    #[error("an amount of the column {0} is unreadable")]
    Amount(&'static str),
    /// It ends early, or its count is not that of its rows.
    #[error("it is not complete")]
    Incomplete,
    /// A line is endless, or no text.
    #[error("a line is unreadable")]
    Line,
}

/// One line with its columns' names.
#[derive(Debug)]
pub struct Row<'a> {
    columns: &'a [String],
    values: Vec<&'a str>,
}

impl Row<'_> {
    /// The value under `column`.
    ///
    /// # Errors
    /// When there is no such column or value.
    pub fn text(&self, column: &'static str) -> Result<&str, BillFault> {
        let place = self.columns.iter().position(|name| name == column).ok_or(BillFault::Column(column))?;
        self.values.get(place).copied().ok_or(BillFault::Column(column))
    }

    /// The amount under `column`, in thousandths of a fen: fees have so many digits.
    ///
    /// # Errors
    /// When there is none.
    pub fn milli_fen(&self, column: &'static str) -> Result<i64, BillFault> {
        milli_fen(self.text(column)?).ok_or(BillFault::Amount(column))
    }

    /// The amount under `column`, in fen.
    ///
    /// # Errors
    /// When there is none, or it is no whole number of fen.
    pub fn fen(&self, column: &'static str) -> Result<i64, BillFault> {
        match self.milli_fen(column)? {
            amount if amount % MILLI_FEN_PER_FEN == 0 => Ok(amount / MILLI_FEN_PER_FEN),
            _ => Err(BillFault::Amount(column)),
        }
    }

    fn optional(&self, column: &'static str) -> Result<Option<String>, BillFault> {
        // what is not there is written as 0 or as nothing
        Ok(Some(self.text(column)?).filter(|text| !matches!(*text, "" | "0")).map(str::to_owned))
    }
}

/// Yuan with up to five decimals.
fn milli_fen(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (yuan, rest) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if yuan.is_empty() || rest.len() > 5 || !is_number(yuan) || !is_number(rest) {
        return None;
    }
    let rest: i64 = format!("{rest:0<5}").parse().ok()?;
    yuan.parse::<i64>().ok()?.checked_mul(MILLI_FEN_PER_YUAN)?.checked_add(rest)?.checked_mul(sign)
}

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
                _ => return Err(BillFault::Amount("收支类型")),
            },
            balance_fen: row.fen("账户结余(元)")?,
        })
    }
}

/// Reads a bill as its bytes come: names of columns, rows, names of sums, sums.
#[derive(Debug, Default)]
pub(super) struct Reader {
    line: Vec<u8>,
    part: Part,
    rows: u64,
}

#[derive(Debug, Default)]
enum Part {
    #[default]
    Start,
    Rows(Vec<String>),
    Sums,
    /// Holds the count that the bill gives.
    End(u64),
}

impl Reader {
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        take: &mut dyn FnMut(&Row<'_>) -> Result<(), BillFault>,
    ) -> Result<(), BillFault> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + part.len() > MAX_LINE_BYTES {
                return Err(BillFault::Line);
            }
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.line(&line, take)?;
            }
        }
        Ok(())
    }

    /// The number of rows, if the bill is whole.
    pub(super) fn finish(
        mut self,
        take: &mut dyn FnMut(&Row<'_>) -> Result<(), BillFault>,
    ) -> Result<u64, BillFault> {
        let last = std::mem::take(&mut self.line);
        self.line(&last, take)?;
        match self.part {
            Part::End(count) if count == self.rows => Ok(count),
            _ => Err(BillFault::Incomplete),
        }
    }

    fn line(
        &mut self,
        line: &[u8],
        take: &mut dyn FnMut(&Row<'_>) -> Result<(), BillFault>,
    ) -> Result<(), BillFault> {
        let line = str::from_utf8(line).map_err(|_| BillFault::Line)?;
        let line = line.trim_start_matches('\u{feff}').trim_end();
        if line.is_empty() {
            return Ok(());
        }
        match (&self.part, line.strip_prefix('`')) {
            (Part::Start, None) => {
                self.part = Part::Rows(line.split(',').map(|name| name.trim().to_owned()).collect());
            }
            (Part::Rows(columns), Some(values)) => {
                // a value may hold a comma, but none with a back-quote behind it
                take(&Row { columns, values: values.split(",`").map(str::trim).collect() })?;
                self.rows += 1;
            }
            (Part::Rows(_), None) => self.part = Part::Sums,
            (Part::Sums, Some(values)) => {
                let count = values.split(",`").next().and_then(|count| count.trim().parse().ok());
                self.part = Part::End(count.ok_or(BillFault::Incomplete)?);
            }
            _ => return Err(BillFault::Incomplete),
        }
        Ok(())
    }
}
