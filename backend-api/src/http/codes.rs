//! Every error code that we answer, with the kind that decides its status. `docs/ERRORS.md` tells cause and remedy of
//! each; a test holds the two together. A new code is one line here and one there.

use axum::http::StatusCode;

/// What kind of failure it is; decides the status and nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is malformed.
    Invalid,
    /// No valid proof of who asks.
    Unauthorized,
    /// It has to be paid for first.
    PaymentRequired,
    /// Known, and not allowed to.
    Forbidden,
    /// No such thing.
    NotFound,
    /// The path is known, the method is not.
    MethodNotAllowed,
    /// Things are not as the request takes them to be.
    Conflict,
    /// The body is over the bound.
    TooLarge,
    /// The body is not JSON by its own account.
    UnsupportedMedia,
    /// Well formed, but will never be carried out.
    Refused,
    /// Not now; there is a time to come back.
    Busy,
    /// Our own bug.
    Internal,
    /// The fault of the gateway, of WeChat, or of our operator towards them.
    Upstream,
    /// The database, WeChat or a part that is not set up does not serve.
    Unavailable,
    /// Took too long.
    Timeout,
}

impl ErrorKind {
    /// Its HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::PaymentRequired => StatusCode::PAYMENT_REQUIRED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Refused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Upstream => StatusCode::BAD_GATEWAY,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}

/// A stable word for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// The word.
    pub text: &'static str,
    /// What kind of failure it is.
    pub kind: ErrorKind,
}

macro_rules! codes {
    ($($name:ident $text:literal $kind:ident,)*) => {
        $(
            #[doc = concat!("`", $text, "`")]
            pub const $name: Code = Code { text: $text, kind: ErrorKind::$kind };
        )*

        /// All of them.
        pub const ALL: &[Code] = &[$($name),*];
    };
}

codes! {
    // Any route.
    INVALID_REQUEST "invalid_request" Invalid,
    UNAUTHORIZED "unauthorized" Unauthorized,
    FORBIDDEN "forbidden" Forbidden,
    NOT_FOUND "not_found" NotFound,
    METHOD_NOT_ALLOWED "method_not_allowed" MethodNotAllowed,
    TOO_LARGE "too_large" TooLarge,
    UNSUPPORTED_MEDIA_TYPE "unsupported_media_type" UnsupportedMedia,
    RATE_LIMITED "rate_limited" Busy,
    INTERNAL "internal" Internal,
    UNAVAILABLE "unavailable" Unavailable,
    TIMEOUT "timeout" Timeout,
    // Identity.
    IDENTITY_NOT_CONFIGURED "identity_not_configured" Unavailable,
    WECHAT_NOT_CONFIGURED "wechat_not_configured" Unavailable,
    WECHAT_MISCONFIGURED "wechat_misconfigured" Upstream,
    WECHAT_UNAVAILABLE "wechat_unavailable" Unavailable,
    CODE_REFUSED "code_refused" Unauthorized,
    TOO_MANY_LOGINS "too_many_logins" Busy,
    LOGIN_BLOCKED "login_blocked" Forbidden,
    LOGIN_AGAIN "login_again" Conflict,
    REFRESH_REFUSED "refresh_refused" Unauthorized,
    REFRESH_REUSED "refresh_reused" Unauthorized,
    LEAVE_NOT_NOW "leave_not_now" Conflict,
    // Money.
    PAY_NOT_CONFIGURED "pay_not_configured" Unavailable,
    PAY_UNAVAILABLE "pay_unavailable" Unavailable,
    PAY_REFUSED "pay_refused" Upstream,
    NO_SUCH_ITEM "no_such_item" NotFound,
    KEY_REUSED "key_reused" Conflict,
    TOO_MANY_OPEN_ORDERS "too_many_open_orders" Conflict,
    ORDER_PAID "order_paid" Conflict,
    ORDER_CLOSED "order_closed" Conflict,
    ORDER_NOT_PAID "order_not_paid" Conflict,
    CREDITS_SPENT "credits_spent" Conflict,
    REFUND_OPEN "refund_open" Conflict,
    REFUND_TOO_LARGE "refund_too_large" Conflict,
    REFUND_INDIVISIBLE "refund_indivisible" Conflict,
    // Generation.
    GENERATION_NOT_CONFIGURED "generation_not_configured" Unavailable,
    GATEWAY_UNAVAILABLE "gateway_unavailable" Unavailable,
    NO_SUCH_TEMPLATE "no_such_template" NotFound,
    TEMPLATE_UNAVAILABLE "template_unavailable" Unavailable,
    CONTENT_REFUSED "content_refused" Refused,
    CHECK_UNAVAILABLE "check_unavailable" Unavailable,
    NOT_ENOUGH_CREDITS "not_enough_credits" Conflict,
    TOO_MANY_OPEN_ARTWORKS "too_many_open_artworks" Conflict,
    PHOTOS_NOT_CONFIGURED "photos_not_configured" Unavailable,
    PHOTO_UNFIT "photo_unfit" Refused,
    TOO_MANY_PHOTOS "too_many_photos" Busy,
    NO_SUCH_PHOTO "no_such_photo" NotFound,
    PHOTO_NOT_READY "photo_not_ready" Conflict,
    TOO_MANY_SOCKETS "too_many_sockets" Unavailable,
    ARTWORK_OPEN "artwork_open" Conflict,
    ARTWORK_ENDED "artwork_ended" Conflict,
    ARTWORK_NOT_VISIBLE "artwork_not_visible" Conflict,
    // The bridge.
    SIGNATURE_STALE "signature_stale" Unauthorized,
    SIGNATURE_USED "signature_used" Unauthorized,
    PAYMENT_CONTRADICTED "payment_contradicted" Conflict,
}
