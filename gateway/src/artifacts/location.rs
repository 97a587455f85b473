//! The configured place, taken apart and checked: all problems at once.

use std::path::PathBuf;

use object_store::signer::Url;

use super::desk::Sizes;
use super::{OpenError, cos};

/// Where an artifact store is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// A local folder, absolute.
    Folder(PathBuf),
    /// A bucket of S3 or of what speaks like it.
    S3(Place),
    /// A bucket of Tencent COS, in its own dialect.
    Cos(cos::Place),
    /// A bucket of Google Cloud Storage.
    Google(Place),
}

/// Where a bucket is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Its name.
    pub(super) bucket: String,
    /// What comes before our keys: empty, or ending in `/`.
    pub(super) prefix: String,
    /// Another service than AWS or Google: scheme, host, port; with `virtual_hosted` the bucket is part of the host.
    pub(super) endpoint: Option<String>,
    /// Its region.
    pub(super) region: Option<String>,
    /// The bucket stands in the host rather than in the path.
    pub(super) virtual_hosted: bool,
}

const SCHEMES: &str = "file:/path, s3://bucket/prefix, cos://bucket-appid/prefix and gs://bucket/prefix";

impl Location {
    /// Takes `url` apart; `AWS_ENDPOINT_URL` counts where it names no endpoint for `s3:`.
    pub(super) fn parse(
        url: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Self, Sizes), OpenError> {
        let one = |problem: String| OpenError { problems: vec![problem] };
        let (scheme, _) =
            url.split_once(':').ok_or_else(|| one(format!("not a URL; known are {SCHEMES}")))?;
        match scheme {
            "file" => folder(url).map(|path| (Self::Folder(path), Sizes::default())).map_err(one),
            "s3" => Given::read(url, "s3")?.checked(5, |given| Self::S3(s3(given, environment))),
            "cos" => Given::read(url, "cos")?.checked(1, |given| Self::Cos(cos::Place::read(given))),
            "gs" => Given::read(url, "gs")?.checked(1, |given| Self::Google(google(given))),
            _ => Err(one(format!("unknown scheme {scheme}:; known are {SCHEMES}"))),
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

fn s3(given: &mut Given, environment: &dyn Fn(&str) -> Option<String>) -> Place {
    let bucket = given.host();
    if !is_bucket_name(&bucket, b".-") {
        given.wrong("s3: wants a bucket name of 3 to 63 characters a-z, 0-9, '.' and '-'");
    }
    given.refuse_credentials("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    let prefix = given.prefix();
    let (region, virtual_hosted) = (given.take("region"), given.flag("virtual_hosted"));
    let elsewhere = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].into_iter().find_map(environment);
    let endpoint = given.take("endpoint").or(elsewhere);
    given.nothing_else(&["endpoint", "region", "virtual_hosted"]);
    let in_host = virtual_hosted.then_some(bucket.as_str());
    let endpoint = endpoint.and_then(|endpoint| given.origin(&endpoint, in_host));
    Place { bucket, prefix, endpoint, region, virtual_hosted }
}

fn google(given: &mut Given) -> Place {
    let bucket = given.host();
    if !is_bucket_name(&bucket, b"._-") {
        given.wrong("gs: wants a bucket name of 3 to 63 characters a-z, 0-9, '.', '_' and '-'");
    }
    given.refuse_credentials("GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT_KEY");
    let prefix = given.prefix();
    let endpoint = given.take("endpoint");
    given.nothing_else(&["endpoint"]);
    let endpoint = endpoint.and_then(|endpoint| given.origin(&endpoint, None));
    Place { bucket, prefix, endpoint, ..Place::default() }
}

/// A bucket's URL as it was given, and what is wrong with it.
#[derive(Debug)]
pub(super) struct Given {
    url: Url,
    parameters: Vec<(String, String)>,
    problems: Vec<String>,
}

impl Given {
    fn read(url: &str, scheme: &str) -> Result<Self, OpenError> {
        let url = Url::parse(url)
            .map_err(|error| OpenError { problems: vec![format!("{scheme}: cannot be read: {error}")] })?;
        let parameters = url.query_pairs().into_owned().collect();
        Ok(Self { url, parameters, problems: Vec::new() })
    }

    /// `part_min`: MiB below which a bucket takes no part.
    fn checked(
        mut self,
        part_min: u64,
        read: impl FnOnce(&mut Self) -> Location,
    ) -> Result<(Location, Sizes), OpenError> {
        let mut sizes = Sizes::default();
        for (name, least, bytes) in [
            ("parts_above_mib", part_min, &mut sizes.above_bytes),
            ("part_mib", part_min, &mut sizes.part_bytes),
        ] {
            match self.take(name).map(|text| text.parse::<u64>()) {
                None => {}
                Some(Ok(mib)) if (least..=5 << 10).contains(&mib) => *bytes = mib << 20,
                Some(_) => self.wrong(&format!("{name} is a number of MiB, {least} to 5120")),
            }
        }
        let location = read(&mut self);
        if self.problems.is_empty() {
            Ok((location, sizes))
        } else {
            Err(OpenError { problems: self.problems })
        }
    }

    /// Adds a problem.
    pub(super) fn wrong(&mut self, problem: &str) {
        self.problems.push(problem.to_owned());
    }

    /// The bucket.
    pub(super) fn host(&self) -> String {
        self.url.host_str().unwrap_or_default().to_owned()
    }

    /// A URL is shown and logged; credentials must not be.
    pub(super) fn refuse_credentials(&mut self, instead: &str) {
        if !self.url.username().is_empty() || self.url.password().is_some() {
            self.wrong(&format!("credentials do not belong into the URL; set {instead}"));
        }
    }

    /// What comes before our keys: empty, or ending in `/`.
    pub(super) fn prefix(&mut self) -> String {
        let read = prefix(self.url.path());
        if read.is_none() {
            self.wrong("a prefix may hold A-Z, a-z, 0-9, '.', '_', '-' between single slashes");
        }
        read.unwrap_or_default()
    }

    /// Takes a parameter; of several of a name the last counts.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let last = self.parameters.iter().rfind(|(given, _)| given == name).map(|(_, value)| value.clone());
        self.parameters.retain(|(given, _)| given != name);
        last
    }

    /// Takes a parameter that is `true` or `false`, the latter when it is not given.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        match self.take(name).as_deref() {
            Some("true") => true,
            None | Some("false") => false,
            Some(_) => {
                self.wrong(&format!("{name} is true or false"));
                false
            }
        }
    }

