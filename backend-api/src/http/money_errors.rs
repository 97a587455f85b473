//! What went wrong with money, as responses.

use std::time::Duration;

use tracing::{error, warn};

use super::codes;
use super::error::ApiError;
use crate::error_chain::chain;
use crate::money::{OrderError, RequestError};

/// When to repeat what a platform did not answer.
const COME_BACK: Duration = Duration::from_secs(2);

impl From<OrderError> for ApiError {
    fn from(cause: OrderError) -> Self {
        match cause {
            OrderError::NoSuchItem => Self::of(codes::NO_SUCH_ITEM, "there is no such item"),
            OrderError::NotFound => Self::of(codes::NOT_FOUND, "there is no such order"),
            OrderError::KeyReused => Self::of(codes::KEY_REUSED, "this key named another wish before"),
            OrderError::TooManyOpen => {
                Self::of(codes::TOO_MANY_OPEN_ORDERS, "too many orders are open: pay or cancel one first")
            }
            OrderError::NotConfigured(_) => {
                Self::of(codes::PAY_NOT_CONFIGURED, "this payment is not set up here")
            }
            OrderError::Paid => Self::of(codes::ORDER_PAID, "the order was paid"),
            OrderError::Closed => Self::of(codes::ORDER_CLOSED, "the order is closed: place a new one"),
            OrderError::LoginAgain => Self::of(codes::LOGIN_AGAIN, "log in at WeChat again, then repeat"),
            OrderError::Refused(cause) => {
                error!(error = %chain(&*cause), "platform refuses a payment call");
                Self::of(codes::PAY_REFUSED, "the payment platform refuses this")
            }
            OrderError::Later(cause) => {
                warn!(error = %chain(&*cause), "payment platform does not answer");
                Self::of(codes::PAY_UNAVAILABLE, "the payment platform does not answer: repeat")
                    .retry_after(COME_BACK)
            }
            OrderError::Database(cause) => cause.into(),
        }
    }
}

impl From<RequestError> for ApiError {
    fn from(cause: RequestError) -> Self {
        match cause {
            RequestError::NotFound => Self::of(codes::NOT_FOUND, "there is no such order"),
            RequestError::NotPaid(_) => Self::of(codes::ORDER_NOT_PAID, "there is nothing to refund"),
            RequestError::KeyReused => Self::of(codes::KEY_REUSED, "this key named another refund before"),
            RequestError::Open => {
                Self::of(codes::REFUND_OPEN, "another refund of the order is on its way: wait for its end")
            }
            RequestError::TooLarge { left } => {
                Self::of(codes::REFUND_TOO_LARGE, format!("only {left} fen of the price can go back"))
            }
            RequestError::Indivisible => {
                Self::of(codes::REFUND_INDIVISIBLE, "an order of credits is refunded as a whole")
            }
            RequestError::Spent { left } => {
                Self::of(codes::CREDITS_SPENT, format!("only {left} of the order's credits are left"))
            }
            RequestError::Database(cause) => cause.into(),
        }
    }
}
