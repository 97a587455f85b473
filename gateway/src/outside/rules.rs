//! Which URLs and addresses we speak to.

use std::net::IpAddr;

use reqwest::Url;

use super::address::{self, Kind};
use crate::config;

/// Longest URL that is looked at, bytes.
const MAX_URL_BYTES: usize = 2048;

/// Names that lead to a machine's own data, whatever they resolve to.
const METADATA_NAMES: &[&str] = &[
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "metadata.tencentyun.com",
    "instance-data",
    "instance-data.ec2.internal",
];

/// Why a URL is not spoken to; safe to show to whoever named it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no absolute URL with a host, or far too long.
    #[error("it is not an absolute URL of at most {MAX_URL_BYTES} bytes")]
    Malformed,
    /// Neither https, nor http to a host named for it.
    #[error("only https is taken")]
    Scheme,
    /// It holds a user name or a password.
    #[error("it must not hold a user name or a password")]
    UserInfo,
    /// The port is not among `outside.ports`.
    #[error("port {0} is not allowed")]
    Port(u16),
    /// The host is denied, or leads to a place nobody outside may name.
    #[error("this host is not allowed")]
    Host,
    /// None of its addresses may be reached.
    #[error("the host has no address that may be reached")]
    Address,
}

/// A host, a family of hosts, or a network.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Host(String),
    /// Everything below a domain.
    Below(String),
    Network(IpAddr, u8),
}

/// The rules, read from the configuration.
#[derive(Debug)]
pub(super) struct Rules {
    allow: Vec<Pattern>,
    allow_http: Vec<Pattern>,
    deny: Vec<Pattern>,
    ports: Vec<u16>,
}

/// Reads a URL as everybody on the web does: `http://0x7f.1` is `http://127.0.0.1`.
pub(super) fn read(url: &str) -> Result<Url, Refusal> {
    if url.len() > MAX_URL_BYTES {
        return Err(Refusal::Malformed);
    }
    Url::parse(url).ok().filter(Url::has_host).ok_or(Refusal::Malformed)
}

/// What is wrong with the lists.
pub(super) fn mistakes(settings: &config::Outside) -> Vec<String> {
    let lists = [("allow", &settings.allow), ("allow_http", &settings.allow_http), ("deny", &settings.deny)];
    let bad = |(name, list): (&'static str, &Vec<String>)| {
        let entries = list.iter().filter(|entry| pattern(entry).is_none());
        entries
            .map(|entry| {
                format!(
                    "outside.{name}: \"{entry}\" is not a host, a domain (*.a.example), an address or a network"
                )
            })
            .collect::<Vec<_>>()
    };
    lists.into_iter().flat_map(bad).collect()
}

impl Rules {
    pub(super) fn new(settings: &config::Outside) -> Result<Self, String> {
        if let Some(mistake) = mistakes(settings).into_iter().next() {
            return Err(mistake);
        }
        let read = |list: &[String]| list.iter().filter_map(|entry| pattern(entry)).collect();
        Ok(Self {
            allow: read(&settings.allow),
            allow_http: read(&settings.allow_http),
            deny: read(&settings.deny),
            ports: settings.ports.clone(),
        })
    }

    /// Everything that can be told without a look-up.
    pub(super) fn check(&self, url: &Url) -> Result<(), Refusal> {
        let host = url.host_str().map(Host::read).ok_or(Refusal::Malformed)?;
        if url.as_str().len() > MAX_URL_BYTES {
            return Err(Refusal::Malformed);
        }
        match url.scheme() {
            "https" => {}
            "http" if host.is_in(&self.allow_http) => {}
            _ => return Err(Refusal::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::UserInfo);
        }
        let port = url.port_or_known_default().ok_or(Refusal::Malformed)?;
        if !(self.ports.is_empty() || self.ports.contains(&port)) {
            return Err(Refusal::Port(port));
        }
        match &host {
            Host::Address(address) => self.admits(None, *address),
            Host::Name(name) => self.admits_name(name),
        }
    }

