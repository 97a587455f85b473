//! Pixels: decoded within bounds, made smaller, written on, encoded.

pub(super) mod decode;
pub(super) mod encode;
pub(super) mod font;
pub(super) mod placeholder;
pub(super) mod resize;
pub(super) mod stamp;
