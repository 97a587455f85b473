//! Where a COS bucket is.

use super::super::location::{Given, is_label};

/// Where a bucket is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::artifacts) struct Place {
    /// What comes before our keys: empty, or ending in `/`.
    pub(in crate::artifacts) prefix: String,
    /// Scheme and host, the bucket in front; no slash at the end.
    pub(in crate::artifacts) origin: String,
    /// Host and port of it, as the `Host` header says it.
    pub(in crate::artifacts) host: String,
    /// Ask the bucket to refuse a second object under a key.
    pub(in crate::artifacts) forbid_overwrite: bool,
}

impl Place {
    /// Reads `cos://bucket-appid/prefix?region=…`; all problems at once.
    pub(in crate::artifacts) fn read(given: &mut Given) -> Self {
        let bucket = given.host();
        if !is_bucket(&bucket) {
            given.wrong(
                "cos: wants the bucket's full name, its APPID included, such as cos://shots-1250000000/prefix?region=ap-shanghai",
            );
        }
        given.refuse_credentials("COS_SECRET_ID and COS_SECRET_KEY");
        let prefix = given.prefix();
        let (region, endpoint) = (given.take("region"), given.take("endpoint"));
        let accelerate = given.flag("accelerate");
        let forbid_overwrite = given.flag("forbid_overwrite");
        given.nothing_else(&["region", "endpoint", "accelerate", "forbid_overwrite"]);
        let base = match (endpoint, region, accelerate) {
            (Some(_), _, true) => {
                given.wrong("accelerate=true and endpoint=… exclude each other: each names a host");
                None
            }
            (Some(endpoint), ..) => Some(endpoint),
            (None, _, true) => Some("https://cos.accelerate.myqcloud.com".to_owned()),
            (None, Some(region), false) if is_label(&region) => {
                Some(format!("https://cos.{region}.myqcloud.com"))
            }
            (None, Some(region), false) => {
                given.wrong(&format!("region {region} is none; it is spelt like ap-shanghai"));
                None
            }
            (None, None, false) => {
                given.wrong(
                    "cos: wants region=…, such as region=ap-shanghai, or accelerate=true, or endpoint=…",
                );
                None
            }
        };
        let origin = base.and_then(|base| given.origin(&base, Some(&bucket))).unwrap_or_default();
        let host = origin.split_once("://").map_or("", |(_, host)| host).to_owned();
        Self { prefix, origin, host, forbid_overwrite }
    }
}

/// `name-appid`, which has to fit into a host name.
fn is_bucket(bucket: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    bucket.len() <= 60
        && bucket.bytes().all(is_allowed)
        && bucket.rsplit_once('-').is_some_and(|(name, appid)| {
            !name.is_empty()
                && !name.starts_with('-')
                && (8..=12).contains(&appid.len())
                && appid.bytes().all(|byte| byte.is_ascii_digit())
        })
}
