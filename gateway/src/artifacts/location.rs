//! The configured place, taken apart and checked: all problems at once.

use std::path::PathBuf;

use object_store::signer::Url;

use super::OpenError;

/// Where an artifact store is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// A local folder, absolute.
    Folder(PathBuf),
    /// A bucket.
    Bucket(Place),
}

/// Where a bucket is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Its name.
    pub(super) bucket: String,
    /// What comes before our keys: empty, or ending in `/`.
    pub(super) prefix: String,
    /// Another service than AWS: scheme, host, port; with `virtual_hosted` the bucket is part of the host.
    pub(super) endpoint: Option<String>,
    /// Its region.
    pub(super) region: Option<String>,
    /// The bucket stands in the host rather than in the path.
    pub(super) virtual_hosted: bool,
}

impl Location {
    /// Takes `url` apart; `AWS_ENDPOINT_URL` counts where it names no endpoint.
    pub(super) fn parse(url: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, OpenError> {
        let one = |problem: String| OpenError { problems: vec![problem] };
        let (scheme, _) = url
            .split_once(':')
            .ok_or_else(|| one("not a URL; write file:/path or s3://bucket/prefix".into()))?;
        match scheme {
            "file" => folder(url).map(Self::Folder).map_err(one),
            "s3" => bucket(url, environment).map(Self::Bucket),
            "cos" | "gs" => Err(one(format!(
                "{scheme}: comes later; its S3-compatible interface can be used through s3: with an endpoint"
            ))),
            _ => Err(one("unknown scheme; file: and s3: are known".into())),
        }
    }
}

fn folder(url: &str) -> Result<PathBuf, String> {
    let wrong = || "file: wants an absolute path, such as file:/var/lib/darkroom/artifacts".to_owned();
    if !url.starts_with("file:/") {
        return Err(wrong());
    }
    let parsed = Url::parse(url).map_err(|_| wrong())?;
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err("file: takes no parameters".into());
    }
    parsed.to_file_path().map_err(|()| wrong())
}

fn bucket(url: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Place, OpenError> {
    let parsed = Url::parse(url)
        .map_err(|error| OpenError { problems: vec![format!("s3: cannot be read: {error}")] })?;
    let mut problems = Vec::new();
    let mut place = Place { bucket: parsed.host_str().unwrap_or_default().into(), ..Place::default() };
    if !is_bucket_name(&place.bucket) {
        problems.push("s3: wants a bucket name of 3 to 63 characters a-z, 0-9, '.' and '-'".into());
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        problems.push(
            "credentials do not belong into the URL; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".into(),
        );
    }
    match prefix(parsed.path()) {
        Some(prefix) => place.prefix = prefix,
        None => problems.push("a prefix may hold A-Z, a-z, 0-9, '.', '_', '-' between single slashes".into()),
    }
    let mut endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].into_iter().find_map(environment);
    for (name, value) in parsed.query_pairs() {
        match (&*name, &*value) {
            ("endpoint", _) => endpoint = Some(value.into_owned()),
            ("region", _) => place.region = Some(value.into_owned()),
            ("virtual_hosted", "true") => place.virtual_hosted = true,
            ("virtual_hosted", "false") => place.virtual_hosted = false,
            ("virtual_hosted", _) => problems.push("virtual_hosted is true or false".into()),
            _ => problems.push(format!("unknown parameter {name}; known: endpoint, region, virtual_hosted")),
        }
    }
    if let Some(endpoint) = endpoint {
        match full_endpoint(&endpoint, &place) {
            Some(endpoint) => place.endpoint = Some(endpoint),
            None => problems.push("endpoint wants http:// or https://, a host and nothing after it".into()),
        }
    }
    if problems.is_empty() { Ok(place) } else { Err(OpenError { problems }) }
}

fn is_bucket_name(name: &str) -> bool {
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.' || byte == b'-';
    (3..=63).contains(&name.len()) && name.bytes().all(is_allowed) && !name.contains("..")
}

fn prefix(path: &str) -> Option<String> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Some(String::new());
    }
    let is_segment = |segment: &str| {
        !segment.is_empty()
            && !segment.starts_with('.')
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    path.split('/').all(is_segment).then(|| format!("{path}/"))
}

fn full_endpoint(endpoint: &str, place: &Place) -> Option<String> {
    let mut url = Url::parse(endpoint).ok()?;
    let is_plain = matches!(url.scheme(), "http" | "https")
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !is_plain {
        return None;
    }
    let host = url.host_str()?.to_owned();
    if place.virtual_hosted && !host.starts_with(&format!("{}.", place.bucket)) {
        url.set_host(Some(&format!("{}.{host}", place.bucket))).ok()?;
    }
    Some(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

    use super::*;

    fn place(url: &str) -> Place {
        match Location::parse(url, &|_| None).unwrap() {
            Location::Bucket(place) => place,
            Location::Folder(path) => panic!("a folder: {}", path.display()),
        }
    }

    #[test]
    fn a_virtual_hosted_endpoint_carries_its_bucket_once() {
        let endpoint = |given: &str| {
            place(&format!("s3://shots/a/b/?region=ap-shanghai&virtual_hosted=true&endpoint={given}"))
                .endpoint
        };
        let full = Some("https://shots.cos.ap-shanghai.myqcloud.com".to_owned());
        assert_eq!(endpoint("https://cos.ap-shanghai.myqcloud.com"), full);
        assert_eq!(endpoint("https://shots.cos.ap-shanghai.myqcloud.com/"), full);
        let plain = place("s3://shots/a/b/?endpoint=http://127.0.0.1:9000");
        assert_eq!(plain.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        assert_eq!((plain.prefix.as_str(), plain.virtual_hosted), ("a/b/", false));
    }

    #[test]
    fn the_environments_endpoint_counts_where_the_url_names_none() {
        let environment = |name: &str| (name == "AWS_ENDPOINT_URL").then(|| "http://127.0.0.1:1".to_owned());
        let parsed = Location::parse("s3://shots", &environment).unwrap();
        let expected =
            Place { bucket: "shots".into(), endpoint: Some("http://127.0.0.1:1".into()), ..Place::default() };
        assert_eq!(parsed, Location::Bucket(expected));
    }
}
