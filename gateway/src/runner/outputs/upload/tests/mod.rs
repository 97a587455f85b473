//! Uploads against a stand-in for COS that refuses what COS refuses.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod memory;
mod sessions;
mod whole;

use std::convert::Infallible;
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::stream;
use wechat_sim::cos::{self, Cos, Fault as Broken};

use super::*;
use crate::artifacts::{Artifacts, Reach};
use crate::link::message::Secret;

const MIB: usize = 1 << 20;
const KEY: &str = "outputs/job/1-0.mp4";

/// A bucket, a file, and what brings the one to the other.
struct World {
    cos: Cos,
    artifacts: Artifacts,
    http: Client,
    lanes: Semaphore,
    times: Times,
    folder: tempfile::TempDir,
}

impl World {
    async fn start(more: &str) -> Self {
        let cos = Cos::start().await;
        let keys = |name: &str| match name {
            "COS_SECRET_ID" => Some(cos::ID.to_owned()),
            "COS_SECRET_KEY" => Some(cos::KEY.to_owned()),
            "COS_SESSION_TOKEN" => more.contains("&token").then(|| "TOKEN".to_owned()),
            _ => None,
        };
        let more = more.replace("&token", "");
        let location = cos.location(&format!("&parts_above_mib=1&part_mib=1{more}"));
        let config = Config::new("host", Vec::new(), PathBuf::new());
        let mut times = config.times.clone();
        times.upload_backoff = (Duration::from_millis(1), Duration::from_millis(4));
        times.stall_timeout = Duration::from_millis(300);
        Self {
            artifacts: Artifacts::open_with(&location, keys).unwrap(),
            cos,
            http: client(&config).unwrap(),
            lanes: Semaphore::new(1),
            times,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn means(&self) -> Means<'_> {
        Means { http: &self.http, desk: Some(&self.artifacts), lanes: &self.lanes, times: &self.times }
    }

    async fn ticket(&self) -> Ticket {
        self.artifacts.upload_ticket(KEY, "video/mp4", 4 << 30, Reach::Here).await.unwrap()
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join("file-0");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    async fn put(&self, bytes: &[u8]) -> Result<(), UploadError> {
        let path = self.file(bytes);
        put(self.means(), &self.ticket().await, &path, bytes.len() as u64).await
    }

    fn holds(&self, bytes: &[u8]) -> bool {
        self.cos.object(&format!("cell-1/{KEY}")).is_some_and(|object| object.bytes == bytes)
    }

    fn parts_sent(&self) -> usize {
        self.cos.seen().iter().filter(|line| line.contains("partNumber=")).count()
    }

    fn notes(&self) -> usize {
        std::fs::read_dir(self.folder.path()).unwrap().count() - 1
    }
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 / 7) as u8).collect()
}

#[tokio::test]
async fn a_small_file_goes_in_one_request_and_a_large_one_in_parts() {
    let world = World::start("").await;
    for (length, parts) in [(0, 0), (1, 0), (MIB, 0), (MIB + 1, 2), (3 * MIB, 5)] {
        world.put(&bytes(length)).await.unwrap();
        assert!(world.holds(&bytes(length)), "{length}");
        assert_eq!((world.parts_sent(), world.cos.uploads(), world.notes()), (parts, 0, 0), "{length}");
    }
    assert_eq!(world.cos.object(&format!("cell-1/{KEY}")).unwrap().headers["content-type"], "video/mp4");
}

#[tokio::test]
async fn temporary_keys_bring_their_token_along() {
    let world = World::start("&token").await;
    world.cos.want_token("TOKEN");
    world.put(&bytes(9)).await.unwrap();
    world.put(&bytes(2 * MIB)).await.unwrap();
    assert!(world.holds(&bytes(2 * MIB)));
}