    /// Whether this name may be looked up at all.
    pub(super) fn admits_name(&self, name: &str) -> Result<(), Refusal> {
        let host = Host::read(name);
        let Host::Name(name) = &host else { return Err(Refusal::Host) };
        let is_local = name == "localhost" || name.ends_with(".localhost");
        let is_refused = METADATA_NAMES.contains(&name.as_str())
            || host.is_in(&self.deny)
            || (is_local && !host.is_in(&self.allow));
        if is_refused { Err(Refusal::Host) } else { Ok(()) }
    }

    /// Whether this address may be connected to, `name` being what was asked for.
    pub(super) fn admits(&self, name: Option<&str>, address: IpAddr) -> Result<(), Refusal> {
        let plain = Host::Address(address::plain(address));
        let is_allowed =
            || plain.is_in(&self.allow) || name.is_some_and(|name| Host::read(name).is_in(&self.allow));
        match address::kind(address) {
            _ if plain.is_in(&self.deny) => Err(Refusal::Address),
            Kind::Public => Ok(()),
            Kind::Private if is_allowed() => Ok(()),
            Kind::Private | Kind::Never => Err(Refusal::Address),
        }
    }
}

/// A host as it stands in a URL.
enum Host {
    Name(String),
    Address(IpAddr),
}

impl Host {
    fn read(host: &str) -> Self {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match bare.parse() {
            Ok(address) => Self::Address(address),
            Err(_) => Self::Name(host.trim_end_matches('.').to_ascii_lowercase()),
        }
    }

