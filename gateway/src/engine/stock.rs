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
    /// Names of instances that are told apart: each offers itself beside its catalogue.
    told_apart: Arc<[String]>,
    /// Catalogues as these offer them, by hash and name, made when first asked for.
    apart: HashMap<(String, String), Arc<scheduler::Catalogue>>,
}

impl Stock {
    pub(super) fn new(catalogues: Vec<Arc<Catalogue>>) -> Self {
        let catalogues =
            catalogues.into_iter().map(|catalogue| (catalogue.hash.clone(), catalogue)).collect();
        Self { catalogues, ..Self::default() }
    }

    /// Instances of these names are told apart from now on.
    pub(super) fn tell_apart(&mut self, names: Arc<[String]>) {
        self.told_apart = names;
    }

    pub(super) fn knows(&self, hash: &str) -> bool {
        self.catalogues.contains_key(hash)
    }

    pub(super) fn get(&self, hash: &str) -> Option<&Arc<Catalogue>> {
        self.catalogues.get(hash)
    }

    pub(super) fn learn(&mut self, catalogue: Arc<Catalogue>) {
        self.sized.remove(&catalogue.hash);
        self.apart.retain(|(hash, _), _| *hash != catalogue.hash);
        self.catalogues.insert(catalogue.hash.clone(), catalogue);
    }

    /// Takes in the sizes that an instance tells.
    pub(super) fn weigh(&mut self, facts: &InstanceFacts) {
        let told = facts.models_mib.iter();
        let told = told.filter_map(|(path, &mib)| Some((workflow::model_file(path)?, mib)));
        for (model, mib) in told {
            if self.sizes_mib.insert(model, mib) != Some(mib) {
                self.sized.clear();
                self.apart.clear();
            }
        }
    }

    /// The scheduler's view of what an instance with this catalogue offers; `None` while its body is not known.
    pub(super) fn offer_of(&mut self, hash: &str, instance: &str) -> Option<Arc<scheduler::Catalogue>> {
        let common = self.offer(hash)?;
        if !self.told_apart.iter().any(|name| name == instance) {
            return Some(common);
        }
        let own = self.apart.entry((hash.to_owned(), instance.to_owned()));
        Some(own.or_insert_with(|| Arc::new(workflow::offered_by(&common, instance))).clone())
    }

    /// The scheduler's view of a catalogue; `None` while its body is not known.
    fn offer(&mut self, hash: &str) -> Option<Arc<scheduler::Catalogue>> {
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
