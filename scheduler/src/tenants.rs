//! Who had how much: weighted usage of devices, decayed, so that old use is forgiven and a newcomer starts level.

use std::collections::BTreeMap;

use crate::ids::TenantId;
use crate::time::Timestamp;

/// Use counts half after this long: ten minutes is a few long jobs, so one burst does not shut a tenant out for an hour.
const HALF_LIFE_MS: i64 = 600_000;
/// Scale of usage, so that a small charge over a large weight does not vanish.
const SCALE: u128 = 1 << 10;
/// After this many half-lives the common factor is taken out.
const RESCALE_AFTER: i64 = 16;
/// Below this many tenants none is forgotten.
const KEPT: usize = 1024;

/// One tenant with open jobs or remembered use.
#[derive(Debug, Clone)]
pub(crate) struct Tenant {
    pub(crate) weight: u32,
    pub(crate) concurrency: u32,
    /// Waiting jobs.
    pub(crate) queued: u32,
    /// Attempts that hold a device.
    pub(crate) occupied: u32,
    /// Open jobs in any state.
    pub(crate) open: u32,
    usage: u128,
}

impl Tenant {
    fn is_active(&self) -> bool {
        self.queued > 0 || self.occupied > 0
    }

    pub(crate) fn is_at_bound(&self) -> bool {
        self.occupied >= self.concurrency
    }

    /// Weighted usage: the smaller, the sooner its turn.
    pub(crate) fn usage(&self) -> u128 {
        self.usage
    }
}

/// All tenants. Instead of shrinking every usage as time passes, new charges grow (forward decay): the order is the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tenants {
    table: BTreeMap<TenantId, Tenant>,
    base: Timestamp,
    forget_at: usize,
}

impl Tenants {
    /// Whether a tenant has as many jobs at work as it may.
    pub(crate) fn is_at_bound(&self, id: TenantId) -> bool {
        self.get(id).is_some_and(Tenant::is_at_bound)
    }

    pub(crate) fn get(&self, id: TenantId) -> Option<&Tenant> {
        self.table.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: TenantId) -> Option<&mut Tenant> {
        self.table.get_mut(&id)
    }

    pub(crate) fn active(&self) -> u64 {
        self.table.values().filter(|tenant| tenant.is_active()).count() as u64
    }

    /// A job of the tenant opens; its newest weight and bound count.
    pub(crate) fn join(&mut self, id: TenantId, weight: u32, concurrency: u32) {
        if !self.table.contains_key(&id) {
            self.forget_idle();
        }
        let fresh = Tenant { weight: 1, concurrency, queued: 0, occupied: 0, open: 0, usage: 0 };
        let tenant = self.table.entry(id).or_insert(fresh);
        tenant.weight = weight.max(1);
        tenant.concurrency = concurrency;
        tenant.open += 1;
    }

    fn forget_idle(&mut self) {
        if self.table.len() < self.forget_at.max(KEPT) {
            return;
        }
        let floor = self.floor();
        self.table.retain(|_, tenant| tenant.open > 0 || tenant.usage > floor);
        self.forget_at = self.table.len() * 2;
    }

    /// The least usage among those who want or hold a device.
    fn floor(&self) -> u128 {
        self.table.values().filter(|tenant| tenant.is_active()).map(|tenant| tenant.usage).min().unwrap_or(0)
    }

    /// A job of the tenant begins to wait. One that comes back from idleness starts level with the least served:
    /// credit cannot be hoarded.
    pub(crate) fn enqueue(&mut self, id: TenantId) {
        if self.table.get(&id).is_some_and(|tenant| !tenant.is_active()) {
            let floor = self.floor();
            if let Some(tenant) = self.table.get_mut(&id) {
                tenant.usage = tenant.usage.max(floor);
            }
        }
        if let Some(tenant) = self.table.get_mut(&id) {
            tenant.queued += 1;
        }
    }