    fn is_in(&self, patterns: &[Pattern]) -> bool {
        patterns.iter().any(|pattern| match (self, pattern) {
            (Self::Name(name), Pattern::Host(host)) => name == host,
            (Self::Name(name), Pattern::Below(domain)) => {
                name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
            (Self::Address(address), Pattern::Network(base, bits)) => {
                is_inside(address::plain(*address), *base, *bits)
            }
            _ => false,
        })
    }
}

fn is_inside(address: IpAddr, base: IpAddr, bits: u8) -> bool {
    match (address, base) {
        (IpAddr::V4(address), IpAddr::V4(base)) => {
            let shift = 32 - u32::from(bits);
            u32::from(address).checked_shr(shift) == u32::from(base).checked_shr(shift)
        }
        (IpAddr::V6(address), IpAddr::V6(base)) => {
            let shift = 128 - u32::from(bits);
            u128::from(address).checked_shr(shift) == u128::from(base).checked_shr(shift)
        }
        _ => false,
    }
}

fn pattern(entry: &str) -> Option<Pattern> {
    if let Some((base, bits)) = entry.split_once('/') {
        let (base, bits) = (base.parse().ok()?, bits.parse().ok()?);
        let longest = if matches!(base, IpAddr::V4(_)) { 32 } else { 128 };
        return (bits <= longest).then_some(Pattern::Network(base, bits));
    }
    if let Host::Address(address) = Host::read(entry) {
        return Some(Pattern::Network(address, if address.is_ipv4() { 32 } else { 128 }));
    }
    let (below, name) = match entry.strip_prefix("*.") {
        Some(domain) => (true, domain),
        None => (false, entry),
    };
    // Through the URL's own reading, so that both are compared in one spelling.
    let url = Url::parse(&format!("https://{name}/")).ok()?;
    let is_bare = url.port().is_none() && url.username().is_empty() && url.path() == "/";
    let Host::Name(host) = Host::read(url.host_str()?) else { return None };
    let is_name = is_bare && url.query().is_none() && !host.is_empty() && !host.contains('*');
    is_name.then_some(if below { Pattern::Below(host) } else { Pattern::Host(host) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use super::*;

    fn rules(allow: &[&str], allow_http: &[&str], deny: &[&str]) -> Rules {
        let list = |entries: &[&str]| entries.iter().map(|&entry| entry.to_owned()).collect();
        let settings = config::Outside {
            allow: list(allow),
            allow_http: list(allow_http),
            deny: list(deny),
            ..config::Outside::default()
        };
        Rules::new(&settings).unwrap()
    }

    fn check(rules: &Rules, url: &str) -> Result<(), Refusal> {
        rules.check(&read(url)?)
    }

    #[test]
    fn nothing_is_reached_by_default_but_https_on_the_public_internet() {
        let rules = rules(&[], &[], &[]);
        for good in [
            "https://a.example/hook?x=1",
            "https://8.8.8.8/",
            "https://[2606:4700::1]:8443/",
            "https://a.example:443",
        ] {
            assert_eq!(check(&rules, good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("http://a.example/", Refusal::Scheme),
            ("ftp://a.example/", Refusal::Scheme),
            ("file:///etc/passwd", Refusal::Malformed),
            ("a.example", Refusal::Malformed),
            ("https://user@a.example/", Refusal::UserInfo),
            ("https://:secret@a.example/", Refusal::UserInfo),
            ("https://a.example:22/", Refusal::Port(22)),
            ("https://localhost/", Refusal::Host),
            ("https://LOCALHOST./", Refusal::Host),
            ("https://x.localhost/", Refusal::Host),
            ("https://metadata.google.internal/", Refusal::Host),
            ("https://Metadata.Google.Internal./computeMetadata/v1/", Refusal::Host),
        ] {
            assert_eq!(check(&rules, bad), Err(why), "{bad}");
        }
        assert_eq!(
            check(&rules, &format!("https://a.example/{}", "x".repeat(3000))),
            Err(Refusal::Malformed)
        );
    }

    #[test]
    fn an_address_is_the_same_in_every_spelling() {
        let rules = rules(&[], &[], &[]);
        let spellings = [
            "127.0.0.1",
            "127.1",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "2130706433",
            "0x7f000001",
            "017700000001",
            "127.0.0.1.",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[0:0:0:0:0:ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "１２７.0.0.1",
            "127。0。0。1",
            "%31%32%37.0.0.1",
            "169.254.169.254",
            "0xa9fea9fe",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "0",
            "[::]",
            "10.1",
            "192.168.257",
        ];
        for host in spellings {
            assert_eq!(check(&rules, &format!("https://{host}/")), Err(Refusal::Address), "{host}");
        }
    }

    #[test]
    fn an_operator_opens_networks_and_hosts_by_name() {
        let rules = rules(
            &["10.0.0.0/8", "fd12::/16", "backend.internal", "*.corp.example", "169.254.0.0/16"],
            &["backend.internal", "10.0.0.0/8"],
            &["10.9.0.0/16", "secret.corp.example"],
        );
        assert_eq!(check(&rules, "http://10.1.2.3/"), Ok(()));
        assert_eq!(check(&rules, "https://[::ffff:10.1.2.3]/"), Ok(()));
        assert_eq!(check(&rules, "https://10.9.2.3/"), Err(Refusal::Address), "deny wins");
        assert_eq!(check(&rules, "https://secret.corp.example/"), Err(Refusal::Host), "deny wins");
        assert_eq!(check(&rules, "http://a.corp.example/"), Err(Refusal::Scheme), "not named for http");
        assert_eq!(check(&rules, "https://169.254.169.254/"), Err(Refusal::Address), "never");
        assert_eq!(check(&rules, "https://192.168.0.1/"), Err(Refusal::Address));
        let at = |name, address: &str| rules.admits(Some(name), address.parse().unwrap());
        assert_eq!(at("backend.internal", "192.168.0.1"), Ok(()));
        assert_eq!(at("a.corp.example", "127.0.0.1"), Ok(()));
        assert_eq!(at("corp.example", "127.0.0.1"), Err(Refusal::Address), "only what is below it");
        assert_eq!(at("evilcorp.example", "127.0.0.1"), Err(Refusal::Address));
        assert_eq!(at("a.example", "fd12::1"), Ok(()));
        assert_eq!(at("backend.internal", "169.254.169.254"), Err(Refusal::Address), "never");
        assert_eq!(at("backend.internal", "10.9.0.1"), Err(Refusal::Address), "deny wins");
    }

    #[test]
    fn entries_that_mean_nothing_are_mistakes() {
        for bad in ["", "10.0.0.0/33", "a.example:80", "https://a.example", "*", "*.*.a", "a b", "::/129"] {
            let settings = config::Outside { allow: vec![bad.into()], ..config::Outside::default() };
            assert_eq!(mistakes(&settings).len(), 1, "{bad}");
        }
        assert_eq!(mistakes(&config::Outside { ports: vec![], ..config::Outside::default() }).len(), 0);
    }
}
