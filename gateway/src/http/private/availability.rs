//! What the fleet says to a template: can somebody run it, and if not, why? Asked again whenever the catalogues of the
//! fleet are others than when it was last asked.

use std::sync::Arc;

use moka::sync::Cache;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::error::ApiError;
use super::super::state::Shared;
use crate::fleet::FleetView;
use crate::template::Template;
use crate::workflow::{self, Graph, Refused};

/// Answers that are kept.
const KEPT: u64 = 4_096;
/// Choices that are judged one by one; with more of them those beyond are taken as they are.
const MAX_JUDGED_CHOICES: usize = 64;

/// What the fleet says to a template.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Availability {
    /// Whether some instance offers all that it needs with its defaults; null while the catalogues of the fleet are
    /// not known.
    pub(super) available: Option<bool>,
    /// Why it is not available, and which choices are not.
    pub(super) unavailable: Vec<Unavailable>,
}

/// Something that the fleet lacks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Unavailable {
    /// The parameter whose choice it is; null: the template as a whole.
    parameter: Option<String>,
    /// The choice.
    #[schema(value_type = Option<serde_json::Value>)]
    choice: Option<Value>,
    /// In words.
    reason: String,
    /// Names of classes and model files.
    missing: Vec<String>,
}

/// Answers by the definition and the fleet they are about.
#[derive(Debug, Clone)]
pub(in super::super) struct AvailabilityCache(Cache<[u8; 32], Arc<Availability>>);

impl Default for AvailabilityCache {
    fn default() -> Self {
        Self(Cache::new(KEPT))
    }
}

/// Asks the fleet as it is now.
pub(super) async fn of(
    app: &Arc<Shared>,
    definition: &str,
    template: &Arc<Template>,
) -> Result<Arc<Availability>, ApiError> {
    let fleet = app.engine.fleet();
    if !fleet.settled || fleet.catalogues.is_empty() {
        return Ok(Arc::default());
    }
    let key = key(definition, &fleet);
    if let Some(known) = app.availability.0.get(&key) {
        return Ok(known);
    }
    let (app, template) = (app.clone(), template.clone());
    let judged = tokio::task::spawn_blocking(move || {
        let judged = Arc::new(judge(&app, &fleet, &template));
        app.availability.0.insert(key, judged.clone());
        judged
    });
    judged.await.map_err(|error| ApiError::internal(&error))
}

fn key(definition: &str, fleet: &FleetView) -> [u8; 32] {
    let mut hashes: Vec<&str> = fleet.catalogues.iter().map(|catalogue| catalogue.hash.as_str()).collect();
    hashes.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    hasher.update(blake3::hash(definition.as_bytes()).as_bytes());
    hashes.iter().for_each(|hash| {
        hasher.update(hash.as_bytes());
    });
    *hasher.finalize().as_bytes()
}

fn judge(app: &Shared, fleet: &FleetView, template: &Template) -> Availability {
    let refusal = |text: &str| -> Option<Refused> {
        let graph = Graph::parse(text, &app.limits.workflow).ok()?; // It was read when it was stored.
        workflow::judge(&graph, &fleet.catalogues, &app.shared_inputs).err()
    };
    let whole = refusal(&template.sample());
    let available = whole.is_none();
    let mut unavailable: Vec<Unavailable> = whole.map(|refused| told(None, refused)).into_iter().collect();
    if available {
        let choices = template.choices().take(MAX_JUDGED_CHOICES);
        unavailable.extend(
            choices.filter_map(|(parameter, choice, text)| {
                Some(told(Some((parameter, choice)), refusal(&text)?))
            }),
        );
    }
    Availability { available: Some(available), unavailable }
}

fn told(choice: Option<(&str, &Value)>, refused: Refused) -> Unavailable {
    Unavailable {
        parameter: choice.map(|(parameter, _)| parameter.to_owned()),
        choice: choice.map(|(_, choice)| choice.clone()),
        reason: refused.message,
        missing: refused.missing,
    }
}
