//! One call with the platform's envelope: `errcode` decides, whatever the HTTP status says.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tracing::debug;

use super::Platform;
use crate::wechat::transport::{Reply, extended};
use crate::wechat::{CallError, Refusal, TransportError};

/// Set by the side-car when it has added the identity (FACTS 2.4).
const SIDECAR_MARK: &str = "x-openapi-seqid";

/// What is asked, without its identity.
pub(in crate::wechat) struct Call {
    path: &'static str,
    query: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
}

impl Call {
    /// A `GET` of `path`, which begins with a slash.
    pub(in crate::wechat) fn get(path: &'static str) -> Self {
        Self { path, query: Vec::new(), body: None }
    }

    /// A `POST` of exactly these bytes of JSON: some are signed.
    pub(in crate::wechat) fn post(path: &'static str, body: Vec<u8>) -> Self {
        Self { path, query: Vec::new(), body: Some(body) }
    }

    /// A `POST` of a value.
    pub(in crate::wechat) fn post_json(path: &'static str, body: &serde_json::Value) -> Self {
        Self::post(path, body.to_string().into_bytes())
    }

    /// With one more parameter.
    pub(in crate::wechat) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    fn request(&self, platform: &Platform, base: &Url, token: Option<&SecretString>) -> RequestBuilder {
        let mut url = extended(base, self.path.split('/').skip(1));
        if token.is_some() || !self.query.is_empty() {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(token.map(|token| ("access_token", token.expose_secret())));
            query.extend_pairs(&self.query);
        }
        let transport = &platform.inner.transport;
        match &self.body {
            None => transport.request(Method::GET, url),
            Some(body) => transport
                .request(Method::POST, url)
                .header("content-type", "application/json")
                .body(body.clone()),
        }
    }
}

impl Platform {
    /// Makes a call with whatever identity this place needs. A token that no longer counts is renewed once and the call
    /// repeated once (FACTS 1.13); nothing else is repeated.
    pub(in crate::wechat) async fn call<T: DeserializeOwned>(&self, call: &Call) -> Result<T, CallError> {
        if let Some(base) = &self.inner.options.container_base {
            return self.exchange(call, base, None).await;
        }
        let base = &self.inner.options.api_base;
        let token = self.inner.tokens.get(self).await?;
        match self.exchange(call, base, Some(&token)).await {
            Err(error) if error.is_token_refused() => {
                let renewed = self.inner.tokens.renew(self, &token).await?;
                self.exchange(call, base, Some(&renewed)).await
            }
            outcome => outcome,
        }
    }

    /// Makes a call that needs no token because it carries the secret itself.
    pub(super) async fn call_bare<T: DeserializeOwned>(&self, call: &Call) -> Result<T, CallError> {
        self.exchange(call, &self.inner.options.api_base, None).await
    }

    /// Begins to fetch a file that the platform named: over TLS, unless the platform itself is called without, as a
    /// stand-in for it is. Nothing of ours goes with the request.
    pub(in crate::wechat) async fn fetch(
        &self,
        url: Url,
        within: Duration,
    ) -> Result<Response, TransportError> {
        let is_stand_in = self.inner.options.api_base.scheme() == "http";
        if url.scheme() != "https" && !is_stand_in {
            return Err(TransportError::Insecure);
        }
        let transport = &self.inner.transport;
        let response = transport.open(transport.request(Method::GET, url).timeout(within)).await?;
        match response.status() {
            status if status.is_success() => Ok(response),
            status => Err(TransportError::Status(status)),
        }
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        call: &Call,
        base: &Url,
        token: Option<&SecretString>,
    ) -> Result<T, CallError> {
        let reply = self.inner.transport.send(call.request(self, base, token)).await?;
        debug!(
            path = call.path,
            status = reply.status.as_u16(),
            sidecar = reply.headers.contains_key(SIDECAR_MARK),
            "the platform answered",
        );
        read(&reply)
    }
}

/// Reads a reply: a refusal in any status, an answer in a good one.
fn read<T: DeserializeOwned>(reply: &Reply) -> Result<T, CallError> {
    #[derive(Deserialize)]
    struct Envelope {
        #[serde(default, deserialize_with = "crate::wechat::lenient::optional_integer")]
        errcode: Option<i64>,
        #[serde(default)]
        errmsg: Option<String>,
    }
    let envelope = serde_json::from_slice::<Envelope>(&reply.body);
    if let Ok(Envelope { errcode: Some(code), errmsg }) = &envelope
        && *code != 0
    {
        let message = errmsg.as_deref().unwrap_or_default();
        return Err(CallError::from_refusal(Refusal::new(*code, message)));
    }
    if !reply.status.is_success() {
        return Err(TransportError::Status(reply.status).into());
    }
    serde_json::from_slice(&reply.body).map_err(|error| TransportError::from(error).into())
}
