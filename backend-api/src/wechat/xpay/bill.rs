//! Bills of virtual payment (FACTS 4.11): an address is asked for, which is made while we wait, and good for half an
//! hour. What the file holds is documented nowhere we know: so the names of its columns and the unit of its amounts are
//! settings, and a file without those columns is no bill.

use std::time::Duration;

use jiff::civil::Date;

use super::{Virtual, VirtualError};
use crate::wechat::TransportError;
use crate::wechat::bill::{BillFault, FileError, MILLI_FEN_PER_FEN, Reader, Row, Unpacking};

/// What amounts are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Whole fen.
    Fen,
    /// Yuan with up to five decimals.
    Yuan,
}

/// How the file is written. The defaults of the settings are an assumption; a column that is named here and not there
/// makes the file no bill.
#[derive(Debug, Clone)]
pub struct BillColumns {
    /// Our number of the order.
    pub order: String,
    /// Its price.
    pub amount: String,
    /// What the platform keeps, negative when it gives back; `None`: the file does not say, and it counts as nothing.
    pub fee: Option<String>,
    /// What tells a refund; `None`: the file has none, and every row is a payment.
    pub refund: Option<RefundColumns>,
    /// What all amounts are counted in.
    pub unit: Unit,
}

/// How a refund is written; both are empty or 0 in the row of a payment.
#[derive(Debug, Clone)]
pub struct RefundColumns {
    /// Our number of it.
    pub number: String,
    /// What went back.
    pub amount: String,
}

/// How bills are read, and within which bounds.
#[derive(Debug, Clone)]
pub struct BillOptions {
    /// How they are written.
    pub columns: BillColumns,
    /// The download, all of it.
    pub timeout: Duration,
    /// The longest bill that is read, unpacked.
    pub max_bytes: u64,
    /// The longest bill that is read, in rows.
    pub max_rows: usize,
}

/// A payment or a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillRow {
    /// Our number of the order.
    pub order_id: String,
    /// Its price.
    pub total_fen: i64,
    /// What the platform keeps, in thousandths of a fen; negative when it gives back.
    pub fee_milli_fen: i64,
    /// Of a refund, our number and what went back in fen.
    pub refund: Option<(String, i64)>,
}

impl BillRow {
    fn read(row: &Row<'_>, columns: &BillColumns) -> Result<Self, BillFault> {
        let order_id = row.text(&columns.order)?.to_owned();
        let total_fen = columns.unit.fen(row, &columns.amount)?;
        let fee_milli_fen = match &columns.fee {
            Some(fee) => columns.unit.milli_fen(row, fee)?,
            None => 0,
        };
        let refund = match &columns.refund {
            Some(refund) => refund.read(row, columns.unit)?,
            None => None,
        };
        Ok(Self { order_id, total_fen, fee_milli_fen, refund })
    }
}

impl RefundColumns {
    /// The number and the fen of a refund; `None`: the row is a payment.
    fn read(&self, row: &Row<'_>, unit: Unit) -> Result<Option<(String, i64)>, BillFault> {
        row.text(&self.amount)?; // of a payment, too, the column has to be there
        let Some(number) = row.optional(&self.number)? else { return Ok(None) };
        Ok(Some((number, unit.fen(row, &self.amount)?)))
    }
}

impl Unit {
    fn fen(self, row: &Row<'_>, column: &str) -> Result<i64, BillFault> {
        match self {
            Self::Fen => row.integer(column),
            Self::Yuan => row.fen(column),
        }
    }

    fn milli_fen(self, row: &Row<'_>, column: &str) -> Result<i64, BillFault> {
        match self {
            Self::Fen => row
                .integer(column)?
                .checked_mul(MILLI_FEN_PER_FEN)
                .ok_or_else(|| BillFault::Amount(column.to_owned())),
            Self::Yuan => row.milli_fen(column),
        }
    }
}

/// Why there is no bill. Rows that were given away before do not count.
#[derive(Debug, thiserror::Error)]
pub enum BillError {
    /// It could not be asked for, or is still being made ([`VirtualError::NotReady`]).
    #[error(transparent)]
    Call(#[from] VirtualError),
    /// It could not be downloaded whole, or its address is none to download from: ask again for a new one.
    #[error("the bill could not be downloaded")]
    Download(#[from] TransportError),
    /// What came is no bill.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Virtual {
    /// Gives every payment and refund of `date` (a day in Beijing) to `take`; says how many there were. The file carries
    /// no signature and no sum: that it comes over TLS from where the platform's own answer says is all there is, so an
    /// address without TLS is refused.
    ///
    /// # Errors
    /// See [`BillError`]; only `Ok` makes the rows count.
    pub async fn bill(
        &self,
        date: Date,
        options: &BillOptions,
        mut take: impl FnMut(BillRow) + Send,
    ) -> Result<u64, BillError> {
        let url = self.download_bill(date, date).await?;
        let mut response = self.platform.fetch(url, options.timeout).await?;
        let mut take = |row: &Row<'_>| {
            take(BillRow::read(row, &options.columns)?);
            Ok(())
        };
        let mut unpacking = Unpacking::either(Reader::without_sums(), options.max_bytes);
        while let Some(chunk) = response.chunk().await.map_err(TransportError::from)? {
            unpacking.push(&chunk, &mut take)?;
        }
        Ok(unpacking.finish(None, &mut take)?)
    }

    /// How bills are read; `None`: they are not.
    pub fn bills(&self) -> Option<&BillOptions> {
        self.options.bills.as_ref()
    }
}
