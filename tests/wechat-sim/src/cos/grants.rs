//! Who may do what for a while: temporary keys, tickets of forms, download addresses.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};

use super::objects::Received;
use super::signature::encode;
use super::{Bucket, Cos, ID, KEY};
use crate::crypt;

/// Keys as a client uses them.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) token: Option<String>,
}

/// What a form has to hold to be taken for a path (FACTS §6.1).
#[derive(Clone, Debug)]
pub(crate) struct FormTicket {
    /// Without a slash in front.
    pub(crate) path: String,
    pub(crate) signature: String,
    pub(crate) token: String,
    pub(crate) file_id: String,
}

#[derive(Default)]
pub(super) struct Grants {
    keys: BTreeMap<String, (Keys, Instant)>,
    forms: Vec<(FormTicket, Instant)>,
    /// Sign → path.
    downloads: BTreeMap<String, (String, Instant)>,
}

impl Bucket {
    /// The keys of this id, if they hold now.
    pub(super) fn keys(&self, id: &str) -> Option<Keys> {
        if id == ID {
            return Some(Keys { id: id.to_owned(), key: KEY.to_owned(), token: self.token.clone() });
        }
        let (keys, until) = self.grants.keys.get(id)?;
        (Instant::now() < *until).then(|| keys.clone())
    }

    /// The tickets for a path that hold now.
    pub(super) fn forms(&self, path: &str) -> Vec<FormTicket> {
        let now = Instant::now();
        let holds = |(ticket, until): &&(FormTicket, Instant)| ticket.path == path && now < *until;
        self.grants.forms.iter().filter(holds).map(|(ticket, _)| ticket.clone()).collect()
    }
}

impl Cos {
    /// Temporary keys.
    pub(crate) fn grant_keys(&self, hold_for: Duration) -> Keys {
        let keys = Keys {
            id: format!("AKID{}", crypt::letters(32)),
            key: crypt::letters(32),
            token: Some(crypt::letters(200)),
        };
        let until = Instant::now() + hold_for;
        self.state().grants.keys.insert(keys.id.clone(), (keys.clone(), until));
        keys
    }

    /// Lets a form be posted.
    pub(crate) fn grant_form(&self, ticket: FormTicket, hold_for: Duration) {
        let until = Instant::now() + hold_for;
        self.state().grants.forms.push((ticket, until));
    }

    /// Ends every temporary key, ticket and download address.
    pub fn expire_grants(&self) {
        self.state().grants = Grants::default();
    }

    /// Where a form for a path is posted to: the bucket is in the path.
    pub(crate) fn form_url(&self, path: &str) -> String {
        format!("http://{}/{}/{}", self.address, self.name, slashed(path))
    }

    /// An address below `base` from which anybody can fetch an object for a while.
    pub(crate) fn grant_download(&self, base: &str, path: &str, hold_for: Duration) -> String {
        let sign = crypt::letters(32).to_lowercase();
        let until = Instant::now() + hold_for;
        self.state().grants.downloads.insert(sign.clone(), (path.to_owned(), until));
        format!("{base}/cdn/{}?sign={sign}", slashed(path))
    }

    /// Answers a download.
    pub(crate) fn download(&self, method: &Method, path: &str, query: &BTreeMap<String, String>) -> Response {
        let state = self.state();
        let sign = query.get("sign").map(String::as_str).unwrap_or_default();
        let path = crate::http::decoded(path);
        let holds = |granted: &&(String, Instant)| granted.0 == path && Instant::now() < granted.1;
        let granted = state.grants.downloads.get(sign).filter(holds);
        if granted.is_none() || !matches!(*method, Method::GET | Method::HEAD) {
            return StatusCode::FORBIDDEN.into_response();
        }
        match state.objects.get(&path) {
            Some(object) => object.describe(object.bytes.clone().into_response()),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }

    /// Puts an object there, as the platform does with files of its own.
    pub(crate) fn place(&self, path: &str, bytes: Vec<u8>, content_type: &str) {
        let mut received = Received::new(true);
        received.take(&bytes);
        let mut object = received.into_object(&axum::http::HeaderMap::new());
        object.headers.insert("content-type".to_owned(), content_type.to_owned());
        self.state().objects.insert(path.to_owned(), object);
    }

    /// Deletes an object; false when there was none.
    pub(crate) fn remove(&self, path: &str) -> bool {
        self.state().objects.remove(path).is_some()
    }
}

/// Each part between slashes encoded.
fn slashed(path: &str) -> String {
    path.split('/').map(encode).collect::<Vec<_>>().join("/")
}
