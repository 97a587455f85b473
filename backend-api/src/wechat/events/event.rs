//! Events by their kinds. Fields are named as [`Fields`] leaves them: lower case, no underscores.

use std::fmt;

use serde::{Deserialize, Deserializer};

use super::ParseError;
use super::fields::Fields;
use crate::domain::OpenId;
use crate::wechat::lenient;
use crate::wechat::platform::{Suggestion, TraceId, Verdict};

/// An event and what is said about its delivery.
#[derive(Debug, Clone)]
pub struct Received {
    /// About the delivery.
    pub head: Head,
    /// What it tells.
    pub event: Event,
}

/// What every event says.
#[derive(Clone, Deserialize)]
pub struct Head {
    /// Whom it is about, where it says so.
    #[serde(rename = "fromusername", default)]
    pub from: Option<OpenId>,
    /// When it came to be, seconds since the epoch.
    #[serde(rename = "createtime", default, deserialize_with = "lenient::optional_integer")]
    pub created_at: Option<i64>,
    /// Its own name, which events seldom have.
    #[serde(rename = "msgid", default, deserialize_with = "lenient::optional_text")]
    pub message_id: Option<String>,
    /// `event`, or the kind of a person's message.
    #[serde(rename = "msgtype", default, deserialize_with = "lenient::text")]
    pub message_type: String,
    /// Its kind, as it came.
    #[serde(default, deserialize_with = "lenient::text")]
    pub event: String,
    #[serde(default, deserialize_with = "lenient::text")]
    action: String,
}

impl Head {
    /// The same for every delivery of one event; says nothing about anybody. An event that comes without a name is known
    /// by its kind, its person and its time (FACTS 2.5).
    pub fn delivery_key(&self) -> String {
        let from = self.from.as_ref().map_or("", OpenId::as_str);
        let time = self.created_at.unwrap_or_default();
        let text = match &self.message_id {
            Some(id) => format!("message\n{id}"),
            None => format!("event\n{}\n{from}\n{time}", self.event),
        };
        blake3::hash(text.as_bytes()).to_hex().to_string()
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head").field("event", &self.event).finish_non_exhaustive()
    }
}

/// What the platform tells.
#[derive(Debug, Clone)]
pub enum Event {
    /// The console tries whether the path works: any good answer will do.
    Probe,
    /// `wxa_media_check`: the end of a check of a picture.
    ContentChecked(ContentChecked),
    /// `xpay_goods_deliver_notify`, `xpay_coin_pay_notify`: somebody paid. To be confirmed by a query.
    Deliver(Box<Delivery>),
    /// `xpay_refund_notify`: the end of a refund. To be confirmed by a query.
    Refunded(RefundEnded),
    /// `xpay_complaint_notify`: a person complains.
    Complaint(Complaint),
    /// `xpay_subscribe_ios_refund_query_notify`: Apple asks whether a refund would be right; an answer within 3 s.
    IosRefundQuestion(IosRefundQuestion),
    /// Anything else; [`Head::event`] and [`Head::message_type`] say what.
    Other,
}

/// The end of a check of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentChecked {
    /// The check, by its name, and what it advises. A check that failed (`errcode`) advises
    /// [`Suggestion::Review`], with label 0.
    pub verdict: Verdict,
    /// Why the check failed, if it did.
    pub failure: Option<i64>,
}

/// What was bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryKind {
    /// A product, so many times.
    Goods {
        /// Its id in the console.
        product: String,
        /// How many.
        quantity: i64,
        /// What was paid for all.
        actual_fen: Option<i64>,
    },
    /// The app's own currency.
    Coins {
        /// How many.
        quantity: i64,
        /// What was paid for all.
        actual_fen: Option<i64>,
    },
}

