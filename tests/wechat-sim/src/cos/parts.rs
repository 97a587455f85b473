//! Uploads in parts.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use md5::{Digest as _, Md5};

use super::objects::{Received, guard};
use super::{Answer, Asked, Bucket, Object, PART_MIN, refuse};

pub(super) struct Upload {
    key: String,
    pub(super) begun: Timestamp,
    parts: BTreeMap<u32, Object>,
    headers: BTreeMap<String, String>,
}

fn upload_id(asked: &Asked) -> &str {
    asked.query.get("uploadId").map(String::as_str).unwrap_or_default()
}

fn xml(body: String) -> Answer {
    Ok(([("content-type", "application/xml")], body).into_response())
}

impl Bucket {
    pub(super) fn initiate(&mut self, asked: Asked) -> Answer {
        guard(self, &asked)?;
        self.next += 1;
        let id = format!("upload/{}+x", self.next);
        let headers = Received::new(true).into_object(&asked.headers).headers;
        let answer = format!(
            "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>{}</Key><UploadId>{id}</UploadId>\
             </InitiateMultipartUploadResult>",
            asked.key
        );
        let upload = Upload { key: asked.key, begun: Timestamp::now(), parts: BTreeMap::new(), headers };
        self.uploads.insert(id, upload);
        xml(answer)
    }

    fn upload(&mut self, asked: &Asked) -> Result<&mut Upload, super::Refusal> {
        match self.uploads.get_mut(upload_id(asked)) {
            Some(upload) if upload.key == asked.key => Ok(upload),
            _ => refuse(404, "NoSuchUpload", "no such upload"),
        }
    }

    pub(super) fn put_part(&mut self, asked: &Asked, body: Received) -> Answer {
        let number: u32 = asked.query.get("partNumber").and_then(|number| number.parse().ok()).unwrap_or(0);
        if !(1..=10_000).contains(&number) {
            return refuse(400, "InvalidArgument", "partNumber");
        }
        let upload = self.upload(asked)?;
        let part = body.into_object(&asked.headers);
        let answer = part.describe(StatusCode::OK.into_response());
        upload.parts.insert(number, part);
        Ok(answer)
    }

    pub(super) fn complete(&mut self, asked: &Asked, body: &[u8]) -> Answer {
        guard(self, asked)?;
        let listed = listed(&String::from_utf8_lossy(body));
        let upload = self.upload(asked)?;
        if listed.is_empty() || !listed.is_sorted() {
            return refuse(400, "InvalidPartOrder", "the parts are not in order");
        }
        let (mut bytes, mut md5s, mut size, mut crc) = (Vec::new(), Md5::new(), 0, 0);
        for (at, (number, etag)) in listed.iter().enumerate() {
            let Some(part) = upload.parts.get(number).filter(|part| part.etag() == etag) else {
                return refuse(400, "InvalidPart", number);
            };
            if part.size_bytes < PART_MIN && at + 1 < listed.len() {
                return refuse(400, "EntityTooSmall", number);
            }
            md5s.update(hex::decode(part.etag().trim_matches('"')).unwrap_or_default());
            crc = crc_fast::checksum_combine(
                crc_fast::CrcAlgorithm::Crc64Xz,
                crc,
                part.crc64(),
                part.size_bytes,
            );
            size += part.size_bytes;
            bytes.extend_from_slice(&part.bytes);
        }
        let etag = format!("\"{}-{}\"", hex::encode(md5s.finalize()), listed.len());
        let mut object = Object::joined(etag, crc, bytes, size);
        object.headers = std::mem::take(&mut upload.headers);
        let answer = format!(
            "<CompleteMultipartUploadResult><Location>l</Location><Key>{}</Key><ETag>{}</ETag>\
             </CompleteMultipartUploadResult>",
            asked.key,
            object.etag()
        );
        let answer: Response = object.describe(answer.into_response());
        self.uploads.remove(upload_id(asked));
        self.objects.insert(asked.key.clone(), object);
        Ok(answer)
    }

    pub(super) fn abort(&mut self, asked: &Asked) -> Answer {
        self.upload(asked)?;
        self.uploads.remove(upload_id(asked));
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    pub(super) fn list_parts(&mut self, asked: &Asked) -> Answer {
        let upload = self.upload(asked)?;
        let parts: String = upload
            .parts
            .iter()
            .map(|(number, part)| {
                let (etag, size) = (part.etag(), part.size_bytes);
                format!(
                    "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag><Size>{size}</Size></Part>"
                )
            })
            .collect();
        xml(format!(
            "<ListPartsResult><Bucket>b</Bucket>{parts}<IsTruncated>false</IsTruncated></ListPartsResult>"
        ))
    }

    /// One a page, so that whoever lists them has to go on.
    pub(super) fn list_uploads(&self, asked: &Asked) -> Answer {
        let given = |name: &str| asked.query.get(name).cloned().unwrap_or_default();
        let after = (given("key-marker"), given("upload-id-marker"));
        let mut found: Vec<_> = self
            .uploads
            .iter()
            .filter(|(_, upload)| upload.key.starts_with(&given("prefix")))
            .map(|(id, upload)| (upload.key.clone(), id.clone(), upload.begun))
            .filter(|(key, id, _)| (key.clone(), id.clone()) > after)
            .collect();
        found.sort();
        let truncated = found.len() > 1;
        let Some((key, id, begun)) = found.into_iter().next() else {
            return xml(
                "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>"
                    .into(),
            );
        };
        xml(format!(
            "<ListMultipartUploadsResult><Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{begun}</Initiated>\
             </Upload><IsTruncated>{truncated}</IsTruncated><NextKeyMarker>{key}</NextKeyMarker>\
             <NextUploadIdMarker>{id}</NextUploadIdMarker></ListMultipartUploadsResult>"
        ))
    }
}

/// The parts of a completion, in its order.
fn listed(body: &str) -> Vec<(u32, String)> {
    let inside = |text: &str, name: &str| {
        let rest = text.split_once(&format!("<{name}>"))?.1;
        rest.split_once(&format!("</{name}>")).map(|(inside, _)| inside.trim().to_owned())
    };
    body.split("<Part>")
        .skip(1)
        .filter_map(|part| {
            let etag = inside(part, "ETag")?.replace("&quot;", "\"");
            let etag = format!("\"{}\"", etag.trim_matches('"'));
            Some((inside(part, "PartNumber")?.parse().ok()?, etag))
        })
        .collect()
}
