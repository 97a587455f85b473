//! W3C Trace Context: the trace that a request belongs to, handed on to whom we call for it.

use std::fmt;

use tokio::task_local;
use uuid::Uuid;

/// The header that carries it.
pub const HEADER: &str = "traceparent";

task_local! {
    static CURRENT: Trace;
}

/// A trace and whether somebody records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    id: u128,
    flags: u8,
}

impl Trace {
    /// One that begins here.
    pub fn new() -> Self {
        Self { id: Uuid::new_v4().as_u128(), flags: 0 }
    }

    /// The one that a header names; `None` when it is malformed, as the recommendation defines it.
    pub fn read(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let (version, id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let version = lower_hex(version, 2)?;
        let has_rest = parts.next().is_some();
        if version == 0xff || (version == 0 && has_rest) {
            return None;
        }
        let (id, parent) = (lower_hex(id, 32)?, lower_hex(parent, 16)?);
        let flags = u8::try_from(lower_hex(flags, 2)?).ok()?;
        (id != 0 && parent != 0).then_some(Self { id, flags: flags & 1 })
    }

    /// The header for a call made on its behalf; each has a parent id of its own.
    pub fn header(self) -> String {
        let span = Uuid::new_v4().as_u64_pair().0 | 1; // never zero
        format!("00-{:032x}-{span:016x}-{:02x}", self.id, self.flags)
    }

    /// Runs `future` as part of it.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// The one that the present task works for.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|trace| *trace).ok()
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

/// Its id, as collectors show it.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.id)
    }
}

fn lower_hex(text: &str, digits: usize) -> Option<u128> {
    let plain = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let fits = text.len() == digits && text.bytes().all(plain);
    fits.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use super::*;

    #[test]
    fn a_call_carries_on_the_trace_with_a_parent_of_its_own() {
        let came = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = Trace::read(came).unwrap();
        assert_eq!(trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let (one, other) = (trace.header(), trace.header());
        assert_ne!(one, other);
        for sent in [one, other] {
            assert_ne!(sent, came);
            assert_eq!(Trace::read(&sent), Some(trace), "{sent}");
        }
    }

    #[test]
    fn what_is_malformed_begins_no_trace() {
        for header in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Trace::read(header), None, "{header}");
        }
        assert!(Trace::read("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later").is_some());
    }
}
