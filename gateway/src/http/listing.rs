//! Lists of jobs, newest first: filters, pages, cursors; the same for all faces.

use std::collections::BTreeMap;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use scheduler::Class;
use uuid::Uuid;

use super::error::{ApiError, ErrorKind};
use super::state::Shared;
use super::submit;
use super::view::{self, Seen};
use crate::store::{ListQuery, Listed, OutputRow, StoredState};
use crate::tenant::Caller;

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 100;

/// Pages of the store that are read for one page of an answer: a filter that the store cannot apply (what runs is not
/// persisted) may leave a page short, never a request long.
const MAX_STORE_PAGES: usize = 4;

/// What a list is asked for.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    limit: u32,
    before: Option<Uuid>,
    /// As the face calls them; empty: all.
    statuses: Vec<String>,
    states: Vec<StoredState>,
    labels: BTreeMap<String, String>,
    pub(super) more: More,
}

/// Filters that only `/v1` has.
#[derive(Debug, Default, Clone)]
pub(super) struct More {
    pub(super) user: Option<String>,
    pub(super) template: Option<String>,
    pub(super) class: Option<Class>,
    pub(super) batch: Option<Uuid>,
    accepted: Option<Range<i64>>,
}

impl More {
    /// Reads `user`, `template`, `class`, `batch`, `accepted_after` (inclusive) and `accepted_before`.
    pub(super) fn read(query: &[(String, String)]) -> Result<Self, ApiError> {
        let mut more = Self::default();
        let (mut after, mut before) = (i64::MIN, i64::MAX);
        for (name, value) in query {
            match name.as_str() {
                "user" => more.user = Some(value.clone()),
                "template" => more.template = Some(value.clone()),
                "class" => more.class = Some(class(value)?),
                "batch" => more.batch = Some(read_id("batch", value)?),
                "accepted_after" => after = instant(name, value)?,
                "accepted_before" => before = instant(name, value)?,
                _ => continue,
            }
        }
        more.accepted = (after != i64::MIN || before != i64::MAX).then_some(after..before);
        Ok(more)
    }
}

fn class(word: &str) -> Result<Class, ApiError> {
    match word {
        "batch" => Ok(Class::Batch),
        "normal" => Ok(Class::Normal),
        "interactive" => Ok(Class::Interactive),
        _ => Err(ApiError::invalid("class must be batch, normal or interactive")),
    }
}

fn read_id(name: &str, value: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(value).map_err(|_| ApiError::invalid(format!("{name} must be an id of ours")))
}

fn instant(name: &str, value: &str) -> Result<i64, ApiError> {
    let at: Result<Timestamp, _> = value.parse();
    at.map(Timestamp::as_millisecond).map_err(|_| {
        ApiError::invalid(format!("{name} must be a time such as 2026-01-02T03:04:05Z (RFC 3339)"))
    })
}

impl Wanted {
    /// Whether the filter lets this status through.
    pub(super) fn has_status(&self, status: &str) -> bool {
        self.statuses.is_empty() || self.statuses.iter().any(|wanted| wanted == status)
    }
}

/// One page of an answer.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) jobs: Vec<(Seen, Vec<OutputRow>)>,
    /// Absent on the last page.
    pub(super) next_cursor: Option<String>,
}

/// Reads `limit`, `cursor`, `status` and `<labels>[<name>]`; `states` knows the face's words.
pub(super) fn read(
    query: Vec<(String, String)>,
    labels: &str,
    states: impl Fn(&str) -> Option<&'static [StoredState]>,
) -> Result<Wanted, ApiError> {
    let mut wanted = Wanted { limit: DEFAULT_LIMIT, ..Wanted::default() };
    for (name, value) in query {
        match name.as_str() {
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                wanted.limit =
                    limit.ok_or_else(|| ApiError::invalid(format!("limit must be 1 to {MAX_LIMIT}")))?;
            }
            "cursor" if value.is_empty() => {}
            "cursor" => wanted.before = Some(read_cursor(&value)?),
            "status" => {
                for status in value.split(',').map(str::trim).filter(|status| !status.is_empty()) {
                    let more = states(status)
                        .ok_or_else(|| ApiError::invalid(format!("there is no status {status:?}")))?;
                    wanted.statuses.push(status.to_owned());
                    wanted.states.extend(
                        more.iter()
                            .filter(|state| !wanted.states.contains(state))
                            .copied()
                            .collect::<Vec<_>>(),
                    );
                }
            }
            other => {
                // Unknown members are left alone; only what looks like a label filter must be a good one.
                if let Some(rest) = other.strip_prefix(labels) {
                    let label = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                    let label = label.filter(|label| !label.is_empty()).ok_or_else(bad_filter)?;
                    wanted.labels.insert(label.to_owned(), value);
                }
            }
        }
    }
    submit::check_labels(&wanted.labels).map_err(|_| bad_filter())?;
    Ok(wanted)
}

