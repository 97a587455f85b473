//! What instances have in stock: catalogues by hash, and the sizes of model files, as the scheduler wants them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use scheduler::ModelId;

use crate::link::message::InstanceFacts;
use crate::workflow::{self, Catalogue};

/// Catalogues and sizes of the whole fleet. A file of one folder and name is the same file everywhere.
#[derive(Default)]
pub(super) struct Stock {
    catalogues: HashMap<String, Arc<Catalogue>>,
    sizes_mib: BTreeMap<ModelId, u32>,
    /// Catalogues with the sizes filled in, made when first asked for.
    sized: HashMap<String, Arc<scheduler::Catalogue>>,
}

impl Stock {
    pub(super) fn new(catalogues: Vec<Arc<Catalogue>>) -> Self {
        let catalogues =
            catalogues.into_iter().map(|catalogue| (catalogue.hash.clone(), catalogue)).collect();
        Self { catalogues, ..Self::default() }
    }

    pub(super) fn knows(&self, hash: &str) -> bool {
        self.catalogues.contains_key(hash)
    }

    pub(super) fn get(&self, hash: &str) -> Option<&Arc<Catalogue>> {
        self.catalogues.get(hash)
    }

    pub(super) fn learn(&mut self, catalogue: Arc<Catalogue>) {
        self.sized.remove(&catalogue.hash);
        self.catalogues.insert(catalogue.hash.clone(), catalogue);
    }

    /// Takes in the sizes that an instance tells.
    pub(super) fn weigh(&mut self, facts: &InstanceFacts) {
        let told = facts.models_mib.iter();
        let told = told.filter_map(|(path, &mib)| Some((workflow::model_file(path)?, mib)));
        for (model, mib) in told {
            if self.sizes_mib.insert(model, mib) != Some(mib) {
                self.sized.clear();
            }
        }
    }

    /// The scheduler's view of a catalogue; `None` while its body is not known.
    pub(super) fn offer(&mut self, hash: &str) -> Option<Arc<scheduler::Catalogue>> {
        let catalogue = self.catalogues.get(hash)?;
        if self.sizes_mib.is_empty() {
            return Some(catalogue.parts.clone());
        }
        let sized = self.sized.entry(hash.to_owned()).or_insert_with(|| {
            let sizes = self.sizes_mib.iter().map(|(&model, &mib)| (model, mib)).collect();
            Arc::new(scheduler::Catalogue { sizes, ..(*catalogue.parts).clone() })
        });
        Some(sized.clone())
    }
}
