//! What XID events mean for a device (nvml FACTS §5).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Errors of an application are its own unless so many come …
const REPEATED: usize = 5;
/// … within this time.
const REPEATED_WITHIN: Duration = Duration::from_secs(600);
/// NVML's code for an event it cannot name.
pub(super) const UNKNOWN_XID: u64 = 999;

/// The events of all devices since the start, by UUID; kept while a driver is reloaded.
pub(super) type XidLog = Arc<Mutex<BTreeMap<String, Xids>>>;

/// The events of one device since the start.
#[derive(Debug, Default)]
pub(super) struct Xids {
    counts: BTreeMap<u64, u64>,
    /// When the latest errors of applications came.
    recent: VecDeque<Instant>,
}

/// What to do after an event.
enum Rule {
    /// An error of an application: it counts when repeated.
    Application,
    /// Nothing new may go there.
    Drain(&'static str),
    /// To be counted, no more.
    Note,
}

fn rule(code: u64) -> Rule {
    match code {
        13 | 31 | 43 | 45 | 68 | 109 => Rule::Application,
        48 => Rule::Drain("double bit memory error: reset it"),
        62 => Rule::Drain("its power management unit halted: reset it"),
        64 => Rule::Drain("a faulty memory row could not be replaced: reset it"),
        74 => Rule::Drain("NVLink error: look at its links"),
        79 => Rule::Drain("it has fallen off the bus: restart or replace the machine"),
        94 => Rule::Drain("contained memory error: reset it when idle"),
        95 => Rule::Drain("uncontained memory error: reset it"),
        119 | 120 => Rule::Drain("its system processor does not answer: reset it"),
        140 => Rule::Drain("unrecovered memory error: reset it"),
        143 => Rule::Drain("it could not be initialised: reset it"),
        _ => Rule::Note,
    }
}

impl Xids {
    /// Notes an event.
    pub(super) fn note(&mut self, code: u64, now: Instant) {
        let count = self.counts.entry(code).or_default();
        *count = count.saturating_add(1);
        if matches!(rule(code), Rule::Application) {
            self.recent.push_back(now);
            if self.recent.len() > REPEATED {
                self.recent.pop_front();
            }
        }
    }

    /// Code and count.
    pub(super) fn counts(&self) -> Vec<(u64, u64)> {
        self.counts.iter().map(|(code, count)| (*code, *count)).collect()
    }

    /// Why nothing new may go to the device. `is_alone`: the only one of its host; its links do not matter then.
    /// An event stands until the runner starts again, for a reset goes with that.
    pub(super) fn fault(&self, is_alone: bool, now: Instant) -> Option<String> {
        let drains = self.counts.keys().find_map(|code| match rule(*code) {
            Rule::Drain(_) if *code == 74 && is_alone => None,
            Rule::Drain(what) => Some(format!("xid {code}: {what}")),
            Rule::Application | Rule::Note => None,
        });
        let recent = self.recent.iter().filter(|at| now.saturating_duration_since(**at) < REPEATED_WITHIN);
        let repeats = recent.count() >= REPEATED;
        drains.or_else(|| repeats.then(|| format!("{REPEATED} application errors (xid) in a row")))
    }
}

/// What the driver itself asks for (field 230), in words; 0 is nothing.
pub(super) fn recovery_action(value: u64) -> Option<&'static str> {
    match value {
        0 => None,
        1 => Some("the driver asks for a reset of the device"),
        2 => Some("the driver asks for a restart of the machine"),
        3 | 4 => Some("the driver asks to drain the device"),
        _ => Some("the driver asks for a recovery that is not known"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn application_errors_count_only_when_repeated_soon() {
        let (mut xids, start) = (Xids::default(), Instant::now());
        for at in 0..REPEATED as u64 - 1 {
            xids.note(13, start + Duration::from_secs(at));
        }
        assert_eq!(xids.fault(true, start), None);
        xids.note(31, start + Duration::from_secs(9));
        assert!(xids.fault(true, start + Duration::from_secs(9)).is_some());
        assert_eq!(xids.fault(true, start + REPEATED_WITHIN + Duration::from_secs(5)), None);
        assert_eq!(xids.counts(), [(13, 4), (31, 1)]);
    }

    #[test]
    fn a_link_error_matters_only_beside_other_devices() {
        let mut xids = Xids::default();
        xids.note(74, Instant::now());
        assert_eq!(xids.fault(true, Instant::now()), None);
        assert!(xids.fault(false, Instant::now()).is_some());
    }
}
