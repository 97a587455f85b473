//! A request that is passed on as it is. No deadline stands here: who waits for the answer says when it is too late.

use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, Url};

use super::Comfy;
use super::http::ComfyError;
use crate::link::message::{ForwardFault, ForwardHead, ForwardRequest};

impl Comfy {
    /// Sends a request to one of the server's own routes.
    ///
    /// # Errors
    /// `Unsendable` before anything is sent: the request is malformed, or its path would lead elsewhere.
    pub(crate) async fn forward(
        &self,
        request: &ForwardRequest,
        body: Option<reqwest::Body>,
    ) -> Result<Answer, ForwardFault> {
        let unsendable = |why: &str| ForwardFault::Unsendable(why.to_owned());
        let method = Method::from_bytes(request.method.as_bytes()).map_err(|_| unsendable("its method"))?;
        let url = self.url_of(&request.target).ok_or_else(|| unsendable("its path"))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unsendable("a header's name"))?;
            headers.append(name, HeaderValue::from_str(value).map_err(|_| unsendable("a header"))?);
        }
        let mut sent = self.client().request(method, url).headers(headers);
        if let Some(body) = body {
            sent = sent.body(body);
            if let Some(length) = request.length {
                sent = sent.header(CONTENT_LENGTH, length);
            }
        }
        Ok(Answer(sent.send().await.map_err(|error| fault(error.into()))?))
    }

    /// The URL of a path, unless it would be read as another: dots, for one, lead upwards.
    fn url_of(&self, target: &str) -> Option<Url> {
        if !target.starts_with('/') {
            return None;
        }
        let url = Url::parse(&format!("{}{target}", self.base())).ok()?;
        let base = Url::parse(self.base()).ok()?;
        let path = target.split('?').next().unwrap_or_default();
        let expected = format!("{}{path}", base.path().trim_end_matches('/'));
        (url.origin() == base.origin() && url.path() == expected).then_some(url)
    }
}

fn fault(error: ComfyError) -> ForwardFault {
    let words = error.words();
    match error {
        ComfyError::Refused(_) => ForwardFault::Unreachable(words),
        _ => ForwardFault::BrokeOff(words),
    }
}

/// An answer on its way.
#[derive(Debug)]
pub(crate) struct Answer(Response);

impl Answer {
    /// Its status and those of its headers that are text.
    pub(crate) fn head(&self) -> ForwardHead {
        let text = |value: &HeaderValue| value.to_str().map(str::to_owned).ok();
        let headers = self.0.headers().iter();
        ForwardHead {
            status: self.0.status().as_u16(),
            headers: headers.filter_map(|(name, value)| Some((name.to_string(), text(value)?))).collect(),
        }
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// `BrokeOff`, also where it is shorter than announced.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, ForwardFault> {
        self.0.chunk().await.map_err(|error| fault(error.into()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::super::http;
    use super::*;
    use crate::runner::Config;

    #[test]
    fn a_path_that_would_be_read_as_another_is_not_sent() {
        let config = Config::new("host", Vec::new(), "spool".into());
        for base in ["http://127.0.0.1:1", "http://127.0.0.1:1/comfy"] {
            let comfy = Comfy::new(http::client(&config, base).unwrap(), base, &config);
            for good in ["/my_node/a", "/api/my_node/a%2Fb?x=../y&z=%2e%2e", "/my_node/a%20b/"] {
                assert_eq!(comfy.url_of(good).unwrap().as_str(), format!("{base}{good}"));
            }
            for bad in [
                "/my_node/../prompt",
                "/my_node/%2e%2E/prompt",
                "/my_node/.%2e/prompt",
                "/my_node\\..\\prompt",
                "/my_node/./a",
                "/my_node/a#b",
                "@evil.example/a",
                ":2/a",
            ] {
                assert_eq!(comfy.url_of(bad), None, "{bad}");
            }
        }
    }
}
