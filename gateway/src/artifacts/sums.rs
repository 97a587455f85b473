//! What was sent, summed up, to be compared with what the reply of a bucket says has arrived.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crc_fast::{CrcAlgorithm, checksum_combine};
use md5::{Digest as _, Md5};
use reqwest::header::{ETAG, HeaderMap};

/// CRC64-ECMA of COS: reflected, ones at both ends.
const CRC64: CrcAlgorithm = CrcAlgorithm::Crc64Xz;

/// Sums of bytes as they pass.
#[derive(Debug, Clone)]
pub(crate) struct Sums {
    md5: Md5,
    crc64: crc_fast::Digest,
    size_bytes: u64,
}

/// Sums of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) md5: [u8; 16],
    pub(crate) crc64: u64,
    pub(crate) size_bytes: u64,
}

/// What a reply says of the bytes that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// They are the ones that were sent.
    Same,
    /// They are others; by which sum.
    Different(&'static str),
    /// Nothing that could be compared.
    Untold,
}

impl Default for Sums {
    fn default() -> Self {
        Self { md5: Md5::new(), crc64: crc_fast::Digest::new(CRC64), size_bytes: 0 }
    }
}

impl Sums {
    /// Adds bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.crc64.update(bytes);
        self.size_bytes += bytes.len() as u64;
    }

    /// The sums.
    pub(crate) fn finish(&self) -> Sum {
        Sum {
            md5: self.md5.clone().finalize().into(),
            crc64: self.crc64.finalize(),
            size_bytes: self.size_bytes,
        }
    }

    /// The sums of pieces that are at hand.
    pub(crate) fn of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Sum {
        let mut sums = Self::default();
        pieces.into_iter().for_each(|piece| sums.update(piece));
        sums.finish()
    }
}

/// CRC64 of two pieces one after the other, from theirs and the length of the second.
pub(crate) fn joined(first: u64, second: u64, second_bytes: u64) -> u64 {
    checksum_combine(CRC64, first, second, second_bytes)
}

impl Sum {
    /// Compares with the reply to a PUT of all of it.
    pub(crate) fn judge(&self, reply: &HeaderMap) -> Verdict {
        if let Some(crc64) = text(reply, "x-cos-hash-crc64ecma") {
            let is_same = crc64.parse() == Ok(self.crc64);
            return if is_same { Verdict::Same } else { Verdict::Different("CRC64") };
        }
        let google = reply.get_all("x-goog-hash").iter().filter_map(|value| value.to_str().ok());
        if let Some(md5) =
            google.flat_map(|value| value.split(',')).find_map(|one| one.trim().strip_prefix("md5="))
        {
            return self.compare_md5(BASE64_STANDARD.decode(md5).as_deref().unwrap_or_default());
        }
        match text(reply, ETAG.as_str()).and_then(md5_of) {
            // the ETag of an object under a key of the customer's or of KMS is something else
            Some(_) if is_encrypted_apart(reply) => Verdict::Untold,
            Some(md5) => self.compare_md5(&md5),
            None => Verdict::Untold,
        }
    }

    fn compare_md5(&self, md5: &[u8]) -> Verdict {
        if md5 == self.md5 { Verdict::Same } else { Verdict::Different("MD5") }
    }
}

/// The MD5 that an entity tag is, if it is one.
pub(crate) fn md5_of(etag: &str) -> Option<[u8; 16]> {
    let mut md5 = [0; 16];
    hex::decode_to_slice(etag.trim_matches('"'), &mut md5).ok().map(|()| md5)
}

fn text<'a>(reply: &'a HeaderMap, name: &str) -> Option<&'a str> {
    reply.get(name)?.to_str().ok()
}

fn is_encrypted_apart(reply: &HeaderMap) -> bool {
    ["x-amz-server-side-encryption", "x-cos-server-side-encryption"]
        .iter()
        .any(|name| text(reply, name).is_some_and(|how| how.contains("kms")))
        || reply.keys().any(|name| name.as_str().ends_with("server-side-encryption-customer-algorithm"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]

    use super::*;

    fn reply(headers: &[(&'static str, &str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_reply_is_compared_by_the_best_sum_it_gives() {
        // the check value of CRC-64/XZ, and the MD5 of the same text
        let sum = Sums::of([&b"1234"[..], &b"56789"[..]]);
        let md5 = "25f9e794323b453885f5181f1b624d0b";
        assert_eq!((sum.crc64, sum.size_bytes), (0x995D_C9BB_DF19_39FA, 9));
        let etag = format!("\"{md5}\"");
        for (headers, verdict) in [
            (vec![("x-cos-hash-crc64ecma", "11051210869376104954"), ("etag", "\"x\"")], Verdict::Same),
            (vec![("x-cos-hash-crc64ecma", "1"), ("etag", &*etag)], Verdict::Different("CRC64")),
            (vec![("etag", &*etag)], Verdict::Same),
            (vec![("etag", "\"25F9E794323B453885F5181F1B624D0B\"")], Verdict::Same),
            (vec![("etag", "\"00000000000000000000000000000000\"")], Verdict::Different("MD5")),
            (vec![("etag", "\"25f9e794323b453885f5181f1b624d0b-2\"")], Verdict::Untold),
            (vec![("etag", &*etag), ("x-amz-server-side-encryption", "aws:kms")], Verdict::Untold),
            (vec![("x-goog-hash", "crc32c=AAAAAA==,md5=JfnnlDI7RTiF9RgfG2JNCw==")], Verdict::Same),
            (vec![("x-goog-hash", "md5=AAAA"), ("etag", &*etag)], Verdict::Different("MD5")),
            (vec![], Verdict::Untold),
        ] {
            assert_eq!(sum.judge(&reply(&headers)), verdict, "{headers:?}");
        }
    }

    #[test]
    fn a_crc_of_pieces_is_that_of_the_whole() {
        let of = |text: &[u8]| Sums::of([text]).crc64;
        assert_eq!(joined(of(b"1234"), of(b"56789"), 5), of(b"123456789"));
        assert_eq!(joined(of(b""), of(b"123456789"), 9), of(b"123456789"));
    }
}
