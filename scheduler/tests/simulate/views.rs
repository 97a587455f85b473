//! What people look at: tables and the picture.

use scheduler::simulate::{Comparison, PolicyKind, Run, timeline};

use crate::support::{measure, play, scenario};

fn comparison() -> Comparison {
    let runs = ["light", "failures_spot"].into_iter().flat_map(|name| {
        let scenario = scenario(name);
        [PolicyKind::LeastQueue, PolicyKind::Ect].map(|policy| Run {
            scenario: name.to_owned(),
            policy,
            metrics: measure(&scenario, policy),
        })
    });
    Comparison::of(runs.collect())
}

#[test]
fn a_comparison_shows_each_figure_and_the_geometric_mean_of_ratios() {
    let text = comparison().to_text();
    let lines: Vec<String> =
        text.lines().take(5).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    // The ratio by hand: the root of 54.0753 / 26.9379 * 103.587 / 36.4607.
    assert_eq!(
        lines,
        [
            "Mean completion time, s least_queue ect",
            "light 54.1 26.9",
            "failures_spot 103.6 36.5",
            "against ect 2.388 x 1.000 x",
            "against least_queue 1.000 x 0.419 x",
        ]
    );
}

#[test]
fn a_comparison_as_json_has_all_metrics_and_the_ratios() {
    let json = comparison().to_json();
    assert_eq!(json["scenarios"]["light"]["ect"]["jct_mean_s"], 26.9379);
    assert_eq!(json["ratios"]["ect"]["ect"]["jct_mean_s"], 1.0);
    assert!(json["ratios"]["least_queue"]["ect"]["jct_mean_s"].as_f64().is_some_and(|ratio| ratio < 0.5));
}

#[test]
fn the_picture_is_one_page_that_asks_nobody_for_anything() {
    let scenario = scenario("failures_spot");
    let page = timeline("a <b> & {{data}}", &scenario, &play(&scenario, PolicyKind::Ect));
    assert!(page.contains("<h1>a &lt;b&gt; &amp; &#123;&#123;data}}</h1>"));
    for outside in ["http:", "https:", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    let data = page.split_once("application/json\">").and_then(|(_, rest)| rest.split_once("</script>"));
    let data: serde_json::Value = serde_json::from_str(data.unwrap_or_default().0).unwrap_or_default();
    assert_eq!(data["jobs"].as_array().map(Vec::len), Some(scenario.jobs().len()));
    let attempts = data["attempts"].as_array().map(Vec::len).unwrap_or_default();
    assert!(attempts > scenario.jobs().len(), "lost attempts are shown as well");
    let deepest = data["backlog"].as_array().into_iter().flatten().map(|point| point[2].as_i64()).max();
    assert!(deepest > Some(Some(10)), "{deepest:?} normal jobs wait at the worst moment");
    let last = data["backlog"].as_array().and_then(|points| points.last().cloned()).unwrap_or_default();
    assert_eq!([&last[1], &last[2], &last[3]], [0, 0, 0], "nobody waits at the end");
}
