//! What proxies say of the caller (`X-Forwarded-*`): believed of those that are configured, and taken out of every other
//! request, so that nothing behind this sees a claim of a stranger.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderName};

use crate::network::Network;

/// Addresses on the way, the caller's first.
const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The host the caller asked for.
pub(super) const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `http` or `https`, as the caller came.
pub(super) const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// RFC 7239, which we do not read.
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");

/// Where a request comes from, as far as that can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CameFrom(pub(super) IpAddr);

/// Finds out where a request comes from, and takes out of it what must not be believed.
pub(super) fn settle(proxies: &[Network], request: &mut Request) {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let is_trusted = |address: IpAddr| proxies.iter().any(|proxy| proxy.contains(address));
    let headers = request.headers_mut();
    headers.remove(FORWARDED);
    let Some(peer) = peer else {
        return forget(headers);
    };
    let from = if is_trusted(peer) {
        origin(headers, is_trusted).unwrap_or(peer)
    } else {
        forget(headers);
        peer
    };
    request.extensions_mut().insert(CameFrom(from.to_canonical()));
}

fn forget(headers: &mut HeaderMap) {
    for name in [FOR, HOST, PROTO] {
        headers.remove(name);
    }
}

/// The last address that is not a trusted proxy: what stands before it was written by strangers.
fn origin(headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let lines: Vec<&str> = headers.get_all(FOR).iter().filter_map(|line| line.to_str().ok()).collect();
    let mut seen = None;
    for text in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let address = text.trim().parse::<IpAddr>().ok()?;
        seen = Some(address);
        if !is_trusted(address) {
            break;
        }
    }
    seen
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use axum::body::Body;

    use super::*;

    fn settled(peer: &str, forwarded: &[(&'static str, &str)]) -> Request {
        let mut request = Request::new(Body::empty());
        let peer: SocketAddr = peer.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        for (name, value) in forwarded {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        settle(&["10.0.0.0/8".parse().unwrap()], &mut request);
        request
    }

    fn from(request: &Request) -> String {
        request.extensions().get::<CameFrom>().unwrap().0.to_string()
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let claims =
            [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-host", "evil"), ("x-forwarded-proto", "https")];
        let request = settled("203.0.113.9:1", &claims);
        assert_eq!(from(&request), "203.0.113.9");
        assert!(request.headers().is_empty());
    }

    #[test]
    fn a_trusted_proxy_is_believed_as_far_as_the_first_stranger() {
        let request = settled(
            "10.0.0.1:1",
            &[("x-forwarded-for", "6.6.6.6, 203.0.113.9"), ("x-forwarded-for", "10.0.0.2")],
        );
        assert_eq!(from(&request), "203.0.113.9", "6.6.6.6 is the stranger's own claim");
        assert_eq!(from(&settled("10.0.0.1:1", &[("x-forwarded-for", "10.0.0.3")])), "10.0.0.3");
        assert_eq!(from(&settled("10.0.0.1:1", &[("x-forwarded-for", "unknown")])), "10.0.0.1");
        assert_eq!(from(&settled("[::ffff:10.0.0.1]:1", &[])), "10.0.0.1");
        let kept = settled("10.0.0.1:1", &[("x-forwarded-proto", "https"), ("forwarded", "for=1.1.1.1")]);
        assert!(kept.headers().contains_key(PROTO) && !kept.headers().contains_key(FORWARDED));
    }
}
