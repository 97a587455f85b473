//! What the platform pushes to us (FACTS §2.5, §4.12, §8): JSON or XML, plain or sealed, with names of fields in one
//! spelling here and in another there. A name is read without regard to case and underscores.

mod event;
mod fields;
mod sealed;
mod xml;

pub use event::{
    Complaint, ContentChecked, Delivery, DeliveryKind, Event, Head, IosRefundQuestion, Received, RefundEnded,
};
pub use fields::MAX_EVENT_BYTES;
pub use sealed::{Push, PushError, PushQuery};

use fields::Fields;

/// Answers most events.
pub const SUCCESS: &str = "success";
/// Answers events of virtual payment; anything else has them sent again.
pub const DELIVERED: &str = r#"{"ErrCode":0,"ErrMsg":"success"}"#;

/// A body that is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Longer than [`MAX_EVENT_BYTES`].
    #[error("the event is longer than {MAX_EVENT_BYTES} bytes")]
    TooLong,
    /// Neither the JSON nor the XML of an event.
    #[error("the event is unreadable")]
    Unreadable,
    /// Without something that an event of its kind has.
    #[error("the event lacks fields of its kind")]
    Incomplete,
}

/// Reads an event that came over a trusted way: the container's own route, where nothing is signed (FACTS 2.5). What
/// came over a public one goes through [`Push::open`].
///
/// # Errors
/// See [`ParseError`]. An event of a kind we do not know is none: it is [`Event::Other`].
pub fn parse(body: &[u8]) -> Result<Received, ParseError> {
    event::read(&Fields::read(body)?)
}
