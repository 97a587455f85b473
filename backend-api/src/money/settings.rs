//! Everything about money from its settings: composed once, at start.

use std::sync::Arc;
use std::time::Duration;

use super::rails::{CloudRun, Collector, Rails, VirtualPayment, WechatPay};
use super::{ChoreOptions, Chores, Ledger, Metrics, Options, Orders};
use crate::db::Database;
use crate::domain::money::Shop;
use crate::wechat::pay::{self, Merchant};
use crate::wechat::xpay::{self, Environment, Virtual};
use crate::wechat::{BuildError, Platform, cloud_run_pay};

/// What can be set about money.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What is sold.
    pub shop: Shop,
    /// The rail of services; `None`: they are not sold.
    pub pay: Option<Pay>,
    /// The rail of credits; `None`: they are not sold.
    pub virtual_payment: Option<xpay::Options>,
    /// Bounds of orders.
    pub orders: Options,
    /// Bounds of background work.
    pub chores: ChoreOptions,
    /// How often background work runs by itself; `None`: only after requests and when it is triggered.
    pub chores_every: Option<Duration>,
}

/// How services are paid.
#[derive(Debug, Clone)]
pub enum Pay {
    /// WeChat Pay API v3.
    V3 {
        /// Whose account.
        options: Box<pay::Options>,
        /// Whether the platform is told of services that were given (FACTS §3.9).
        tells_shipping: bool,
        /// The longest bill that is checked, in rows.
        max_bill_rows: usize,
    },
    /// The simplified pay of Cloud Run.
    CloudRun(cloud_run_pay::Options),
}

/// Money is not set up as its settings say.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A key or client is not what it should be.
    #[error("the rail of WeChat Pay cannot be built")]
    Pay(#[source] BuildError),
    /// Simplified pay needs the container's side-car.
    #[error("the simplified pay cannot be built")]
    CloudRun(#[source] cloud_run_pay::Error),
    /// A rail needs the mini program's platform.
    #[error("{0} needs wechat.app_id and wechat.secret")]
    NoPlatform(&'static str),
}

/// Everything about money.
#[derive(Debug, Clone)]
pub struct Money {
    /// Everybody's credits.
    pub ledger: Ledger,
    /// The orders of all users.
    pub orders: Orders,
    /// Carries on what was begun.
    pub chores: Chores,
    /// Checks the callbacks of WeChat Pay v3.
    pub merchant: Option<Merchant>,
    /// Whether the simplified pay's callbacks are taken.
    pub has_cloud_run_pay: bool,
    /// Which events of virtual payment are ours.
    pub environment: Option<Environment>,
}

impl Money {
    /// Builds the rails that are set and what works on them.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn new(
        settings: &Settings,
        database: Database,
        platform: Option<&Platform>,
        metrics: Metrics,
    ) -> Result<Self, SetupError> {
        let (merchant, wechat_pay) = match &settings.pay {
            None => (None, None),
            Some(pay) => build_pay(pay, platform)?,
        };
        let virtual_payment = match &settings.virtual_payment {
            None => None,
            Some(options) => {
                let platform = platform.ok_or(SetupError::NoPlatform("virtual payment"))?;
                let xpay = Virtual::new(platform.clone(), options.clone());
                Some(Arc::new(VirtualPayment::new(xpay)) as Arc<dyn Collector>)
            }
        };
        let rails = Rails { wechat_pay, virtual_payment };
        let orders =
            Orders::new(database.clone(), settings.shop.clone(), rails, settings.orders.clone(), metrics);
        Ok(Self {
            ledger: Ledger::new(database),
            chores: Chores::new(orders.clone(), settings.chores.clone()),
            orders,
            merchant,
            has_cloud_run_pay: matches!(settings.pay, Some(Pay::CloudRun(_))),
            environment: settings.virtual_payment.as_ref().map(|options| options.environment),
        })
    }
}

type Built = (Option<Merchant>, Option<Arc<dyn Collector>>);

fn build_pay(pay: &Pay, platform: Option<&Platform>) -> Result<Built, SetupError> {
    match pay {
        Pay::V3 { options, tells_shipping, max_bill_rows } => {
            let shipping = match tells_shipping {
                true => Some(platform.ok_or(SetupError::NoPlatform("pay.shipping"))?.clone()),
                false => None,
            };
            let merchant = Merchant::new((**options).clone()).map_err(SetupError::Pay)?;
            let rail = WechatPay::new(merchant.clone(), shipping, *max_bill_rows);
            Ok((Some(merchant), Some(Arc::new(rail))))
        }
        Pay::CloudRun(options) => {
            let platform = platform.ok_or(SetupError::NoPlatform("pay.mode = \"cloud_run\""))?;
            let pay = cloud_run_pay::CloudRunPay::new(platform.clone(), options.clone());
            let rail = CloudRun::new(pay.map_err(SetupError::CloudRun)?);
            Ok((None, Some(Arc::new(rail))))
        }
    }
}
