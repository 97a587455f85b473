//! One signed exchange, and its repeat.

use jiff::Timestamp;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::de::DeserializeOwned;
use tracing::debug;

use super::sign::{Stamp, authorization, request_message};
use super::{Merchant, PayError};
use crate::wechat::TransportError;
use crate::wechat::transport::{Reply, extended};

/// Names the exchange for the platform's support.
const REQUEST_ID: &str = "request-id";
/// Characters of it that we pass on.
const REQUEST_ID_MAX: usize = 64;

/// What is asked.
pub(super) struct Call<'a> {
    method: Method,
    path: Vec<&'a str>,
    query: Vec<(&'static str, &'a str)>,
    body: Vec<u8>,
}

impl<'a> Call<'a> {
    pub(super) fn get(path: &[&'a str]) -> Self {
        Self { method: Method::GET, path: path.to_vec(), query: Vec::new(), body: Vec::new() }
    }

    pub(super) fn post(path: &[&'a str], body: &serde_json::Value) -> Self {
        Self {
            method: Method::POST,
            path: path.to_vec(),
            query: Vec::new(),
            body: body.to_string().into_bytes(),
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: &'a str) -> Self {
        self.query.push((name, value));
        self
    }

    fn url(&self, base: &Url) -> Url {
        let mut url = extended(base, self.path.iter().copied());
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }
}

impl Merchant {
    /// Makes a call and reads its verified answer.
    pub(super) async fn call<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<T, PayError> {
        let reply = self.verified(call).await?;
        serde_json::from_slice(&reply.body).map_err(|error| TransportError::from(error).into())
    }

    /// Makes a call whose good answer is empty; its signature is verified all the same.
    pub(super) async fn command(&self, call: &Call<'_>) -> Result<(), PayError> {
        self.verified(call).await.map(drop)
    }

    async fn verified(&self, call: &Call<'_>) -> Result<Reply, PayError> {
        self.prepare_keys().await;
        let reply = self.exchange(call).await?;
        self.verify_reply(&reply).await?;
        Ok(reply)
    }

    async fn verify_reply(&self, reply: &Reply) -> Result<(), PayError> {
        self.verify(&reply.headers, &reply.body, Timestamp::now()).await?;
        Ok(())
    }

    /// A good reply, not verified yet. No answer and a fault of the platform are followed by one repeat.
    pub(super) async fn exchange(&self, call: &Call<'_>) -> Result<Reply, PayError> {
        let options = &self.inner.options;
        match self.attempt(call, &options.base).await {
            Err(PayError::Unreachable(_) | PayError::Failed(_)) => {
                self.attempt(call, options.backup_base.as_ref().unwrap_or(&options.base)).await
            }
            outcome => outcome,
        }
    }

    async fn attempt(&self, call: &Call<'_>, base: &Url) -> Result<Reply, PayError> {
        let request = self.signed(call.method.clone(), call.url(base), &call.body);
        let request = match call.body.is_empty() {
            true => request,
            false => request.header(CONTENT_TYPE, "application/json").body(call.body.clone()),
        };
        let reply = self.inner.transport.send(request.header(ACCEPT, "application/json")).await?;
        let request_id = request_id(&reply.headers);
        debug!(
            status = reply.status.as_u16(),
            request_id = request_id.as_deref().unwrap_or_default(),
            "WeChat Pay answered",
        );
        // 202 says that the payer is still at it, with a code
        match reply.status {
            StatusCode::OK | StatusCode::NO_CONTENT => Ok(reply),
            status => Err(PayError::from_reply(status, &reply.body, request_id)),
        }
    }

    /// A request with its signature over exactly what will be sent.
    pub(super) fn signed(&self, method: Method, url: Url, body: &[u8]) -> RequestBuilder {
        let options = &self.inner.options;
        let stamp = Stamp::now();
        let message = request_message(method.as_str(), &path_and_query(&url), &stamp, body);
        let header = authorization(&options.merchant_id, &options.serial, &self.inner.key, &stamp, &message);
        let mut request = self.inner.transport.request(method, url).header(AUTHORIZATION, header);
        if let Some(serial) = &self.inner.wanted_serial {
            request = request.header("wechatpay-serial", serial);
        }
        request
    }
}

/// As it is sent.
fn path_and_query(url: &Url) -> String {
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}

pub(super) fn request_id(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(REQUEST_ID)?.to_str().ok()?;
    Some(value.chars().take(REQUEST_ID_MAX).collect())
}