    /// Mean weighted usage of those who want or hold a device.
    pub(crate) fn mean_usage(&self) -> u128 {
        let active = self.table.values().filter(|tenant| tenant.is_active());
        let (sum, count) =
            active.fold((0_u128, 0_u128), |(sum, count), tenant| (sum + tenant.usage, count + 1));
        sum / count.max(1)
    }

    /// Weighted usage: the smaller, the sooner its turn.
    pub(crate) fn usage(&self, id: TenantId) -> u128 {
        self.table.get(&id).map_or(0, |tenant| tenant.usage)
    }

    /// Charges device time, milliseconds of a device of the mean price.
    pub(crate) fn charge(&mut self, now: Timestamp, id: TenantId, ms: u64) {
        let factor = self.factor(now);
        if let Some(tenant) = self.table.get_mut(&id) {
            tenant.usage = tenant.usage.saturating_add(weighted(ms, tenant.weight, factor));
        }
    }

    /// Gives back what was charged too much.
    pub(crate) fn refund(&mut self, now: Timestamp, id: TenantId, ms: u64) {
        let factor = self.factor(now);
        if let Some(tenant) = self.table.get_mut(&id) {
            tenant.usage = tenant.usage.saturating_sub(weighted(ms, tenant.weight, factor));
        }
    }

    fn factor(&mut self, now: Timestamp) -> u128 {
        if self.base == Timestamp::default() {
            self.base = now;
        }
        let mut half_lives = (now.since(self.base).0 / HALF_LIFE_MS).max(0);
        if half_lives >= RESCALE_AFTER {
            for tenant in self.table.values_mut() {
                tenant.usage = u32::try_from(half_lives)
                    .ok()
                    .and_then(|bits| tenant.usage.checked_shr(bits))
                    .unwrap_or(0);
            }
            self.base = Timestamp(self.base.0.saturating_add(half_lives * HALF_LIFE_MS));
            half_lives = 0;
        }
        let rest = now.since(self.base).0.max(0) % HALF_LIFE_MS;
        let between =
            SCALE + SCALE * u128::from(rest.unsigned_abs()) / u128::from(HALF_LIFE_MS.unsigned_abs());
        between << half_lives
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TenantId, &Tenant)> {
        self.table.iter().map(|(id, tenant)| (*id, tenant))
    }
}

fn weighted(ms: u64, weight: u32, factor: u128) -> u128 {
    u128::from(ms).saturating_mul(factor) / u128::from(weight.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: TenantId = TenantId(1);
    const B: TenantId = TenantId(2);

    fn tenants() -> Tenants {
        let mut tenants = Tenants::default();
        tenants.join(A, 1, u32::MAX);
        tenants.enqueue(A);
        tenants.join(B, 4, u32::MAX);
        tenants.enqueue(B);
        tenants
    }

    #[test]
    fn a_larger_weight_pays_less_for_the_same_time() {
        let mut tenants = tenants();
        tenants.charge(Timestamp(1), A, 1000);
        tenants.charge(Timestamp(1), B, 3000);
        assert!(tenants.usage(B) < tenants.usage(A));
    }

    #[test]
    fn old_use_is_forgiven() {
        let mut tenants = tenants();
        tenants.charge(Timestamp(1), A, 1_000_000);
        tenants.charge(Timestamp(1 + 30 * HALF_LIFE_MS), B, 4_000);
        assert!(tenants.usage(A) < tenants.usage(B));
    }

    #[test]
    fn who_comes_back_from_idleness_starts_level_with_the_least_served() {
        let mut tenants = tenants();
        tenants.charge(Timestamp(1), A, 50_000);
        tenants.charge(Timestamp(1), B, 900_000);
        let newcomer = TenantId(3);
        tenants.join(newcomer, 1, u32::MAX);
        tenants.enqueue(newcomer);
        assert_eq!(tenants.usage(newcomer), tenants.usage(A).min(tenants.usage(B)));
    }
}
