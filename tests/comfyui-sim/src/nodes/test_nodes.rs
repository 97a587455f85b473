//! The testing nodes used by the recordings.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Data, Failure, Inputs, Outcome, plain, with_ui};
use crate::wire;
use crate::worker::job::Job;

/// Sleepers tick this often.
const TICK: Duration = Duration::from_millis(100);

/// Whether [`execute`] knows a class.
pub(crate) fn knows(class: &str) -> bool {
    class.starts_with("Test") || class.starts_with("Gw")
}

/// Runs a testing node.
pub(crate) async fn execute(job: &mut Job, node: &str, class: &str, inputs: &Inputs) -> Outcome {
    match class {
        "TestSleep" => sleep(job, node, inputs).await,
        "TestParallelSleep" => parallel_sleep(job, node, inputs).await,
        "TestSyncError" => {
            Err(Failure::raised("RuntimeError", "Intentional sync execution error for testing\n"))
        }
        "TestAsyncError" => {
            Err(Failure::raised("RuntimeError", "Intentional async execution error for testing\n"))
        }
        "TestExecutionBlocker" if inputs.literal("block") == true => {
            let verbose = inputs.literal("verbose") == true;
            plain(vec![Data::Blocked(verbose.then(|| "Blocked Execution".to_owned()))])
        }
        "TestExecutionBlocker" => plain(vec![inputs.data("input")]),
        "TestLazyMixImages" => {
            let second = inputs.data("mask").to_text() == "1.0";
            plain(vec![inputs.data(if second { "image2" } else { "image1" })])
        }
        "TestCustomValidation1" => plain(vec![inputs.data("input1")]),
        "GwUiNan" => with_ui(Vec::new(), json!({"value": [wire::nan(), wire::infinity()]})),
        "GwUiUnserialisable" => {
            // the event pump dies over it a moment later
            job.process.die(None);
            std::future::pending().await
        }
        _ => plain(vec![inputs.data("value")]),
    }
}

/// Sleeps for `seconds`, telling how many have passed.
async fn sleep(job: &mut Job, node: &str, inputs: &Inputs) -> Outcome {
    let (value, total) = (inputs.data("value"), inputs.number("seconds", 1.0).max(0.0));
    let started = Instant::now();
    loop {
        let passed = started.elapsed().as_secs_f64().min(total);
        job.tick(node, json!(passed), json!(total), None).await?;
        if passed >= total {
            return plain(vec![value]);
        }
        let left = Duration::from_secs_f64(total - passed);
        job.pass(left.min(TICK)).await;
    }
}

/// Expands into three sleepers that run at once and a node that joins them, `{node}.0.0.1` to `.4`.
async fn parallel_sleep(job: &mut Job, node: &str, inputs: &Inputs) -> Outcome {
    let started = Instant::now();
    let mut running: Vec<(String, f64)> = Vec::new();
    for index in [3, 2, 1] {
        let child = format!("{node}.0.0.{index}");
        job.start_child(&child, node);
        let total = inputs.number(&format!("sleep{index}"), 0.5);
        job.tick(&child, json!(0.0), json!(total), None).await?;
        running.push((child, total));
    }
    while !running.is_empty() {
        job.pass(TICK).await;
        let passed = started.elapsed().as_secs_f64();
        for (child, total) in std::mem::take(&mut running) {
            job.tick(&child, json!(passed.min(total)), json!(total), None).await?;
            if passed >= total {
                job.finish_node(&child);
            } else {
                running.push((child, total));
            }
        }
    }
    let join = format!("{node}.0.0.4");
    job.start_child(&join, node);
    job.finish_node(&join);
    plain(vec![inputs.data("image1")])
}

/// Which lazy inputs of a mixing node its mask calls for.
pub(crate) fn wanted_images(mask: &Value) -> &'static [&'static str] {
    match mask.as_f64() {
        Some(0.0) => &["image1"],
        Some(1.0) => &["image2"],
        _ => &["image1", "image2"],
    }
}
