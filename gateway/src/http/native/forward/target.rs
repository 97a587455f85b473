//! The path of a request as an instance will be asked for it: exactly as it came, or not at all.

use axum::http::Uri;

use super::super::super::error::ApiError;

/// How often a path may be decoded on its way, here and there, before somebody acts by it.
const DECODINGS: usize = 3;

/// Path and query, unless the path could be read as another: by dots, back-slashes or control characters, plain or
/// escaped.
pub(super) fn checked(uri: &Uri) -> Result<String, ApiError> {
    let path = uri.path();
    let mut decoded = path.as_bytes().to_vec();
    for _ in 0..DECODINGS {
        let leads_elsewhere = decoded.split(|byte| *byte == b'/').any(|part| matches!(part, b"." | b".."))
            || decoded.iter().any(|byte| *byte == b'\\' || byte.is_ascii_control());
        if leads_elsewhere {
            return Err(ApiError::invalid("the path leads elsewhere"));
        }
        decoded = decode(&decoded);
    }
    Ok(uri.path_and_query().map_or(path, |both| both.as_str()).to_owned())
}

fn decode(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        let escaped =
            (*first == b'%').then(|| after.get(..2).and_then(|pair| hex::decode(pair).ok())).flatten();
        match escaped.as_deref() {
            Some([byte]) => {
                decoded.push(*byte);
                rest = &after[2..];
            }
            _ => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    decoded
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    #[test]
    fn a_path_goes_as_it_came_or_not_at_all() {
        for good in ["/n/a", "/n/a%20b?x=../..&y=%00", "/n/a%2Fb/..c", "/n/100%", "/n/", "/n/%E6%97%A5"] {
            assert_eq!(checked(&good.parse().unwrap()).unwrap(), good);
        }
        for bad in [
            "/n/../prompt",
            "/n/%2e%2E/prompt",
            "/n/.%2e/prompt",
            "/n/a%2f..%2fprompt",
            "/n/%252e%252e/prompt",
            "/n/..%5cprompt",
            "/n/a%00b",
            "/n/a%0d%0ab",
            "/n/./a",
        ] {
            assert!(checked(&bad.parse().unwrap()).is_err(), "{bad}");
        }
    }
}
