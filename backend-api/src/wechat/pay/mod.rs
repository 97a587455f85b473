//! WeChat Pay API v3 for a direct merchant (FACTS §3): orders of a mini program, refunds, callbacks, bills.
//!
//! - Every request is signed over the very bytes that are sent, every good reply is verified over the very bytes that
//!   came; so is every callback, by [`Merchant::callback`], before anything in it is read.
//! - Amounts are whole fen. Only bills are written in yuan; they become fen in [`bill`] and nowhere else.
//! - A lost reply or a fault of the platform is answered by one repeat with the same parameters, at the other address
//!   if there is one: documented as harmless for each of these calls (FACTS 3.1, 3.8).

pub mod bill;
mod bills;
mod call;
mod callback;
mod certificates;
mod error;
mod orders;
mod refunds;
mod sign;
mod verify;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::{self, TimeZone};
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

pub use bills::{BillError, BillKind, FundAccount};
pub use callback::{Callback, CallbackError, CallbackEvent, Resource};
pub use error::{PayError, PayRefusal};
pub use orders::{Payer, Prepay, TradeState, Transaction, TransactionAmount};
pub use refunds::{Refund, RefundAmount, RefundNotice, RefundRequest, RefundState};
pub use sign::{ClientParameters, Stamp, authorization, client_parameters, request_message};
pub use verify::{CLOCK_WINDOW, PlatformKeys, Unverified, Verified, signed_message};

use super::crypto::{ApiV3Key, Certificate, KeyError, SigningKey, VerifyingKey};
use super::transport::{Bounds, BuildError, Transport};
use certificates::Certificates;

/// Ids of keys in public-key mode begin so (FACTS 3.3).
const PUBLIC_KEY_PREFIX: &str = "PUB_KEY_ID_";

/// Key material to hold the platform's signatures against.
#[derive(Debug, Clone)]
pub enum PlatformKey {
    /// Public-key mode: an id of the merchant console with its PEM.
    Public {
        /// `PUB_KEY_ID_…`.
        id: String,
        /// `-----BEGIN PUBLIC KEY-----`.
        pem: String,
    },
    /// Platform-certificate mode: a certificate as PEM, which says its serial itself.
    Certificate {
        /// `-----BEGIN CERTIFICATE-----`.
        pem: String,
    },
}

/// Whose account, and where the platform is.
#[derive(Debug, Clone)]
pub struct Options {
    /// The mini program that is paid in.
    pub app_id: String,
    /// The merchant's number.
    pub merchant_id: String,
    /// Serial of the merchant's certificate, upper-case hex.
    pub serial: String,
    /// The merchant's private key, PEM of PKCS#8.
    pub private_key: SecretString,
    /// The "APIv3 key": exactly 32 bytes.
    pub api_v3_key: SecretString,
    /// Keys that are known from the start. In public-key mode all there are.
    pub platform_keys: Vec<PlatformKey>,
    /// Whether certificates are fetched from the platform (platform-certificate mode, and during a migration).
    pub fetch_certificates: bool,
    /// Gets the callbacks of payments: https, without a query.
    pub notify_url: Url,
    /// Gets the callbacks of refunds.
    pub refund_notify_url: Url,
    /// `https://api.mch.weixin.qq.com`.
    pub base: Url,
    /// Where a call that got no answer is repeated; `https://api2.mch.weixin.qq.com`.
    pub backup_base: Option<Url>,
    /// Bounds of every exchange.
    pub bounds: Bounds,
    /// A whole bill may take this long to come.
    pub bill_timeout: Duration,
    /// The longest bill that is read, unpacked.
    pub max_bill_bytes: u64,
}

/// Speaks to WeChat Pay in the name of one merchant. Cheap to clone; clones share connections and keys.
#[derive(Clone)]
pub struct Merchant {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    key: SigningKey,
    api_v3_key: ApiV3Key,
    platform_keys: PlatformKeys,
    certificates: Certificates,
    transport: Transport,
    /// Sent with each request in public-key mode, so that answers are signed with that key.
    wanted_serial: Option<String>,
}

impl fmt::Debug for Merchant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merchant")
            .field("merchant_id", &self.inner.options.merchant_id)
            .finish_non_exhaustive()
    }
}

impl Merchant {
    /// Reads all keys; connects to nothing yet.
    ///
    /// # Errors
    /// When a key is not what it should be, or no TLS roots are found for an `https` base.
    pub fn new(options: Options) -> Result<Self, BuildError> {
        let bad = |name| move |source: KeyError| BuildError::Key { name, source };
        let key = SigningKey::from_pem(options.private_key.expose_secret())
            .map_err(bad("the merchant's private key"))?;
        let api_v3_key = ApiV3Key::new(options.api_v3_key.expose_secret()).map_err(bad("the APIv3 key"))?;
        let platform_keys = PlatformKeys::default();
        for known in &options.platform_keys {
            let (serial, key) = read_key(known).map_err(bad("a key of the platform"))?;
            platform_keys.add(&serial, key);
        }
        let wanted_serial = options.platform_keys.iter().find_map(|known| match known {
            PlatformKey::Public { id, .. } if id.starts_with(PUBLIC_KEY_PREFIX) => Some(id.clone()),
            _ => None,
        });
        let bases: Vec<&Url> = std::iter::once(&options.base).chain(&options.backup_base).collect();
        let transport = Transport::new(options.bounds, &bases)?;
        let certificates = Certificates::default();
        Ok(Self {
            inner: Arc::new(Inner {
                options,
                key,
                api_v3_key,
                platform_keys,
                certificates,
                transport,
                wanted_serial,
            }),
        })
    }

    /// The mini program that is paid in: callbacks have to name it.
    pub fn app_id(&self) -> &str {
        &self.inner.options.app_id
    }

    /// The merchant's number: callbacks have to name it.
    pub fn merchant_id(&self) -> &str {
        &self.inner.options.merchant_id
    }
}

fn read_key(known: &PlatformKey) -> Result<(String, VerifyingKey), KeyError> {
    match known {
        PlatformKey::Public { id, pem } => Ok((id.clone(), VerifyingKey::from_pem(pem)?)),
        PlatformKey::Certificate { pem } => {
            Certificate::from_pem(pem).map(|certificate| (certificate.serial, certificate.key))
        }
    }
}

/// RFC 3339 in Beijing's time, as the documentation's examples have it.
fn beijing(at: Timestamp) -> String {
    at.to_zoned(TimeZone::fixed(tz::offset(8))).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}
