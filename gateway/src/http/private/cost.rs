//! What a job would cost, by the classes of devices that could run it.

use std::collections::BTreeMap;

use scheduler::{DeviceClassId, Forecast};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::super::error::ApiError;
use super::super::state::Shared;
use crate::engine;
use crate::fleet::FleetView;
use crate::prices::Prices;
use crate::store::NewJob;

/// What a job would cost on one class of devices.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClassEstimate)]
pub(super) struct Cost<'a> {
    device_class: &'a str,
    /// Its instances that could run the job.
    instances: u32,
    /// The run itself.
    run_ms: u32,
    /// Loading models first, where they are not loaded yet.
    load_ms: u32,
    /// With all models loaded, millionths of the currency.
    pub(super) price_at_least_micros: u64,
    /// With all models to be loaded, millionths of the currency.
    pub(super) price_at_most_micros: u64,
}

/// The costs of a forecast.
pub(super) fn costs<'a>(forecast: &Forecast, fleet: &'a FleetView, prices: &Prices) -> Vec<Cost<'a>> {
    let facts = fleet.instances.iter().filter_map(|instance| instance.facts.as_ref());
    let names: BTreeMap<DeviceClassId, &str> =
        facts.map(|facts| (engine::device_class(&facts.device_class), facts.device_class.as_str())).collect();
    let cost = |class: &scheduler::ClassCost| {
        let device_class = *names.get(&class.class)?;
        let (run_ms, load_ms) = (class.run_ms, class.load_ms);
        let most = u64::from(run_ms) + u64::from(load_ms);
        Some(Cost {
            device_class,
            instances: class.instances,
            run_ms,
            load_ms,
            price_at_least_micros: prices.of(device_class, u64::from(run_ms)),
            price_at_most_micros: prices.of(device_class, most),
        })
    };
    forecast.classes.iter().filter_map(cost).collect()
}

/// Refuses a job whose estimate is above its ceiling on any class that could run it. While none is known that could,
/// there is no estimate, and the job is taken.
pub(super) async fn check_ceiling(app: &Shared, job: &NewJob, ceiling: Option<u64>) -> Result<(), ApiError> {
    let Some(ceiling) = ceiling else { return Ok(()) };
    let forecast = app.engine.forecast(job).await?;
    let fleet = app.engine.fleet();
    let costs = costs(&forecast, &fleet, &app.prices);
    let most = costs.iter().map(|cost| cost.price_at_most_micros).max();
    match most {
        Some(estimate) if estimate > ceiling => Err(ApiError::refused(
            "cost_ceiling",
            format!("the job may cost {estimate} millionths of {}, above {ceiling}", app.prices.currency),
        )
        .details(json!({
            "estimate_micros": estimate, "max_cost_micros": ceiling, "currency": &*app.prices.currency,
        }))),
        _ => Ok(()),
    }
}
