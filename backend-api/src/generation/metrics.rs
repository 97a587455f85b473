//! What generation counts. No label names a person or an artwork.

use prometheus::{IntCounterVec, Opts};

use crate::domain::{ArtworkState, PhotoState};

/// Every family of generation; registered once.
#[derive(Debug, Clone)]
pub struct Metrics {
    artworks: IntCounterVec,
    photos: IntCounterVec,
}

impl Metrics {
    /// Families that are not registered yet.
    pub fn new() -> Self {
        let artworks = by_state("backend_artworks_total", "Artworks that came into a state.");
        for state in ArtworkState::ALL {
            artworks.with_label_values(&[state.as_str()]);
        }
        let photos = by_state("backend_photos_total", "Photos that came into a state.");
        for state in PhotoState::ALL {
            photos.with_label_values(&[state.as_str()]);
        }
        Self { artworks, photos }
    }

    /// Shows them beside all others.
    ///
    /// # Panics
    /// When a name is taken: names are constants, and a test registers them all.
    pub fn register(&self, metrics: &crate::metrics::Metrics) {
        metrics.register(self.artworks.clone());
        metrics.register(self.photos.clone());
    }

    pub(super) fn came_into(&self, state: ArtworkState) {
        self.artworks.with_label_values(&[state.as_str()]).inc();
    }

    pub(super) fn photo_came_into(&self, state: PhotoState) {
        self.photos.with_label_values(&[state.as_str()]).inc();
    }
}

fn by_state(name: &str, help: &str) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), &["state"]).expect("a constant name and help, tested")
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
