//! Bills of a day: asked for, downloaded as a stream, unpacked, held against their sum (FACTS 3.7).
//!
//! A bill may be long. It is never whole in memory: each row is given away as it comes, and counts only when the whole
//! bill turned out to be complete.

use jiff::civil::Date;
use reqwest::{Method, Response, Url};
use serde::Deserialize;

use super::bill::{FundRow, TradeRow};
use super::call::{Call, request_id};
use super::{Merchant, PayError};
use crate::wechat::TransportError;
use crate::wechat::bill::{FileError, Reader, Taker, Unpacking};

/// Which account of the merchant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FundAccount {
    /// `BASIC`.
    Basic,
    /// `OPERATION`.
    Operation,
    /// `FEES`.
    Fees,
}

/// Which bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BillKind {
    /// Every payment and refund.
    Trade,
    /// Every movement of an account.
    FundFlow(FundAccount),
}

impl BillKind {
    fn route(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Trade => ("tradebill", "bill_type", "ALL"),
            Self::FundFlow(FundAccount::Basic) => ("fundflowbill", "account_type", "BASIC"),
            Self::FundFlow(FundAccount::Operation) => ("fundflowbill", "account_type", "OPERATION"),
            Self::FundFlow(FundAccount::Fees) => ("fundflowbill", "account_type", "FEES"),
        }
    }
}

/// Why there is no bill. Rows that were given away before do not count.
#[derive(Debug, thiserror::Error)]
pub enum BillError {
    /// Nothing happened on that day.
    #[error("there is no bill of that day")]
    Absent,
    /// It is still being made: it should be there after ten in the morning, Beijing's time.
    #[error("the bill is not ready")]
    NotReady,
    /// It could not be asked for.
    #[error(transparent)]
    Pay(PayError),
    /// It could not be downloaded whole: ask again for a new address.
    #[error("the bill could not be downloaded")]
    Download(#[from] TransportError),
    /// What came is no bill, or not the one that the platform has.
    #[error(transparent)]
    File(#[from] FileError),
}

impl From<PayError> for BillError {
    /// Both codes are from memory.
    fn from(error: PayError) -> Self {
        let code = match &error {
            PayError::Refused(refusal) | PayError::Invalid(refusal) | PayError::NotFound(refusal) => {
                refusal.code.as_str()
            }
            _ => "",
        };
        match code {
            "NO_STATEMENT_EXIST" => Self::Absent,
            "STATEMENT_CREATING" => Self::NotReady,
            _ => Self::Pay(error),
        }
    }
}

#[derive(Deserialize)]
struct Location {
    hash_type: String,
    hash_value: String,
    #[serde(deserialize_with = "crate::wechat::lenient::url")]
    download_url: Url,
}

impl Merchant {
    /// Gives every payment and refund of `date` (a day in Beijing) to `take`; says how many there were.
    ///
    /// # Errors
    /// See [`BillError`]; only `Ok` makes the rows count.
    pub async fn trade_bill(
        &self,
        date: Date,
        mut take: impl FnMut(TradeRow) + Send,
    ) -> Result<u64, BillError> {
        self.bill(date, BillKind::Trade, &mut |row| {
            take(TradeRow::read(row)?);
            Ok(())
        })
        .await
    }

    /// Gives every movement of `account` on `date` (a day in Beijing) to `take`; says how many there were.
    ///
    /// # Errors
    /// See [`BillError`]; only `Ok` makes the rows count.
    pub async fn fund_flow_bill(
        &self,
        date: Date,
        account: FundAccount,
        mut take: impl FnMut(FundRow) + Send,
    ) -> Result<u64, BillError> {
        self.bill(date, BillKind::FundFlow(account), &mut |row| {
            take(FundRow::read(row)?);
            Ok(())
        })
        .await
    }

    async fn bill(&self, date: Date, kind: BillKind, take: &mut Taker<'_>) -> Result<u64, BillError> {
        let (route, selector, value) = kind.route();
        let date = date.to_string();
        let call = Call::get(&["v3", "bill", route])
            .with("bill_date", &date)
            .with(selector, value)
            .with("tar_type", "GZIP");
        let location: Location = self.call(&call).await?;
        if location.hash_type != "SHA1" {
            return Err(FileError::Damaged.into());
        }
        let response = self.open_bill(location.download_url).await?;
        self.read_bill(response, &location.hash_value, take).await
    }

    /// The reply of the download is not signed; its sum was, in the answer that named it.
    async fn open_bill(&self, url: Url) -> Result<Response, BillError> {
        let request = self.signed(Method::GET, url, b"").timeout(self.inner.options.bill_timeout);
        let response = self.inner.transport.open(request).await?;
        match response.status() {
            status if status.is_success() => Ok(response),
            status => Err(PayError::from_reply(status, b"", request_id(response.headers())).into()),
        }
    }

    async fn read_bill(
        &self,
        mut response: Response,
        sum: &str,
        take: &mut Taker<'_>,
    ) -> Result<u64, BillError> {
        let mut unpacking = Unpacking::packed(Reader::with_sums(), self.inner.options.max_bill_bytes);
        while let Some(chunk) = response.chunk().await.map_err(TransportError::from)? {
            unpacking.push(&chunk, take)?;
        }
        Ok(unpacking.finish(Some(sum), take)?)
    }
}
