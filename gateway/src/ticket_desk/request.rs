//! What is asked, and how it is signed.

use aws_lc_rs::hmac;
use serde::Serialize;
use uuid::Uuid;

use crate::store::WebhookKey;

/// The files of one attempt that want to go to a bucket of the caller's.
#[derive(Debug, Serialize)]
pub struct Ask<'a> {
    /// The job.
    pub job_id: Uuid,
    /// The try at it, from 1: the set of another one never counts together with this one.
    pub attempt: u32,
    /// The files; each one's index is its place here.
    pub files: Vec<AskedFile<'a>>,
}

/// One file.
#[derive(Debug, Serialize)]
pub struct AskedFile<'a> {
    /// Its place in the list.
    pub index: usize,
    /// The output it belongs to, by its id in the job.
    pub output_id: Uuid,
    /// What it is of that output.
    pub role: Role,
    /// Name of the variant.
    pub variant: Option<&'a str>,
    /// Its name in the caller's eyes.
    pub name: &'a str,
    /// Media type.
    pub content_type: &'a str,
    /// Length, bytes.
    pub size_bytes: u64,
    /// `blake3:` and hex.
    pub hash: String,
}

/// What a file is of its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It stands for the output.
    Primary,
    /// A further file.
    Variant,
}

/// The body and its `Darkroom-Signature`: the time, then for each key its id and the HMAC-SHA-256 over time, a dot and
/// the body, in hex.
pub(super) fn signed(ask: &Ask<'_>, keys: &[WebhookKey]) -> Result<(String, String), String> {
    let body = serde_json::to_string(ask).map_err(|error| error.to_string())?;
    let signature = signature(keys, jiff::Timestamp::now().as_second(), &body);
    Ok((body, signature))
}

fn signature(keys: &[WebhookKey], at: i64, body: &str) -> String {
    let mut signature = format!("t={at}");
    let signed = format!("{at}.{body}");
    for key in keys {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, key.secret.0.as_bytes());
        let tag = hmac::sign(&secret, signed.as_bytes());
        signature.push_str(&format!(",kid={},v1={}", key.id, hex::encode(tag)));
    }
    signature
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::message::Secret;

    #[test]
    fn every_key_signs_time_and_body() {
        let key = |id: &str, secret: &str| WebhookKey { id: id.into(), secret: Secret(secret.into()) };
        let signed = signature(&[key("a", "one"), key("b", "two")], 1_700_000_000, "{}");
        let (head, last) = signed.rsplit_once(",kid=b,v1=").expect("the second key signs");
        assert!(head.starts_with("t=1700000000,kid=a,v1="));
        let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"two"), b"1700000000.{}");
        assert_eq!(last, hex::encode(expected));
    }
}
