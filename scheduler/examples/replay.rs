//! `cargo run --release -p scheduler --example replay -- POLICY nodes.json models.json trace.jsonl` prints the metrics.

use std::process::ExitCode;

use scheduler::simulate::{File, Metrics, PolicyKind, Scenario, replay};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<String, Box<dyn std::error::Error>> {
    let [policy, fleet, models, trace] = args else {
        return Err("usage: replay POLICY nodes.json models.json trace.jsonl".into());
    };
    let text = |path: &String| std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let (fleet_text, models_text, trace_text) = (text(fleet)?, text(models)?, text(trace)?);
    let scenario = Scenario::parse(
        File { name: fleet, text: &fleet_text },
        File { name: models, text: &models_text },
        File { name: trace, text: &trace_text },
    )?;
    let kind: PolicyKind = policy.parse()?;
    let mut policy = kind.build(scenario.setting()).ok_or_else(|| format!("{kind} is not in this build"))?;
    let metrics = Metrics::of(&scenario, &replay(&scenario, policy.as_mut()));
    Ok(serde_json::to_string_pretty(&metrics)?)
}
