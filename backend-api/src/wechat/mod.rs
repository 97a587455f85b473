//! Client of everything Tencent: login, tokens, checks, messages and storage ([`Platform`]), WeChat Pay v3 ([`pay`]),
//! virtual payment ([`xpay`]), the simplified pay of Cloud Run ([`cloud_run_pay`]) and what the platform pushes to us
//! ([`events`]). `docs/WECHAT.md` tells which of the facts behind it are verified and which assumed.
//!
//! What holds here:
//! - No database and no HTTP server: values in, one bounded exchange, values out. Who calls decides about repeats,
//!   except where the platform's documentation asks for one (each place says so).
//! - A signature is checked over the bytes that came, before anything in them is read.
//! - Errors are split by what the caller does next; none holds a token, key, code or openid, and none shows a URL.
//! - Every call is bounded in time and in the size of its reply.

pub mod bill;
pub mod cloud_run_pay;
pub mod crypto;
pub mod error;
pub mod events;
mod lenient;
pub mod pay;
pub mod platform;
pub mod storage;
mod transport;
pub mod xpay;

pub use error::{CallError, Refusal, TransportError};
pub use platform::{Options, Platform};
pub use transport::{Bounds, BuildError};
