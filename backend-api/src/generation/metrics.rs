//! What generation counts. No label names a person or an artwork.

use prometheus::{IntCounterVec, Opts};

use crate::domain::ArtworkState;

/// Every family of generation; registered once.
#[derive(Debug, Clone)]
pub struct Metrics {
    artworks: IntCounterVec,
}

impl Metrics {
    /// Families that are not registered yet.
    pub fn new() -> Self {
        let options = Opts::new("backend_artworks_total", "Artworks that came into a state.");
        let artworks = IntCounterVec::new(options, &["state"]).expect("a constant name and help, tested");
        for state in ArtworkState::ALL {
            artworks.with_label_values(&[state.as_str()]);
        }
        Self { artworks }
    }

    /// Shows them beside all others.
    ///
    /// # Panics
    /// When a name is taken: names are constants, and a test registers them all.
    pub fn register(&self, metrics: &crate::metrics::Metrics) {
        metrics.register(self.artworks.clone());
    }

    pub(super) fn came_into(&self, state: ArtworkState) {
        self.artworks.with_label_values(&[state.as_str()]).inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
