//! Photos that reach the bucket after nobody wants them any more, as uploads do whose sender was cut off.

use std::time::Duration;

use backend_api::config::Config;
use reqwest::Method;
use serde_json::json;
use tokio::task::AbortHandle;
use wechat_sim::cos::Fault;
use wechat_sim::{Fault as Mishap, Trouble};

use super::kit::Studio;
use super::photos::{PNG, delete, gives};
use crate::engines::{Engine, on_every_engine};
use crate::money::market::Customer;
use crate::people::code;
use crate::support::eventually;

on_every_engine!(
    a_photo_that_comes_after_it_was_deleted_is_removed_though_nobody_tells_that_it_came,
    a_photo_that_comes_after_its_owner_left_is_removed_though_nobody_tells_that_it_came,
    a_photo_that_comes_while_its_removal_is_under_way_is_removed_again,
);

/// What they give is on its way into the bucket, and what comes after that fails.
async fn is_on_its_way(studio: &Studio, customer: &Customer<'_>) -> AbortHandle {
    studio.gateway.be_slow_with_assets(true);
    studio.market.sim.cos().fault("photos/", Fault::Late);
    let giving = customer.ask(Method::POST, "/photos").body(PNG.to_vec()).send();
    let giving = tokio::spawn(giving).abort_handle();
    eventually("the photo is on its way", || studio.market.sim.cos().late() == 1).await;
    giving
}

/// The id of their only photo, which is still to come.
async fn photo_to_come(customer: &Customer<'_>) -> String {
    let (_, listed) = customer.get("/photos").await;
    assert_eq!(listed["photos"][0]["state"], "storing", "{listed}");
    listed["photos"][0]["id"].as_str().unwrap().to_owned()
}

/// Its sender hangs up, but it was sent: it comes, and has to go again.
async fn comes_and_goes(studio: &Studio, giving: &AbortHandle) {
    let cos = studio.market.sim.cos();
    studio.market.chores().await;
    giving.abort();
    cos.let_in().await;
    assert_eq!(cos.keys().len(), 1, "it has come");
    studio.time_passes().await;
    studio.market.chores().await;
    assert_eq!(cos.keys(), [""; 0]);
}

async fn a_photo_that_comes_after_it_was_deleted_is_removed_though_nobody_tells_that_it_came(engine: Engine) {
    let studio = Studio::on(engine).await;
    let customer = studio.customer(1).await;
    let giving = is_on_its_way(&studio, &customer).await;
    let id = photo_to_come(&customer).await;
    assert_eq!(delete(&customer, &format!("/photos/{id}")).await, 204);
    comes_and_goes(&studio, &giving).await;
}

async fn a_photo_that_comes_after_its_owner_left_is_removed_though_nobody_tells_that_it_came(engine: Engine) {
    let studio = Studio::on(engine).await;
    let customer = studio.customer(1).await;
    let giving = is_on_its_way(&studio, &customer).await;
    assert_eq!(delete(&customer, "/me").await, 204);
    comes_and_goes(&studio, &giving).await;
}

async fn a_photo_that_comes_while_its_removal_is_under_way_is_removed_again(engine: Engine) {
    let studio = Studio::on(engine).await;
    let Customer { person, login, .. } = studio.customer(1).await;
    let patient = |config: &mut Config| {
        config.http.request_timeout = Duration::from_secs(60);
        config.wechat.platform.as_mut().unwrap().bounds.request_timeout = Duration::from_secs(30);
    };
    let studio = studio.restarts_with(patient).await;
    let customer = studio.is_still((person, login));
    let (sim, cos) = (&studio.market.sim, studio.market.sim.cos());
    cos.fault("photos/", Fault::Late);
    let matching = "/tcb/batchdeletefile".to_owned();
    sim.fault(Mishap { matching, times: 1, trouble: Trouble::Slow { ms: 3_000 } });

    let goes_and_comes = async {
        eventually("the photo is on its way", || cos.late() == 1).await;
        let id = photo_to_come(&customer).await;
        assert_eq!(delete(&customer, &format!("/photos/{id}")).await, 204);
        studio.time_passes().await;
        tokio::join!(studio.market.chores(), async {
            let removes = || sim.requests().iter().any(|seen| seen.line.contains("/tcb/batchdeletefile"));
            eventually("its removal is under way", removes).await;
            cos.let_in().await;
        });
    };
    let ((status, body), ()) = tokio::join!(gives(&customer, PNG), goes_and_comes);
    assert_eq!((status, code(&body)), (404, "not_found"));
    assert_eq!(cos.keys().len(), 1, "it came after its removal");
    studio.market.chores().await;
    assert!(cos.keys().is_empty() && studio.gateway.assets().is_empty());
}

#[tokio::test]
async fn a_photo_that_was_cut_off_and_never_deleted_goes_when_its_time_is_over() {
    let studio = Studio::on(Engine::Sqlite).await;
    let customer = studio.customer(1).await;
    let giving = is_on_its_way(&studio, &customer).await;
    giving.abort();
    studio.market.sim.cos().let_in().await;
    photo_to_come(&customer).await;
    studio.time_passes().await;
    comes_and_goes(&studio, &giving).await;
    let (_, listed) = customer.get("/photos").await;
    assert_eq!(listed["photos"], json!([]));
}
