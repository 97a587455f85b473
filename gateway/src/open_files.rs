//! How many files the process may have open. Each connection and each socket is one, and the limit a process is born with
//! (often 1,024) is there for programs that hold few of them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files open beside connections: the store, artifacts on their way, connections to instances and buckets.
const BESIDE: u64 = 1_024;

/// Raises the limit to the most that the process may give itself, and tells from what to what; tells as well when that is
/// too little for so many connections. Where it cannot be raised it stays as it is.
pub fn raise(connections: usize) {
    let before = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: before.maximum, maximum: before.maximum };
    if before.current != before.maximum
        && let Err(error) = setrlimit(Resource::Nofile, wanted)
    {
        tracing::warn!(%error, "limit of open files not raised");
    }
    let now = getrlimit(Resource::Nofile);
    tracing::info!(from = told(before.current), to = told(now.current), "limit of open files");
    let needed = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(BESIDE);
    if now.current.is_some_and(|most| most < needed) {
        tracing::warn!(
            limit = told(now.current),
            needed,
            "fewer files may be open than http.max_connections needs: raise the hard limit (ulimit -Hn, LimitNOFILE)"
        );
    }
}

fn told(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |files| files.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    #[test]
    fn the_limit_becomes_the_most_that_the_process_may_give_itself() {
        let before = getrlimit(Resource::Nofile);
        let low = before.current.map_or(4_096, |files| files.min(4_096)) - 1;
        setrlimit(Resource::Nofile, Rlimit { current: Some(low), ..before }).unwrap();
        raise(1);
        assert_eq!(getrlimit(Resource::Nofile), Rlimit { current: before.maximum, ..before });
    }
}
