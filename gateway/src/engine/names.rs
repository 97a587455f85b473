//! Names derived, not stored: the same inputs give the same id after a restart, so an effect that is repeated finds
//! what its first run made.

use scheduler::{AttemptNo, DeviceClassId, JobId};
use uuid::Uuid;

/// The id under which an attempt is sent to ComfyUI (`prompt_id`): a canonical UUID, different in every cell.
#[must_use]
pub(super) fn prompt_id(cell: Uuid, job: Uuid, attempt: u32) -> Uuid {
    derive("darkroom prompt", &[cell.as_bytes(), job.as_bytes(), &attempt.to_be_bytes()])
}

/// The row of an output's bytes.
#[must_use]
pub(super) fn blob_id(job: Uuid, attempt: u32, index: usize) -> Uuid {
    derive("darkroom blob", &[job.as_bytes(), &attempt.to_be_bytes(), &(index as u64).to_be_bytes()])
}

/// The row of the bytes of a file that was made of an original.
#[must_use]
pub(super) fn made_blob_id(job: Uuid, attempt: u32, of: usize, nth: usize) -> Uuid {
    let (of, nth) = ((of as u64).to_be_bytes(), (nth as u64).to_be_bytes());
    derive("darkroom made blob", &[job.as_bytes(), &attempt.to_be_bytes(), &of, &nth])
}

/// The id by which a variant of an output is fetched.
#[must_use]
pub(super) fn variant_id(job: Uuid, attempt: u32, of: usize, nth: usize) -> Uuid {
    let (of, nth) = ((of as u64).to_be_bytes(), (nth as u64).to_be_bytes());
    derive("darkroom variant", &[job.as_bytes(), &attempt.to_be_bytes(), &of, &nth])
}

/// Where an output's bytes go: job and attempt are in the key, so a late attempt cannot overwrite (DESIGN §4.13). 256
/// folders hold them all: a folder of its own for each job would cost two more syncs than the file itself.
#[must_use]
pub(super) fn object_key(job: Uuid, attempt: u32, index: usize, name: &str) -> String {
    format!("{}{index:04}{}", key_prefix(job, attempt), extension(name))
}

/// Where a file goes that was made of an original, the `nth` of that one; `name` has its extension.
#[must_use]
pub(super) fn made_key(job: Uuid, attempt: u32, of: usize, nth: usize, name: &str) -> String {
    format!("{}{of:04}-{nth}{}", key_prefix(job, attempt), extension(name))
}

/// What the keys of all objects of an attempt begin with.
#[must_use]
pub(crate) fn key_prefix(job: Uuid, attempt: u32) -> String {
    // The last byte of a UUIDv7 is random.
    let [.., shelf] = job.into_bytes();
    format!("outputs/{shelf:02x}/{job}-{attempt}-")
}

fn extension(name: &str) -> String {
    let extension: String = name
        .rsplit_once('.')
        .map_or("", |(_, extension)| extension)
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(8)
        .collect::<String>()
        .to_ascii_lowercase();
    if extension.is_empty() { extension } else { format!(".{extension}") }
}

/// Devices that run alike.
#[must_use]
pub(crate) fn device_class(name: &str) -> DeviceClassId {
    let hash = blake3::derive_key("darkroom device class", name.as_bytes());
    DeviceClassId(u64::from_le_bytes(first_eight(&hash)))
}

/// The scheduler's word for a job.
#[must_use]
pub(super) fn job_id(job: Uuid) -> JobId {
    JobId(job.as_u128())
}

/// The store's and the link's word for a job.
#[must_use]
pub(super) fn uuid(job: JobId) -> Uuid {
    Uuid::from_u128(job.0)
}

/// The link's word for an attempt.
#[must_use]
pub(super) fn attempt(job: JobId, number: AttemptNo) -> crate::link::message::Attempt {
    crate::link::message::Attempt { job: uuid(job), number: number.0 }
}

fn derive(context: &str, parts: &[&[u8]]) -> Uuid {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

fn first_eight(hash: &[u8; 32]) -> [u8; 8] {
    let mut eight = [0; 8];
    eight.copy_from_slice(&hash[..8]);
    eight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_by_each_of_their_parts_and_never_by_chance() {
        let (cell, job) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert_eq!(prompt_id(cell, job, 1), prompt_id(cell, job, 1));
        assert_ne!(prompt_id(cell, job, 1), prompt_id(cell, job, 2));
        assert_ne!(prompt_id(cell, job, 1), prompt_id(job, cell, 1));
        assert_ne!(attempt(job_id(job), AttemptNo(1)).output_id(0), blob_id(job, 1, 0));
        assert_ne!(made_blob_id(job, 1, 0, 1), made_blob_id(job, 1, 1, 0));
        assert_eq!(prompt_id(cell, job, 1).to_string().len(), 36);
    }

    #[test]
    fn an_object_key_takes_only_a_harmless_extension_from_the_name() {
        let job = Uuid::from_u128(2);
        assert!(object_key(job, 1, 3, "a/b.PNG").ends_with("-1-0003.png"));
        assert!(object_key(job, 1, 0, "../../etc/passwd").ends_with("-1-0000.etcpassw"));
        assert!(object_key(job, 1, 0, "noext").ends_with("-1-0000"));
    }

    #[test]
    fn what_was_made_of_an_original_has_a_key_beside_it() {
        let key = made_key(Uuid::from_u128(2), 1, 3, 0, "x.webp");
        assert!(key.starts_with(&key_prefix(Uuid::from_u128(2), 1)) && key.ends_with("-1-0003-0.webp"));
    }
}
