//! What callers get to see of an output: a picture policy turned into files.
//!
//! `Facts` tell what an original is, `plan` says before anything is decoded which deliverables it will have, `produce`
//! makes them: stripped of private metadata, converted, made smaller, labelled as AI-generated. Every file is read back
//! before it is handed out.
//!
//! The module is a pure, synchronous function of its arguments: bytes in, bytes out. It knows no tenant, no store and
//! no network; callers run it off the async threads. Every byte is taken for hostile: sizes are read from the file's
//! headers and checked before anything is allocated.
//!
//! What happens to which type, and what the label law asks: `docs/PICTURES.md`.

mod container;
mod error;
mod facts;
mod label;
mod limits;
mod pixels;
mod plan;
mod policy;
mod produce;
mod sniff;
mod verify;
mod views;

pub use error::PictureError;
pub use facts::{Facts, is_picture};
pub use label::{AigcLabel, Carrier, Found, ProduceId, labels_in};
pub use limits::Limits;
pub use plan::{Plan, Planned, Role, plan};
pub use policy::{
    Choice, Corner, Encoding, Format, LabelPolicy, MAX_VARIANTS, Metadata, Policy, PolicyError, Unlabelled,
    Variant,
};
pub use produce::{Made, Picture, produce};
pub use sniff::{SNIFF_BYTES, size, sniff, stored_type};
pub use views::{Channel, View, with_mask};
