//! What a job may choose within its tenant's policy.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Encoding, Metadata, Policy, PolicyError, Variant};

/// A job's own wishes. What is unset stays as the tenant has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Choice {
    /// `keep` is refused where the tenant strips.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// Format of the primary deliverable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Encoding>,
    /// Variants, instead of the tenant's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variants: Option<Vec<Variant>>,
    /// Whether to compute a BlurHash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placeholder: Option<bool>,
    /// `false` is refused where the tenant's label is required, `true` where the tenant has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<bool>,
}

impl Policy {
    /// The policy of one job: the tenant's with the job's wishes. Metadata that the tenant strips stays stripped, and a
    /// label that the tenant requires stays on.
    ///
    /// # Errors
    /// Every wish that the tenant's policy does not leave, or that cannot be carried out.
    pub fn narrow(&self, choice: &Choice) -> Result<Policy, PolicyError> {
        let mut problems = Vec::new();
        if self.metadata == Some(Metadata::Strip) && choice.metadata == Some(Metadata::Keep) {
            problems.push("metadata: the tenant's policy strips it".to_owned());
        }
        match (choice.label, &self.label) {
            (Some(false), Some(label)) if label.required => {
                problems.push("label: the tenant's policy requires it".to_owned());
            }
            (Some(true), None) => problems.push("label: the tenant has none configured".to_owned()),
            _ => {}
        }
        let job = Policy {
            metadata: choice.metadata.or(self.metadata),
            format: choice.format.unwrap_or(self.format),
            variants: choice.variants.clone().unwrap_or_else(|| self.variants.clone()),
            placeholder: choice.placeholder.unwrap_or(self.placeholder),
            label: if choice.label == Some(false) { None } else { self.label.clone() },
            unlabelled: self.unlabelled,
        };
        if let Err(error) = job.check() {
            problems.extend(error.problems);
        }
        if problems.is_empty() { Ok(job) } else { Err(PolicyError { problems }) }
    }
}
