//! Instances that are told apart: each offers itself beside what its catalogue offers, and a job that must run there asks
//! for it.

use scheduler::{Catalogue, Part, Requirement};

use super::parts;

/// What only this instance offers: itself.
#[must_use]
pub fn instance_part(name: &str) -> Part {
    Part(parts::hash(&["instance", name]))
}

/// A catalogue as one instance offers it, itself included.
#[must_use]
pub fn offered_by(catalogue: &Catalogue, instance: &str) -> Catalogue {
    let id = parts::hash(&["instance", instance, &catalogue.id.to_string()]);
    Catalogue { id, parts: with(&catalogue.parts, instance), sizes: catalogue.sizes.clone() }
}

/// A requirement that nothing but this instance meets.
#[must_use]
pub fn only_at(requirement: &Requirement, instance: &str) -> Requirement {
    Requirement { parts: with(&requirement.parts, instance), models: requirement.models.clone() }
}

/// Sorted and without repeats, as they were.
fn with(parts: &[Part], instance: &str) -> Box<[Part]> {
    let own = instance_part(instance);
    let at = parts.partition_point(|part| *part < own);
    let mut all = Vec::with_capacity(parts.len() + 1);
    all.extend_from_slice(&parts[..at]);
    all.push(own);
    all.extend(parts[at..].iter().copied().filter(|part| *part != own));
    all.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_instance_itself_meets_what_must_run_there() {
        let parts: Box<[Part]> = [1, 5, u64::MAX].map(Part).into();
        let catalogue = Catalogue { id: 1, parts: parts.clone(), sizes: Box::default() };
        let (one, two) = (offered_by(&catalogue, "gpu-1"), offered_by(&catalogue, "gpu-2"));
        let requirement = only_at(&Requirement { parts, models: Box::default() }, "gpu-1");
        let meets = |offer: &Catalogue| requirement.parts.iter().all(|part| offer.offers(*part));
        assert_eq!((meets(&one), meets(&two), meets(&catalogue)), (true, false, false));
        assert!(one.id != two.id && one.id != catalogue.id);
        assert!(requirement.parts.is_sorted() && one.parts.is_sorted());
        assert_eq!(only_at(&requirement, "gpu-1"), requirement);
    }
}