/// Somebody paid.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Who.
    pub openid: OpenId,
    /// Our number.
    pub out_trade_no: String,
    /// 0 production, 1 sandbox.
    pub environment: i64,
    /// The payment's number, where there is one.
    pub transaction_id: Option<String>,
    /// What.
    pub kind: DeliveryKind,
    /// What we attached.
    pub attach: Option<String>,
}

/// The end of a refund, as far as the documentation says what it holds.
#[derive(Debug, Clone, Deserialize)]
pub struct RefundEnded {
    /// Who.
    #[serde(default)]
    pub openid: Option<OpenId>,
    /// Our number of the order.
    #[serde(
        rename = "mchorderid",
        alias = "outtradeno",
        default,
        deserialize_with = "lenient::optional_text"
    )]
    pub order_id: Option<String>,
    /// Our number of the refund.
    #[serde(
        rename = "mchrefundid",
        alias = "outrefundno",
        default,
        deserialize_with = "lenient::optional_text"
    )]
    pub refund_id: Option<String>,
    /// What went back.
    #[serde(rename = "refundfee", default, deserialize_with = "lenient::optional_integer")]
    pub refund_fen: Option<i64>,
    /// 0 when it was done.
    #[serde(rename = "retcode", default, deserialize_with = "lenient::optional_integer")]
    pub code: Option<i64>,
}

/// A person complains.
#[derive(Debug, Clone, Deserialize)]
pub struct Complaint {
    /// Who.
    #[serde(default)]
    pub openid: Option<OpenId>,
    /// The complaint's own name.
    #[serde(rename = "complaintid", default, deserialize_with = "lenient::optional_text")]
    pub complaint_id: Option<String>,
    /// Our number of the order.
    #[serde(rename = "outtradeno", default, deserialize_with = "lenient::optional_text")]
    pub order_id: Option<String>,
}

/// Apple asks whether a refund would be right. What the question holds is not documented; these names were seen.
#[derive(Debug, Clone, Deserialize)]
pub struct IosRefundQuestion {
    /// Who wants their money back.
    #[serde(default)]
    pub openid: Option<OpenId>,
    /// Our number of the order.
    #[serde(
        rename = "outtradeno",
        alias = "mchorderid",
        default,
        deserialize_with = "lenient::optional_text"
    )]
    pub order_id: Option<String>,
    /// The number of the payment: ours or the platform's.
    #[serde(rename = "payorderid", default, deserialize_with = "lenient::optional_text")]
    pub pay_order_id: Option<String>,
}

impl IosRefundQuestion {
    /// The number by which the order is found.
    pub fn number(&self) -> Option<&str> {
        self.order_id.as_deref().or(self.pay_order_id.as_deref())
    }
}

/// Reads an event by its kind.
pub(super) fn read(fields: &Fields) -> Result<Received, ParseError> {
    let head: Head = fields.parse()?;
    let event = match head.event.to_ascii_lowercase().as_str() {
        "wxa_media_check" => Event::ContentChecked(fields.parse::<MediaCheck>()?.read()?),
        "xpay_goods_deliver_notify" => Event::Deliver(Box::new(fields.parse::<Deliver>()?.goods()?)),
        "xpay_coin_pay_notify" => Event::Deliver(Box::new(fields.parse::<Deliver>()?.coins()?)),
        "xpay_refund_notify" => Event::Refunded(fields.parse()?),
        "xpay_complaint_notify" => Event::Complaint(fields.parse()?),
        "xpay_subscribe_ios_refund_query_notify" => Event::IosRefundQuestion(fields.parse()?),
        "" if head.action.eq_ignore_ascii_case("CheckContainerPath") => Event::Probe,
        _ => Event::Other,
    };
    Ok(Received { head, event })
}

