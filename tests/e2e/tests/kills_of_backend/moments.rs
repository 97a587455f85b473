//! Steps of the road that can be seen from outside, so that a kill may follow right behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use e2e::sandbox::Sandbox;
use e2e::wechat::Wechat;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::customers::{Steps, Town};

/// The longest wait for a moment: while people buy, each comes several times a second.
const COMES_WITHIN: Duration = Duration::from_secs(5);
/// Pause between two looks at what only can be counted.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A step that somebody just made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// None in particular.
    Any,
    /// An order was answered.
    Ordered,
    /// A phone paid; the platform's event is on its way.
    Paid,
    /// The platform was asked whether an order is paid; its answer is on its way.
    Asked,
    /// The platform's event was answered.
    Delivered,
    /// An owner saw the credits given.
    Credited,
    /// The words of a wish were checked; nothing is held yet.
    Read,
    /// A wish was answered: credits are held.
    Wished,
    /// An instance got the prompt.
    Prompted,
    /// The gateway has files, and backend-api asked the platform for leave to store them.
    Ticketed,
    /// A picture lies in the bucket: the gateway's word of the end comes next, and with it the settlement.
    Stored,
    /// The platform was asked to look at a picture that is paid.
    Looked,
    /// The platform has told what it saw.
    Judged,
}

impl Moment {
    /// Each, in the order of the road.
    pub const ALL: [Self; 13] = [
        Self::Any,
        Self::Ordered,
        Self::Paid,
        Self::Asked,
        Self::Delivered,
        Self::Credited,
        Self::Read,
        Self::Wished,
        Self::Prompted,
        Self::Ticketed,
        Self::Stored,
        Self::Looked,
        Self::Judged,
    ];
}

/// Looks out for moments from when it is made.
pub struct Watch<'a> {
    platform: Receiver<String>,
    wechat: &'a Wechat,
    sandbox: &'a Sandbox,
    steps: Arc<Steps>,
}

impl<'a> Watch<'a> {
    pub fn new(wechat: &'a Wechat, sandbox: &'a Sandbox, town: &Town) -> Self {
        Self { platform: wechat.sim().follow(), wechat, sandbox, steps: Arc::clone(town.steps()) }
    }

    /// Waits until it comes; false when it does not in time, which then was a kill at any instant.
    pub async fn comes(self, moment: Moment) -> bool {
        tokio::time::timeout(COMES_WITHIN, self.seen(moment)).await.is_ok()
    }

    async fn seen(self, moment: Moment) {
        let load = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        match moment {
            Moment::Any => {}
            Moment::Asked => heard(self.platform, "/xpay/query_order").await,
            Moment::Delivered => heard(self.platform, "xpay_goods_deliver_notify").await,
            Moment::Read => heard(self.platform, "/wxa/msg_sec_check").await,
            Moment::Ticketed => heard(self.platform, "/tcb/uploadfile").await,
            Moment::Looked => heard(self.platform, "/wxa/media_check_async").await,
            Moment::Judged => heard(self.platform, "wxa_media_check").await,
            Moment::Ordered => counted(|| load(&self.steps.ordered)).await,
            Moment::Paid => counted(|| load(&self.steps.paid)).await,
            Moment::Credited => counted(|| load(&self.steps.credited)).await,
            Moment::Wished => counted(|| load(&self.steps.wished)).await,
            Moment::Prompted => counted(|| self.sandbox.posts()).await,
            Moment::Stored => counted(|| self.wechat.sim().cos().keys().len()).await,
        }
    }
}

/// Waits for a line of the platform that ends so.
async fn heard(mut platform: Receiver<String>, end: &str) {
    loop {
        match platform.recv().await {
            Ok(line) if line.ends_with(end) => return,
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Waits until there is more.
async fn counted<N: PartialOrd>(count: impl Fn() -> N) {
    let before = count();
    while count() <= before {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
