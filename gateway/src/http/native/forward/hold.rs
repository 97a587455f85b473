//! Jobs that go where requests of their client went: a custom node that reads in a job what a request put into the memory of
//! its server finds it there. Who holds what is known since this process began: see [`super::home`].

use std::sync::Arc;

use super::super::super::state::Shared;
use crate::store::JobPlan;
use crate::tenant::Caller;
use crate::workflow;

/// Binds a job to the instance that holds something of its client, where a rule says so. One that does not answer holds
/// nothing any more; one that lacks something the job needs could never run it.
pub(in super::super) fn keep_together(
    app: &Shared,
    caller: &Caller,
    client: Option<&str>,
    plan: &mut JobPlan,
) {
    let Some(instance) = app.native.homes().holder(caller, client).filter(|_| !plan.provisional) else {
        return;
    };
    let fleet = app.engine.fleet();
    let holder = fleet.instances.iter().find(|one| one.up && one.name == instance);
    let hash = holder.and_then(|one| one.facts.as_ref()?.catalogue.as_ref());
    let catalogue = hash.and_then(|hash| fleet.catalogues.iter().find(|one| one.hash == *hash));
    let needs = &plan.requirement.parts;
    if catalogue.is_some_and(|catalogue| needs.iter().all(|part| catalogue.parts.offers(*part))) {
        plan.requirement = Arc::new(workflow::only_at(&plan.requirement, &instance));
    }
}
