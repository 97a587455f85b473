//! The bodies of uploads in parts, as S3 and COS spell them.

use serde::{Deserialize, Serialize};

/// One part, as its upload is completed with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// From 1.
    #[serde(rename = "PartNumber")]
    pub(super) number: u32,
    /// As the bucket gave it, quotes included.
    #[serde(rename = "ETag")]
    pub(super) etag: String,
}

/// Answer to the beginning of an upload.
#[derive(Debug, Deserialize)]
pub(super) struct Initiated {
    #[serde(rename = "UploadId")]
    pub(super) upload: String,
}

/// Body of the completion of an upload.
#[derive(Debug, Serialize)]
#[serde(rename = "CompleteMultipartUpload")]
pub(super) struct Complete {
    #[serde(rename = "Part")]
    pub(super) parts: Vec<Part>,
}

/// Objects, one page.
#[derive(Debug, Deserialize)]
pub(super) struct ObjectList {
    #[serde(rename = "Contents", default)]
    pub(super) objects: Vec<Listed>,
}

/// One of them.
#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    #[serde(rename = "Key")]
    pub(super) key: String,
}

/// Uploads that were begun and neither completed nor aborted, one page.
#[derive(Debug, Deserialize)]
pub(super) struct UploadList {
    #[serde(rename = "Upload", default)]
    pub(super) uploads: Vec<Unfinished>,
    #[serde(rename = "IsTruncated", default)]
    pub(super) truncated: bool,
    #[serde(rename = "NextKeyMarker", default)]
    pub(super) next_key: Option<String>,
    #[serde(rename = "NextUploadIdMarker", default)]
    pub(super) next_upload: Option<String>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Unfinished {
    #[serde(rename = "Key")]
    pub(super) key: String,
    #[serde(rename = "UploadId")]
    pub(super) upload: String,
    /// RFC 3339.
    #[serde(rename = "Initiated")]
    pub(super) begun: String,
}

/// What a bucket says went wrong. A completion can answer 200 with it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "Error")]
pub(crate) struct Fault {
    #[serde(rename = "Code", default)]
    pub(crate) code: String,
    #[serde(rename = "Message", default)]
    pub(crate) message: String,
    #[serde(rename = "RequestId", default)]
    pub(super) request: String,
}

impl Fault {
    /// What stands in a body; `None`: no error does.
    pub(crate) fn find(body: &str) -> Option<Self> {
        body.contains("<Error>").then(|| quick_xml::de::from_str(body).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]

    use super::*;

    #[test]
    fn bodies_are_written_and_read_as_buckets_do() {
        let part = |number| Part { number, etag: format!("\"e{number}\"") };
        let text = quick_xml::se::to_string(&Complete { parts: vec![part(1), part(2)] }).unwrap();
        let expected = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"e1\"</ETag></Part>\
                        <Part><PartNumber>2</PartNumber><ETag>\"e2\"</ETag></Part></CompleteMultipartUpload>";
        assert_eq!(text, expected);
        let list: UploadList = quick_xml::de::from_str(
            "<?xml version='1.0' encoding='utf-8' ?><ListMultipartUploadsResult xmlns=\"x\"><Bucket>b</Bucket><Upload>\
             <Key>a/b</Key><UploadId>u&amp;1</UploadId><Initiated>2026-11-22T08:00:00.000Z</Initiated></Upload>\
             <IsTruncated>true</IsTruncated><NextKeyMarker>a/b</NextKeyMarker></ListMultipartUploadsResult>",
        )
        .unwrap();
        assert_eq!((list.uploads[0].upload.as_str(), list.truncated), ("u&1", true));
        let none: UploadList =
            quick_xml::de::from_str("<ListMultipartUploadsResult><Prefix/></ListMultipartUploadsResult>")
                .unwrap();
        assert!(none.uploads.is_empty() && !none.truncated);
        let fault = Fault::find("<Error><Code>NoSuchUpload</Code><Message>m</Message></Error>").unwrap();
        assert_eq!((fault.code.as_str(), fault.message.as_str()), ("NoSuchUpload", "m"));
        assert!(Fault::find("<Answer/>").is_none());
    }
}
