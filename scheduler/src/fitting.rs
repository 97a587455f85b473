//! Which grades of devices could run which kinds, and keeping the lists of the fleet in line with it.

use crate::core::Scheduler;
use crate::device::Instance;
use crate::fleet::GradeSet;
use crate::jobs::Slot;
use crate::kinds::{Kind, KindId};
use crate::time::Timestamp;

impl Scheduler {
    /// Brings the lists of the fleet in line with what happened to instances since the last placement.
    pub(crate) fn settle_fleet(&mut self) {
        self.fleet.touch_opening(self.now);
        let touched = self.fleet.take_touched();
        if touched.is_empty() && !self.refit_due {
            return;
        }
        let most = 1 + self.config.prefetch as usize;
        for ix in touched {
            let Some(instance) = self.fleet.at(ix) else { continue };
            let place = match &instance.profile {
                Some(profile) if instance.is_usable() => {
                    let class = self.costs.runs.class(profile.device_class);
                    Some((class, self.listed_free_at(instance)))
                }
                _ => None,
            };
            let mut is_open = instance.held.len() < most;
            if let Some((_, free_at)) = place.filter(|_| is_open && !instance.held.is_empty()) {
                let opens_at = Timestamp(free_at.0.saturating_sub(self.config.prefetch_ahead.0));
                is_open = opens_at <= self.now;
                if !is_open {
                    self.fleet.open_at(ix, opens_at);
                }
            }
            self.refit_due |= self.fleet.list(ix, place, is_open);
        }
        if std::mem::take(&mut self.refit_due) {
            let kinds: Vec<KindId> = self.kinds.iter().map(|(id, _)| id).collect();
            for kind in kinds {
                self.refit(kind);
            }
        }
    }

    /// When an instance is free, as the lists keep it: an idle one since it became so.
    fn listed_free_at(&self, instance: &Instance) -> Timestamp {
        if instance.held.is_empty() { instance.freed_at } else { self.free_at(instance) }
    }

    fn grades_for(&self, kind: &Kind) -> GradeSet {
        let need_mib = self.costs.need_mib(kind, self.fleet.largest_mib());
        let mut found = GradeSet::default();
        for (index, grade) in self.fleet.grades().iter().enumerate() {
            if grade.capacity_mib >= need_mib && kind.is_offered_by(grade.catalogue) {
                found.insert(index);
            }
        }
        found
    }

    /// A kind gets its first pool.
    pub(crate) fn settle_kind(&mut self, id: KindId) {
        let Some(kind) = self.kinds.get(id) else { return };
        let (checkpoint, family, grades) = (kind.checkpoint(), kind.family, self.grades_for(kind));
        let demand = self.market.demand(family, grades);
        let pool = self.pools.join(checkpoint, demand);
        if let Some(kind) = self.kinds.get_mut(id) {
            (kind.demand, kind.pool) = (demand, pool);
        }
    }

    /// A kind moves to another pool with its waiting jobs, when other grades can run it now.
    pub(crate) fn refit(&mut self, id: KindId) {
        let Some(kind) = self.kinds.get(id) else { return };
        if self.market.grades(kind.demand) == self.grades_for(kind) {
            return;
        }
        let old = kind.pool;
        let waiting: Vec<Slot> =
            self.pools.slots_of(old, |slot| self.jobs.get(slot).is_some_and(|job| job.kind == id));
        for slot in &waiting {
            self.leave_lane(*slot);
        }
        self.settle_kind(id);
        for slot in waiting {
            self.enter_lane(slot);
        }
        self.pools.leave(old);
    }
}