fn bad_filter() -> ApiError {
    ApiError::new(
        ErrorKind::Invalid,
        "invalid_metadata_filter",
        "a label filter looks like metadata[name]=value",
    )
}

fn read_cursor(text: &str) -> Result<Uuid, ApiError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let id = bytes.and_then(|bytes| Uuid::from_slice(&bytes).ok());
    id.ok_or_else(|| ApiError::new(ErrorKind::Invalid, "invalid_cursor", "the cursor is not one of ours"))
}

fn write_cursor(last: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(last.as_bytes())
}

/// Reads one page.
pub(super) async fn page(
    app: &Shared,
    caller: &Caller,
    wanted: &Wanted,
    is_wanted: impl Fn(&Seen) -> bool,
) -> Result<Page, ApiError> {
    let mut page = Page { jobs: Vec::new(), next_cursor: None };
    if !wanted.statuses.is_empty() && wanted.states.is_empty() {
        return Ok(page);
    }
    let limit = wanted.limit as usize;
    let mut before = wanted.before;
    for _ in 0..MAX_STORE_PAGES {
        let query = ListQuery {
            tenant: caller.tenant.id,
            states: wanted.states.clone(),
            labels: wanted.labels.clone(),
            user: wanted.more.user.clone(),
            template: wanted.more.template.clone(),
            class: wanted.more.class,
            batch: wanted.more.batch,
            accepted: wanted.more.accepted.clone(),
            before,
            limit: wanted.limit + 1, // One more tells whether there is another page.
        };
        let Listed { mut rows, more_before } = app.engine.store().list(query).await?;
        let is_last = rows.len() <= limit && more_before.is_none();
        rows.truncate(limit);
        for row in rows {
            if page.jobs.len() == limit {
                page.next_cursor = before.map(write_cursor);
                return Ok(page);
            }
            before = Some(row.id);
            let seen = see(app, row).await?;
            if is_wanted(&seen) {
                let outputs = view::outputs(app, &seen.row).await?;
                page.jobs.push((seen, outputs));
            }
        }
        before = more_before.or(before);
        page.next_cursor = if is_last { None } else { before.map(write_cursor) };
        if is_last || page.jobs.len() == limit {
            break;
        }
    }
    Ok(page)
}

/// The row was read before the board here, so a job that moves on meanwhile is read again.
async fn see(app: &Shared, row: crate::store::JobRow) -> Result<Seen, ApiError> {
    if row.state.is_terminal() || row.state == StoredState::Queued {
        return Ok(Seen::new(row, None));
    }
    let live = app.engine.live(row.id);
    let newer = app.engine.store().job(row.id).await?;
    Ok(Seen::new(newer.unwrap_or(row), live))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    fn ask(pairs: &[(&str, &str)]) -> Result<Wanted, ApiError> {
        let query = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        read(query, "metadata", |name| (name == "queued").then_some(&[StoredState::Queued]))
    }

    #[test]
    fn a_list_query_is_read_or_refused_with_the_contracts_codes() {
        let wanted = ask(&[
            ("limit", "7"),
            ("status", "queued,"),
            ("metadata[order]", "1"),
            ("cursor", ""),
            ("x", "y"),
        ]);
        let wanted = wanted.unwrap();
        assert_eq!((wanted.limit, wanted.labels["order"].as_str()), (7, "1"));
        assert_eq!(wanted.states, [StoredState::Queued]);
        for (pair, code) in [
            (("limit", "0"), "invalid_request"),
            (("limit", "101"), "invalid_request"),
            (("limit", "x"), "invalid_request"),
            (("status", "sleeping"), "invalid_request"),
            (("cursor", "!"), "invalid_cursor"),
            (("cursor", "AAAA"), "invalid_cursor"),
            (("metadata", "x"), "invalid_metadata_filter"),
            (("metadata[]", "x"), "invalid_metadata_filter"),
            (("metadata[a", "x"), "invalid_metadata_filter"),
        ] {
            assert_eq!(ask(&[pair]).unwrap_err().code(), code, "{pair:?}");
        }
    }

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        let id = Uuid::from_u128(42);
        assert_eq!(read_cursor(&write_cursor(id)).unwrap(), id);
    }
}
