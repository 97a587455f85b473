//! How much VRAM work needs, by bounds: a success on a card proves that it needs no more, only an out-of-memory proves
//! that it needs more (DESIGN §4.10).

use std::collections::BTreeMap;

use crate::figures::make_room;
use crate::ids::ShapeId;
use crate::learned::Learned;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    above_mib: u32,
    at_most_mib: u32,
}

const UNBOUNDED: Bounds = Bounds { above_mib: 0, at_most_mib: u32::MAX };

/// The bounds of every signature that ran.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rooms {
    bounds: BTreeMap<ShapeId, Bounds>,
}

impl Rooms {
    /// Believed need. `largest_mib` is the largest device that is known: a prior alone sends nothing away for ever,
    /// only an out-of-memory proves that a job does not fit.
    pub(crate) fn need_mib(&self, signature: ShapeId, prior_mib: u32, largest_mib: u32) -> u32 {
        let bounds = self.bounds.get(&signature).copied().unwrap_or(UNBOUNDED);
        let least = bounds.above_mib.saturating_add(u32::from(bounds.above_mib > 0));
        prior_mib.min(bounds.at_most_mib).min(largest_mib).max(least)
    }

    /// It ran through on a card of this size: it needs no more.
    pub(crate) fn learn_fits(&mut self, signature: ShapeId, size_mib: u32) -> Option<Learned> {
        let old = self.bounds.get(&signature).copied().unwrap_or(UNBOUNDED);
        let at_most_mib = old.at_most_mib.min(size_mib);
        let above_mib = old.above_mib.min(at_most_mib.saturating_sub(1));
        self.set(signature, old, Bounds { above_mib, at_most_mib })
    }

    /// It ran out of memory with this much room: it needs more. A success on a card as small was luck then.
    pub(crate) fn learn_overflows(&mut self, signature: ShapeId, room_mib: u32) -> Option<Learned> {
        let old = self.bounds.get(&signature).copied().unwrap_or(UNBOUNDED);
        let above_mib = old.above_mib.max(room_mib);
        let at_most_mib = if above_mib >= old.at_most_mib { u32::MAX } else { old.at_most_mib };
        self.set(signature, old, Bounds { above_mib, at_most_mib })
    }

    fn set(&mut self, signature: ShapeId, old: Bounds, new: Bounds) -> Option<Learned> {
        if old == new {
            return None;
        }
        self.remember(signature, new.above_mib, new.at_most_mib);
        Some(Learned::Room { shape: signature, above_mib: new.above_mib, at_most_mib: new.at_most_mib })
    }

    pub(crate) fn remember(&mut self, signature: ShapeId, above_mib: u32, at_most_mib: u32) {
        make_room(&mut self.bounds, &signature);
        self.bounds.insert(signature, Bounds { above_mib, at_most_mib });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: ShapeId = ShapeId(7);

    #[test]
    fn only_an_out_of_memory_proves_a_need_above_a_card() {
        let mut rooms = Rooms::default();
        assert_eq!(
            rooms.need_mib(WORK, 8_000, 6_000),
            6_000,
            "a prior alone does not forbid the largest card"
        );
        rooms.learn_overflows(WORK, 6_000);
        assert_eq!(rooms.need_mib(WORK, 8_000, 6_000), 6_001);
        rooms.learn_fits(WORK, 7_000);
        assert_eq!(rooms.need_mib(WORK, 8_000, 24_000), 7_000);
        rooms.learn_overflows(WORK, 7_000);
        assert!(rooms.need_mib(WORK, 8_000, 24_000) > 7_000);
    }
}
