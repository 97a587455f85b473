//! What a tenant may have and ask for (`TenantLimits`), each bound with its code. A face asks here; what waits in the
//! queue is bounded by the scheduler, in the turn that inserts a job.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde_json::json;

use super::error::{ApiError, ErrorKind};
use super::state::Shared;
use crate::store::TenantLimits;
use crate::tenant::Caller;
use crate::workflow::{self, Asked, Forbidden, Graph, MEGAPIXEL};

/// Rates of tenants. One tenant's counter is made anew when its bound changes.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<HashMap<u32, Arc<Rate>>>);

#[derive(Debug)]
struct Rate {
    per_minute: NonZeroU32,
    burst: NonZeroU32,
    limiter: DefaultDirectRateLimiter,
}

impl Rates {
    fn of(&self, tenant: u32, per_minute: NonZeroU32, burst: NonZeroU32) -> Arc<Rate> {
        let mut rates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rate) = rates.get(&tenant)
            && (rate.per_minute, rate.burst) == (per_minute, burst)
        {
            return rate.clone();
        }
        let limiter = RateLimiter::direct(Quota::per_minute(per_minute).allow_burst(burst));
        let rate = Arc::new(Rate { per_minute, burst, limiter });
        rates.insert(tenant, rate.clone());
        rate
    }
}

/// Counts `submissions` of a tenant against its rate.
pub(super) fn rate(app: &Shared, caller: &Caller, submissions: NonZeroU32) -> Result<(), ApiError> {
    let limits = &caller.tenant.settings.limits;
    let Some(per_minute) = limits.submissions_per_minute else { return Ok(()) };
    let rate = app.rates.of(caller.tenant.id, per_minute, limits.submissions_burst.unwrap_or(per_minute));
    let over = |message: &'static str, seconds| {
        Err(ApiError::new(ErrorKind::Busy, "rate_limited", message).retry_after(seconds))
    };
    match rate.limiter.check_n(submissions) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(until)) => {
            let wait = until.wait_time_from(DefaultClock::default().now());
            over("too many submissions", wait.as_millis().div_ceil(1000).try_into().unwrap_or(60))
        }
        Err(_) => over("more submissions at once than the tenant may make in a minute", 60),
    }
}

/// Refuses a graph that uses or asks for what the tenant may not have, before anything is said of the fleet.
pub(super) fn graph(app: &Shared, caller: &Caller, graph: &Graph) -> Result<(), ApiError> {
    let settings = &caller.tenant.settings;
    if let Some(forbidden) = workflow::forbidden(graph, &settings.allow, &app.engine.fleet().catalogues) {
        return Err(not_allowed(forbidden));
    }
    let asks = workflow::asks(graph);
    let limits = &settings.limits;
    let all = [
        ("steps", &asks.steps, Some(app.limits.max_steps), 1, false),
        ("megapixels", &asks.volume, Some(app.limits.max_megapixels), MEGAPIXEL, false),
        ("steps", &asks.steps, limits.steps.map(u64::from), 1, true),
        ("megapixels", &asks.pixels, limits.megapixels.map(u64::from), MEGAPIXEL, true),
        ("frames", &asks.frames, limits.frames.map(u64::from), 1, true),
    ];
    all.into_iter().try_for_each(|(name, asked, limit, unit, is_own)| {
        let Some(limit) = limit else { return Ok(()) };
        bounded(name, asked, limit, unit, is_own)
    })
}

/// A bound of the tenant's own must be seen to be kept: what cannot be told is refused.
fn bounded(name: &str, asked: &Asked, limit: u64, unit: u64, is_own: bool) -> Result<(), ApiError> {
    if asked.most > limit.saturating_mul(unit) {
        let node = asked.node.as_deref().unwrap_or_default();
        let message = format!("node {node} asks for more than {limit} {name}");
        return Err(ApiError::refused("limit_exceeded", message).details(
            json!({"limit": name, "allowed": limit, "asked": asked.most.div_ceil(unit), "node": node}),
        ));
    }
    if let (true, Some((node, input))) = (is_own, &asked.unknown) {
        let message = format!(
            "input {input} of node {node} must be a number, or come from a plain one: {name} are limited"
        );
        return Err(ApiError::refused("limit_exceeded", message)
            .details(json!({"limit": name, "allowed": limit, "asked": null, "node": node, "input": input})));
    }
    Ok(())
}

fn not_allowed(forbidden: Forbidden) -> ApiError {
    match forbidden {
        Forbidden::Class { node, class } => {
            ApiError::refused("class_not_allowed", format!("node {node}: the class {class} is not allowed"))
                .details(json!({"node": node, "class": class}))
        }
        Forbidden::Model { node, model } => {
            ApiError::refused("model_not_allowed", format!("node {node}: the model {model} is not allowed"))
                .details(json!({"node": node, "model": model}))
        }
        Forbidden::LinkedModel { node, input } => ApiError::refused(
            "model_not_allowed",
            format!("node {node}: the model of {input} must be named there, not linked"),
        )
        .details(json!({"node": node, "input": input})),
    }
}

/// Bytes of uploads that are coming in, by tenant.
#[derive(Debug, Default, Clone)]
pub(super) struct Reserved(Arc<Mutex<HashMap<u32, u64>>>);

/// Room for one upload; given back when dropped, by when its bytes are counted or gone.
#[derive(Debug)]
pub(super) struct Room {
    reserved: Reserved,
    tenant: u32,
    bytes: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut reserved = self.reserved.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = reserved.get_mut(&self.tenant) {
            *bytes = bytes.saturating_sub(self.bytes);
            if *bytes == 0 {
                reserved.remove(&self.tenant);
            }
        }
    }
}

/// Room for an upload of at most `bytes`, where the tenant's bound leaves it.
pub(super) async fn room(app: &Shared, caller: &Caller, bytes: u64) -> Result<Option<Room>, ApiError> {
    let TenantLimits { stored_bytes: Some(limit), .. } = caller.tenant.settings.limits else {
        return Ok(None);
    };
    let tenant = caller.tenant.id;
    // Reserved before the look at what is held: bytes that are stored meanwhile are then counted twice, never not.
    let room = Room { reserved: app.reserved.clone(), tenant, bytes };
    let reserved = {
        let mut all = app.reserved.0.lock().unwrap_or_else(PoisonError::into_inner);
        let reserved = all.entry(tenant).or_default();
        *reserved = reserved.saturating_add(bytes);
        *reserved
    };
    let held = app.engine.store().held_bytes(tenant).await?;
    if held.saturating_add(reserved) > limit {
        return Err(exceeded(ErrorKind::TooLarge, held, limit));
    }
    Ok(Some(room))
}

/// Refuses a submission of a tenant that holds as much as it may: its outputs would come on top.
pub(super) async fn storage(app: &Shared, caller: &Caller) -> Result<(), ApiError> {
    let TenantLimits { stored_bytes: Some(limit), .. } = caller.tenant.settings.limits else { return Ok(()) };
    let held = app.engine.store().held_bytes(caller.tenant.id).await?;
    if held >= limit { Err(exceeded(ErrorKind::Refused, held, limit)) } else { Ok(()) }
}

fn exceeded(kind: ErrorKind, held: u64, limit: u64) -> ApiError {
    let message =
        "no room is left for more files; what is deleted counts until its bytes are gone, about an hour";
    ApiError::new(kind, "quota_exceeded", message).details(json!({"limit_bytes": limit, "held_bytes": held}))
}
