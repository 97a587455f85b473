//! Sending a file to where its ticket says.

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder};

use super::{StorageError, Upload, UploadTicket};
use crate::wechat::{Platform, TransportError};

impl Platform {
    /// Uses a ticket: stores these bytes, few enough to be held, under its name.
    ///
    /// # Errors
    /// See [`StorageError`]; whether the file was stored is then unknown.
    pub async fn upload(
        &self,
        ticket: &UploadTicket,
        content_type: &str,
        bytes: Bytes,
    ) -> Result<(), StorageError> {
        let transport = &self.inner().transport;
        let request = match &ticket.upload {
            Upload::Put { headers } => {
                put(transport.request(Method::PUT, ticket.url.clone()), headers, content_type).body(bytes)
            }
            Upload::Form { fields } => {
                transport.request(Method::POST, ticket.url.clone()).multipart(form(fields, bytes))
            }
        };
        match transport.send(request).await?.status {
            status if status.is_success() => Ok(()),
            status => Err(TransportError::Status(status).into()),
        }
    }
}

fn put(request: RequestBuilder, headers: &[(String, String)], content_type: &str) -> RequestBuilder {
    let request = request.header(CONTENT_TYPE, content_type);
    headers.iter().fold(request, |request, (name, value)| request.header(name, value))
}

/// The fields in their order, the file last.
fn form(fields: &[(String, String)], bytes: Bytes) -> Form {
    let form = fields.iter().fold(Form::new(), |form, (name, value)| form.text(name.clone(), value.clone()));
    let length = bytes.len() as u64;
    form.part("file", Part::stream_with_length(bytes, length).file_name("file"))
}