/// `wxa_media_check` in its two shapes.
#[derive(Deserialize)]
struct MediaCheck {
    traceid: TraceId,
    #[serde(default)]
    result: Option<CheckResult>,
    #[serde(default, deserialize_with = "lenient::optional_integer")]
    errcode: Option<i64>,
    /// Of the old shape: 0 no risk, 1 risk.
    #[serde(default, deserialize_with = "lenient::optional_integer")]
    isrisky: Option<i64>,
    /// Of the old shape: 0 the picture was read.
    #[serde(default, deserialize_with = "lenient::optional_integer")]
    statuscode: Option<i64>,
    #[serde(default, deserialize_with = "details")]
    detail: Vec<CheckDetail>,
}

#[derive(Deserialize)]
struct CheckResult {
    suggest: Suggestion,
    #[serde(default, deserialize_with = "lenient::optional_integer")]
    label: Option<i64>,
}

#[derive(Deserialize)]
struct CheckDetail {
    #[serde(default)]
    suggest: Option<Suggestion>,
}

fn details<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<CheckDetail>, D::Error> {
    lenient::one_or_many(deserializer)
}

impl MediaCheck {
    fn read(self) -> Result<ContentChecked, ParseError> {
        const NORMAL: i64 = 100;
        const OTHER: i64 = 21_000;
        let failure = [self.errcode, self.statuscode].into_iter().flatten().find(|code| *code != 0);
        let (suggestion, label) = match (failure, self.result, self.isrisky) {
            (Some(_), _, _) => (Suggestion::Review, 0),
            (None, Some(result), _) => (result.suggest, result.label.unwrap_or_default()),
            (None, None, Some(0)) => (Suggestion::Pass, NORMAL),
            (None, None, Some(_)) => (Suggestion::Risky, OTHER),
            (None, None, None) => return Err(ParseError::Incomplete),
        };
        // a part that is risky is never outvoted by a sum that passes
        let has_risk = self.detail.iter().any(|part| part.suggest == Some(Suggestion::Risky));
        let suggestion = match suggestion {
            Suggestion::Pass if has_risk => Suggestion::Review,
            suggestion => suggestion,
        };
        Ok(ContentChecked { verdict: Verdict { suggestion, label, trace_id: self.traceid }, failure })
    }
}

#[derive(Deserialize)]
struct Deliver {
    openid: OpenId,
    outtradeno: String,
    #[serde(deserialize_with = "lenient::integer")]
    env: i64,
    #[serde(default)]
    wechatpayinfo: Option<PayInfo>,
    #[serde(default)]
    goodsinfo: Option<Bought>,
    #[serde(default)]
    coininfo: Option<Bought>,
}

#[derive(Deserialize)]
struct PayInfo {
    #[serde(default, deserialize_with = "lenient::optional_text")]
    transactionid: Option<String>,
}

#[derive(Deserialize)]
struct Bought {
    #[serde(default, deserialize_with = "lenient::text")]
    productid: String,
    #[serde(deserialize_with = "lenient::integer")]
    quantity: i64,
    #[serde(default, deserialize_with = "lenient::optional_integer")]
    actualprice: Option<i64>,
    #[serde(default, deserialize_with = "lenient::optional_text")]
    attach: Option<String>,
}

impl Deliver {
    fn goods(mut self) -> Result<Delivery, ParseError> {
        let Bought { productid: product, quantity, actualprice: actual_fen, attach } =
            self.goodsinfo.take().ok_or(ParseError::Incomplete)?;
        Ok(self.delivery(DeliveryKind::Goods { product, quantity, actual_fen }, attach))
    }

    fn coins(mut self) -> Result<Delivery, ParseError> {
        let Bought { quantity, actualprice: actual_fen, attach, .. } =
            self.coininfo.take().ok_or(ParseError::Incomplete)?;
        Ok(self.delivery(DeliveryKind::Coins { quantity, actual_fen }, attach))
    }

    fn delivery(self, kind: DeliveryKind, attach: Option<String>) -> Delivery {
        Delivery {
            openid: self.openid,
            out_trade_no: self.outtradeno,
            environment: self.env,
            transaction_id: self.wechatpayinfo.and_then(|info| info.transactionid),
            kind,
            attach,
        }
    }
}
