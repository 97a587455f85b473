//! The body of `POST /jobs` (CONTRACT §2).

use std::collections::BTreeMap;

use scheduler::Class;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::super::delivery::Asked;
use super::super::error::ApiError;
use super::super::state::Shared;
use super::super::submit::{self, Wanted};
use crate::link::message::Secret;
use crate::tenant::Caller;

const MAX_PRIORITY: i64 = 1_000_000;

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    workflow: Option<&'a RawValue>,
    #[serde(borrow)]
    extra_data: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    priority: Option<&'a RawValue>,
    webhook_url: Option<IgnoredAny>,
    inputs: Option<IgnoredAny>,
}

/// Reads and judges a submission.
pub(super) fn read(app: &Shared, caller: &Caller, bytes: &[u8]) -> Result<Wanted, ApiError> {
    let body: Body<'_> = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::invalid(format!("the body is not a JSON object as expected: {error}")))?;
    let text = body.workflow.ok_or_else(|| ApiError::invalid("workflow is missing"))?.get();
    for (name, given) in [("webhook_url", &body.webhook_url), ("inputs", &body.inputs)] {
        if given.is_some() {
            return Err(ApiError::refused(
                "invalid_workflow",
                format!("{name} is reserved and not supported yet"),
            ));
        }
    }
    let partner_key = body.extra_data.map(partner_key).transpose()?.flatten();
    let labels = body.metadata.map(labels).transpose()?.unwrap_or_default();
    let order = body.priority.map(order).transpose()?;
    let judged = submit::judge(app, caller, text)?;
    Ok(Wanted {
        workflow: text.into(),
        judged,
        extra_pnginfo: None,
        class: Class::Normal,
        order,
        start_within: None,
        due_within: None,
        finish_within: None,
        labels,
        user: None,
        template: None,
        partner_key,
        delivery: Asked::default(),
        webhook: None,
        // Keys are single-use here, so nothing is ever compared; and extra_data stays out of it (CONTRACT §2).
        body_hash: *blake3::hash(text.as_bytes()).as_bytes(),
    })
}

/// `extra_data` is closed, and nothing of it is ever echoed.
fn partner_key(extra_data: &RawValue) -> Result<Option<Secret>, ApiError> {
    let invalid = || ApiError::invalid("extra_data may hold api_key_comfy_org, a string, and nothing else");
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_str(extra_data.get()).map_err(|_| invalid())?;
    let mut key = None;
    for (name, value) in members {
        if name != "api_key_comfy_org" {
            return Err(invalid());
        }
        key = Some(Secret(serde_json::from_str(value.get()).map_err(|_| invalid())?));
    }
    Ok(key)
}

fn labels(metadata: &RawValue) -> Result<BTreeMap<String, String>, ApiError> {
    let labels = serde_json::from_str(metadata.get())
        .map_err(|_| ApiError::refused("metadata_invalid", "metadata must be an object of strings"))?;
    submit::check_labels(&labels).map_err(|reason| ApiError::refused("metadata_invalid", reason))?;
    Ok(labels)
}

fn order(priority: &RawValue) -> Result<i64, ApiError> {
    let priority: Option<i64> = serde_json::from_str(priority.get()).ok();
    match priority {
        Some(priority) if (-MAX_PRIORITY..=MAX_PRIORITY).contains(&priority) => Ok(-priority),
        _ => Err(ApiError::invalid(format!("priority must be an integer within ±{MAX_PRIORITY}"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.into()).unwrap()
    }

    #[test]
    fn extra_data_takes_the_partner_key_and_nothing_else() {
        assert_eq!(partner_key(&raw(r#"{"api_key_comfy_org":"k"}"#)).unwrap().unwrap().0, "k");
        assert!(partner_key(&raw("{}")).unwrap().is_none());
        for bad in [
            r#"{"api_key_comfy_org":null}"#,
            r#"{"other":"k"}"#,
            r#""k""#,
            "[]",
            r#"{"api_key_comfy_org":1}"#,
        ] {
            let error = partner_key(&raw(bad)).unwrap_err();
            assert_eq!(error.code(), "invalid_request", "{bad}");
        }
    }

    #[test]
    fn metadata_is_an_object_of_strings() {
        assert_eq!(labels(&raw(r#"{"a":"b"}"#)).unwrap()["a"], "b");
        for bad in [r#""opaque""#, r#"{"a":1}"#, "[]", r#"{"":"x"}"#] {
            assert_eq!(labels(&raw(bad)).unwrap_err().code(), "metadata_invalid", "{bad}");
        }
    }

    #[test]
    fn a_higher_priority_is_an_earlier_order() {
        assert_eq!(order(&raw("5")).unwrap(), -5);
        for bad in ["1000001", "-1000001", "1.5", "\"1\"", "9223372036854775808", "-9223372036854775808"] {
            assert!(order(&raw(bad)).is_err(), "{bad}");
        }
    }
}
