//! Whether a tenant may be as somebody wants it, in words where it may not.

use crate::store::{TenantDraft, TenantSettings};
use crate::workflow;

/// Most names of sinks, and most webhook keys.
const MAX_SINKS: usize = 64;
const MAX_WEBHOOK_KEYS: usize = 8;
/// Shortest secret that signs.
const MIN_SECRET_BYTES: usize = 32;
const MAX_SECRET_BYTES: usize = 512;
const MAX_URL_BYTES: usize = 2_048;

/// Whether a tenant may be like this.
///
/// # Errors
/// The first mistake.
pub fn check_draft(draft: &TenantDraft) -> Result<(), String> {
    check_name(&draft.name)?;
    check_share(draft.weight, draft.concurrency)?;
    check_settings(&draft.settings)
}

/// 1 to 64 plain characters.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_dots = name.chars().all(|c| c == '.');
    if !(1..=64).contains(&name.len()) || !name.chars().all(is_plain) || is_dots {
        return Err("a tenant's name is 1 to 64 letters, digits, '-', '_' or '.'".to_owned());
    }
    Ok(())
}

pub(super) fn check_share(weight: u32, concurrency: u32) -> Result<(), String> {
    if weight == 0 {
        return Err("a tenant's weight is at least 1".to_owned());
    }
    if concurrency == 0 {
        return Err("a tenant's concurrency is at least 1".to_owned());
    }
    Ok(())
}

fn check_settings(settings: &TenantSettings) -> Result<(), String> {
    let limits = &settings.limits;
    let retention = &limits.retention;
    let positive = [
        ("limits.queued", limits.queued.map(u64::from)),
        ("limits.steps", limits.steps.map(u64::from)),
        ("limits.megapixels", limits.megapixels.map(u64::from)),
        ("limits.frames", limits.frames.map(u64::from)),
        ("limits.retention.jobs_seconds", retention.jobs_seconds),
        ("limits.retention.bodies_seconds", retention.bodies_seconds),
        ("limits.retention.originals_seconds", retention.originals_seconds),
        ("limits.retention.deliverables_seconds", retention.deliverables_seconds),
    ];
    if let Some((name, _)) = positive.iter().find(|(_, value)| *value == Some(0)) {
        return Err(format!("{name} must be above 0"));
    }
    workflow::check_rules(&settings.allow)?;
    settings.pictures.check().map_err(|error| format!("pictures: {error}"))?;
    check_sinks(settings)?;
    check_webhook(settings)
}

fn check_sinks(settings: &TenantSettings) -> Result<(), String> {
    let is_good = |name: &String| (1..=64).contains(&name.len()) && !name.chars().any(char::is_control);
    if settings.sinks.len() > MAX_SINKS || !settings.sinks.iter().all(is_good) {
        return Err(format!("sinks: at most {MAX_SINKS} names of 1 to 64 bytes"));
    }
    match &settings.sink {
        Some(sink) if !settings.sinks.contains(sink) => Err("sink must be one of sinks".to_owned()),
        _ => Ok(()),
    }
}

fn check_webhook(settings: &TenantSettings) -> Result<(), String> {
    let Some(webhook) = &settings.webhook else { return Ok(()) };
    if let Some(url) = &webhook.url {
        let is_http = reqwest::Url::parse(url).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.host().is_some()
                && url.username().is_empty()
                && url.password().is_none()
        });
        if url.len() > MAX_URL_BYTES || !is_http {
            return Err("webhook.url must be an http or https URL without a user".to_owned());
        }
    }
    if webhook.keys.len() > MAX_WEBHOOK_KEYS {
        return Err(format!("webhook.keys: at most {MAX_WEBHOOK_KEYS}"));
    }
    for (at, key) in webhook.keys.iter().enumerate() {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !(1..=64).contains(&key.id.len()) || !key.id.chars().all(is_plain) {
            return Err(format!("webhook.keys[{at}].id is 1 to 64 letters, digits, '-', '_' or '.'"));
        }
        if webhook.keys[..at].iter().any(|other| other.id == key.id) {
            return Err(format!("webhook.keys: the id {} is there twice", key.id));
        }
        if !(MIN_SECRET_BYTES..=MAX_SECRET_BYTES).contains(&key.secret.0.len()) {
            return Err(format!(
                "webhook.keys[{at}].secret must have {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::message::Secret;
    use crate::outbox::{SigningKey, TenantWebhook};

    fn draft(change: impl FnOnce(&mut TenantDraft)) -> Result<(), String> {
        let mut draft = TenantDraft {
            name: "team-1".into(),
            weight: 1,
            concurrency: u32::MAX,
            settings: TenantSettings::default(),
        };
        change(&mut draft);
        check_draft(&draft)
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert_eq!(draft(|_| {}), Ok(()));
        for name in ["", "..", "a b", "a/b", "ü", &"x".repeat(65)] {
            assert!(draft(|it| it.name = name.to_owned()).is_err(), "{name}");
        }
        assert!(draft(|it| it.weight = 0).is_err());
        assert!(draft(|it| it.concurrency = 0).is_err());
        assert!(draft(|it| it.settings.limits.steps = Some(0)).is_err());
        assert!(draft(|it| it.settings.pictures.format.quality = Some(200)).is_err());
        assert!(draft(|it| it.settings.limits.stored_bytes = Some(0)).is_ok(), "nothing may be kept");
        assert!(draft(|it| it.settings.sink = Some("cos".into())).is_err());
        assert!(draft(|it| it.settings.allow.classes.allow = vec!["@other".into()]).is_err());
    }

    #[test]
    fn webhook_keys_are_long_and_told_apart() {
        let key = |id: &str, length| SigningKey { id: id.into(), secret: Secret("s".repeat(length)) };
        let with = |keys: Vec<SigningKey>| {
            draft(|it| it.settings.webhook = Some(TenantWebhook { keys, ..TenantWebhook::default() }))
        };
        assert_eq!(with(vec![key("a", 32), key("b", 32)]), Ok(()));
        assert!(with(vec![key("a", 32), key("a", 32)]).is_err());
        assert!(with(vec![key("a", 31)]).is_err());
        let url = |url: &str| {
            let webhook = TenantWebhook { url: Some(url.into()), ..TenantWebhook::default() };
            draft(|it| it.settings.webhook = Some(webhook))
        };
        assert_eq!(url("https://backend.example/hook"), Ok(()));
        for bad in ["ftp://x", "https://user:pw@x", "x", ""] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }
}
