//! One bounded HTTP exchange with a host of Tencent.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url, redirect};

use super::TransportError;

/// Who we say we are; WeChat Pay may refuse callers that do not say (FACTS 3.1).
const USER_AGENT: &str = concat!("darkroom-backend-api/", env!("CARGO_PKG_VERSION"));

/// Bounds of every exchange.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// One exchange, connecting and reading the reply included.
    pub request_timeout: Duration,
    /// The longest reply that is read.
    pub max_reply_bytes: usize,
}

impl Default for Bounds {
    /// Two exchanges one after the other stay well within the 15 s of the platform (FACTS 2.3).
    fn default() -> Self {
        Self { request_timeout: Duration::from_secs(4), max_reply_bytes: 1024 * 1024 }
    }
}

/// A client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No TLS roots are found on this machine.
    #[error("no client for the platform can be made")]
    Client(#[source] reqwest::Error),
    /// A key is not what it should be; which one and why, never its text.
    #[error("{name} cannot be used")]
    Key {
        /// The setting it comes from.
        name: &'static str,
        /// What is wrong with it.
        #[source]
        source: super::crypto::KeyError,
    },
}

/// A pool of connections and the bounds of what goes through it. Clones share the pool.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    client: Client,
    bounds: Bounds,
}

/// A whole reply.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Transport {
    /// For calls to `bases` and to what their replies name.
    pub(super) fn new(bounds: Bounds, bases: &[&Url]) -> Result<Self, BuildError> {
        let mut client = Client::builder()
            .user_agent(USER_AGENT)
            .timeout(bounds.request_timeout)
            .dns_resolver(Arc::new(Names))
            .redirect(redirect::Policy::none()) // a redirect could carry our token elsewhere
            .no_proxy(); // so could a proxy from the environment
        if bases.iter().all(|base| base.scheme() == "http") {
            client = client.tls_certs_only([]); // an image without CA certificates suffices for plain HTTP
        }
        Ok(Self { client: client.build().map_err(BuildError::Client)?, bounds })
    }

    pub(super) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends and reads the whole reply.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Reply, TransportError> {
        let response = self.open(request).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Reply { status, headers, body: self.read(response).await? })
    }

    /// Sends; the body of the reply is still to be read, by [`Response::chunk`].
    pub(super) async fn open(&self, request: RequestBuilder) -> Result<Response, TransportError> {
        Ok(request.send().await?)
    }

    async fn read(&self, mut response: Response) -> Result<Bytes, TransportError> {
        let limit = self.bounds.max_reply_bytes;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > limit {
                return Err(TransportError::TooLong { limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }
}

/// The system's resolver, but names below `localhost` are this machine (RFC 6761 §6.3), which not every system knows: a
/// bucket stands in the host name, and one for tries may be served here.
#[derive(Debug, Clone, Copy)]
struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        Box::pin(async move {
            // who connects puts the port in
            let found: Vec<SocketAddr> = match name.ends_with(".localhost") {
                true => vec![(Ipv4Addr::LOCALHOST, 0).into()],
                false => tokio::net::lookup_host((name, 0)).await?.collect(),
            };
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// `base` extended by `path`, each segment escaped.
pub(super) fn extended<'a>(base: &Url, path: impl IntoIterator<Item = &'a str>) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path); // Err only for URLs such as `data:`, which the configuration refuses
    }
    url
}
