//! The caller's own order, binding within tenant and class: what waits for its turn holds back those behind it, unless
//! no usable device could run it.

use std::collections::BTreeMap;

use crate::fleet::GradeSet;
use crate::ids::TenantId;
use crate::market::{DemandIx, Market};
use crate::spec::Class;

type Place = (TenantId, Class, i64, DemandIx);

/// How many jobs wait at each place of each tenant's orders.
#[derive(Debug, Clone, Default)]
pub(crate) struct Orders {
    waiting: BTreeMap<Place, u32>,
    /// Waiting jobs that have a place other than the usual one: without any there is nothing to hold.
    ordered: usize,
}

impl Orders {
    pub(crate) fn enter(&mut self, place: Place) {
        *self.waiting.entry(place).or_default() += 1;
        self.ordered += usize::from(place.2 != 0);
    }

    pub(crate) fn exit(&mut self, place: Place) {
        if let Some(count) = self.waiting.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                self.waiting.remove(&place);
            }
            self.ordered -= usize::from(place.2 != 0);
        }
    }

    /// Whether one with a lower place waits that could run.
    pub(crate) fn holds(
        &self,
        tenant: TenantId,
        class: Class,
        order: i64,
        market: &Market,
        usable: GradeSet,
    ) -> bool {
        if self.ordered == 0 {
            return false;
        }
        let before =
            (tenant, class, i64::MIN, DemandIx::default())..(tenant, class, order, DemandIx::default());
        self.waiting.range(before).any(|((.., demand), _)| market.grades(*demand).meets(usable))
    }
}