#[tokio::test]
async fn what_fails_is_tried_again_until_it_is_there() {
    for (length, matching) in [(9, "PUT cell-1"), (3 * MIB, "partNumber=2"), (3 * MIB, "POST cell-1")] {
        for fault in [
            Broken::Answer(503, None),
            Broken::Answer(429, Some("0")),
            Broken::LoseAnswer,
            Broken::Stall,
            Broken::Corrupt,
        ] {
            if matching.starts_with("POST") && matches!(fault, Broken::Stall | Broken::Corrupt) {
                // these are the gateway's calls, which have bounds of their own
                continue;
            }
            let world = World::start("").await;
            world.cos.fault(matching, fault.clone());
            world.put(&bytes(length)).await.unwrap();
            assert!(world.holds(&bytes(length)), "{matching} {fault:?}");
            assert_eq!(world.notes(), 0, "{matching} {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_part_that_fails_is_sent_again_alone() {
    let world = World::start("").await;
    world.cos.fault("partNumber=3", Broken::Answer(500, None));
    world.put(&bytes(5 * MIB)).await.unwrap();
    assert!(world.holds(&bytes(5 * MIB)));
    assert_eq!(world.parts_sent(), 6);
}

#[tokio::test]
async fn a_bucket_that_never_holds_what_was_sent_is_refused_in_the_end() {
    let world = World::start("").await;
    (0..3).for_each(|_| world.cos.fault("PUT cell-1", Broken::Corrupt));
    let refused = world.put(&bytes(9)).await;
    assert!(matches!(&refused, Err(UploadError::Refused(why)) if why.contains("CRC64")), "{refused:?}");
}

#[tokio::test]
async fn an_upload_goes_on_after_a_restart_where_it_was() {
    let world = World::start("").await;
    let (large, path) = (bytes(40 * MIB), world.file(&bytes(40 * MIB)));
    // the process ends in the middle: the future is dropped
    world.cos.fault("partNumber=20&", Broken::Stall);
    let ticket = world.ticket().await;
    let first = put(world.means(), &ticket, &path, large.len() as u64);
    let until = async {
        // parts travel beside each other: the twentieth may be seen before the one before it
        let stalls = || world.cos.seen().iter().any(|line| line.contains("partNumber=20&"));
        while !stalls() || world.parts_sent() < 20 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        done = first => panic!("it ended: {done:?}"),
        () = until => {}
    }
    let sent = world.parts_sent();
    assert!((20..40).contains(&sent), "{sent}");
    put(world.means(), &world.ticket().await, &path, large.len() as u64).await.unwrap();
    assert!(world.holds(&large));
    assert!(world.parts_sent() <= 40 + 4, "{}", world.parts_sent());
    assert_eq!(world.cos.uploads(), 0);
}

#[tokio::test]
async fn an_upload_that_the_bucket_forgot_begins_anew() {
    let world = World::start("").await;
    let path = world.file(&bytes(2 * MIB));
    world.cos.fault("partNumber=2&", Broken::Answer(403, None));
    let refused = put(world.means(), &world.ticket().await, &path, 2 * MIB as u64).await;
    assert!(matches!(refused, Err(UploadError::Refused(_))), "{refused:?}");
    assert_eq!(world.notes(), 1);
    world.cos.age_uploads(Duration::from_secs(7200));
    assert_eq!(world.artifacts.sweep_left_overs(Duration::from_secs(3600)).await.unwrap(), 1);
    assert_eq!(world.cos.uploads(), 0);
    put(world.means(), &world.ticket().await, &path, 2 * MIB as u64).await.unwrap();
    assert!(world.holds(&bytes(2 * MIB)));
}

#[tokio::test]
async fn where_overwriting_is_forbidden_the_same_bytes_are_there_already_and_others_are_refused() {
    for length in [9, 2 * MIB] {
        let world = World::start("&forbid_overwrite=true").await;
        world.put(&bytes(length)).await.unwrap();
        let again = world.put(&bytes(length)).await;
        let mut other = bytes(length);
        other[0] ^= 1;
        let refused = world.put(&other).await;
        assert!(world.holds(&bytes(length)), "{length}");
        again.unwrap();
        assert!(matches!(refused, Err(UploadError::Refused(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn a_ticket_whose_time_is_over_is_given_back() {
    let world = World::start("").await;
    let path = world.file(b"bytes");
    let whole = |expires_at| Ticket::Http {
        method: "PUT".into(),
        url: Secret(format!("{}/x", world.cos.url)),
        headers: vec![],
        expires_at,
    };
    let over = put(world.means(), &whole(1), &path, 5).await;
    assert!(matches!(over, Err(UploadError::Expired)), "{over:?}");
    let refused = put(world.means(), &whole(i64::MAX), &path, 5).await;
    assert!(matches!(refused, Err(UploadError::Refused(_))), "{refused:?}");
    let Ticket::BySize { pieces, .. } = world.ticket().await else { panic!("another ticket") };
    let pieces = Pieces { token: Secret("forged".into()), ..pieces };
    let large = world.file(&bytes(2 * MIB));
    let forged = put(world.means(), &Ticket::BySize { whole: None, pieces }, &large, 2 * MIB as u64).await;
    assert!(matches!(forged, Err(UploadError::Expired)), "{forged:?}");
    assert!(world.cos.seen().iter().all(|line| !line.contains("uploads")));
}

fn source(bytes: Vec<u8>) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> + Send + Unpin {
    stream::iter(bytes.chunks(77_777).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect::<Vec<_>>())
}

#[tokio::test]
async fn a_stream_of_known_or_unknown_length_is_stored_without_a_spool() {
    for length in [0, 9, MIB, 5 * MIB + 1] {
        for known in [Some(length as u64), None] {
            let world = World::start("").await;
            let ticket = world.ticket().await;
            world.cos.fault("partNumber=2&", Broken::Answer(500, None));
            let sent = super::stream(world.means(), &ticket, source(bytes(length)), known).await;
            assert_eq!(sent.unwrap(), length as u64);
            assert!(world.holds(&bytes(length)), "{length} {known:?}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_leaves_nothing_behind() {
    let world = World::start("").await;
    let good = stream::iter([Ok(Bytes::from(bytes(2 * MIB)))]);
    let broken = futures_util::StreamExt::chain(good, stream::iter([Err(std::io::Error::other("gone"))]));
    let sent = super::stream(world.means(), &world.ticket().await, broken, None).await;
    assert!(matches!(sent, Err(StreamError::Source(_))), "{sent:?}");
    assert_eq!((world.parts_sent(), world.cos.uploads()), (2, 0));
    let Ticket::BySize { whole: Some(whole), .. } = world.ticket().await else { panic!("another ticket") };
    let unknown = super::stream(world.means(), &whole, source(bytes(9)), None).await;
    assert!(matches!(unknown, Err(StreamError::LengthWanted)), "{unknown:?}");
}
