//! How domain values stand in columns.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use scheduler::{Class, ModelId, ModelKind, ModelUse, Outcome, Part, Requirement};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::StoreFault;
use crate::store::{Face, Result, StoreError, StoredState};

/// Columns of one model: its id and what it is used as.
const MODEL_BYTES: usize = 9;

pub(super) fn face_code(face: Face) -> i64 {
    match face {
        Face::V2 => 0,
        Face::Native => 1,
        Face::Private => 2,
    }
}

pub(super) fn face(code: i64) -> Result<Face> {
    match code {
        0 => Ok(Face::V2),
        1 => Ok(Face::Native),
        2 => Ok(Face::Private),
        other => Err(unknown("face", other)),
    }
}

/// What a caller's idempotency key is found by: unique per tenant and face.
pub(super) fn claim(tenant: u32, face: Face, key: &str) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&tenant.to_le_bytes()).update(&face_code(face).to_le_bytes()).update(key.as_bytes());
    let mut claim = [0; 16];
    hasher.finalize_xof().fill(&mut claim);
    claim
}

pub(super) fn class_code(class: Class) -> i64 {
    match class {
        Class::Batch => 0,
        Class::Normal => 1,
        Class::Interactive => 2,
    }
}

pub(super) fn class(code: i64) -> Result<Class> {
    match code {
        0 => Ok(Class::Batch),
        1 => Ok(Class::Normal),
        2 => Ok(Class::Interactive),
        other => Err(unknown("class", other)),
    }
}

/// Open states come before the ended ones: indices and guards say `state < 3`.
pub(super) fn state_code(state: StoredState) -> i64 {
    match state {
        StoredState::Queued => 0,
        StoredState::Placed => 1,
        StoredState::Canceling => 2,
        StoredState::Succeeded => 3,
        StoredState::Failed => 4,
        StoredState::Canceled => 5,
        StoredState::Expired => 6,
    }
}

pub(super) fn state(code: i64) -> Result<StoredState> {
    match code {
        0 => Ok(StoredState::Queued),
        1 => Ok(StoredState::Placed),
        2 => Ok(StoredState::Canceling),
        3 => Ok(StoredState::Succeeded),
        4 => Ok(StoredState::Failed),
        5 => Ok(StoredState::Canceled),
        6 => Ok(StoredState::Expired),
        other => Err(unknown("state", other)),
    }
}

pub(super) fn ended_state(outcome: Outcome) -> StoredState {
    match outcome {
        Outcome::Succeeded => StoredState::Succeeded,
        Outcome::Failed(_) => StoredState::Failed,
        Outcome::Canceled => StoredState::Canceled,
        Outcome::Expired => StoredState::Expired,
    }
}

/// A fieldless enum as its serde name.
pub(super) fn word<T: Serialize>(value: T) -> Result<String> {
    match serde_json::to_value(value).or_fault()? {
        serde_json::Value::String(word) => Ok(word),
        other => Err(StoreError::Damaged(format!("not a plain word: {other}"))),
    }
}

/// The other way round.
pub(super) fn from_word<T: DeserializeOwned>(word: String) -> Result<T> {
    serde_json::from_value(serde_json::Value::String(word)).or_fault()
}

pub(super) fn json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).or_fault()
}

pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).or_fault()
}

/// Labels as JSON; most jobs have none.
pub(super) fn labels_text(labels: &BTreeMap<String, String>) -> Result<Option<String>> {
    if labels.is_empty() { Ok(None) } else { json(labels).map(Some) }
}

pub(super) fn labels(text: Option<&str>) -> Result<BTreeMap<String, String>> {
    text.map_or_else(|| Ok(BTreeMap::new()), from_json)
}

/// A length that fits: SQLite has signed integers only.
pub(super) fn length(bytes: u64) -> Result<i64> {
    i64::try_from(bytes).map_err(|_| StoreError::Damaged(format!("a length of {bytes} bytes")))
}

/// The parts of a requirement, eight bytes each, little endian.
pub(super) fn parts_bytes(requirement: &Requirement) -> Vec<u8> {
    requirement.parts.iter().flat_map(|part| part.0.to_le_bytes()).collect()
}

/// The models of a requirement, nine bytes each: id, little endian, and kind.
pub(super) fn models_bytes(requirement: &Requirement) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(requirement.models.len() * MODEL_BYTES);
    for model in &requirement.models {
        bytes.extend_from_slice(&model.id.0.to_le_bytes());
        bytes.push(match model.kind {
            ModelKind::Checkpoint => 0,
            ModelKind::Auxiliary => 1,
            ModelKind::Lora => 2,
        });
    }
    bytes
}

/// Requirements read so far, so that equal ones are one value in memory.
#[derive(Default)]
pub(super) struct Requirements {
    known: HashMap<Box<[u8]>, Arc<Requirement>>,
    scratch: Vec<u8>,
}

impl Requirements {
    /// The requirement in these columns.
    pub(super) fn read(&mut self, parts: &[u8], models: &[u8]) -> Result<Arc<Requirement>> {
        self.scratch.clear();
        self.scratch.extend_from_slice(&parts.len().to_le_bytes());
        self.scratch.extend_from_slice(parts);
        self.scratch.extend_from_slice(models);
        if let Some(known) = self.known.get(self.scratch.as_slice()) {
            return Ok(Arc::clone(known));
        }
        let read = Arc::new(requirement(parts, models)?);
        self.known.insert(self.scratch.as_slice().into(), Arc::clone(&read));
        Ok(read)
    }
}

fn requirement(parts: &[u8], models: &[u8]) -> Result<Requirement> {
    let (parts, rest) = parts.as_chunks::<8>();
    let (models, odd) = models.as_chunks::<MODEL_BYTES>();
    if !rest.is_empty() || !odd.is_empty() {
        return Err(StoreError::Damaged("a requirement of odd length".into()));
    }
    let parts = parts.iter().map(|bytes| Part(u64::from_le_bytes(*bytes))).collect();
    let models = models.iter().map(model).collect::<Result<_>>()?;
    Ok(Requirement { parts, models })
}

fn model(bytes: &[u8; MODEL_BYTES]) -> Result<ModelUse> {
    let [a, b, c, d, e, f, g, h, kind] = *bytes;
    let kind = match kind {
        0 => ModelKind::Checkpoint,
        1 => ModelKind::Auxiliary,
        2 => ModelKind::Lora,
        other => return Err(unknown("kind of model", i64::from(other))),
    };
    Ok(ModelUse { id: ModelId(u64::from_le_bytes([a, b, c, d, e, f, g, h])), kind })
}

fn unknown(what: &str, code: i64) -> StoreError {
    StoreError::Damaged(format!("unknown {what} {code}"))
}
