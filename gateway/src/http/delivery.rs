//! What a submission asks of its deliveries, held against what its tenant allows, and settled for good.

use std::sync::Arc;

use serde_json::json;

use super::error::ApiError;
use super::state::Shared;
use crate::delivery::Delivery;
use crate::link::message::Secret;
use crate::pictures::{Choice, Metadata};
use crate::store::Face;
use crate::tenant::Caller;

/// What a submission asks for; what is unset is as its tenant has it.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Wishes within the tenant's picture policy.
    pub(super) pictures: Option<Choice>,
    /// A sink by name.
    pub(super) sink: Option<String>,
    /// Where to ask for tickets.
    pub(super) ticket_url: Option<Secret>,
}

/// Settles the delivery of a job; `None`: its originals are all that is delivered.
///
/// # Errors
/// 422 with what the tenant does not allow or nobody can carry out.
pub(super) fn settle(
    app: &Shared,
    caller: &Caller,
    face: Face,
    asked: Asked,
) -> Result<Option<Arc<Delivery>>, ApiError> {
    let settings = &caller.tenant.settings;
    let narrowed = settings.pictures.narrow(&asked.pictures.unwrap_or_default()).map_err(|error| {
        ApiError::refused("picture_policy", error.to_string()).details(json!({"problems": error.problems}))
    })?;
    let pictures = narrowed.or_metadata(match face {
        // whoever speaks our own API shows pictures to others: prompts and workflows stay here (DESIGN §4.14)
        Face::Private => Metadata::Strip,
        Face::V2 | Face::Native => Metadata::Keep,
    });
    if let Some(url) = &asked.ticket_url {
        check_ticket_url(app, caller, &asked.sink, url)?;
    }
    let sink = match asked.sink {
        Some(name) => Some(allowed_sink(app, caller, name)?),
        None if asked.ticket_url.is_some() => None,
        None => settings.sink.clone(),
    };
    let delivery = Delivery { pictures, sink: sink.map(Into::into), ticket_url: asked.ticket_url };
    Ok(delivery.settled())
}

fn check_ticket_url(
    app: &Shared,
    caller: &Caller,
    sink: &Option<String>,
    url: &Secret,
) -> Result<(), ApiError> {
    if sink.is_some() {
        return Err(ApiError::invalid("sink and ticket_url exclude each other"));
    }
    if caller.tenant.settings.webhook.as_ref().is_none_or(|webhook| webhook.keys.is_empty()) {
        return Err(ApiError::refused(
            "signing_key_missing",
            "requests to ticket_url are signed, and the tenant has no key for it",
        ));
    }
    let refused = |why| ApiError::refused("url_refused", format!("ticket_url: {why}"));
    app.desk.check(&url.0).map(drop).map_err(refused)
}

/// The tenant's own default counts as allowed.
fn allowed_sink(app: &Shared, caller: &Caller, name: String) -> Result<String, ApiError> {
    let settings = &caller.tenant.settings;
    let is_allowed = settings.sinks.contains(&name) || settings.sink.as_ref() == Some(&name);
    if is_allowed && app.sinks.is_known(&name) {
        return Ok(name);
    }
    Err(ApiError::refused("sink_unknown", "there is no sink of that name for this tenant"))
}
