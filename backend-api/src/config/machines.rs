//! Credentials of machines: `[chores]`, `[metrics]` and `[partner]`.

use secrecy::SecretString;

use super::parse;
use super::source::Source;

/// Who may use the doors for machines. What is `None` is not served.
#[derive(Debug, Clone)]
pub struct Machines {
    /// Bearer token of who starts the scheduled chores.
    pub trigger_token: Option<SecretString>,
    /// Bearer token of `/metrics`.
    pub metrics_token: Option<SecretString>,
    /// Name and secret of the existing user system.
    pub partner: Option<(String, SecretString)>,
}

pub(super) fn read(source: &mut Source<'_>) -> Machines {
    let id = source.get("partner.id", "BACKEND_PARTNER_ID", parse::text);
    let secret = source.get("partner.secret", "BACKEND_PARTNER_SECRET", parse::machine_token);
    if id.is_some() != secret.is_some() {
        source.problem("partner", "id and secret belong together");
    }
    Machines {
        trigger_token: source.get("chores.token", "BACKEND_CHORES_TOKEN", parse::machine_token),
        metrics_token: source.get("metrics.token", "BACKEND_METRICS_TOKEN", parse::machine_token),
        partner: id.zip(secret),
    }
}
