//! A large file brought to a store by its tickets, as a runner does it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use gateway::artifacts::{Artifacts, Reach};
use gateway::link::message::{Secret, Ticket};
use gateway::link::ticket::{Answer, Ask, Desk, DeskError, Pieces};

pub async fn pieces(artifacts: &Artifacts, key: &str) -> Pieces {
    let ticket = artifacts.upload_ticket(key, "video/mp4", 1 << 30, Reach::Here).await.unwrap();
    let Ticket::BySize { pieces, .. } = ticket else { panic!("{ticket:?}") };
    pieces
}

/// CRC64 as COS computes it.
pub fn crc64(bytes: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Xz, bytes)
}

/// Uploads the parts; gives the question that joins them.
pub async fn upload_parts(artifacts: &Artifacts, token: &Secret, bytes: &[u8], part: usize) -> Ask {
    let size_bytes = bytes.len() as u64;
    let begun = artifacts.ask(token, Ask::Begin { size_bytes: Some(size_bytes) }).await.unwrap();
    let Answer::Parts { upload, part_bytes } = begun else { panic!("{begun:?}") };
    assert_eq!(part_bytes, part as u64);
    let numbers: Vec<u32> = (1..=bytes.len().div_ceil(part) as u32).collect();
    let urls = artifacts.ask(token, Ask::Urls { upload: upload.clone(), numbers: numbers.clone() }).await;
    let Answer::Urls { urls, .. } = urls.unwrap() else { panic!("no URLs") };
    let mut parts = Vec::new();
    for ((number, url), chunk) in numbers.into_iter().zip(urls).zip(bytes.chunks(part)) {
        let client = client();
        let sent = client.put(&url.0).body(chunk.to_vec()).send().await.unwrap();
        assert!(sent.status().is_success(), "{}", sent.text().await.unwrap());
        parts.push((number, sent.headers()["etag"].to_str().unwrap().to_owned()));
    }
    Ask::Complete { upload, parts, size_bytes, crc64: crc64(bytes) }
}

/// Knows the hosts of the stand-in.
pub fn client() -> reqwest::Client {
    let host = format!("{}.cos.localhost", "shots-1250000000");
    reqwest::Client::builder().resolve(&host, ([127, 0, 0, 1], 0).into()).build().unwrap()
}

/// A file in parts is there once it is joined, and only with all of them.
pub async fn a_large_file_is_joined_of_its_parts(artifacts: &Artifacts, part: usize) {
    let bytes: Vec<u8> = (0..2 * part + 77).map(|at| (at * 31 / 7) as u8).collect();
    let key = "outputs/job/1-0.mp4";
    let pieces = pieces(artifacts, key).await;
    let complete = upload_parts(artifacts, &pieces.token, &bytes, part).await;
    let check = artifacts.ask(&pieces.token, Ask::Check).await.unwrap();
    assert!(matches!(check, Answer::There { size_bytes: None, .. }), "{check:?}");
    assert_eq!(artifacts.ask(&pieces.token, complete.clone()).await.unwrap(), Answer::Done);
    let check = artifacts.ask(&pieces.token, Ask::Check).await.unwrap();
    assert!(matches!(check, Answer::There { size_bytes: Some(size), .. } if size == bytes.len() as u64));
    let download = artifacts.download(key, Some(1..5)).await.unwrap();
    assert_eq!(download.size_bytes, bytes.len() as u64);
    // its answer may have been lost
    assert_eq!(artifacts.ask(&pieces.token, complete).await.unwrap(), Answer::Done);
    let forged = Secret(format!("{}x", pieces.token.0));
    assert_eq!(artifacts.ask(&forged, Ask::Check).await, Err(DeskError::Expired));
    let long = artifacts.ask(&pieces.token, Ask::Begin { size_bytes: Some(2 << 30) }).await;
    assert!(matches!(long, Err(DeskError::Refused(_))), "{long:?}");

    let complete = upload_parts(artifacts, &pieces.token, &bytes, part).await;
    let Ask::Complete { upload, .. } = complete.clone() else { panic!("{complete:?}") };
    assert_eq!(
        artifacts.ask(&pieces.token, Ask::Abort { upload: upload.clone() }).await.unwrap(),
        Answer::Done
    );
    let gone = Ask::Complete { upload, parts: vec![(1, "\"x\"".into())], size_bytes: 1, crc64: 1 };
    let gone = artifacts.ask(&pieces.token, gone).await;
    assert!(matches!(gone, Err(DeskError::Gone(_) | DeskError::NotNow(_))), "{gone:?}");
}
