//! Names that say nothing: of people towards the gateway, of files in the bucket, of links. Each is a keyed hash or
//! random, so nobody can guess one or tell what it stands for.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};

use uuid::Uuid;

use crate::domain::{Millis, PhotoId, UserId};
use crate::wechat::crypto;

/// Characters of a person's name.
const PERSON: usize = 32;
/// Characters of a ticket's proof.
const TICKET: usize = 64;
/// Characters of a file's name.
const FILE: usize = 48;

/// Makes names.
pub(super) struct Names {
    key: Key,
}

impl Names {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { key: Key::new(HMAC_SHA256, &key) }
    }

    /// The same for a person as long as the secret stands.
    pub(super) fn person(&self, user: UserId) -> String {
        self.name(&format!("person\n{user}"), PERSON)
    }

    /// The path of a file of an attempt; the same whenever it is asked for again.
    pub(super) fn file(&self, job: &str, attempt: u64, index: u64, content_type: &str) -> String {
        let name = self.name(&format!("file\n{job}\n{attempt}\n{index}"), FILE);
        format!("artworks/{name}{}", extension(content_type))
    }

    /// The path of a photo, in the bucket and at the gateway; the same whenever it is asked for again.
    pub(super) fn photo(&self, photo: PhotoId, content_type: &str) -> String {
        let name = self.name(&format!("photo\n{photo}"), FILE);
        format!("photos/{name}{}", extension(content_type))
    }

    /// Says for a while that somebody is this person; the same is never made twice.
    pub(super) fn ticket(&self, user: UserId, ends_at: Millis) -> String {
        let said = format!("{}.{ends_at}.{}", user.0.simple(), Self::link());
        let mac = self.name(&format!("ticket\n{said}"), TICKET);
        format!("{said}.{mac}")
    }

    /// Who a ticket of ours is for, and until when.
    pub(super) fn ticket_of(&self, ticket: &str) -> Option<(UserId, Millis)> {
        let (said, mac) = ticket.rsplit_once('.')?;
        let wanted = self.name(&format!("ticket\n{said}"), TICKET);
        if !crypto::equal(&wanted, mac) {
            return None;
        }
        let mut parts = said.split('.');
        let user = Uuid::try_parse(parts.next()?).ok()?;
        Some((UserId(user), parts.next()?.parse().ok()?))
    }

    /// A link's token.
    pub(super) fn link() -> String {
        crypto::nonce().to_ascii_lowercase()
    }

    fn name(&self, text: &str, length: usize) -> String {
        hex::encode(sign(&self.key, text.as_bytes())).chars().take(length).collect()
    }
}

fn extension(content_type: &str) -> &'static str {
    match content_type.split(';').next().unwrap_or_default().trim() {
        "image/png" => ".png",
        "image/jpeg" => ".jpg",
        "image/webp" => ".webp",
        "image/gif" => ".gif",
        "image/avif" => ".avif",
        "video/mp4" => ".mp4",
        "video/webm" => ".webm",
        _ => ".bin",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use super::*;

    #[test]
    fn a_person_has_one_name_and_it_is_not_their_id() {
        let names = Names::new([7; 32]);
        let user = UserId(Uuid::from_u128(1));
        let name = names.person(user);
        assert_eq!((name.len(), &names.person(user)), (PERSON, &name));
        assert_ne!(name, names.person(UserId(Uuid::from_u128(2))));
        assert_ne!(name, Names::new([8; 32]).person(user), "another secret, another name");
        assert!(!name.contains(&user.0.simple().to_string()));
    }

    #[test]
    fn a_ticket_is_for_one_person_until_one_time_and_cannot_be_changed() {
        let names = Names::new([7; 32]);
        let user = UserId(Uuid::from_u128(1));
        let ticket = names.ticket(user, 1_000);
        assert_eq!(names.ticket_of(&ticket), Some((user, 1_000)));
        assert_ne!(ticket, names.ticket(user, 1_000));
        assert_eq!(names.ticket_of(&ticket.replace(".1000.", ".9000.")), None);
        assert_eq!(names.ticket_of(&ticket.replacen('0', "1", 1)), None);
        assert_eq!(Names::new([8; 32]).ticket_of(&ticket), None);
        assert_eq!(names.ticket_of(""), None);
    }

    #[test]
    fn each_file_of_each_attempt_has_its_own_path_and_keeps_it() {
        let names = Names::new([7; 32]);
        let path = names.file("j", 1, 0, "image/webp");
        assert_eq!(path, names.file("j", 1, 0, "image/webp"));
        for other in [
            names.file("j", 2, 0, "image/webp"),
            names.file("j", 1, 1, "image/webp"),
            names.file("k", 1, 0, "image/webp"),
        ] {
            assert_ne!(path, other);
        }
        assert!(path.starts_with("artworks/") && path.ends_with(".webp"), "{path}");
    }
}
