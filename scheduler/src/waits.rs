//! Waiting jobs for which a busy instance was found best. Until something of that changes, looking again would find the
//! same: a pass takes the earlier finding and looks at jobs that it does not know yet.

use crate::fleet::InstanceIx;
use crate::jobs::Slot;
use crate::time::{Millis, Timestamp};

/// What was found for a waiting job.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    /// The instance that is worth the wait.
    pub(crate) on: InstanceIx,
    /// How long the job will take there.
    pub(crate) takes: Millis,
    /// What it would have lost on the best open instance of the moment; the most there is where none was open to it.
    pub(crate) regret: i64,
    /// The finding is not believed from then on.
    pub(crate) until: Timestamp,
}

/// Findings that are kept: many times what one pass asks for. A later one takes the place of an older one, whose job is
/// then looked at again; the places are few, lie together, and no finding has to be swept out.
const PLACES: usize = 1 << 12;

/// What was found for waiting jobs, by job.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waits {
    places: Vec<Option<(Slot, Wait)>>,
}

impl Waits {
    pub(crate) fn note(&mut self, slot: Slot, wait: Wait) {
        self.places.resize(PLACES, None);
        self.places[place(slot)] = Some((slot, wait));
    }

    /// The finding, while it is believed.
    pub(crate) fn get(&self, slot: Slot, now: Timestamp) -> Option<Wait> {
        let (of, wait) = self.places.get(place(slot)).copied().flatten()?;
        (of == slot && wait.until > now).then_some(wait)
    }

    /// Nothing of what was found is believed any more.
    pub(crate) fn forget_all(&mut self) {
        self.places.clear();
    }

    /// The job waits no longer, or is another kind of work now.
    pub(crate) fn forget(&mut self, slot: Slot) {
        if let Some(found) =
            self.places.get_mut(place(slot)).filter(|found| found.is_some_and(|(of, _)| of == slot))
        {
            *found = None;
        }
    }
}

fn place(slot: Slot) -> usize {
    slot.0 as usize % PLACES
}
