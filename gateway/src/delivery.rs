//! What becomes of a job's files beside their originals (DESIGN §4.14): what is made of them, and which store takes it.
//!
//! Settled when the job is accepted and kept with it, so that a later change of a tenant's settings or a restart
//! changes nothing of what was promised.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::link::message::Secret;
use crate::pictures::{Metadata, Policy};

/// How the files of one job are delivered. The originals always go to the gateway's own store.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Delivery {
    /// What is made of each picture.
    pub pictures: Policy,
    /// The named store that takes the deliverables; `None`: the gateway's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<Arc<str>>,
    /// Asked for tickets to the caller's own bucket, which then takes the deliverables: a secret, as it may be signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket_url: Option<Secret>,
}

/// Which store holds an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Place {
    /// The gateway's own.
    #[default]
    Own,
    /// The one configured under this name.
    Sink(Arc<str>),
    /// A bucket of the caller's, reached by tickets alone: nothing can be read there or taken back.
    Caller,
}

impl Delivery {
    /// The delivery as it is kept: `None` when the originals are all that is delivered, as they are.
    #[must_use]
    pub fn settled(self) -> Option<Arc<Self>> {
        let is_plain = self.place() == Place::Own && leaves_all_as_made(&self.pictures);
        (!is_plain).then(|| Arc::new(self))
    }

    /// Who takes the deliverables.
    #[must_use]
    pub fn place(&self) -> Place {
        match (&self.ticket_url, &self.sink) {
            (Some(_), _) => Place::Caller,
            (None, Some(name)) => Place::Sink(name.clone()),
            (None, None) => Place::Own,
        }
    }
}

/// Whether a policy changes nothing and finds nothing out: no picture has to be looked at for it.
#[must_use]
pub fn leaves_all_as_made(policy: &Policy) -> bool {
    policy.metadata != Some(Metadata::Strip)
        && *policy == Policy { metadata: policy.metadata, ..Policy::default() }
}

impl Place {
    /// Its word in a column: nothing for the gateway's own store, empty for the caller's.
    pub(crate) fn column(&self) -> Option<&str> {
        match self {
            Self::Own => None,
            Self::Sink(name) => Some(name),
            Self::Caller => Some(""),
        }
    }

    /// The other way round.
    pub(crate) fn from_column(column: Option<&str>) -> Self {
        match column {
            None => Self::Own,
            Some("") => Self::Caller,
            Some(name) => Self::Sink(name.into()),
        }
    }

    /// The name of a configured sink.
    #[must_use]
    pub fn sink(&self) -> Option<&str> {
        match self {
            Self::Sink(name) => Some(name),
            Self::Own | Self::Caller => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_url_goes_before_a_sink_and_originals_alone_are_no_delivery() {
        let plain = Delivery::default();
        assert_eq!((plain.place(), plain.clone().settled()), (Place::Own, None));
        for (metadata, is_plain) in [(Metadata::Keep, true), (Metadata::Strip, false)] {
            let pictures = Policy::default().or_metadata(metadata);
            assert_eq!(Delivery { pictures, ..plain.clone() }.settled().is_none(), is_plain);
        }
        let sunk = Delivery { sink: Some("shots".into()), ..Delivery::default() };
        assert_eq!(sunk.place(), Place::Sink("shots".into()));
        let ticketed = Delivery { ticket_url: Some(Secret("https://a.example".into())), ..sunk };
        assert_eq!(ticketed.place(), Place::Caller);
        assert!(ticketed.settled().is_some());
    }

    #[test]
    fn a_place_is_read_back_from_its_column() {
        for place in [Place::Own, Place::Sink("shots".into()), Place::Caller] {
            assert_eq!(Place::from_column(place.column()), place);
        }
    }

    #[test]
    fn what_is_kept_of_a_delivery_is_read_back_and_its_ticket_url_never_shows() {
        let delivery =
            Delivery { ticket_url: Some(Secret("https://a.example?sig=1".into())), ..Delivery::default() };
        let text = serde_json::to_string(&delivery).expect("a delivery is plain JSON");
        assert_eq!(serde_json::from_str::<Delivery>(&text).ok(), Some(delivery.clone()));
        assert!(!format!("{delivery:?}").contains("sig"));
    }
}