    /// What was not taken is not known.
    pub(super) fn nothing_else(&mut self, known: &[&str]) {
        for (name, _) in std::mem::take(&mut self.parameters) {
            let known = known.join(", ");
            self.wrong(&format!("unknown parameter {name}; known: {known}, parts_above_mib, part_mib"));
        }
    }

    /// Scheme and host of an endpoint, without a slash at the end; the bucket in front of the host where wanted.
    pub(super) fn origin(&mut self, endpoint: &str, bucket: Option<&str>) -> Option<String> {
        let origin = origin(endpoint, bucket);
        if origin.is_none() {
            self.wrong("endpoint wants http:// or https://, a host and nothing after it");
        }
        origin
    }
}

fn is_bucket_name(name: &str, also: &[u8]) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || also.contains(&byte);
    (3..=63).contains(&name.len()) && name.bytes().all(is_allowed) && !name.contains("..")
}

/// Whether it can be a part of a host name between two dots.
pub(super) fn is_label(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(is_allowed)
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

fn origin(endpoint: &str, bucket: Option<&str>) -> Option<String> {
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
    if let Some(bucket) = bucket.filter(|bucket| !host.starts_with(&format!("{bucket}."))) {
        url.set_host(Some(&format!("{bucket}.{host}"))).ok()?;
    }
    Some(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

    use super::*;

    fn place(url: &str) -> Place {
        match Location::parse(url, &|_| None).unwrap().0 {
            Location::S3(place) | Location::Google(place) => place,
            other => panic!("{other:?}"),
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
        assert_eq!(parsed, (Location::S3(expected), Sizes::default()));
        assert_eq!(place("gs://my_shots.example/a?endpoint=http://127.0.0.1:4443").prefix, "a/");
    }

    #[test]
    fn a_bucket_of_cos_stands_in_the_host_of_its_region_of_the_accelerated_line_or_of_an_endpoint() {
        let read = |parameters: &str| match Location::parse(
            &format!("cos://shots-1250000000/ai/?{parameters}"),
            &|_| None,
        ) {
            Ok((Location::Cos(place), _)) => (place.prefix, place.origin, place.host, place.forbid_overwrite),
            other => panic!("{other:?}"),
        };
        let at = |scheme: &str, host: &str, forbid| {
            ("ai/".into(), format!("{scheme}://{host}"), host.into(), forbid)
        };
        let (regional, fast) =
            ("shots-1250000000.cos.ap-shanghai.myqcloud.com", "shots-1250000000.cos.accelerate.myqcloud.com");
        assert_eq!(read("region=ap-shanghai"), at("https", regional, false));
        assert_eq!(read("accelerate=true&region=ap-shanghai"), at("https", fast, false));
        assert_eq!(read("accelerate=true&forbid_overwrite=true"), at("https", fast, true));
        let sized = Location::parse("gs://shots?part_mib=16&parts_above_mib=100", &|_| None).unwrap().1;
        assert_eq!((sized.part_bytes, sized.above_bytes), (16 << 20, 100 << 20));
        let near = "shots-1250000000.cos.localhost:9000";
        assert_eq!(read("endpoint=http://cos.localhost:9000"), at("http", near, false));
    }
}
