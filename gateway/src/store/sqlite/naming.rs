//! Output names in the tenant's own numbering: eight instances all write `ComfyUI_00001_.png` (DESIGN §4.9).

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};

use super::error::StoreFault;
use crate::store::Result;

/// ComfyUI pads its running number to this width.
const DIGITS: usize = 5;

/// A name that ends in ComfyUI's running number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Numbered<'a> {
    /// Folders and prefix.
    prefix: &'a str,
    /// The number of the instance.
    number: u64,
    /// With its dot; may be empty.
    extension: &'a str,
}

/// The names that the tenant will see, in the order given. Files of one job keep their order within a prefix, and
/// files that share a number go on sharing one.
pub(super) fn own_names<'a>(
    connection: &Connection,
    tenant: u32,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<Vec<String>> {
    let mut taken: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for numbered in names.clone().filter_map(parse) {
        taken.entry(numbered.prefix).or_default().insert(numbered.number);
    }
    let mut first: BTreeMap<&str, u64> = BTreeMap::new();
    for (prefix, numbers) in &taken {
        first.insert(prefix, reserve(connection, tenant, prefix, numbers.len())?);
    }
    Ok(names.map(|name| own_name(name, &taken, &first).unwrap_or_else(|| name.to_owned())).collect())
}

fn own_name(
    name: &str,
    taken: &BTreeMap<&str, BTreeSet<u64>>,
    first: &BTreeMap<&str, u64>,
) -> Option<String> {
    let Numbered { prefix, number, extension } = parse(name)?;
    let rank = taken.get(prefix)?.range(..number).count() as u64;
    let own = first.get(prefix)?.saturating_add(rank);
    Some(format!("{prefix}_{own:0DIGITS$}_{extension}"))
}

/// `name` with the number that turned `given` into `own`: two files of one output differ in their extension only.
pub(super) fn renamed(name: &str, given: &str, own: &str) -> String {
    let number = parse(own).filter(|_| parse(given).is_some());
    match (parse(name), number) {
        (Some(Numbered { prefix, extension, .. }), Some(Numbered { number, .. })) => {
            format!("{prefix}_{number:0DIGITS$}_{extension}")
        }
        _ => name.to_owned(),
    }
}

/// Takes the next `count` numbers of the tenant's prefix and returns the first.
fn reserve(connection: &Connection, tenant: u32, prefix: &str, count: usize) -> Result<u64> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let last: i64 = connection
        .prepare_cached(
            "INSERT INTO name_counters (tenant, prefix, last) VALUES (?1, ?2, ?3)
             ON CONFLICT (tenant, prefix) DO UPDATE SET last = last + excluded.last RETURNING last",
        )
        .and_then(|mut upsert| upsert.query_row(params![tenant, prefix, count], |row| row.get(0)))
        .or_fault()?;
    Ok((last - count).unsigned_abs() + 1)
}

fn parse(name: &str) -> Option<Numbered<'_>> {
    let file_at = name.rfind('/').map_or(0, |slash| slash + 1);
    let stem_end = name[file_at..].rfind('.').map_or(name.len(), |dot| file_at + dot);
    let (stem, extension) = name.split_at(stem_end);
    let (prefix, digits) = stem.strip_suffix('_')?.rsplit_once('_')?;
    let is_number = digits.len() >= DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        return None;
    }
    Some(Numbered { prefix, number: digits.parse().ok()?, extension })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_comfyuis_own_running_numbers_are_recognised() {
        let numbered = |prefix, number, extension| Some(Numbered { prefix, number, extension });
        assert_eq!(parse("ComfyUI_00001_.png"), numbered("ComfyUI", 1, ".png"));
        assert_eq!(parse("a.b/x_y_123456_.tar"), numbered("a.b/x_y", 123_456, ".tar"));
        assert_eq!(parse("folder_00001_/x.png"), None);
        for other in ["ComfyUI_00001.png", "ComfyUI_0001_.png", "00001_.png", "x_0000a_.png", "photo.png", ""]
        {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn the_original_shares_the_number_of_what_stands_for_it() {
        assert_eq!(renamed("a/x_00007_.png", "a/x_00007_.webp", "a/x_00001_.webp"), "a/x_00001_.png");
        assert_eq!(renamed("photo.png", "photo.webp", "photo.webp"), "photo.png");
    }
}
